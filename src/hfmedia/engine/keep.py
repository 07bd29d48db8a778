"""Keeping what a provider made: each output becomes a file, and each file a Media that tells where it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hfmedia.core.answers import Output, Route
from hfmedia.core.errors import DownloadError, UnreadableReplyError
from hfmedia.core.job import Job
from hfmedia.core.ports import Kept, Place
from hfmedia.core.request import Request
from hfmedia.core.wire import redact
from hfmedia.store import Media

from .world import World

Made = tuple[tuple[Media, str | None], ...]
Progress = Callable[[int, int | None], None]
SUFFIXES = {"image/jpeg": (".jpg", ".jpeg"), "video/quicktime": (".mov", ".qt"), "image/tiff": (".tif", ".tiff")}


async def keep_outputs(
    world: World,
    job: Job,
    route: Route,
    outputs: tuple[Output, ...],
    place: Place,
    progress: Progress,
) -> tuple[Made, list[dict[str, Any]]]:
    """Every output as a file with its facts beside it, its URL, and the facts; nearly always one, none is an error."""
    if not outputs:
        raise UnreadableReplyError(f"{route.provider} says it is done, but names no output", job_id=job.id)
    made: list[tuple[Media, str | None]] = []
    facts: list[dict[str, Any]] = []
    for output in outputs:
        if output.url is None and output.data is None:
            since = "its file was removed since" if job.state == "stored" else "could not be stored then"
            words = f"the media of job {job.id} came inside {route.provider}'s answer and {since}"
            raise DownloadError(f"{words}; it can only be made again", job_id=job.id)
        media, told = await _kept(world, job, route, output, place, progress)
        made.append((media, None if (output.url or "").startswith("data:") else output.url))
        facts.append(told)
    return tuple(made), facts


async def _kept(
    world: World, job: Job, route: Route, output: Output, place: Place, progress: Progress
) -> tuple[Media, dict[str, Any]]:
    """One output as a file, and its facts, which lie beside it."""
    made: list[tuple[Media, dict[str, Any]]] = []

    def facts(kept: Kept) -> dict[str, Any]:
        media = _media(job, route, output, kept, place, world.clock())
        made.append((media, media.facts()))
        return made[0][1]

    await world.keeper.keep(
        output, place, makes=job.request.makes, fetch=world.fetch, progress=progress, facts=facts
    )  # fmt: skip
    return made[0]


def _media(job: Job, route: Route, output: Output, kept: Kept, place: Place, now: float) -> Media:
    asked = job.sent_request or job.request
    return Media(
        path=kept.path,
        mime=kept.mime,
        width=kept.width,
        height=kept.height,
        bytes=kept.bytes,
        sha256=kept.sha256,
        provider=route.provider,
        model=route.model,
        task=job.request.task,
        prompt=job.request.prompt,
        seed=job.seed if job.seed is not None else asked.seed,
        cost=job.cost,
        job_id=job.id,
        index=job.index,
        warnings=(*(redact(words) for words in job.warnings), *_surprises(asked, output, kept, place)),
        parameters=asked.parameters(),
        attempts=job.refusals,
        source=kept.source,
        nsfw=output.nsfw,
        timings={**job.timings, "total": round(now - job.created, 3)},
        created=now,
    )


def _surprises(asked: Request, output: Output, kept: Kept, place: Place) -> list[str]:
    """What came that is not what was asked for, in words."""
    told: list[str] = []
    if asked.width and asked.height and kept.width and kept.height:
        wanted, got = f"{asked.width}x{asked.height}", f"{kept.width}x{kept.height}"
        told += [f"asked for {wanted}, got {got}"] if wanted != got else []
    if place.file is not None:
        usual = SUFFIXES.get(kept.mime, ("." + kept.mime.rpartition("/")[2],))
        if place.file.suffix and place.file.suffix.lower() not in usual:
            told.append(f"the file is named {place.file.suffix}, but its bytes are {kept.mime}")
        if kept.path.name != place.file.name:
            told.append(f"{place.file.name} was there already; this one is {kept.path.name}")
    if output.nsfw:
        told.append("the provider marked this result as unsafe; it may be blacked out")
    return told
