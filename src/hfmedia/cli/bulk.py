"""The deeds of ``hfmedia batch``: from the options to a batch, from its events to what is said.

However it ends, it says what is there, what is not, and how to go on.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, NoReturn

from hfmedia.batch import Batch, Group, Heard, Plan, Sheet, open_sheet
from hfmedia.client import MediaClient
from hfmedia.core.errors import (
    CreditError,
    HfmediaError,
    InvalidRequestError,
    JobCancelledError,
    StoreError,
)
from hfmedia.engine import JobFailed, MediaReady, Moved

from . import INTERRUPTED
from .gauge import Lines, gauge
from .make import with_params
from .run import Stop, environment, run
from .show import relative
from .voice import Voice, told

AGAIN = "run the same command again to go on"
SIMULATED = "sandbox"  # the realm of results that a simulated world drew
STOPPED = {
    "cost": "stopped at --max-cost; raise it and {again}",
    "failures": "stopped at --max-failures; when the cause is mended, {again}",
    "hopeless": "stopped, since nothing gets through any more; when the cause is mended, {again}",
    "stopped": "interrupted; {again}",
    "trouble": "stopped; when the cause is mended, {again}",
}


def carry_out(
    file: str,
    folder: str,
    options: Mapping[str, Any],
    *,
    params: Sequence[str],
    form: str | None,
    limits: Mapping[str, Any],
    client: Mapping[str, Any],
    dry_run: bool,
    sandbox: bool,
    voice: Voice,
) -> NoReturn:
    """Does what the file says and leaves with the exit code. ``client`` are the options of the MediaClient."""

    async def work(stop: Stop) -> int:
        check_limits(limits)
        defaults = columns(options, params)
        if not folder.strip():
            raise InvalidRequestError("-o names no folder; say where the results shall lie")
        sheet = await _opened(file, form)
        with closing(sheet):
            async with environment(sandbox, voice) as environ, MediaClient(**client, environ=environ) as made:
                realm = SIMULATED if sandbox else ""
                async with Batch(made, sheet, folder, defaults=defaults, realm=realm, **limits) as batch:
                    for note in (await batch.check()).notes():
                        voice.warning(note)
                    if dry_run:
                        return say_plan(await batch.plan(), voice)
                    return await see_through(batch, stop=stop, leaving=not sandbox, voice=voice)

    run(work, voice)


def columns(options: Mapping[str, Any], params: Sequence[str]) -> dict[str, Any]:
    """The options as defaults of a batch's columns."""
    made = with_params(options, params)
    if "extra_body" in made:
        made["extra"] = made.pop("extra_body")
    if isinstance(image := made.get("image"), str) and "://" not in image and not image.startswith("data:"):
        made["image"] = os.path.abspath(os.path.expanduser(image))  # noqa: PTH100, PTH111 - an empty one stays empty
    return made


def check_limits(limits: Mapping[str, Any]) -> None:
    """InvalidRequestError for limits that limit nothing, by the names of their options."""
    cost = limits["max_cost"]
    if cost is not None and not (math.isfinite(cost) and cost > 0):
        raise InvalidRequestError(f"--max-cost is {cost:g}, but must be an amount in USD above 0")
    for name in ("concurrency", "max_failures"):
        if limits[name] is not None and limits[name] < 1:
            raise InvalidRequestError(f"--{name.replace('_', '-')} is {limits[name]}, but must be at least 1")


async def _opened(file: str, form: str | None) -> Sheet:
    """The sheet; what is piped in is waited for in a thread that an interrupt need not wait for."""
    if file != "-":
        return await asyncio.to_thread(open_sheet, file, form)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Sheet] = loop.create_future()

    def read() -> None:
        try:
            sheet = open_sheet(file, form)
        except OSError as error:
            wrong = StoreError(f"stdin cannot be put aside: {(error.strerror or str(error)).lower()}")
            loop.call_soon_threadsafe(_settle, future, None, wrong)
        except HfmediaError as error:
            loop.call_soon_threadsafe(_settle, future, None, error)
        else:
            loop.call_soon_threadsafe(_settle, future, sheet, None)

    threading.Thread(target=read, daemon=True).start()
    return await future


def _settle(future: asyncio.Future[Sheet], sheet: Sheet | None, error: HfmediaError | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    elif sheet is not None:
        future.set_result(sheet)


async def see_through(batch: Batch, *, stop: Stop, leaving: bool, voice: Voice) -> int:
    """Says what comes until nothing more does; the exit code is 0 only when all of it is there.

    ``leaving``: an interrupt does not wait for jobs that a provider has; the next start finds them.
    """
    show = gauge(voice, batch.tally)
    parting: list[asyncio.Task[None]] = []

    def gently() -> None:
        batch.stop()
        if leaving:
            parting.append(asyncio.create_task(_leave(batch, show, voice)))
        else:
            voice.note("interrupted: what is under way is waited for; once more leaves at once")

    stop.gently = gently
    try:
        async with aclosing(batch.run()) as heard:
            async for one in heard:
                say(one, batch, show, voice)
                show.beat()
    finally:
        show.close()
    return conclude(batch, 0, voice)


async def _leave(batch: Batch, show: Lines, voice: Voice) -> None:
    """Ends the process as soon as no request is without an answer. The ledger knows all the rest: to end the process
    in order would tell the providers to cancel what is paid for already."""
    under_way = await batch.calm()
    show.close()
    conclude(batch, under_way, voice)
    sys.stdout.flush()
    os._exit(INTERRUPTED)


def say(heard: Heard, batch: Batch, show: Lines, voice: Voice) -> None:
    """What is said of one event: results, warnings and errors, each with its line."""
    about = f"{batch.sheet.unit} {heard.order.line}: "
    match heard.event:
        case MediaReady(media=media):
            facts = {**media.facts(), "line": heard.order.line, "key": heard.order.key}
            show.result(facts if voice.as_json else relative(media.path))
            for warning in media.warnings if not voice.as_json else ():
                voice.warning(warning, about)
        case Moved(before=before, provider=provider, reason=reason) if not voice.as_json:
            voice.warning(f"{reason}; moved from {before} to {provider}", about)
        case JobFailed(error=error) if not (isinstance(error, JobCancelledError) and batch.reason == "stopped"):
            if voice.as_json:
                voice.fate("", **told(error), line=heard.order.line, key=heard.order.key)
            else:
                voice.error(error, about)
        case _:
            pass


def conclude(batch: Batch, under_way: int, voice: Voice) -> int:
    """The totals, why it ended, how to go on; and the exit code."""
    tally = batch.tally
    if batch.trouble is not None:
        voice.error(batch.trouble)
    parts = [f"{tally.there:,} of {tally.total:,} there"]
    parts += [f"{tally.earlier:,} of them from before"] if tally.earlier else []
    parts += [f"{tally.failed - tally.in_doubt:,} failed"] if tally.failed > tally.in_doubt else []
    parts += [f"{tally.in_doubt:,} in doubt"] if tally.in_doubt else []
    parts += [f"{under_way:,} go on at their providers"] if under_way else []
    parts += [f"cost {tally.cost_line()}"] if tally.costs or tally.unknown else []
    voice.note(", ".join(parts))
    if batch.reason is not None and tally.there < tally.total:
        voice.fate(STOPPED[batch.reason].format(again=AGAIN), reason=batch.reason, hint=AGAIN)
    elif tally.failed > tally.in_doubt:
        voice.note("to try once more what failed, run the same command again")
    if tally.in_doubt:
        voice.note("what is in doubt is never sent again by itself: `hfmedia jobs --state doubt` shows it")
    return exit_code(batch)


def exit_code(batch: Batch) -> int:
    """0 when all is there; else that of what stopped it, or of the commonest failure."""
    if batch.tally.there >= batch.tally.total and batch.trouble is None:
        return 0
    if batch.reason == "stopped":
        return INTERRUPTED
    if batch.trouble is not None:
        return batch.trouble.exit_code
    return batch.tally.exit_code() or (CreditError.exit_code if batch.reason == "cost" else HfmediaError.exit_code)


def say_plan(plan: Plan, voice: Voice) -> int:
    """The plan on stdout, and the exit code: 0 when every line could be sent to somebody."""
    if voice.as_json:
        voice.result(as_data(plan))
    else:
        for line in in_words(plan):
            voice.result(line)
    wrong = [group.exit_code for group in plan.groups if group.wrong]
    return wrong[0] if wrong else 0


def in_words(plan: Plan) -> list[str]:
    """The plan for a person."""
    stands = {"done": "there already", "fetch": "made, to be fetched again", "under way": "under way",
              "in doubt": "in doubt: decide with `hfmedia jobs resolve`", "to do": "to be made"}  # fmt: skip
    lines = [f"{plan.lines:,} lines, {plan.outputs:,} outputs"]
    lines += [f"  {count:,} {stands[name]}" for name, count in plan.stands.items() if count]
    lines += ["to be made:"] if plan.groups else []
    lines += [f"  {_group(group)}" for group in plan.groups]
    if plan.stands["done"]:
        lines.append(f"cost told so far: {plan.told}")
    if plan.groups:
        sums, unknown = plan.estimate(), plan.unknown()
        parts = [_amount(amount, unit) for unit, amount in sorted(sums.items())]
        parts += [f"{unknown:,} outputs of unknown cost"] if unknown else []
        lines.append(f"estimate for what is to be made: {' + '.join(parts)}")
    lines.append("nothing was sent")
    return lines


def _group(group: Group) -> str:
    who = f"{group.outputs:,} x {group.model}" + (f", {group.task}" if group.task else "")
    if group.wrong:
        return f"{who}: {group.wrong}"
    if group.provider is None:
        return f"{who}: not looked up"
    others = f", else {', '.join(group.others)}" if group.others else ""
    each = " + ".join(_amount(amount, unit) for unit, amount in sorted(group.each.items()))
    price = f"about {each} each, by {group.samples} past jobs" if group.each else "cost unknown"
    return f"{who}: {group.provider}{others}; {price}"


def _amount(amount: float, unit: str) -> str:
    return f"${amount:.4g}" if unit == "USD" else f"{amount:.4g} {unit}"


def as_data(plan: Plan) -> dict[str, Any]:
    """The plan for a program."""
    groups = [{name: getattr(group, name) for name in group.__struct_fields__} for group in plan.groups]
    counts = {"lines": plan.lines, "outputs": plan.outputs, **plan.stands}
    return {**counts, "groups": groups, "estimate": plan.estimate(), "unknown_cost": plan.unknown(), "told": plan.told}
