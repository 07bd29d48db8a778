"""``hfmedia models`` and ``hfmedia providers``: live models, and the providers of one model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..options import AS_JSON, PROXY, SANDBOX

if TYPE_CHECKING:
    from hfmedia.client import MediaClient
    from hfmedia.core.hub_models import HubModel, ProviderMapping
    from hfmedia.core.request import Task

    from ..reporter import Reporter


def models(
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Only text-to-image, text-to-video, image-to-image …")
    ] = None,
    provider: Annotated[str | None, typer.Option(metavar="NAME", help="Only models of this provider.")] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only models whose ID contains this text.")] = None,
    proxy: PROXY = None,
    sandbox: SANDBOX = False,
    as_json: AS_JSON = False,
) -> None:
    """List models with a live provider: model, tasks, providers."""
    from ..reporter import Reporter
    from ..runtime import InterruptHandler, command_environment, run

    reporter = Reporter(as_json=as_json)

    async def command(interrupts: InterruptHandler) -> int:
        from hfmedia.client import MediaClient

        from ..tables import print_table

        async with (
            command_environment(sandbox, reporter) as environ,
            MediaClient(proxy=proxy, environ=environ) as client,
        ):
            matching = await client.models(task, provider=provider, search=search)
            warnings = client.catalog.warnings
        if as_json:
            for model in matching:
                reporter.result(_model_to_dict(model))
        else:
            print_table(reporter, ("model", "tasks", "providers"), [_model_row(model) for model in matching])
        _print_warnings(reporter, warnings)
        if not matching:
            reporter.info("No live model matches; omit --search, --provider or --task to see more.")
        return 0

    run(command, reporter)


def providers(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model on the Hub: org/name.")],
    proxy: PROXY = None,
    sandbox: SANDBOX = False,
    as_json: AS_JSON = False,
) -> None:
    """Show a model's providers: provider, task, status, its own model ID, and how requests reach it."""
    from ..reporter import Reporter
    from ..runtime import InterruptHandler, command_environment, run

    reporter = Reporter(as_json=as_json)

    async def command(interrupts: InterruptHandler) -> int:
        from hfmedia.client import MediaClient

        from ..tables import print_table

        async with (
            command_environment(sandbox, reporter) as environ,
            MediaClient(proxy=proxy, environ=environ) as client,
        ):
            hub_model = await client.mapping(model)
            rows = [_mapping_to_dict(hub_model, mapping, client) for mapping in hub_model.mappings]
            warnings = client.catalog.warnings
        if as_json:
            for row in rows:
                reporter.result(row)
        else:
            columns = ("provider", "task", "status", "id", "route")
            print_table(reporter, columns, [tuple(row[name] for name in columns) for row in rows])
        _print_warnings(reporter, warnings)
        if not rows:
            reporter.info(f"No provider serves {hub_model.id}; `hfmedia models` lists models with a live provider.")
        return 0

    run(command, reporter)


def _print_warnings(reporter: Reporter, warnings: Iterable[str]) -> None:
    for warning in warnings:
        reporter.warning(warning)


def _model_row(model: HubModel) -> tuple[str, str, str]:
    live = model.live_mappings()
    tasks, provider_names = (
        dict.fromkeys(mapping.task for mapping in live),
        dict.fromkeys(mapping.provider for mapping in live),
    )
    return model.id, ",".join(tasks), ",".join(provider_names)


def _model_to_dict(model: HubModel) -> dict[str, Any]:
    live = model.live_mappings()
    by_task = {
        task: [mapping.provider for mapping in live if mapping.task == task]
        for task in dict.fromkeys(mapping.task for mapping in live)
    }
    return {"model": model.id, "tasks": by_task}


def _mapping_to_dict(model: HubModel, mapping: ProviderMapping, client: MediaClient) -> dict[str, Any]:
    return {
        "model": model.id,
        "provider": mapping.provider,
        "task": mapping.task,
        "status": mapping.status,
        "id": mapping.provider_id,
        "route": _describe_route(model, mapping, client),
    }


def _describe_route(model: HubModel, mapping: ProviderMapping, client: MediaClient) -> str:
    """Describe how requests reach a provider and with which credential, or why they cannot."""
    from hfmedia.core.errors import HfmediaError, MissingAuthError
    from hfmedia.core.request import TASKS, ModelSpec
    from hfmedia.routing import plan_routes

    task: Task | None = next((task for task in TASKS if task == mapping.task), None)
    if task is None:
        return "not an image or video task"
    if not mapping.is_live:
        return f"not live ({mapping.status})"
    model_spec = ModelSpec(model.id, provider=mapping.provider)
    try:
        route_plan = plan_routes(model_spec, task, model, client.settings, health=client.health)
    except MissingAuthError:
        return "no credential"
    except HfmediaError as error:
        return error.message
    if not route_plan.routes:
        return "no route"
    route = route_plan.routes[0]
    return f"{'through the router' if route.via == 'router' else 'directly'} with {route.credential}"
