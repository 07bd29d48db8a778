"""The cost of a job as every API reports it."""

from __future__ import annotations

from pydantic import BaseModel

from hfmedia.core.protocol import Cost


class CostSchema(BaseModel):
    """A cost as the provider reported it; where it is null, the provider reported none."""

    amount: float
    unit: str

    @classmethod
    def from_cost(cls, cost: Cost | None) -> CostSchema | None:
        """Return the cost of a job; None if its provider reported none."""
        return cls(amount=cost.amount, unit=cost.unit) if cost else None
