"""HuggingFaceMedia: images and videos for callers that run many providers through the g4f interface.

Its names, arguments, results and errors are frozen; it is an adapter onto MediaClient.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, ClassVar

from hfmedia.aio import with_heartbeat
from hfmedia.client import MediaClient
from hfmedia.core.errors import HfmediaError, MissingAuthError, ModelNotSupportedError, RequestRejectedError
from hfmedia.core.hub_models import HubModel
from hfmedia.core.hub_models import ProviderMapping as ProviderMapping
from hfmedia.core.request import ModelSpec, Task, parse_model_spec, parse_task, validate_output_count
from hfmedia.engine import JobFailed, MediaReady
from hfmedia.options import VideoGenerationOptions
from hfmedia.planning import PreparedRequest
from hfmedia.storage import Media

from .base import AsyncGeneratorProvider, Chunk, ProviderModelMixin
from .messages import Messages, last_prompt
from .parameters import DEFAULT_RESOLUTION, to_options, with_defaults
from .reasoning import to_reasoning
from .responses import ImageResponse, ProviderInfo, Reasoning, VideoResponse

UNSET: Mapping[str, Any] = MappingProxyType({})
HEARTBEAT_INTERVAL = 1.0  # seconds without an event until a chat shows progress, so that its connection stays open


class HuggingFaceMedia(AsyncGeneratorProvider, ProviderModelMixin):
    """Images and videos from every model on Hugging Face Inference Providers.

    Attributes:
        provider_mapping: results of ``get_mapping``, by model.
        task_mapping: task of the first live provider, by model; filled by ``get_models``, like the lists.
        models: ``org/name`` and ``org/name:provider``, videos first.
        image_models, video_models: ``org/name``.
    """

    label = "HuggingFace (Image/Video Generation)"
    parent = "HuggingFace"
    url = "https://huggingface.co"
    working = True
    needs_auth = True

    tasks: ClassVar[list[str]] = ["text-to-image", "text-to-video"]
    provider_mapping: ClassVar[dict[str, dict[str, Any]]] = {}
    task_mapping: ClassVar[dict[str, str]] = {}
    models: ClassVar[list[str]] = []
    image_models: ClassVar[list[str]] = []
    video_models: ClassVar[list[str]] = []

    @classmethod
    def get_models(cls, **kwargs: Any) -> list[str]:
        """List ``org/name`` and ``org/name:provider`` of every live model, videos first; cached after the first call.

        ``api_key`` and ``proxy`` are used. The first call blocks until the Hub responds, also inside a running event
        loop: use ``await asyncio.to_thread(HuggingFaceMedia.get_models)`` there.

        Raises:
            HubError: the Hub is unreachable or sent an unexpected response.
        """
        if not cls.models:
            from hfmedia.sync import BlockingPortal

            with BlockingPortal() as portal:
                cls._cache_models(portal.call(lambda: cls._list_models(**kwargs)))
        return list(cls.models)

    @classmethod
    async def get_mapping(cls, model: str, api_key: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the live mappings by provider (``status``, ``task``, ``providerId``, …); cached after the first call.

        Raises:
            ModelNotFoundError: the Hub does not know the model.
            HubError: the Hub is unreachable or sent an unexpected response.
        """
        name = parse_model_spec(model).model
        if name in cls.provider_mapping:
            return cls.provider_mapping[name]
        async with _client(api_key) as client:
            return await cls._fetch_mapping(client, name)

    @classmethod
    async def create_async_generator(
        cls,
        model: str | None,
        messages: Messages,
        api_key: str | None = None,
        extra_data: Mapping[str, Any] | None = UNSET,
        prompt: str | None = None,
        proxy: str | None = None,
        timeout: float | None = 0,
        n: int = 1,
        aspect_ratio: str | None = None,
        height: int | None = None,
        width: int | None = None,
        resolution: str | None = DEFAULT_RESOLUTION,
        **kwargs: Any,
    ) -> AsyncGenerator[Chunk, None]:
        """Yield Reasoning while jobs run, then for each completed result its ProviderInfo and its response.

        Args:
            model: ``org/name`` or ``org/name:provider``; default: the first of ``get_models``.
            messages: the last user message is the prompt, unless ``prompt`` is given.
            api_key: a Hugging Face token, or a provider's own key; default: discovered by MediaClient.
            extra_data: passed through to the provider's own JSON (``extra_body`` is the newer name).
            timeout: seconds for each result, 0 for no limit.
            n: number of results, generated concurrently with different seeds. A failed one does not affect the others.
            aspect_ratio: default: 1:1 for images and 16:9 for videos, unless width or height is given.
            resolution: the default applies only to videos.
            kwargs: ``seed``, ``negative_prompt``, ``num_inference_steps``, ``guidance_scale``, … as in MediaClient;
                unknown ones are passed through to the provider's own JSON.

        Raises:
            MissingAuthError: no credential is available; nothing was sent.
            InvalidRequestError: the input is invalid; nothing was sent.
            ModelNotFoundError: the Hub does not know the model.
            ModelNotSupportedError: no live provider serves it for these tasks, or the provider responded with 404.
            HfmediaError: all results failed; this is the error of the last one.
        """
        prompt_text = last_prompt(messages, prompt)
        options = to_options(
            kwargs, extra_data, width=width, height=height, aspect_ratio=aspect_ratio, resolution=resolution
        )
        validate_output_count(n)
        async with _client(api_key, proxy, timeout) as client:
            prepared = await cls._prepare(client, model, prompt_text, options)
            model_spec = prepared.model_spec or await cls._default_model(api_key, proxy)
            task = _infer_task(model_spec, await cls._fetch_mapping(client, model_spec.model), cls.tasks)
            request = with_defaults(prepared.request, task)
            prepared = PreparedRequest(request=request, task=task, model_spec=model_spec)
            async with aclosing(cls._generate(client, prepared, n)) as chunks:
                async for chunk in chunks:
                    yield chunk

    # -- internals ------------------------------------------------------------------------------------------------

    @classmethod
    async def _generate(cls, client: MediaClient, prepared: PreparedRequest, n: int) -> AsyncGenerator[Chunk, None]:
        outputs_by_job: dict[str, int] = {}
        errors: list[HfmediaError] = []
        started_at = time.monotonic()
        events = await client.start(prepared, n=n)
        async with aclosing(events), aclosing(with_heartbeat(events, HEARTBEAT_INTERVAL)) as events_and_pauses:
            async for event in events_and_pauses:
                if event is None:
                    yield Reasoning(label="Generating", status=f"{time.monotonic() - started_at:.2f}s")
                    continue
                if isinstance(event, JobFailed):
                    errors.append(event.error)
                    if len(errors) == n:
                        raise _to_legacy_error(event.error)
                chunk = to_reasoning(event, n)
                if chunk is not None:
                    yield chunk
                if isinstance(event, MediaReady):
                    output_index = outputs_by_job.setdefault(event.job_id, 0)
                    outputs_by_job[event.job_id] += 1
                    yield cls._provider_info(event.media)
                    yield await _to_response(client, event.media, output_index)

    @classmethod
    async def _prepare(
        cls, client: MediaClient, model: str | None, prompt: str, options: VideoGenerationOptions
    ) -> PreparedRequest:
        """Validate the request, before the Hub is queried. Its task is a placeholder until the model's is known."""
        if client.settings.token is None and not client.settings.keys:
            reason = client.settings.ignored_reason or "no Hugging Face token"
            raise MissingAuthError(
                f"{reason}; pass one as api_key or set HF_TOKEN. Create one at https://huggingface.co/settings/tokens"
            )
        return await client.planner.prepare(prompt, cls.tasks[0], None, {**options, "model": cls.get_model(model)})

    @classmethod
    async def _default_model(cls, api_key: str | None, proxy: str | None) -> ModelSpec:
        model_names = await asyncio.to_thread(cls.get_models, api_key=api_key, proxy=proxy)
        if not model_names:
            raise ModelNotSupportedError("the Hub lists no live model for images or videos; specify one")
        return parse_model_spec(model_names[0])

    @classmethod
    async def _fetch_mapping(cls, client: MediaClient, name: str) -> dict[str, dict[str, Any]]:
        """Fetch the live mappings; cached unless there are none, which is temporary."""
        live_mapping = _live_mapping(await client.mapping(name), cls.tasks)
        if live_mapping:
            cls.provider_mapping = {**cls.provider_mapping, name: live_mapping}
        return live_mapping

    @classmethod
    async def _list_models(cls, api_key: str | None = None, proxy: str | None = None, **_: Any) -> list[HubModel]:
        async with _client(api_key, proxy) as client:
            pages = await asyncio.gather(*(client.models(task) for task in cls.tasks))
        return list({model.id: model for page in pages for model in page}.values())

    @classmethod
    def _cache_models(cls, hub_models: list[HubModel]) -> None:
        live_mappings = {
            model.id: [mapping for mapping in model.live_mappings() if mapping.task in cls.tasks]
            for model in hub_models
        }
        tasks_by_model = {name: mappings[0].task for name, mappings in live_mappings.items() if mappings}
        ordered = sorted(tasks_by_model, key=lambda name: not tasks_by_model[name].endswith("video"))
        cls.task_mapping = tasks_by_model
        cls.image_models = [name for name in ordered if tasks_by_model[name].endswith("image")]
        cls.video_models = [name for name in ordered if tasks_by_model[name].endswith("video")]
        cls.models = [
            entry
            for name in ordered
            for entry in (name, *dict.fromkeys(f"{name}:{mapping.provider}" for mapping in live_mappings[name]))
        ]

    @classmethod
    def _provider_info(cls, media: Media) -> ProviderInfo:
        details = {"label": f"HuggingFace ({media.provider})", "url": f"{cls.url}/{media.model}"}
        return ProviderInfo(**{**cls.get_dict(), **details, "model": media.model, "provider": media.provider})


def _client(api_key: str | None = None, proxy: str | None = None, timeout: float | None = 0) -> MediaClient:
    return MediaClient(token=api_key or None, proxy=proxy or None, timeout=timeout or 0)


def _live_mapping(model: HubModel, tasks: list[str]) -> dict[str, dict[str, Any]]:
    """Return the live mappings by provider, in the Hub's format; of several tasks, a supported one wins."""
    mapping_by_provider: dict[str, dict[str, Any]] = {}
    for mapping in sorted(model.live_mappings(), key=lambda item: item.task not in tasks):
        mapping_by_provider.setdefault(mapping.provider, _to_legacy_mapping(mapping))
    return {mapping.provider: mapping_by_provider[mapping.provider] for mapping in model.live_mappings()}


def _to_legacy_mapping(mapping: ProviderMapping) -> dict[str, Any]:
    fields = {
        "status": mapping.status,
        "task": mapping.task,
        "providerId": mapping.provider_id,
        "adapter": mapping.adapter,
        "adapterWeightsPath": mapping.adapter_weights_path,
        "type": mapping.mapping_type,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _infer_task(model_spec: ModelSpec, live_mapping: dict[str, dict[str, Any]], tasks: list[str]) -> Task:
    """Return the model's task; without a live provider any task, since routing then reports the reason.

    Raises ModelNotSupportedError when its providers support only other tasks.
    """
    live_tasks = [mapping["task"] for name, mapping in live_mapping.items() if model_spec.provider in (None, name)]
    supported = [task for task in live_tasks if task in tasks]
    if live_tasks and not supported:
        raise ModelNotSupportedError(
            f"{model_spec} supports {' and '.join(sorted(set(live_tasks)))}, this class only {' and '.join(tasks)}",
            model=model_spec.model,
        )
    return parse_task(supported[0] if supported else tasks[0])


def _to_legacy_error(error: HfmediaError) -> HfmediaError:
    """Convert an error to the one that callers expect: a provider's 404 means that it does not have the model."""
    if not isinstance(error, RequestRejectedError) or error.status != 404:
        return error
    legacy_error = ModelNotSupportedError(
        error.message,
        provider=error.provider,
        model=error.model,
        job_id=error.job_id,
        status=error.status,
        code=error.code,
        attempts=error.attempts,
    )
    legacy_error.__cause__ = error
    return legacy_error


async def _to_response(client: MediaClient, media: Media, output_index: int) -> ImageResponse | VideoResponse:
    """Build the response for a file: the provider's own URL if there is one, else the path; details as options."""
    job = await client.ledger.get(media.job_id)
    url = job.outputs[output_index].url if job is not None and output_index < len(job.outputs) else None
    options = {
        "path": str(media.path),
        "mime": media.mime,
        "width": media.width,
        "height": media.height,
        "seed": media.seed,
        "cost": media.cost,
        "model": media.model,
        "provider": media.provider,
        "job_id": media.job_id,
        "warnings": list(media.warnings),
    }
    response_type = VideoResponse if media.mime.startswith("video/") else ImageResponse
    return response_type([url or str(media.path)], media.prompt or "", options)
