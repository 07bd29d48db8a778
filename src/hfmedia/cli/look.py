"""``hfmedia models`` and ``hfmedia providers``: what can be asked for, and who would make it.

On a terminal an aligned table with a heading; piped, the same columns with tabs and no heading.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hfmedia.client import MediaClient
    from hfmedia.core.mapping import Mapping, Model
    from hfmedia.core.request import Task

    from .voice import Voice

SANDBOX = Annotated[bool, typer.Option("--sandbox", metavar="", help="Ask a simulated world: no account, no cost.")]
AS_JSON = Annotated[bool, typer.Option("--json", metavar="", help="One JSON object a line.")]
PROXY = Annotated[
    str | None, typer.Option(metavar="URL", help="http://… or socks5://…; absent: as in the environment.")
]


def models(
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Only text-to-image, text-to-video, image-to-image …")
    ] = None,
    provider: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this provider serves.")] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only ids with this text in them.")] = None,
    proxy: PROXY = None,
    sandbox: SANDBOX = False,
    as_json: AS_JSON = False,
) -> None:
    """List the models that somebody serves now: model, tasks, providers."""
    from .run import Stop, environment, run
    from .voice import Voice

    voice = Voice(as_json=as_json)

    async def work(stop: Stop) -> int:
        from hfmedia.client import MediaClient

        async with environment(sandbox, voice) as environ, MediaClient(proxy=proxy, environ=environ) as client:
            found = await client.models(task, provider=provider, search=search)
            warnings = client.catalog.warnings
        if as_json:
            for model in found:
                voice.result(_told(model))
        else:
            table(voice, ("model", "tasks", "providers"), [_row(model) for model in found])
        _warn(voice, warnings)
        if not found:
            voice.note("no live model fits; leave out --search, --provider or --task to see more")
        return 0

    run(work, voice)


def providers(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the Hub: org/name.")],
    proxy: PROXY = None,
    sandbox: SANDBOX = False,
    as_json: AS_JSON = False,
) -> None:
    """Show who serves a model: provider, task, status, its own id, and how you would reach it."""
    from .run import Stop, environment, run
    from .voice import Voice

    voice = Voice(as_json=as_json)

    async def work(stop: Stop) -> int:
        from hfmedia.client import MediaClient

        async with environment(sandbox, voice) as environ, MediaClient(proxy=proxy, environ=environ) as client:
            found = await client.mapping(model)
            rows = [_entry(found, mapping, client) for mapping in found.mappings]
            warnings = client.catalog.warnings
        if as_json:
            for row in rows:
                voice.result(row)
        else:
            columns = ("provider", "task", "status", "id", "reached")
            table(voice, columns, [tuple(row[name] for name in columns) for row in rows])
        _warn(voice, warnings)
        if not rows:
            voice.note(f"nobody serves {found.id}; `hfmedia models` lists what is served")
        return 0

    run(work, voice)


def _warn(voice: Voice, warnings: Iterable[str]) -> None:
    for warning in warnings:
        voice.warning(warning)


def table(voice: Voice, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows of text on stdout."""
    if not sys.stdout.isatty():
        for row in rows:
            voice.result("\t".join(row))
        return
    shown = [[name.upper() for name in heading], *rows] if rows else []
    widths = [max(len(row[column]) for row in shown) for column in range(len(heading))] if shown else []
    for row in shown:
        voice.result("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(model: Model) -> tuple[str, str, str]:
    live = model.live()
    tasks, names = (dict.fromkeys(m.task for m in live), dict.fromkeys(m.provider for m in live))
    return model.id, ",".join(tasks), ",".join(names)


def _told(model: Model) -> dict[str, Any]:
    live = model.live()
    by_task = {task: [m.provider for m in live if m.task == task] for task in dict.fromkeys(m.task for m in live)}
    return {"model": model.id, "tasks": by_task}


def _entry(model: Model, mapping: Mapping, client: MediaClient) -> dict[str, Any]:
    return {
        "model": model.id,
        "provider": mapping.provider,
        "task": mapping.task,
        "status": mapping.status,
        "id": mapping.provider_id,
        "reached": _reached(model, mapping, client),
    }


def _reached(model: Model, mapping: Mapping, client: MediaClient) -> str:
    """How a job would get there: by which way and with which credential; or why it would not."""
    from hfmedia.core.errors import HfmediaError, MissingAuthError
    from hfmedia.core.request import TASKS, Choice
    from hfmedia.routing import routes

    task: Task | None = next((task for task in TASKS if task == mapping.task), None)
    if task is None:
        return "not a task for images or videos"
    if not mapping.live:
        return f"not live ({mapping.status})"
    choice = Choice(model.id, provider=mapping.provider)
    try:
        plan = routes(choice, task, model, client.settings, health=client.health)
    except MissingAuthError:
        return "no credential"
    except HfmediaError as error:
        return error.message
    if not plan.routes:
        return "no way there"
    route = plan.routes[0]
    return f"{'through the router' if route.via == 'router' else 'directly'} with {route.credential}"
