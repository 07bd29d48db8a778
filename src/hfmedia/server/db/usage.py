"""Usage: settling the charges of a generation, and what counts against the limits of a key now."""

from __future__ import annotations

from msgspec import Struct

from .budgets import day_of, dollars, month_of, to_micro_usd
from .connection import DatabaseConnections


class UsageReport(Struct, frozen=True, kw_only=True):
    """Usage of a key that counts against its limits. Amounts are in USD, times in unix seconds.

    Attributes:
        usd_month: everything that counts this month: charged, estimated and reserved.
        charged_usd_month: at known prices.
        estimated_usd_month: billed at a price that was not reported, so that the reservation counts instead.
        unpriced_generations_month: generations counted in ``estimated_usd_month``.
        reserved_usd_now: reserved this month for generations that have not ended.
    """

    images_today: int = 0
    videos_today: int = 0
    images_month: int = 0
    videos_month: int = 0
    usd_month: float = 0.0
    charged_usd_month: float = 0.0
    estimated_usd_month: float = 0.0
    unpriced_generations_month: int = 0
    reserved_usd_now: float = 0.0
    day_resets_at: float
    month_resets_at: float


class UsageRepository(DatabaseConnections):
    """The table ``charges``."""

    def settle_charges(self, generation_id: str, *, charged_usd: float | None, images: int, videos: int) -> None:
        """Replace a reservation by what was billed; settling again changes nothing.

        ``charged_usd`` None means that no price was reported: the billed outputs' share of the reservation counts.
        """
        with self._write_transaction() as connection:
            query = "SELECT reserved_micro, images + videos FROM charges WHERE id = ? AND status = 'reserved'"
            row = connection.execute(query, (generation_id,)).fetchone()
            if row is None:
                return
            reserved_micro, output_count = row
            if charged_usd is None:
                status = "estimated"
                micro_usd = -(-reserved_micro * min(images + videos, output_count) // max(1, output_count))
            else:
                status, micro_usd = "charged", to_micro_usd(charged_usd)
            connection.execute(
                "UPDATE charges SET status = ?, micro_usd = ?, images = ?, videos = ? WHERE id = ?",
                (status, micro_usd, images, videos, generation_id),
            )

    def usage(self, caller_id: str, now: float) -> UsageReport:
        """Return what counts against the limits of a caller at this time."""
        day, month = day_of(now), month_of(now)
        count_columns = "coalesce(sum(images), 0), coalesce(sum(videos), 0)"
        in_window = "FROM charges WHERE caller_id = ? AND counted_at >= ? AND counted_at < ?"
        (images, videos), *_ = self._rows(f"SELECT {count_columns} {in_window}", caller_id, *day)
        rows = self._rows(
            f"SELECT status, count(*), sum(micro_usd), {count_columns} {in_window} GROUP BY status", caller_id, *month
        )
        micro_by_status = {status: micro_usd for status, _, micro_usd, _, _ in rows}
        return UsageReport(
            images_today=images,
            videos_today=videos,
            images_month=sum(row[3] for row in rows),
            videos_month=sum(row[4] for row in rows),
            usd_month=dollars(sum(micro_by_status.values())),
            charged_usd_month=dollars(micro_by_status.get("charged", 0)),
            estimated_usd_month=dollars(micro_by_status.get("estimated", 0)),
            unpriced_generations_month=sum(row[1] for row in rows if row[0] == "estimated"),
            reserved_usd_now=dollars(micro_by_status.get("reserved", 0)),
            day_resets_at=day.resets_at,
            month_resets_at=month.resets_at,
        )
