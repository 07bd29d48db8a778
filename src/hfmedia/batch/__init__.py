"""Batches: a file of requests into a folder of results, resumable at any moment, in constant memory."""

from __future__ import annotations

from .asked import BatchEvent
from .batch import Batch, StopReason
from .checking import LineError, InvalidInputFileError, ValidationSummary
from .keys import BatchItem
from .sheets import RowsInput, InputSource, open_input
from .survey import CostGroup, BatchPlan
from .tally import BatchStats

__all__ = [
    "Batch",
    "LineError",
    "InvalidInputFileError",
    "ValidationSummary",
    "CostGroup",
    "BatchEvent",
    "BatchItem",
    "BatchPlan",
    "StopReason",
    "RowsInput",
    "InputSource",
    "BatchStats",
    "open_input",
]
