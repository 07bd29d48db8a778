"""Planning: from what a caller wrote to a checked request, the routes to try, and what each provider would be told.

It asks the Hub and decides; nothing is sent to a provider from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct

from .catalog import Catalog
from .core.answers import Route
from .core.errors import InvalidRequestError, ModelNotFoundError, ModelNotSupportedError
from .core.job import Job
from .core.mapping import Model
from .core.provider import fit
from .core.request import Choice, Request, Task, parse_choice, parse_task, request, retasked
from .engine.images import input_image
from .options import DEFAULT_MODELS
from .providers import provider
from .routing import Health, Past, Plan, check_credential, routes, task_of
from .settings import Settings


class Planned(Struct, frozen=True):
    """The checked request, the routes to try, and the model as it was chosen."""

    wish: Request
    plan: Plan
    choice: Choice


class Preview(Struct, frozen=True, kw_only=True):
    """What one provider would be told: the model, its parameters, a warning for each thing rounded or dropped.

    ``model`` is the Hub's id of the model that was chosen, or is taken where none was. ``refusal`` says why nothing
    could be sent to it at all, None when it could.
    """

    provider: str
    model: str
    parameters: dict[str, Any]
    warnings: tuple[str, ...] = ()
    refusal: str | None = None


class Planner:
    """Plans for one account. ``health`` and ``past`` are what is remembered of providers."""

    def __init__(self, settings: Settings, catalog: Catalog, *, health: Health, past: Past) -> None:
        self._settings, self._catalog = settings, catalog
        self._health, self._past = health, past

    async def plan(self, prompt: str | None, task: str | None, image: Any, options: Mapping[str, Any]) -> Planned:
        """The plan for what a caller wrote; bad input is told before the Hub is asked.

        ``options`` are those of options.VideoOptions; without ``task`` it is what the model does.
        """
        given = dict(options)
        named, size = given.pop("model", None), given.pop("target_size", None)
        extra = given.pop("extra_body", None)
        for elsewhere in ("timeout", "output"):
            given.pop(elsewhere, None)
        if size is not None:
            given["width"], given["height"] = size["width"], size["height"]
        choice = parse_choice(named) if named else None
        picture = await input_image(image) if image is not None else None
        known: Task | None = parse_task(task) if task else None
        draft = request(
            known or ("image-to-image" if picture else "text-to-image"),
            choice.model if choice else "",
            prompt=prompt,
            image=picture,
            extra=dict(extra) if extra else None,
            **given,
        )
        check_credential(choice or Choice(""), self._settings)
        if choice is None:
            known = known or draft.task
            choice = Choice(await self.default_model(known))
        model = await self._catalog.mapping(choice.model)
        final = known or task_of(model, choice, with_image=picture is not None)
        wish = retasked(draft, final, choice.model)
        plan = await self._routed(choice, final, model)
        return Planned(wish, plan, choice)

    def preview(self, planned: Planned) -> list[Preview]:
        """What each provider of the plan would be told, in its order."""
        made: list[Preview] = []
        model = planned.wish.model
        for route in dict.fromkeys(route.provider for route in planned.plan.routes):
            try:
                fitted = fit(planned.wish, provider(route))
            except InvalidRequestError as error:
                made.append(Preview(provider=route, model=model, parameters={}, refusal=error.message))
            else:
                told = fitted.request.parameters()
                made.append(Preview(provider=route, model=model, parameters=told, warnings=fitted.warnings))
        return made

    async def routes_for(self, job: Job) -> tuple[Route, ...]:
        """The routes for a job that was never sent, as they are now."""
        choice = parse_choice(job.choice or job.request.model)
        check_credential(choice, self._settings)
        model = await self._catalog.mapping(choice.model)
        return (await self._routed(choice, job.request.task, model)).routes

    async def _routed(self, choice: Choice, task: Task, model: Model) -> Plan:
        """The plan by all that is known now; how jobs went before is only read for a policy, which goes by it."""
        known = await self._past.known() if choice.policy else None
        return routes(choice, task, model, self._settings, health=self._health, known=known)

    async def default_model(self, task: Task) -> str:
        """A well-known model that is live for this task, or else the first one that the Hub lists."""
        for name in DEFAULT_MODELS[task]:
            with suppress(ModelNotFoundError):
                if (await self._catalog.mapping(name)).live(task):
                    return name
        listed = await self._catalog.models(task, limit=1)
        if not listed:
            raise ModelNotSupportedError(f"the Hub lists no live model for {task}; name one with its provider")
        return listed[0].id
