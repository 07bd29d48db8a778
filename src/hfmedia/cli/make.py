"""The deeds of ``hfmedia generate``: from what was written to a request, from its events to what is said.

Whatever stops it, what happened to each job is told.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NoReturn

from hfmedia.client import MediaClient
from hfmedia.core.errors import (
    HfmediaError,
    InDoubtError,
    InvalidRequestError,
    JobCancelledError,
    OutOfTimeError,
)
from hfmedia.core.job import Job, Stopped
from hfmedia.core.request import check_outputs, parse_choice, parse_task
from hfmedia.core.sizes import parse_ratio, parse_resolution, parse_size
from hfmedia.engine import Event, JobFailed, MediaReady, Moved, Started

from . import INTERRUPTED
from .run import Stop, environment, run
from .show import Tally, Unseen, progress, relative
from .story import Standing, next_step
from .voice import Voice, is_terminal

# What the library knows by name and has no option of its own here; anything else in --param goes to the provider.
KNOWN = frozenset(
    {"negative_prompt", "num_inference_steps", "guidance_scale", "seed", "width", "height", "aspect_ratio",
     "resolution", "scheduler", "num_frames", "seconds", "fps"}
)  # fmt: skip
LEFT = (OutOfTimeError.exit_code, InDoubtError.exit_code, INTERRUPTED)  # ends that leave something to do


def carry_out(
    words: Sequence[str] | None,
    options: Mapping[str, Any],
    *,
    size: str | None,
    params: Sequence[str],
    client: Mapping[str, Any],
    sandbox: bool,
    voice: Voice,
) -> NoReturn:
    """Makes what the options say and leaves with the exit code. ``client`` are the options of the MediaClient."""

    async def work(stop: Stop) -> int:
        prompt = spoken_prompt(words)
        sides = parse_size(size) if size is not None else None
        sized = {"width": sides.width, "height": sides.height} if sides else {}
        wish = with_params({**options, **sized}, params)
        check(wish)
        async with environment(sandbox, voice) as environ, MediaClient(**client, environ=environ) as made:
            code = await make(made, prompt, wish, keep=not sandbox, stop=stop, voice=voice)
        if sandbox and code in LEFT:
            voice.note("the simulation has ended, and its jobs with it: here there is nothing to resume or to resolve")
        return code

    run(work, voice)


def spoken_prompt(words: Sequence[str] | None) -> str | None:
    """The prompt out of the command line, or from stdin when it is ``-``; several words need no quotes."""
    if not words:
        return None
    if list(words) != ["-"]:
        return " ".join(words)
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the prompt on stdin is not text in UTF-8: {error.reason}") from error


def with_params(options: Mapping[str, Any], pairs: Sequence[str]) -> dict[str, Any]:
    """The options with each ``key=value`` added: by name where it is known here, else for the provider's JSON."""
    made = {name: value for name, value in options.items() if value is not None}
    extra: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise InvalidRequestError(f"--param {pair!r} is not KEY=VALUE, such as -p scheduler=euler")
        (made if key in KNOWN else extra)[key.strip()] = _value(text)
    return {**made, "extra_body": extra} if extra else made


def _value(text: str) -> Any:
    """JSON where it is JSON, else the text itself; NaN and Infinity are no JSON."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text


def check(wish: Mapping[str, Any]) -> None:
    """InvalidRequestError for what can be seen to be wrong before anything else is loaded, let alone sent."""
    check_outputs(wish["n"])
    doors: tuple[tuple[str, Callable[[Any], object]], ...] = (
        ("model", parse_choice),
        ("task", parse_task),
        ("aspect_ratio", parse_ratio),
        ("resolution", parse_resolution),
    )
    for name, parse in doors:
        if isinstance(given := wish.get(name), str):
            parse(given)


async def make(
    client: MediaClient, prompt: str | None, wish: Mapping[str, Any], *, keep: bool = True, stop: Stop, voice: Voice
) -> int:
    """Makes what was asked for and says it; the exit code is 0 only when all of it arrived."""
    return await see_through(client, client.generate(prompt, **wish), wish["n"], keep=keep, stop=stop, voice=voice)


async def see_through(
    client: MediaClient,
    told: AsyncGenerator[Event, None],
    n: int,
    *,
    begun: Mapping[int, str] | None = None,
    keep: bool = True,
    stop: Stop,
    voice: Voice,
) -> int:
    """Says the events of n outputs until the last one ended; the exit code is 0 only when all of them arrived.

    ``begun`` are the jobs, by output, that had begun before. An interrupt lets go of all jobs, so that they can be
    resumed; without ``keep`` (a world that ends with this process) it cancels them.
    """
    tally, show = Tally(), progress(voice, n, watched=is_terminal())
    try:
        under_way = UnderWay(client, stop, begun or {}, keep=keep)
        async with aclosing(told):
            async for event in told:
                under_way.hear(event)
                tally.hear(event)
                show.hear(event)
                _say(event, n, show, voice, interrupted=stop.asked)
        if stop.asked:
            await _say_fates(under_way, tally, n, voice)
    except BaseException:
        show.close("")
        raise
    show.close(tally.line())
    if stop.asked:
        return INTERRUPTED
    return next((error.exit_code for _, error in sorted(tally.failed.items())), 0)


def _say(event: Event, n: int, show: Unseen, voice: Voice, *, interrupted: bool) -> None:
    """What is said of an event beside the progress: results, warnings, and the errors that no interrupt explains."""
    about = f"{event.index + 1}/{n}: " if n > 1 else ""
    match event:
        case Started(notes=notes):
            for note in notes:
                _warn(voice, note)
        case Moved(before=before, provider=provider, reason=reason):
            _warn(voice, f"{reason}; moved from {before} to {provider}", about)
        case MediaReady(media=media):
            show.result(media.facts() if voice.as_json else relative(media.path))
            for warning in media.warnings:
                _warn(voice, warning, about)
        case JobFailed(error=error) if not (interrupted and isinstance(error, JobCancelledError)):
            voice.error(error, about)
        case _:
            pass


def _warn(voice: Voice, text: str, about: str = "") -> None:
    if not voice.as_json:  # there, the result itself names its warnings
        voice.warning(text, about)


class UnderWay:
    """The jobs that have begun and not ended, and what an interrupt does with them.

    What a provider accepted is let go of, not cancelled: it is paid for, and the ledger knows how to go on.
    """

    def __init__(self, client: MediaClient, stop: Stop, begun: Mapping[int, str], *, keep: bool) -> None:
        self.client, self._stop, self._at_once = client, stop, stop.gently
        self._end = client.detach if keep else client.cancel
        self.ids: dict[int, str] = dict(begun)
        self._open: set[str] = set(begun.values())
        self._cancelling: dict[str, asyncio.Task[Job]] = {}
        stop.gently = self.cancel

    def hear(self, event: Event) -> None:
        """Keeps count of who is under way."""
        if isinstance(event, Started):
            self.ids[event.index] = event.job_id
            self._open.add(event.job_id)
            if self._stop.asked:
                self.cancel()
        elif isinstance(event, MediaReady | JobFailed):
            self._open.discard(event.job_id)

    def cancel(self) -> None:
        """Lets go of every job under way; before the first one there is only the asking to stop."""
        if not self.ids:
            self._at_once()
            return
        for job_id in self._open - self._cancelling.keys():
            self._cancelling[job_id] = asyncio.create_task(self._end(job_id))

    async def fate(self, job_id: str) -> str:
        """What became of a job that was told to stop, in one sentence."""
        if cancelling := self._cancelling.get(job_id):
            await asyncio.wait({cancelling})
        job = await self.client.engine.job(job_id)
        stopped = next((f for f in reversed(await self.client.story(job_id)) if isinstance(f, Stopped)), None)
        named = f" ({job.route.provider}'s id for it: {job.handle.id})" if job.handle and job.route else ""
        if stopped is not None and stopped.reached is None:
            return "not sent; there is nothing to pay"
        if stopped is not None and stopped.reached and job.route:
            return f"cancelled at {job.route.provider}{named}"
        if stopped is not None:
            return f"{stopped.message}{named}"
        return _left(job, named)


def _left(job: Job, named: str) -> str:
    """How a job stands that could not be cancelled, and what to do."""
    provider = job.route.provider if job.route else "the provider"
    what = {
        "doubt": f"in doubt: {job.error}",
        "running": f"it goes on at {provider}{named}, and may still be billed",
        "finished": f"{provider} was already done{named}, and it may be billed",
    }.get(job.state, job.error or job.state)
    step = next_step(Standing(job=job))
    return f"{what}; {step}" if step else what


async def _say_fates(under_way: UnderWay, tally: Tally, n: int, voice: Voice) -> None:
    """One line for each job after an interrupt, in their order."""
    for index, job_id in sorted(under_way.ids.items()):
        error = tally.failed.get(index)
        if index in tally.made:
            fate = f"done, {', '.join(relative(media.path) for media in tally.made[index])}"
        elif isinstance(error, JobCancelledError):
            fate = await under_way.fate(job_id)
        else:
            fate = error.message if isinstance(error, HfmediaError) else "nobody knows"
        voice.fate(f"interrupted: {index + 1}/{n}, job {job_id}: {fate}", index=index, job_id=job_id, fate=fate)
