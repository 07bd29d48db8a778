"""Thousands of finished jobs in a gateway's home, each a copy of one that was really made, but for its name and age."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import structs

from hfmedia.core.job import Created, Fact, Stored
from hfmedia.ledger import SqliteLedger
from hfmedia.server.books.keys import Limits
from hfmedia.server.books.orders import Order, order_of_key
from tests.server.conftest import Served

OUTPUTS = 20  # of each order
AT_ONCE = 25  # orders whose facts are appended side by side, so that they share commits
APART = 60.0  # seconds between two of them


async def multiply(served: Served, job_id: str, count: int) -> None:
    """Writes ``count`` older copies of a job, through the ledger's and the book's own doors; their file is shared."""
    ledger = SqliteLedger(served.gateway.client.settings.home / "ledger.sqlite3")
    facts, job = await ledger.facts(job_id), await ledger.job(job_id)
    named = order_of_key(job.key) if job else None
    first = served.gateway.book.order(named[0]) if named else None
    assert first is not None, "it was not made here"
    orders = [_older(first, number) for number in range(count // OUTPUTS)]
    for begin in range(0, len(orders), AT_ONCE):
        copies = [_copy(facts, order, k) for order in orders[begin : begin + AT_ONCE] for k in range(OUTPUTS)]
        await asyncio.gather(*(ledger.append(*one) for one in copies))
    await asyncio.to_thread(_enter, served, orders)
    await ledger.aclose()


def _enter(served: Served, orders: list[Order]) -> None:
    for order in orders:
        served.gateway.book.reserve(order, Limits(), now=order.at)
        served.gateway.book.settle(order.id, charged=0.0, images=OUTPUTS, videos=0)


def _older(order: Order, number: int) -> Order:
    at = order.at - (number + 1) * APART
    ask = structs.replace(order.ask, prompt=f"picture {number}", n=OUTPUTS)
    name = f"{int(at * 1000):011x}{number:09x}"
    return structs.replace(order, id=name, at=at, n=OUTPUTS, ask=ask, reserved=0.0, settled=False, idempotency_key=None)


def _copy(facts: list[Fact], order: Order, index: int) -> list[Fact]:
    made: list[Fact] = []
    for fact in facts:
        changes: dict[str, Any] = {"job": f"{order.id}-{index}", "at": order.at}
        if isinstance(fact, Created):
            request = structs.replace(fact.request, prompt=order.ask.prompt)
            changes |= {"key": order.job_key(index), "request": request}
        if isinstance(fact, Stored):
            files = [{**one, "job_id": changes["job"]} for one in fact.media["files"]]
            changes["media"] = {**fact.media, "files": files}
        made.append(structs.replace(fact, **changes))
    return made
