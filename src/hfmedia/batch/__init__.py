"""Batches: files of requests generated into a folder, resumable at any moment, in constant memory."""

from __future__ import annotations

from .estimate import BatchPlan, CostGroup
from .input_files import InputSource, RowsInput, open_input
from .items import BatchItem
from .reader import InvalidInputFileError, LineError, ValidationSummary
from .runner import Batch, StopReason
from .stats import BatchStats
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
