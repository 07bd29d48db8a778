"""The promises of every ledger, tested on each implementation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import (
    CancelledEntry,
    CreatedEntry,
    FailedEntry,
    InvalidTransitionError,
    RoutedEntry,
    StoredEntry,
    SubmittingEntry,
    replay,
)
from hfmedia.core.request import GenerationRequest
from hfmedia.ledger import IdempotencyKeyInUseError, Ledger

from .builders import ENDINGS, FULL_ENTRIES, REQUEST, ROUTES, created_entry, job_entries


async def listed(ledger: Ledger, **how: Any) -> list[str]:
    """The ids of the jobs."""
    return [job.id async for job in ledger.iter_jobs(**how)]


async def live_through(ledger: Ledger, *jobs: str) -> None:
    """Append the entries of successful jobs."""
    for job in jobs:
        for entry in job_entries(job):
            await ledger.append(entry)


async def test_an_unknown_job_is_none_and_has_no_entries(ledger: Ledger) -> None:
    """Reads do not change state."""
    assert await ledger.get("x") is None
    assert await ledger.find_by_key("x") is None
    assert await ledger.entries("x") == []
    assert await listed(ledger) == []
    assert await ledger.owner("x") is None
    assert await ledger.claims() == {}
    assert await ledger.prune(1e12) == 0
    await ledger.release("x")


async def test_nothing_can_happen_to_a_job_that_was_never_created(ledger: Ledger) -> None:
    """And the attempt leaves no trace."""
    with pytest.raises(InvalidTransitionError, match="never created"):
        await ledger.append(SubmittingEntry(job_id="x", timestamp=0.0, attempt=1))
    assert await ledger.get("x") is None
    assert await ledger.entries("x") == []


async def test_what_a_reader_holds_is_not_the_ledger(ledger: Ledger) -> None:
    """A list of entries is a copy; jobs may be added while they are listed."""
    await ledger.append(created_entry("a"))
    (await ledger.entries("a")).clear()
    assert len(await ledger.entries("a")) == 1
    seen: list[str] = []
    async for job in ledger.iter_jobs():
        seen.append(job.id)
        await ledger.append(created_entry(f"{job.id}b", at=1.0))
    assert seen == ["a"]


async def test_only_one_of_two_submissions_of_a_job_is_recorded(ledger: Ledger) -> None:
    """Whichever is quicker: one submission, one payment."""
    await ledger.append(created_entry("a"))
    await ledger.append(RoutedEntry(job_id="a", timestamp=0.0, route=ROUTES[0], request=REQUEST))
    sends = [ledger.append(SubmittingEntry(job_id="a", timestamp=1.0, attempt=1)) for _ in range(5)]
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert sorted(isinstance(result, InvalidTransitionError) for result in results) == [False, True, True, True, True]


async def test_entries_that_go_together_are_all_written_or_none(ledger: Ledger) -> None:
    """One that the table forbids, or that is of another job, rejects the others as well."""
    routed, sending = (
        RoutedEntry(job_id="a", timestamp=1.0, route=ROUTES[0], request=REQUEST),
        SubmittingEntry(job_id="a", timestamp=2.0, attempt=1),
    )
    for wrong in (
        (sending, routed),
        (routed, SubmittingEntry(job_id="b", timestamp=2.0, attempt=1)),
        (routed, sending, sending),
    ):
        await ledger.append(created_entry("a")) if not await ledger.get("a") else None
        with pytest.raises(InvalidTransitionError):
            await ledger.append(*wrong)
        assert len(await ledger.entries("a")) == 1
    job = await ledger.append(routed, sending)
    assert (job.state, await ledger.get("a")) == ("submitting", job)
    assert (
        await ledger.append(created_entry("b"), *(structs.replace(entry, job_id="b") for entry in (routed, sending)))
    ).attempts
    assert [type(entry) for entry in await ledger.entries("b")] == [CreatedEntry, RoutedEntry, SubmittingEntry]


async def test_every_entry_type_comes_back_as_it_went_in(ledger: Ledger) -> None:
    """With every field, foreign letters and the largest numbers."""
    after = [await ledger.append(entry) for entry in FULL_ENTRIES][-1]
    assert await ledger.entries("j") == FULL_ENTRIES
    assert await ledger.get("j") == after == replay(FULL_ENTRIES)
    for number, ending in enumerate(ENDINGS):
        job = f"e{number}"
        entry = type(ending)(**{**{n: getattr(ending, n) for n in ending.__struct_fields__}, "job_id": job})
        await ledger.append(created_entry(job))
        await ledger.append(entry)
        assert (await ledger.entries(job))[-1] == entry


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({}, "abcd"),
        ({"newest_first": True}, "dcba"),
        ({"limit": 2}, "ab"),
        ({"limit": 2, "newest_first": True}, "dc"),
        ({"limit": 0}, ""),
        ({"states": ["stored"]}, "a"),
        ({"states": {"created", "routed"}}, "bcd"),
        ({"states": {"created", "stored"}, "newest_first": True}, "dca"),
        ({"states": []}, ""),
        ({"states": ["in_doubt"]}, ""),
        ({"provider": "fal-ai"}, "a"),
        ({"provider": "nscale", "states": ["routed"]}, "b"),
        ({"model": "c/d"}, "c"),
        ({"since": 5.0}, "cd"),
        ({"since": 5.0, "model": "a/b", "limit": 9}, "d"),
    ],
)
async def test_jobs_can_be_chosen(ledger: Ledger, how: dict[str, Any], found: str) -> None:
    """By state, provider, model and age, in both directions."""
    await live_through(ledger, "a")
    await ledger.append(created_entry("b", at=1.0))
    await ledger.append(RoutedEntry(job_id="b", timestamp=1.0, route=ROUTES[1], request=REQUEST))
    await ledger.append(
        created_entry("c", at=9.0, request=GenerationRequest(task="text-to-video", model="c/d", prompt="x"))
    )
    await ledger.append(created_entry("d", at=5.0))
    assert "".join(await listed(ledger, **how)) == found


async def test_more_jobs_than_a_page_come_once_each(ledger: Ledger) -> None:
    """Across the seams of the pages, in both directions."""
    names = [f"j{number}" for number in range(307)]
    await asyncio.gather(*(ledger.append(created_entry(name)) for name in names))
    assert await listed(ledger) == names
    assert await listed(ledger, newest_first=True, limit=250) == names[:-251:-1]


async def test_a_clock_that_jumps_back_changes_no_order(ledger: Ledger) -> None:
    """Order is that of appending."""
    clock = iter([1000.0, 5.0, 999.0, -3.0, 1e9, 0.0])
    entries = [type(entry)(**{**{n: getattr(entry, n) for n in entry.__struct_fields__}, "timestamp": at})
            for entry, at in zip(job_entries("a"), clock, strict=True)]  # fmt: skip
    for entry in entries:
        await ledger.append(entry)
    await ledger.append(created_entry("b", at=-1e9))
    assert await ledger.entries("a") == entries
    assert await listed(ledger) == ["a", "b"]


async def test_a_key_belongs_to_one_job(ledger: Ledger) -> None:
    """The second creation gets the id of the first and leaves no trace; jobs without a key never conflict."""
    await ledger.append(created_entry("a", idempotency_key="k"))
    results = await asyncio.gather(
        ledger.append(created_entry("b", idempotency_key="k")),
        ledger.append(created_entry("c", idempotency_key="other")),
        ledger.append(created_entry("d")),
        ledger.append(created_entry("e")),
        return_exceptions=True,
    )
    assert isinstance(results[0], IdempotencyKeyInUseError)
    assert results[0].job_id == "a"
    assert await listed(ledger) == ["a", "c", "d", "e"]
    assert await ledger.entries("b") == []
    assert await ledger.owner("b") is None
    found = await ledger.find_by_key("k")
    assert found is not None
    assert found.id == "a"


async def test_the_creator_of_a_job_owns_it_until_it_ends(ledger: Ledger) -> None:
    """Or releases it; a job may be claimed before it exists, and by its owner again."""
    me = await ledger.owner_id()
    await ledger.append(created_entry("a"))
    assert await ledger.claim("b")
    assert await ledger.claim("b")
    assert await ledger.claims() == {"a": me, "b": me}
    await ledger.append(created_entry("b"))
    await ledger.release("a")
    assert await ledger.owner("a") is None
    assert await ledger.owner("b") == me
    await ledger.append(FailedEntry(job_id="b", timestamp=1.0, kind="generation_failed", message="no"))
    assert await ledger.claims() == {}


async def test_old_jobs_are_pruned_and_live_ones_never(ledger: Ledger) -> None:
    """Nor claimed ones, whatever their state; the keys of deleted jobs are free again."""
    await live_through(ledger, "stored", "claimed")
    assert await ledger.claim("claimed")
    await ledger.append(created_entry("stopped", idempotency_key="k"))
    await ledger.append(CancelledEntry(job_id="stopped", timestamp=0.0, provider_confirmed=True))
    await ledger.append(created_entry("new"))
    await ledger.append(created_entry("young"))
    await ledger.append(CancelledEntry(job_id="young", timestamp=50.0, provider_confirmed=True))
    assert await ledger.prune(10.0, ["failed"]) == 0
    assert await ledger.prune(10.0, ["cancelled"]) == 1
    assert await ledger.prune(10.0) == 1
    assert await listed(ledger) == ["claimed", "new", "young"]
    assert await ledger.entries("stored") == []
    assert await ledger.find_by_key("k") is None
    await ledger.append(created_entry("again", idempotency_key="k"))
    for state in ("created", "running", "in_doubt", "completed"):
        with pytest.raises(InvalidRequestError, match="still be billed"):
            await ledger.prune(1e12, [state, "stored"])


async def test_a_file_that_is_downloaded_again_is_another_entry(ledger: Ledger) -> None:
    """A stored job may be stored again."""
    await live_through(ledger, "a")
    assert await ledger.claim("a")
    assert (await ledger.append(StoredEntry(job_id="a", timestamp=1.0, media={"path": "y"}))).media == {"path": "y"}
    assert await ledger.claims() == {}
