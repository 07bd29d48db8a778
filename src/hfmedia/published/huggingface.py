"""HuggingFaceMedia, as published: images and videos for callers that run many providers by one interface.

Its names, arguments, yields and errors are kept; what happens behind them is MediaClient's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, ClassVar

from hfmedia.client import MediaClient
from hfmedia.core.errors import HfmediaError, MissingAuthError, ModelNotSupportedError, RefusedError
from hfmedia.core.mapping import Mapping as Offer
from hfmedia.core.mapping import Model
from hfmedia.core.request import Choice, Task, check_outputs, parse_choice, parse_task, request
from hfmedia.engine import JobFailed, MediaReady
from hfmedia.options import VideoOptions
from hfmedia.store import Media

from .asking import RESOLUTION, options_of, with_defaults
from .bases import AsyncGeneratorProvider, Chunk, ProviderModelMixin
from .messages import Messages, prompt_of
from .responses import ImageResponse, ProviderInfo, Reasoning, VideoResponse
from .telling import reasoning, with_pulse

NOTHING: Mapping[str, Any] = MappingProxyType({})


class HuggingFaceMedia(AsyncGeneratorProvider, ProviderModelMixin):
    """Images and videos from every model on Hugging Face Inference Providers.

    Attributes:
        provider_mapping: by model, what ``get_mapping`` found.
        task_mapping: by model, the task of its first live provider; filled by ``get_models``, like the lists.
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
        """``org/name`` and ``org/name:provider`` of every live model, videos first; asked once, then remembered.

        ``api_key`` and ``proxy`` are heeded. It blocks while the Hub is asked for the first time, also inside a running
        loop: there, ``await asyncio.to_thread(HuggingFaceMedia.get_models)``.

        Raises:
            HubError: the Hub did not answer as it should.
        """
        if not cls.models:
            from hfmedia.doors import Portal

            with Portal() as portal:
                cls._remember(portal.call(lambda: cls._listed(**kwargs)))
        return list(cls.models)

    @classmethod
    async def get_mapping(cls, model: str, api_key: str | None = None) -> dict[str, dict[str, Any]]:
        """By provider what the Hub says of it (``status``, ``task``, ``providerId``, …), live ones; asked once.

        Raises:
            ModelNotFoundError: the Hub does not know the model.
            HubError: the Hub did not answer as it should.
        """
        name = parse_choice(model).model
        if name in cls.provider_mapping:
            return cls.provider_mapping[name]
        async with _client(api_key) as client:
            return await cls._mapped(client, name)

    @classmethod
    async def create_async_generator(
        cls,
        model: str | None,
        messages: Messages,
        api_key: str | None = None,
        extra_data: Mapping[str, Any] | None = NOTHING,
        prompt: str | None = None,
        proxy: str | None = None,
        timeout: float | None = 0,
        n: int = 1,
        aspect_ratio: str | None = None,
        height: int | None = None,
        width: int | None = None,
        resolution: str | None = RESOLUTION,
        **kwargs: Any,
    ) -> AsyncGenerator[Chunk, None]:
        """Reasoning while it works, then for each result, as it finishes, its ProviderInfo and its response.

        Args:
            model: ``org/name`` or ``org/name:provider``; the first of ``get_models`` where it is empty.
            messages: the last user message is the prompt, unless ``prompt`` is given.
            api_key: an HF token, or a provider's own key; absent, it is found as MediaClient finds it.
            extra_data: goes into the provider's own JSON as it stands (also by its newer name, ``extra_body``).
            timeout: seconds for each result, 0 for no limit.
            n: how many, made side by side with different seeds. A failed one never costs the others.
            aspect_ratio: 1:1 for images and 16:9 for videos where neither it nor a side in pixels is given.
            resolution: the default is for videos alone.
            kwargs: ``seed``, ``negative_prompt``, ``num_inference_steps``, ``guidance_scale``, … as MediaClient takes
                them; whatever is unknown goes into the provider's own JSON.

        Raises:
            MissingAuthError: there is no credential; nothing was sent.
            InvalidRequestError: bad input; nothing was sent.
            ModelNotFoundError: the Hub does not know the model.
            ModelNotSupportedError: nobody serves it, or not for these tasks; or who serves it answered 404.
            HfmediaError: none of the results came; this is what the last of them failed with.
        """
        words = prompt_of(messages, prompt)
        options = options_of(
            kwargs, extra_data, width=width, height=height, aspect_ratio=aspect_ratio, resolution=resolution
        )
        check_outputs(n)
        async with _client(api_key, proxy, timeout) as client:
            choice = await cls._chosen(client, model, api_key, proxy, words, options)
            task = _task_of(choice, await cls._mapped(client, choice.model), cls.tasks)
            options = with_defaults(options, task)
            options["model"] = str(choice)
            async with aclosing(cls._told(client, words, task, n, options)) as chunks:
                async for chunk in chunks:
                    yield chunk

    # -- inside ---------------------------------------------------------------------------------------------------

    @classmethod
    async def _told(
        cls, client: MediaClient, words: str, task: Task, n: int, options: VideoOptions
    ) -> AsyncGenerator[Chunk, None]:
        made: dict[str, int] = {}
        failed: list[HfmediaError] = []
        began = time.monotonic()
        async with aclosing(with_pulse(client.generate(words, task=task, n=n, **options))) as events:
            async for event in events:
                if event is None:
                    yield Reasoning(label="Generating", status=f"{time.monotonic() - began:.2f}s")
                    continue
                if isinstance(event, JobFailed):
                    failed.append(event.error)
                    if len(failed) == n:
                        raise _as_published(event.error)
                told = reasoning(event, n)
                if told is not None:
                    yield told
                if isinstance(event, MediaReady):
                    nth = made.setdefault(event.job_id, 0)
                    made[event.job_id] += 1
                    yield cls._info(event.media)
                    yield await _response(client, event.media, nth)

    @classmethod
    async def _chosen(
        cls,
        client: MediaClient,
        model: str | None,
        api_key: str | None,
        proxy: str | None,
        words: str,
        options: VideoOptions,
    ) -> Choice:
        """The model and provider to ask; whatever can be found wrong without asking the Hub is found here."""
        if client.settings.token is None and not client.settings.keys:
            why = client.settings.unused or "there is no Hugging Face token here"
            raise MissingAuthError(
                f"{why}; give one as api_key, or set HF_TOKEN. Make one at https://huggingface.co/settings/tokens"
            )
        named = cls.get_model(model)
        choice = parse_choice(named) if named else None
        plain = {name: value for name, value in options.items() if name != "extra_body"}
        request(cls.tasks[0], choice.model if choice else "", prompt=words, extra=options.get("extra_body"), **plain)  # type: ignore[arg-type]
        if choice is not None:
            return choice
        known = await asyncio.to_thread(cls.get_models, api_key=api_key, proxy=proxy)
        if not known:
            raise ModelNotSupportedError("the Hub lists no live model for images or videos; name one")
        return parse_choice(known[0])

    @classmethod
    async def _mapped(cls, client: MediaClient, name: str) -> dict[str, dict[str, Any]]:
        """The live providers as the Hub tells them now; remembered unless there are none, which will not last."""
        found = _live(await client.mapping(name), cls.tasks)
        if found:
            cls.provider_mapping = {**cls.provider_mapping, name: found}
        return found

    @classmethod
    async def _listed(cls, api_key: str | None = None, proxy: str | None = None, **_: Any) -> list[Model]:
        async with _client(api_key, proxy) as client:
            pages = await asyncio.gather(*(client.models(task) for task in cls.tasks))
        return list({model.id: model for page in pages for model in page}.values())

    @classmethod
    def _remember(cls, found: list[Model]) -> None:
        live = {model.id: [offer for offer in model.live() if offer.task in cls.tasks] for model in found}
        task_of = {name: offers[0].task for name, offers in live.items() if offers}
        ordered = sorted(task_of, key=lambda name: not task_of[name].endswith("video"))
        cls.task_mapping = task_of
        cls.image_models = [name for name in ordered if task_of[name].endswith("image")]
        cls.video_models = [name for name in ordered if task_of[name].endswith("video")]
        cls.models = [
            choice
            for name in ordered
            for choice in (name, *dict.fromkeys(f"{name}:{offer.provider}" for offer in live[name]))
        ]

    @classmethod
    def _info(cls, media: Media) -> ProviderInfo:
        about = {"label": f"HuggingFace ({media.provider})", "url": f"{cls.url}/{media.model}"}
        return ProviderInfo(**{**cls.get_dict(), **about, "model": media.model, "provider": media.provider})


def _client(api_key: str | None = None, proxy: str | None = None, timeout: float | None = 0) -> MediaClient:
    return MediaClient(token=api_key or None, proxy=proxy or None, timeout=timeout or 0)


def _live(model: Model, tasks: list[str]) -> dict[str, dict[str, Any]]:
    """The live providers by name, with the Hub's own words; where one has several tasks, one of ours goes first."""
    found: dict[str, dict[str, Any]] = {}
    for offer in sorted(model.live(), key=lambda offer: offer.task not in tasks):
        found.setdefault(offer.provider, _as_told(offer))
    return {offer.provider: found[offer.provider] for offer in model.live()}


def _as_told(offer: Offer) -> dict[str, Any]:
    told = {
        "status": offer.status,
        "task": offer.task,
        "providerId": offer.provider_id,
        "adapter": offer.adapter,
        "adapterWeightsPath": offer.weights,
        "type": offer.kind,
    }
    return {name: value for name, value in told.items() if value is not None}


def _task_of(choice: Choice, live: dict[str, dict[str, Any]], tasks: list[str]) -> Task:
    """What the model does; where nobody serves it, any task will do: routing says why, and who is on the way.

    ModelNotSupportedError when those who serve it do something else.
    """
    able = [offer["task"] for name, offer in live.items() if choice.provider in (None, name)]
    fitting = [task for task in able if task in tasks]
    if able and not fitting:
        raise ModelNotSupportedError(
            f"{choice} does {' and '.join(sorted(set(able)))}, and this class {' and '.join(tasks)}", model=choice.model
        )
    return parse_task(fitting[0] if fitting else tasks[0])


def _as_published(error: HfmediaError) -> HfmediaError:
    """The error as callers know it: a 404 of a provider means that it does not have the model."""
    if not isinstance(error, RefusedError) or error.status != 404:
        return error
    told = ModelNotSupportedError(
        error.message,
        provider=error.provider,
        model=error.model,
        job_id=error.job_id,
        status=error.status,
        code=error.code,
        attempts=error.attempts,
    )
    told.__cause__ = error
    return told


async def _response(client: MediaClient, media: Media, nth: int) -> ImageResponse | VideoResponse:
    """The response for a file: the provider's own URL where it gave one, else the path; the rest as options."""
    job = await client.ledger.job(media.job_id)
    url = job.outputs[nth].url if job is not None and nth < len(job.outputs) else None
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
    kind = VideoResponse if media.mime.startswith("video/") else ImageResponse
    return kind([url or str(media.path)], media.prompt or "", options)
