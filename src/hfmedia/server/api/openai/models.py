"""/v1/models: every model with a live provider; for a single one also the capabilities of each provider."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from msgspec import structs
from pydantic import BaseModel, ConfigDict

from hfmedia.client import MediaClient
from hfmedia.core.errors import HfmediaError, InvalidRequestError, ModelNotFoundError
from hfmedia.core.hub_models import HubModel
from hfmedia.core.request import TASKS, Task, parse_model_spec
from hfmedia.providers import PROVIDERS, get_provider
from hfmedia.server.auth.caller import Caller
from hfmedia.server.auth.policy import can_use_model
from hfmedia.server.config import Config
from hfmedia.server.dependencies import CallerDep, GatewayDep
from hfmedia.server.errors import READ_ERRORS, ApiError, error_responses
from hfmedia.server.gateway import Gateway

router = APIRouter(tags=["models"])
# The best known of OpenAI's names; every gpt-image-*, dall-e-* and sora-* is an alias too.
DEFAULT_ALIASES = {"image": ("gpt-image-1", "gpt-image-2", "dall-e-2", "dall-e-3"), "video": ("sora-2", "sora-2-pro")}
EPOCH = 0  # ``created``: the Hub's list has no dates, and OpenAI's format requires a number


class ServingProvider(BaseModel):
    """A provider that currently serves a model for a task."""

    provider: str
    task: str


class ModelObject(BaseModel):
    """A model. ``alias_of`` is the model behind an alias, by task if it depends on the task.

    ``capabilities``, only of a single model: parameters, sizes and input images that each provider accepts, by task.
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
    """The models that the key allows."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


@router.get("/v1/models", responses={200: {"model": ModelList}, **error_responses(*READ_ERRORS)})
async def list_models(
    caller: CallerDep,
    gateway: GatewayDep,
    task: Annotated[Task | None, Query(description="Only models for this task.")] = None,
    search: Annotated[str | None, Query(max_length=200, description="Only IDs that contain this text.")] = None,
) -> JSONResponse:
    """List every model with a live provider that your key allows, in the Hub's order, and the aliases."""
    client = _client(gateway, caller)
    models = await client.catalog.models(task, search=search)
    listed = [_model_object(model, task) for model in models if can_use_model(caller, model.id)]
    if task or search:
        return JSONResponse({"object": "list", "data": listed})
    configured = _configured_aliases(gateway.config, caller)
    builtin = await _builtin_aliases(gateway.config, caller, client)
    return JSONResponse({"object": "list", "data": [*configured, *listed, *builtin]})


@router.get("/v1/models/{model_id:path}", responses={200: {"model": ModelObject}, **error_responses(*READ_ERRORS)})
async def get_model(caller: CallerDep, gateway: GatewayDep, model_id: str) -> JSONResponse:
    """Get a model with the capabilities of its providers; ``org/name:provider`` selects one provider."""
    client = _client(gateway, caller)
    aliases = _configured_aliases(gateway.config, caller)
    if any(model_id in names for names in DEFAULT_ALIASES.values()):  # only these need the Hub's default models
        aliases += await _builtin_aliases(gateway.config, caller, client)
    for view in aliases:
        if view["id"] == model_id:
            return JSONResponse(view)
    try:
        model_spec = parse_model_spec(model_id)
    except InvalidRequestError as error:
        raise _model_not_found(error.message) from None
    if not can_use_model(caller, model_spec.model):
        raise _model_not_found(f"model {model_spec.model!r} not found among those that this key allows")
    try:
        model = await client.catalog.model(model_spec.model)
    except ModelNotFoundError as error:
        suggestion = await _suggestion(client, caller, model_spec.model, error.message)
        raise _model_not_found(error.message + suggestion) from None
    view = _model_object(model, None, only=model_spec.provider)
    if model_spec.provider and not view["providers"]:
        raise _model_not_found(f"{model_spec.provider} does not currently serve {model_spec.model}")
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
    """Return a suggestion of similar models, unless the message has one; empty if the Hub does not respond."""
    if "Did you mean" in message:
        return ""
    try:
        ids = [candidate.id for candidate in await client.catalog.models() if can_use_model(caller, candidate.id)]
    except HfmediaError:
        return ""
    matches = get_close_matches(model, ids, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(matches)}?" if matches else ""


def _configured_aliases(config: Config, caller: Caller) -> list[dict[str, Any]]:
    """Return the configured aliases of models that the caller's key allows."""
    aliases: list[dict[str, Any]] = []
    for name, target in config.aliases.items():
        if isinstance(target, str):
            if can_use_model(caller, target):
                aliases.append(_alias_object(name, target, []))
        elif allowed_targets := {task: model for task, model in target.items() if can_use_model(caller, model)}:
            aliases.append(_alias_object(name, allowed_targets, list(allowed_targets)))
    return aliases


async def _builtin_aliases(config: Config, caller: Caller, client: MediaClient) -> list[dict[str, Any]]:
    """Return the built-in aliases of default models that the caller's key allows."""
    if not config.builtin_aliases:
        return []
    defaults: dict[str, str] = {}
    for task in TASKS:
        with suppress(HfmediaError):  # no live provider for the task, or no response from the Hub
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
    """Return what a provider accepts for a task; None if hfmedia does not support that combination."""
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
