"""Batches: a file of requests into a folder of results, resumable at any moment, in constant memory."""

from __future__ import annotations

from .asked import Heard
from .batch import Batch, Reason
from .checking import Broken, BrokenSheetError, Checked
from .keys import Order
from .sheets import Rows, Sheet, open_sheet
from .survey import Group, Plan
from .tally import Tally

__all__ = [
    "Batch",
    "Broken",
    "BrokenSheetError",
    "Checked",
    "Group",
    "Heard",
    "Order",
    "Plan",
    "Reason",
    "Rows",
    "Sheet",
    "Tally",
    "open_sheet",
]
