"""Storing: each output of a completed job becomes a file with a sidecar that describes its origin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hfmedia.core.credentials import redact
from hfmedia.core.errors import DownloadError, InvalidResponseError
from hfmedia.core.job import Job
from hfmedia.core.ports import OutputTarget, StoredFile
from hfmedia.core.protocol import Output, Route
from hfmedia.core.request import GenerationRequest
from hfmedia.storage import Media

from .job_context import JobContext

StoredOutputs = tuple[tuple[Media, str | None], ...]  # each with the provider's URL, None for inline media
ProgressCallback = Callable[[int, int | None], None]
SUFFIXES = {"image/jpeg": (".jpg", ".jpeg"), "video/quicktime": (".mov", ".qt"), "image/tiff": (".tif", ".tiff")}


async def store_outputs(
    context: JobContext,
    job: Job,
    route: Route,
    outputs: tuple[Output, ...],
    target: OutputTarget,
    on_progress: ProgressCallback,
) -> tuple[StoredOutputs, list[dict[str, Any]]]:
    """Store every output, nearly always one; return the media with their URLs, and their sidecars.

    Raises InvalidResponseError when there is no output and DownloadError for inline media that is gone.
    """
    if not outputs:
        raise InvalidResponseError(f"{route.provider} reported completion without any output", job_id=job.id)
    stored: list[tuple[Media, str | None]] = []
    sidecars: list[dict[str, Any]] = []
    for output in outputs:
        if output.url is None and output.data is None:
            reason = "its file was removed since" if job.state == "stored" else "could not be stored then"
            message = f"the media of job {job.id} was part of {route.provider}'s response and {reason}"
            raise DownloadError(f"{message}; it can only be generated again", job_id=job.id)
        media, sidecar = await _store_one(context, job, route, output, target, on_progress)
        stored.append((media, None if (output.url or "").startswith("data:") else output.url))
        sidecars.append(sidecar)
    return tuple(stored), sidecars


async def _store_one(
    context: JobContext,
    job: Job,
    route: Route,
    output: Output,
    target: OutputTarget,
    on_progress: ProgressCallback,
) -> tuple[Media, dict[str, Any]]:
    """Store one output; return its media and sidecar."""
    stored: list[tuple[Media, dict[str, Any]]] = []

    def build_sidecar(file: StoredFile) -> dict[str, Any]:
        media = _media(job, route, output, file, target, context.now())
        stored.append((media, media.to_dict()))
        return stored[0][1]

    await context.save(
        output, target, output_kind=job.request.output_kind, on_progress=on_progress, build_sidecar=build_sidecar
    )
    return stored[0]


def _media(job: Job, route: Route, output: Output, file: StoredFile, target: OutputTarget, now: float) -> Media:
    request = job.provider_request or job.request
    return Media(
        path=file.path,
        mime=file.mime,
        width=file.width,
        height=file.height,
        bytes=file.bytes,
        sha256=file.sha256,
        provider=route.provider,
        model=route.model,
        task=job.request.task,
        prompt=job.request.prompt,
        seed=job.seed if job.seed is not None else request.seed,
        cost=job.cost,
        job_id=job.id,
        index=job.index,
        warnings=(*(redact(warning) for warning in job.warnings), *_mismatch_warnings(request, output, file, target)),
        parameters=request.parameters(),
        attempts=job.rejections,
        source=file.source,
        nsfw=output.nsfw,
        timings={**job.timings, "total": round(now - job.created_at, 3)},
        created=now,
    )


def _mismatch_warnings(request: GenerationRequest, output: Output, file: StoredFile, target: OutputTarget) -> list[str]:
    """Describe each way in which the file differs from the request."""
    warnings: list[str] = []
    if request.width and request.height and file.width and file.height:
        requested_size, actual_size = f"{request.width}x{request.height}", f"{file.width}x{file.height}"
        warnings += [f"requested {requested_size}, got {actual_size}"] if requested_size != actual_size else []
    if target.file is not None:
        expected_suffixes = SUFFIXES.get(file.mime, ("." + file.mime.rpartition("/")[2],))
        if target.file.suffix and target.file.suffix.lower() not in expected_suffixes:
            warnings.append(f"the file name ends in {target.file.suffix}, but the content is {file.mime}")
        if file.path.name != target.file.name:
            warnings.append(f"{target.file.name} already existed; saved as {file.path.name}")
    if output.nsfw:
        warnings.append("the provider marked this result as unsafe; it may be blacked out")
    return warnings
