"""Planning: from what a caller wrote to a checked request, the routes to try, and what each provider would be told.

It asks the Hub and decides; nothing is sent to a provider from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct

from .catalog import Catalog
from .core.errors import InvalidRequestError, ModelNotFoundError, ModelNotSupportedError
from .core.hub_models import HubModel
from .core.job import Job
from .core.protocol import Route
from .core.provider import adapt_request
from .core.request import GenerationRequest, ModelSpec, Task, build_request, parse_model_spec, parse_task, with_task
from .engine.input_images import load_input_image
from .options import DEFAULT_MODELS
from .providers import get_provider
from .routing import LedgerStats, ProviderHealth, RoutePlan, infer_task, plan_routes, require_credential
from .settings import Settings


class PlannedRequest(Struct, frozen=True):
    """The checked request, the routes to try, and the model as it was chosen."""

    request: GenerationRequest
    route_plan: RoutePlan
    model_spec: ModelSpec


class Preview(Struct, frozen=True, kw_only=True):
    """What one provider would be told: the model, its parameters, a warning for each thing rounded or dropped.

    ``model`` is the Hub's id of the model that was chosen, or is taken where none was. ``refusal`` says why nothing
    could be sent to it at all, None when it could.
    """

    provider: str
    model: str
    parameters: dict[str, Any]
    warnings: tuple[str, ...] = ()
    rejection: str | None = None


class Planner:
    """Plans for one account. ``health`` and ``past`` are what is remembered of providers."""

    def __init__(self, settings: Settings, catalog: Catalog, *, health: ProviderHealth, stats: LedgerStats) -> None:
        self._settings, self._catalog = settings, catalog
        self._health, self._stats = health, stats

    async def plan(
        self, prompt: str | None, task: str | None, image: Any, options: Mapping[str, Any]
    ) -> PlannedRequest:
        """The plan for what a caller wrote; bad input is told before the Hub is asked.

        ``options`` are those of options.VideoOptions; without ``task`` it is what the model does.
        """
        parameters = dict(options)
        model_text, size = parameters.pop("model", None), parameters.pop("target_size", None)
        extra_body = parameters.pop("extra_body", None)
        for name in ("timeout", "output"):
            parameters.pop(name, None)
        if size is not None:
            parameters["width"], parameters["height"] = size["width"], size["height"]
        model_spec = parse_model_spec(model_text) if model_text else None
        loaded_image = await load_input_image(image) if image is not None else None
        resolved_task: Task | None = parse_task(task) if task else None
        draft = build_request(
            resolved_task or ("image-to-image" if loaded_image else "text-to-image"),
            model_spec.model if model_spec else "",
            prompt=prompt,
            image=loaded_image,
            extra=dict(extra_body) if extra_body else None,
            **parameters,
        )
        require_credential(model_spec or ModelSpec(""), self._settings)
        if model_spec is None:
            resolved_task = resolved_task or draft.task
            model_spec = ModelSpec(await self.default_model(resolved_task))
        model = await self._catalog.model(model_spec.model)
        final_task = resolved_task or infer_task(model, model_spec, with_image=loaded_image is not None)
        generation_request = with_task(draft, final_task, model_spec.model)
        route_plan = await self._plan_routes(model_spec, final_task, model)
        return PlannedRequest(generation_request, route_plan, model_spec)

    def preview(self, planned: PlannedRequest) -> list[Preview]:
        """What each provider of the plan would be told, in its order."""
        previews: list[Preview] = []
        model = planned.request.model
        for provider_name in dict.fromkeys(provider_name.provider for provider_name in planned.route_plan.routes):
            try:
                adapted = adapt_request(planned.request, get_provider(provider_name))
            except InvalidRequestError as error:
                previews.append(Preview(provider=provider_name, model=model, parameters={}, rejection=error.message))
            else:
                parameters = adapted.request.parameters()
                previews.append(
                    Preview(provider=provider_name, model=model, parameters=parameters, warnings=adapted.warnings)
                )
        return previews

    async def routes_for(self, job: Job) -> tuple[Route, ...]:
        """The routes for a job that was never sent, as they are now."""
        model_spec = parse_model_spec(job.requested_model or job.request.model)
        require_credential(model_spec, self._settings)
        model = await self._catalog.model(model_spec.model)
        return (await self._plan_routes(model_spec, job.request.task, model)).routes

    async def _plan_routes(self, model_spec: ModelSpec, task: Task, model: HubModel) -> RoutePlan:
        """The plan by all that is known now; how jobs went before is only read for a policy, which goes by it."""
        provider_stats = await self._stats.load() if model_spec.policy else None
        return plan_routes(model_spec, task, model, self._settings, health=self._health, stats=provider_stats)

    async def default_model(self, task: Task) -> str:
        """A well-known model that is live for this task, or else the first one that the Hub lists."""
        for name in DEFAULT_MODELS[task]:
            with suppress(ModelNotFoundError):
                if (await self._catalog.model(name)).live_mappings(task):
                    return name
        live_models = await self._catalog.models(task, limit=1)
        if not live_models:
            raise ModelNotSupportedError(f"the Hub lists no live model for {task}; name one with its provider")
        return live_models[0].id
