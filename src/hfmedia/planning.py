"""Planning: from a caller's options to a validated request, the routes to try, and previews per provider.

It queries the Hub and decides; nothing is sent to a provider from here.
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


class PreparedRequest(Struct, frozen=True):
    """A validated request before the Hub is queried. Without a task of the caller's, ``request.task`` is a placeholder.

    ``model_spec`` is None where the caller chose no model.
    """

    request: GenerationRequest
    task: Task | None
    model_spec: ModelSpec | None


class PlannedRequest(Struct, frozen=True):
    """A validated request, the routes to try, and the model as it was requested."""

    request: GenerationRequest
    route_plan: RoutePlan
    model_spec: ModelSpec


class Preview(Struct, frozen=True, kw_only=True):
    """The request as one provider would receive it.

    Attributes:
        provider: its name.
        model: Hub id of the requested model, or of the default model.
        parameters: the parameters that would be sent.
        warnings: one for each value rounded or dropped.
        rejection: why nothing could be sent to this provider; None if it could.
    """

    provider: str
    model: str
    parameters: dict[str, Any]
    warnings: tuple[str, ...] = ()
    rejection: str | None = None


class Planner:
    """Plans requests for one account. ``health`` and ``stats`` are what is known about providers so far."""

    def __init__(self, settings: Settings, catalog: Catalog, *, health: ProviderHealth, stats: LedgerStats) -> None:
        self._settings, self._catalog = settings, catalog
        self._health, self._stats = health, stats

    async def prepare(
        self, prompt: str | None, task: str | None, image: Any, options: Mapping[str, Any]
    ) -> PreparedRequest:
        """Build and validate the request from a caller's options (those of options.VideoGenerationOptions).

        Raises InvalidRequestError before the Hub is queried.
        """
        parameters = {name: value for name, value in options.items() if name not in ("timeout", "output")}
        model_text, size = parameters.pop("model", None), parameters.pop("target_size", None)
        extra_body = parameters.pop("extra_body", None)
        if size is not None:
            parameters["width"], parameters["height"] = size["width"], size["height"]
        model_spec = parse_model_spec(model_text) if model_text else None
        input_image = await load_input_image(image) if image is not None else None
        requested_task = parse_task(task) if task else None
        request = build_request(
            requested_task or ("image-to-image" if input_image else "text-to-image"),
            model_spec.model if model_spec else "",
            prompt=prompt,
            image=input_image,
            extra=dict(extra_body) if extra_body else None,
            **parameters,
        )
        return PreparedRequest(request, requested_task, model_spec)

    async def plan(
        self, prompt: str | None, task: str | None, image: Any, options: Mapping[str, Any]
    ) -> PlannedRequest:
        """Prepare and route a request; see ``prepare`` and ``route``."""
        return await self.route(await self.prepare(prompt, task, image, options))

    async def route(self, prepared: PreparedRequest) -> PlannedRequest:
        """Choose model, task and routes for a prepared request; without a task, the model's own is used.

        Raises MissingAuthError, before the Hub is queried, ModelNotFoundError, ModelNotSupportedError or HubError.
        """
        require_credential(prepared.model_spec or ModelSpec(""), self._settings)
        requested_task, model_spec = prepared.task, prepared.model_spec
        if model_spec is None:
            requested_task = prepared.request.task
            model_spec = ModelSpec(await self.default_model(requested_task))
        model = await self._catalog.model(model_spec.model)
        final_task = requested_task or infer_task(model, model_spec, with_image=prepared.request.image is not None)
        request = with_task(prepared.request, final_task, model_spec.model)
        return PlannedRequest(request, await self._plan_routes(model_spec, final_task, model), model_spec)

    def preview(self, planned: PlannedRequest) -> list[Preview]:
        """Return the request as each provider of the plan would receive it, in the plan's order."""
        previews: list[Preview] = []
        model = planned.request.model
        for provider in dict.fromkeys(route.provider for route in planned.route_plan.routes):
            try:
                adapted = adapt_request(planned.request, get_provider(provider))
            except InvalidRequestError as error:
                previews.append(Preview(provider=provider, model=model, parameters={}, rejection=error.message))
            else:
                parameters = adapted.request.parameters()
                previews.append(
                    Preview(provider=provider, model=model, parameters=parameters, warnings=adapted.warnings)
                )
        return previews

    async def routes_for(self, job: Job) -> tuple[Route, ...]:
        """Return the current routes for a job that was never sent."""
        model_spec = parse_model_spec(job.requested_model or job.request.model)
        require_credential(model_spec, self._settings)
        model = await self._catalog.model(model_spec.model)
        return (await self._plan_routes(model_spec, job.request.task, model)).routes

    async def _plan_routes(self, model_spec: ModelSpec, task: Task, model: HubModel) -> RoutePlan:
        """Plan with everything known so far; statistics of earlier jobs are loaded only for a policy that uses them."""
        provider_stats = await self._stats.load() if model_spec.policy else None
        return plan_routes(model_spec, task, model, self._settings, health=self._health, stats=provider_stats)

    async def default_model(self, task: Task) -> str:
        """Return a well-known model that is live for this task, or else the first one that the Hub lists.

        Raises ModelNotSupportedError when the Hub lists none.
        """
        for name in DEFAULT_MODELS[task]:
            with suppress(ModelNotFoundError):
                if (await self._catalog.model(name)).live_mappings(task):
                    return name
        live_models = await self._catalog.models(task, limit=1)
        if not live_models:
            raise ModelNotSupportedError(f"the Hub lists no live model for {task}; specify one as MODEL:PROVIDER")
        return live_models[0].id
