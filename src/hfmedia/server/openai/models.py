"""/v1/models: every model with a live provider, its tasks and providers; and, of one, what each provider takes."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from msgspec import structs
from pydantic import BaseModel, ConfigDict

from hfmedia.client import MediaClient
from hfmedia.core.errors import HfmediaError, InvalidRequestError, ModelNotFoundError
from hfmedia.core.mapping import Model
from hfmedia.core.request import TASKS, Task, parse_choice
from hfmedia.providers import PROVIDERS, provider
from hfmedia.server.config import Config
from hfmedia.server.entrance.caller import Caller
from hfmedia.server.entrance.gate import admitted, allowed
from hfmedia.server.errors import READING, Refusal, answers
from hfmedia.server.gateway import Gateway
from hfmedia.server.here import gateway_of

router = APIRouter(tags=["models"])
Asking = Annotated[Caller, Depends(admitted)]
# The best known of OpenAI's names; others of their kind stand for the same (gpt-image-*, dall-e-*, sora-*).
USUAL = {"image": ("gpt-image-1", "gpt-image-2", "dall-e-2", "dall-e-3"), "video": ("sora-2", "sora-2-pro")}
NEVER = 0  # ``created``: the Hub's list does not tell, and OpenAI's shape demands a number


class Served(BaseModel):
    """A provider that serves a model for a task now."""

    provider: str
    task: str


class ModelView(BaseModel):
    """A model. ``alias_of`` says what a name of the configuration stands for; by task where that differs.

    ``abilities`` (of one model alone) tells by task and provider which parameters it takes, and how it takes sizes.
    """

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["model"] = "model"
    created: int = NEVER
    owned_by: str
    tasks: list[str]
    providers: list[Served]
    alias_of: str | dict[str, str] | None = None


class ModelList(BaseModel):
    """All models that the key may use."""

    object: Literal["list"] = "list"
    data: list[ModelView]


@router.get("/v1/models", responses={200: {"model": ModelList}, **answers(*READING)})
async def list_models(
    request: Request,
    caller: Asking,
    task: Annotated[Task | None, Query(description="Only what does this task.")] = None,
    search: Annotated[str | None, Query(max_length=200, description="Only ids that contain this.")] = None,
) -> JSONResponse:
    """Every model with a live provider that you may use, in the Hub's order; aliases around them."""
    gateway = gateway_of(request)
    client = _client(gateway, caller)
    found = await client.catalog.models(task, search=search)
    listed = [_view(model, task) for model in found if allowed(caller, model.id)]
    if task or search:
        return JSONResponse({"object": "list", "data": listed})
    named, usual = _aliases(gateway.config, caller), await _usual(gateway.config, caller, client)
    return JSONResponse({"object": "list", "data": [*named, *listed, *usual]})


@router.get("/v1/models/{model_id:path}", responses={200: {"model": ModelView}, **answers(*READING)})
async def get_model(request: Request, caller: Asking, model_id: str) -> JSONResponse:
    """One model: who serves it for what, and what each of them takes. ``org/name:provider`` narrows to that one."""
    gateway = gateway_of(request)
    client = _client(gateway, caller)
    named = _aliases(gateway.config, caller)
    if any(model_id in names for names in USUAL.values()):  # only then: who the usual ones are, the Hub is asked for
        named += await _usual(gateway.config, caller, client)
    for view in named:
        if view["id"] == model_id:
            return JSONResponse(view)
    try:
        choice = parse_choice(model_id)
    except InvalidRequestError as error:
        raise _unknown(error.message) from None
    if not allowed(caller, choice.model):
        raise _unknown(f"there is no model {choice.model!r} that this key may use")
    try:
        model = await client.catalog.mapping(choice.model)
    except ModelNotFoundError as error:
        raise _unknown(error.message + await _near(client, caller, choice.model, error.message)) from None
    view = _view(model, None, only=choice.provider)
    if choice.provider and not view["providers"]:
        raise _unknown(f"{choice.provider} does not serve {choice.model} now")
    abilities: dict[str, dict[str, Any]] = {}
    for served in view["providers"]:
        abilities.setdefault(served["task"], {})[served["provider"]] = _abilities(served["provider"], served["task"])
    return JSONResponse({**view, "abilities": abilities})


def _view(model: Model, task: Task | None, *, only: str | None = None) -> dict[str, Any]:
    served = [
        {"provider": one.provider, "task": one.task}
        for wanted in ((task,) if task else TASKS)
        for one in model.live(wanted)
        if only in (None, one.provider)
    ]
    return {
        "id": model.id,
        "object": "model",
        "created": NEVER,
        "owned_by": model.id.partition("/")[0],
        "tasks": list(dict.fromkeys(one["task"] for one in served)),
        "providers": served,
    }


def _client(gateway: Gateway, caller: Caller) -> MediaClient:
    gateway.works.meet(caller)
    return gateway.clients.of(caller.key, caller.bill_to, own_token=caller.token is not None)


def _unknown(words: str) -> Refusal:
    return Refusal(404, words, code="model_not_found", param="model")


async def _near(client: MediaClient, caller: Caller, model: str, told: str) -> str:
    """Whom the caller may have meant, unless that was told already; a Hub that does not answer knows nobody."""
    if "Did you mean" in told:
        return ""
    try:
        ids = [found.id for found in await client.catalog.models() if allowed(caller, found.id)]
    except HfmediaError:
        return ""
    near = get_close_matches(model, ids, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _aliases(config: Config, caller: Caller) -> list[dict[str, Any]]:
    """The configured names of what the caller may use."""
    made: list[dict[str, Any]] = []
    for name, target in config.aliases.items():
        if isinstance(target, str):
            if allowed(caller, target):
                made.append(_alias(name, target, []))
        elif usable := {task: model for task, model in target.items() if allowed(caller, model)}:
            made.append(_alias(name, usable, list(usable)))
    return made


async def _usual(config: Config, caller: Caller, client: MediaClient) -> list[dict[str, Any]]:
    """The names that stand for a default model by themselves, where the caller may use it."""
    if not config.builtin_aliases:
        return []
    defaults: dict[str, str] = {}
    for task in TASKS:
        with suppress(HfmediaError):  # nobody serves the task now, or the Hub does not tell
            model = await client.default_model(task)
            if allowed(caller, model):
                defaults[task] = model
    made: list[dict[str, Any]] = []
    for ending, names in USUAL.items():
        stands = {task: model for task, model in defaults.items() if task.endswith(ending)}
        made += [_alias(name, stands, list(stands)) for name in names if stands and name not in config.aliases]
    return made


def _alias(name: str, target: str | dict[str, str], tasks: list[str]) -> dict[str, Any]:
    told = {"id": name, "object": "model", "created": NEVER, "owned_by": "alias", "tasks": tasks}
    return {**told, "providers": [], "alias_of": target}


def _abilities(name: str, task: str) -> dict[str, Any] | None:
    """What a provider takes for a task; None where hfmedia does not know how it does that."""
    known = PROVIDERS.get(name) or provider(name)
    able = {str(one): abilities for one, abilities in known.tasks.items()}.get(task)
    if able is None:
        return None
    image = {**structs.asdict(able.image), "mimes": list(able.image.mimes)} if able.image else None
    return {"takes": sorted(able.takes), "size": structs.asdict(able.size), "image": image, "cancels": known.cancels}
