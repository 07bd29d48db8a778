"""Batches: a file of requests into a folder of results, resumable at any moment, in constant memory."""

from __future__ import annotations

from .input_files import InputSource, RowsInput, open_input
from .items import BatchItem
from .reader import InvalidInputFileError, LineError, ValidationSummary
from .runner import Batch, StopReason
from .stats import BatchStats
from .status import BatchPlan, CostGroup
from .validation import BatchEvent

__all__ = [
    "Batch",
    "BatchEvent",
    "BatchItem",
    "BatchPlan",
    "BatchStats",
    "CostGroup",
    "InputSource",
    "InvalidInputFileError",
    "LineError",
    "RowsInput",
    "StopReason",
    "ValidationSummary",
    "open_input",
]
