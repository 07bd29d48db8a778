"""MediaClient: images and videos from every model on Hugging Face Inference Providers, natively async.

It only chooses the defaults and introduces the parts to each other; what they do is theirs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from .catalog import Catalog
from .core.errors import InvalidRequestError, ModelNotFoundError, ModelNotSupportedError
from .core.job import Job
from .core.mapping import Model
from .core.ports import Place
from .core.request import TASKS, Choice, Request, Task, check_outputs, parse_choice, parse_task, request
from .core.wire import Credential
from .engine import Engine, Event, JobFailed, MediaReady, Timeouts, World
from .engine.images import input_image
from .ledger import Ledger, MemoryLedger
from .providers import provider
from .routing import Health, Observed, Plan, Slots, check_credential, keyring, routes
from .settings import Settings, read_settings
from .store import Media, Store, check_writable
from .transport import Transport

# Well-known models that several providers serve, tried in this order when the user names none.
DEFAULT_MODELS: dict[Task, tuple[str, ...]] = {
    "text-to-image": ("black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-dev", "Qwen/Qwen-Image"),
    "text-to-video": ("Wan-AI/Wan2.2-T2V-A14B", "Lightricks/LTX-Video", "tencent/HunyuanVideo"),
    "image-to-image": ("black-forest-labs/FLUX.1-Kontext-dev", "Qwen/Qwen-Image-Edit"),
    "image-to-video": ("Wan-AI/Wan2.2-I2V-A14B", "Lightricks/LTX-Video"),
}


class TargetSize(TypedDict):
    """A size in pixels, as the Hub's own client takes it."""

    width: int
    height: int


class Options(TypedDict, total=False):
    """What may be asked for with any task; the names are those of the Hub's own client.

    ``model`` is ``org/name``, ``org/name:provider`` or ``org/name:fastest`` (``cheapest``, ``preferred``). ``timeout``
    is in seconds, 0 for no limit. ``output`` is a file, or a folder when it is one or ends in a slash. ``extra_body``
    goes into the provider's own JSON as it stands.
    """

    model: str | None
    negative_prompt: str | list[str] | None
    num_inference_steps: int | None
    guidance_scale: float | None
    seed: int | None
    width: int | None
    height: int | None
    target_size: TargetSize | None
    aspect_ratio: str | None
    resolution: str | None
    scheduler: str | None
    extra_body: Mapping[str, Any] | None
    timeout: float | Timeouts | None
    output: str | os.PathLike[str] | None


class VideoOptions(Options, total=False):
    """What may be asked for with a video besides: its length in frames or in seconds, and frames a second."""

    num_frames: int | None
    seconds: float | None
    fps: int | None


class MediaClient:
    """Images and videos from every model on Hugging Face Inference Providers.

    Args:
        token: an HF token (``hf_…``, through the router), or a provider's own key (then name the provider with
            ``model:provider``). Absent: found as the Hub's own client finds it.
        bill_to: the organisation to bill instead of the user (``X-HF-Bill-To``).
        proxy: an ``http://``, ``https://``, ``socks5://`` … URL. Absent: the usual environment variables.
        timeout: seconds in total for each call, 0 for no limit; or Timeouts for each step.
        ledger: where the facts of jobs are kept; None keeps them in memory.
        store: where media is kept: a Store, or a folder. Absent: ``media`` under HFMEDIA_HOME.
        concurrency: how many jobs may be at a provider at once: a number, or one for each name.
        provider_keys: providers' own keys by provider name; such a provider is asked directly.
        base_urls: addresses to use instead of a provider's own, by that address (``https://fal.run``).
        trusted_hosts: ``host`` or ``host:port`` from which media may be fetched although private.
        endpoint, router: the Hub and the router, instead of HF_ENDPOINT and HFMEDIA_ROUTER.
        environ: the environment to read, instead of the process's own.

    Raises:
        InvalidRequestError: an argument or a variable that cannot be used, before anything is sent.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        bill_to: str | None = None,
        proxy: str | None = None,
        timeout: float | Timeouts | None = 0,
        ledger: Ledger | None = None,
        store: Store | str | os.PathLike[str] | None = None,
        concurrency: int | Mapping[str, int] | None = None,
        provider_keys: Mapping[str, str] | None = None,
        base_urls: Mapping[str, str] | None = None,
        trusted_hosts: Iterable[str] = (),
        endpoint: str | None = None,
        router: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.settings: Settings = read_settings(
            environ,
            token=token,
            bill_to=bill_to,
            provider_keys=provider_keys,
            base_urls=base_urls,
            trusted_hosts=tuple(trusted_hosts),
            endpoint=endpoint,
            router=router,
        )
        self.timeouts = Timeouts.of(timeout)
        folder = self.settings.home / "media" if store is None or isinstance(store, Store) else Path(store)
        self.store = store if isinstance(store, Store) else Store(folder)
        self.ledger: Ledger = ledger if ledger is not None else MemoryLedger()
        self.transport = Transport(proxy=proxy, environ=environ, trusted_hosts=self.settings.trusted_hosts)
        self.health, self.observed, slots = Health(), Observed(), Slots(concurrency)
        hub = self.settings.hub_token
        self.catalog = Catalog(
            self.transport,
            endpoint=self.settings.endpoint,
            credential=Credential(secret=hub, base_url=self.settings.endpoint) if hub else None,
            folder=self.settings.home / "cache" / "hub",
        )
        self.engine = Engine(
            World(
                sender=self.transport,
                fetch=self.transport.fetch,
                keeper=self.store,
                ledger=self.ledger,
                provider=provider,
                credential=keyring(self.settings),
                memory=self.health,
                headers={"X-HF-Bill-To": self.settings.bill_to} if self.settings.bill_to else {},
                slot=slots.hold,
                observe=self.observed.add,
            )
        )

    # -- making ---------------------------------------------------------------------------------------------------

    async def text_to_image(self, prompt: str, **options: Unpack[Options]) -> Media:
        """One image from a prompt. Raises one of hfmedia's errors, typed, with the job's id."""
        return await self._one("text-to-image", prompt, None, options)

    async def text_to_video(self, prompt: str, **options: Unpack[VideoOptions]) -> Media:
        """One video from a prompt. Raises one of hfmedia's errors, typed, with the job's id."""
        return await self._one("text-to-video", prompt, None, options)

    async def image_to_image(self, image: Any, prompt: str | None = None, **options: Unpack[Options]) -> Media:
        """One image from another: a path, a URL, bytes, an open file or a Pillow image."""
        return await self._one("image-to-image", prompt, image, options)

    async def image_to_video(self, image: Any, prompt: str | None = None, **options: Unpack[VideoOptions]) -> Media:
        """One video that begins with an image: a path, a URL, bytes, an open file or a Pillow image."""
        return await self._one("image-to-video", prompt, image, options)

    async def generate(
        self,
        prompt: str | None = None,
        *,
        task: str | None = None,
        image: Any = None,
        n: int = 1,
        **options: Unpack[VideoOptions],
    ) -> AsyncGenerator[Event, None]:
        """The events of ``n`` outputs made side by side, as they happen; each output ends in MediaReady or JobFailed.

        Without ``task`` it is what the model does. One output's failure never costs another's result. What is wrong
        before anything is sent (bad input, no credential, no such model) is raised.
        """
        check_outputs(n)
        limit = options.get("timeout")
        timeouts = self.timeouts if limit is None else Timeouts.of(limit)
        wish, plan = await self._planned(prompt, task, image, options)
        place = self._place(options.get("output"), wish.prompt or wish.task)
        await asyncio.to_thread(check_writable, place)
        notes = (*self.catalog.warnings, *plan.notes)
        told = self.engine.generate(wish, plan.routes, place=place, n=n, timeouts=timeouts, notes=notes)
        async with aclosing(told):
            async for event in told:
                yield event

    # -- looking --------------------------------------------------------------------------------------------------

    async def models(
        self, task: str | None = None, *, provider: str | None = None, search: str | None = None
    ) -> list[Model]:
        """The Hub's models with a live provider, of one task or of all four."""
        return await self.catalog.models(parse_task(task) if task else None, provider=provider, search=search)

    async def mapping(self, model: str) -> Model:
        """One model and all its providers, live or not, in the Hub's order."""
        return await self.catalog.mapping(parse_choice(model).model)

    # -- jobs -----------------------------------------------------------------------------------------------------

    async def jobs(self) -> list[Job]:
        """Every job in the ledger, oldest first."""
        return [job async for job in self.ledger.jobs()]

    async def resume(self, job_id: str, *, output: str | os.PathLike[str] | None = None) -> Media:
        """The media of a job that was let go of (out of time, a broken download), without paying again."""
        told = self.engine.resume(job_id, place=self._place(output, ""), timeouts=self.timeouts)
        return await _only(told)

    async def cancel(self, job_id: str) -> Job:
        """The job after it was told to stop, at the provider too where that is possible."""
        return await self.engine.cancel(job_id)

    async def aclose(self) -> None:
        """Cancels what is still under way and lets go of every connection."""
        await self.engine.aclose()
        await self.transport.aclose()
        await self.ledger.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _one(self, task: Task, prompt: str | None, image: Any, options: Mapping[str, Any]) -> Media:
        return await _only(self.generate(prompt, task=task, image=image, **options))

    async def _planned(
        self, prompt: str | None, task: str | None, image: Any, options: Mapping[str, Any]
    ) -> tuple[Request, Plan]:
        """The checked request and the routes to try; everything that can be wrong is found before the Hub is asked."""
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
        check_credential(choice or Choice(""), self.settings)
        if choice is None:
            known = known or draft.task
            choice = Choice(await self.default_model(known))
        model = await self.catalog.mapping(choice.model)
        final = known or _task_of(model, choice, with_image=picture is not None)
        wish = _retasked(draft, final, choice.model)
        plan = routes(choice, final, model, self.settings, health=self.health, known=self.observed)
        return wish, plan

    async def default_model(self, task: Task) -> str:
        """A well-known model that is live for this task, or else the first one that the Hub lists."""
        for name in DEFAULT_MODELS[task]:
            with suppress(ModelNotFoundError):
                if (await self.catalog.mapping(name)).live(task):
                    return name
        listed = await self.catalog.models(task, limit=1)
        if not listed:
            raise ModelNotSupportedError(f"the Hub lists no live model for {task}; name one with its provider")
        return listed[0].id

    def _place(self, output: str | os.PathLike[str] | None, words: str) -> Place:
        now = self.engine.world.clock()
        if output is None:
            return Place(folder=self.store.folder, words=words, at=now)
        text = os.fspath(output)
        path = Path(text).expanduser()
        if text.endswith(("/", os.sep)) or path.is_dir():
            return Place(folder=path, words=words, at=now)
        return Place(folder=path.parent, file=path, words=words, at=now)


def _task_of(model: Model, choice: Choice, *, with_image: bool) -> Task:
    """What a model does, when the user did not say: the first live task that fits the input."""
    able = [m.task for m in model.live() if choice.provider in (None, m.provider)] or [m.task for m in model.mappings]
    wanted = "image-to" if with_image else "text-to"
    for task in TASKS:
        if task in able and task.startswith(wanted):
            return task
    return "image-to-image" if with_image else "text-to-image"


def _retasked(draft: Request, task: Task, model: str) -> Request:
    from msgspec import structs

    from .core.request import check

    wish = structs.replace(draft, task=task, model=model)
    check(wish)
    return wish


async def _only(told: AsyncGenerator[Event, None]) -> Media:
    """The media of a run of one output; its error, raised, when there is none."""
    async with aclosing(told):
        media: Media | None = None
        async for event in told:
            if isinstance(event, MediaReady):
                media = media or event.media
            elif isinstance(event, JobFailed):
                raise event.error
    if media is None:
        raise InvalidRequestError("nothing was asked for")
    return media
