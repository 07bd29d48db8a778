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
from hfmedia.core.hub_models import HubModel
from hfmedia.core.request import TASKS, Task, parse_model_spec
from hfmedia.providers import PROVIDERS, get_provider
from hfmedia.server.auth.authentication import can_use_model, require_caller
from hfmedia.server.auth.caller import Caller
from hfmedia.server.config import Config
from hfmedia.server.dependencies import get_gateway
from hfmedia.server.errors import READ_ERRORS, ApiError, error_responses
from hfmedia.server.gateway import Gateway

router = APIRouter(tags=["models"])
CallerDep = Annotated[Caller, Depends(require_caller)]
# The best known of OpenAI's names; others of their kind stand for the same (gpt-image-*, dall-e-*, sora-*).
DEFAULT_ALIASES = {"image": ("gpt-image-1", "gpt-image-2", "dall-e-2", "dall-e-3"), "video": ("sora-2", "sora-2-pro")}
EPOCH = 0  # ``created``: the Hub's list does not tell, and OpenAI's shape demands a number


class ServingProvider(BaseModel):
    """A provider that serves a model for a task now."""

    provider: str
    task: str


class ModelObject(BaseModel):
    """A model. ``alias_of`` says what a name of the configuration stands for; by task where that differs.

    ``capabilities`` (of one model alone) tells by task and provider which parameters it takes, and how it takes sizes.
    """

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["model"] = "model"
    created: int = EPOCH
    owned_by: str
    tasks: list[str]
    providers: list[ServingProvider]
    alias_of: str | dict[str, str] | None = None


class ModelList(BaseModel):
    """All models that the key may use."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


@router.get("/v1/models", responses={200: {"model": ModelList}, **error_responses(*READ_ERRORS)})
async def list_models(
    request: Request,
    caller: CallerDep,
    task: Annotated[Task | None, Query(description="Only what does this task.")] = None,
    search: Annotated[str | None, Query(max_length=200, description="Only ids that contain this.")] = None,
) -> JSONResponse:
    """Every model with a live provider that you may use, in the Hub's order; aliases around them."""
    gateway = get_gateway(request)
    client = _client(gateway, caller)
    models = await client.catalog.models(task, search=search)
    listed = [_model_object(model, task) for model in models if can_use_model(caller, model.id)]
    if task or search:
        return JSONResponse({"object": "list", "data": listed})
    configured, builtin = (
        _configured_aliases(gateway.config, caller),
        await _builtin_aliases(gateway.config, caller, client),
    )
    return JSONResponse({"object": "list", "data": [*configured, *listed, *builtin]})


@router.get("/v1/models/{model_id:path}", responses={200: {"model": ModelObject}, **error_responses(*READ_ERRORS)})
async def get_model(request: Request, caller: CallerDep, model_id: str) -> JSONResponse:
    """One model: who serves it for what, and what each of them takes. ``org/name:provider`` narrows to that one."""
    gateway = get_gateway(request)
    client = _client(gateway, caller)
    aliases = _configured_aliases(gateway.config, caller)
    if any(
        model_id in names for names in DEFAULT_ALIASES.values()
    ):  # only then: who the usual ones are, the Hub is asked for
        aliases += await _builtin_aliases(gateway.config, caller, client)
    for view in aliases:
        if view["id"] == model_id:
            return JSONResponse(view)
    try:
        model_spec = parse_model_spec(model_id)
    except InvalidRequestError as error:
        raise _model_not_found(error.message) from None
    if not can_use_model(caller, model_spec.model):
        raise _model_not_found(f"there is no model {model_spec.model!r} that this key may use")
    try:
        model = await client.catalog.model(model_spec.model)
    except ModelNotFoundError as error:
        raise _model_not_found(
            error.message + await _suggestion(client, caller, model_spec.model, error.message)
        ) from None
    view = _model_object(model, None, only=model_spec.provider)
    if model_spec.provider and not view["providers"]:
        raise _model_not_found(f"{model_spec.provider} does not serve {model_spec.model} now")
    capabilities: dict[str, dict[str, Any]] = {}
    for served in view["providers"]:
        capabilities.setdefault(served["task"], {})[served["provider"]] = _capabilities(
            served["provider"], served["task"]
        )
    return JSONResponse({**view, "capabilities": capabilities})


def _model_object(model: HubModel, task: Task | None, *, only: str | None = None) -> dict[str, Any]:
    served = [
        {"provider": mapping.provider, "task": mapping.task}
        for candidate_task in ((task,) if task else TASKS)
        for mapping in model.live_mappings(candidate_task)
        if only in (None, mapping.provider)
    ]
    return {
        "id": model.id,
        "object": "model",
        "created": EPOCH,
        "owned_by": model.id.partition("/")[0],
        "tasks": list(dict.fromkeys(mapping["task"] for mapping in served)),
        "providers": served,
    }


def _client(gateway: Gateway, caller: Caller) -> MediaClient:
    gateway.service.remember_caller(caller)
    return gateway.account_clients.for_caller(caller)


def _model_not_found(message: str) -> ApiError:
    return ApiError(404, message, code="model_not_found", param="model")


async def _suggestion(client: MediaClient, caller: Caller, model: str, message: str) -> str:
    """Whom the caller may have meant, unless that was told already; a Hub that does not answer knows nobody."""
    if "Did you mean" in message:
        return ""
    try:
        ids = [candidate.id for candidate in await client.catalog.models() if can_use_model(caller, candidate.id)]
    except HfmediaError:
        return ""
    matches = get_close_matches(model, ids, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(matches)}?" if matches else ""


def _configured_aliases(config: Config, caller: Caller) -> list[dict[str, Any]]:
    """The configured names of what the caller may use."""
    aliases: list[dict[str, Any]] = []
    for name, target in config.aliases.items():
        if isinstance(target, str):
            if can_use_model(caller, target):
                aliases.append(_alias_object(name, target, []))
        elif allowed_targets := {task: model for task, model in target.items() if can_use_model(caller, model)}:
            aliases.append(_alias_object(name, allowed_targets, list(allowed_targets)))
    return aliases


async def _builtin_aliases(config: Config, caller: Caller, client: MediaClient) -> list[dict[str, Any]]:
    """The names that stand for a default model by themselves, where the caller may use it."""
    if not config.builtin_aliases:
        return []
    defaults: dict[str, str] = {}
    for task in TASKS:
        with suppress(HfmediaError):  # nobody serves the task now, or the Hub does not tell
            model = await client.default_model(task)
            if can_use_model(caller, model):
                defaults[task] = model
    aliases: list[dict[str, Any]] = []
    for output_kind, names in DEFAULT_ALIASES.items():
        targets = {task: model for task, model in defaults.items() if task.endswith(output_kind)}
        aliases += [
            _alias_object(name, targets, list(targets)) for name in names if targets and name not in config.aliases
        ]
    return aliases


def _alias_object(name: str, target: str | dict[str, str], tasks: list[str]) -> dict[str, Any]:
    base = {"id": name, "object": "model", "created": EPOCH, "owned_by": "alias", "tasks": tasks}
    return {**base, "providers": [], "alias_of": target}


def _capabilities(name: str, task: str) -> dict[str, Any] | None:
    """What a provider takes for a task; None where hfmedia does not know how it does that."""
    known_provider = PROVIDERS.get(name) or get_provider(name)
    capabilities = {
        str(supported_task): task_capabilities for supported_task, task_capabilities in known_provider.tasks.items()
    }.get(task)
    if capabilities is None:
        return None
    image = (
        {**structs.asdict(capabilities.image), "mimes": list(capabilities.image.mimes)} if capabilities.image else None
    )
    return {
        "parameters": sorted(capabilities.parameters),
        "size": structs.asdict(capabilities.size),
        "image": image,
        "can_cancel": known_provider.can_cancel,
    }
