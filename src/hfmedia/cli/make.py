"""The deeds of ``hfmedia generate``: from what was written to a request, from its events to what is said.

Whatever stops it, what happened to each job is told.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NoReturn

from hfmedia.client import MediaClient
from hfmedia.core.errors import HfmediaError, InvalidRequestError, JobCancelledError
from hfmedia.core.job import Job, Stopped
from hfmedia.core.request import check_outputs, parse_choice, parse_task
from hfmedia.core.sizes import parse_ratio, parse_resolution, parse_size
from hfmedia.engine import Event, JobFailed, MediaReady, Moved, Started

from . import INTERRUPTED
from .run import Stop, environment, run
from .show import Tally, Unseen, progress, relative
from .voice import Voice, is_terminal

# What the library knows by name and has no option of its own here; anything else in --param goes to the provider.
KNOWN = frozenset(
    {"negative_prompt", "num_inference_steps", "guidance_scale", "seed", "width", "height", "aspect_ratio",
     "resolution", "scheduler", "num_frames", "seconds", "fps"}
)  # fmt: skip


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
            return await make(made, prompt, wish, stop=stop, voice=voice)

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


async def make(client: MediaClient, prompt: str | None, wish: Mapping[str, Any], *, stop: Stop, voice: Voice) -> int:
    """Makes what was asked for and says it; the exit code is 0 only when all of it arrived."""
    tally, n = Tally(), wish["n"]
    show = progress(voice, n, watched=is_terminal())
    try:
        under_way = UnderWay(client, stop)
        async with aclosing(client.generate(prompt, **wish)) as told:
            async for event in told:
                under_way.hear(event)
                tally.hear(event)
                show.hear(event)
                _say(event, n, show, voice)
        if stop.asked:
            await _say_fates(under_way, tally, n, voice)
    except BaseException:
        show.close("")
        raise
    show.close(tally.line())
    if stop.asked:
        return INTERRUPTED
    return next((error.exit_code for _, error in sorted(tally.failed.items())), 0)


def _say(event: Event, n: int, show: Unseen, voice: Voice) -> None:
    """What is said of an event beside the progress: results, warnings, and the errors that are no interrupt."""
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
        case JobFailed(error=error) if not isinstance(error, JobCancelledError):
            voice.error(error, about)
        case _:
            pass


def _warn(voice: Voice, text: str, about: str = "") -> None:
    if not voice.as_json:  # there, the result itself names its warnings
        voice.warning(text, about)


class UnderWay:
    """The jobs that have begun and not ended, and what an interrupt does with them: each is cancelled by its id."""

    def __init__(self, client: MediaClient, stop: Stop) -> None:
        self.client, self._stop, self._at_once = client, stop, stop.gently
        self.ids: dict[int, str] = {}
        self._open: set[str] = set()
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
        """Tells every job under way to stop; before the first one there is only the asking to stop."""
        if not self.ids:
            self._at_once()
            return
        for job_id in self._open - self._cancelling.keys():
            self._cancelling[job_id] = asyncio.create_task(self.client.cancel(job_id))

    async def fate(self, job_id: str) -> str:
        """What became of a job that was told to stop, in one sentence."""
        if cancelling := self._cancelling.get(job_id):
            await asyncio.wait({cancelling})
        job = await self.client.engine.job(job_id)
        stopped = next((f for f in reversed(await self.client.ledger.facts(job_id)) if isinstance(f, Stopped)), None)
        if stopped is None:
            return job.error or job.state
        provider = job.route.provider if job.route else "nobody"
        named = f" ({provider}'s id for it: {job.handle.id})" if job.handle else ""
        if stopped.reached is None:
            return "not sent; there is nothing to pay"
        return f"cancelled at {provider}{named}" if stopped.reached else f"{stopped.message}{named}"


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
