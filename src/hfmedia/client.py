"""MediaClient: images and videos from every model on Hugging Face Inference Providers, natively async.

It only chooses the defaults and introduces the parts to each other; what they do is theirs.
"""

from __future__ import annotations

import copy
import os
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, Unpack

from .catalog import Catalog
from .core.errors import InvalidRequestError
from .core.job import Fact, Job, State
from .core.mapping import Model
from .core.ports import Place
from .core.request import Task, check_outputs, parse_choice, parse_task
from .core.wire import Credential
from .engine import Engine, Event, JobFailed, MediaReady, Timeouts, World
from .ledger import Ledger, MemoryLedger, SqliteLedger
from .options import Options, VideoOptions
from .plans import Planner, Preview
from .providers import provider
from .routing import Health, Observed, Past, Slots, keyring
from .settings import Settings, read_settings, settings_of_caller
from .store import Media, Store, place_at
from .transport import Transport

CARRIABLE: tuple[State, ...] = ("new", "ready", "running", "finished")


class MediaClient:
    """Images and videos from every model on Hugging Face Inference Providers.

    Args:
        token: an HF token (``hf_…``, through the router), or a provider's own key (then name the provider with
            ``model:provider``). Absent: found as the Hub's own client finds it.
        bill_to: the organisation to bill instead of the user (``X-HF-Bill-To``).
        proxy: an ``http://``, ``https://``, ``socks5://`` … URL. Absent: the usual environment variables.
        timeout: seconds in total for each call, 0 for no limit; or Timeouts for each step.
        ledger: where the facts of jobs are kept: ``"disk"`` is a file under HFMEDIA_HOME, None only in memory.
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
        ledger: Ledger | Literal["disk"] | None = "disk",
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
        on_disk = self.settings.home / "ledger.sqlite3"
        self.ledger: Ledger = SqliteLedger(on_disk) if ledger == "disk" else ledger or MemoryLedger()
        self.transport = Transport(proxy=proxy, environ=environ, trusted_hosts=self.settings.trusted_hosts)
        self.health, self._slots = Health(), Slots(concurrency)
        self.past = Past(Observed(), self.ledger)
        self._shares = False
        self._assemble()

    def _assemble(self, catalog: Catalog | None = None) -> None:
        """What depends on whose account it is: the catalog that its token sees, and the engine that spends."""
        hub = self.settings.hub_token
        self.catalog = catalog or Catalog(
            self.transport,
            endpoint=self.settings.endpoint,
            credential=Credential(secret=hub, base_url=self.settings.endpoint) if hub else None,
            folder=self.settings.home / "cache" / "hub",
        )
        self.planner = Planner(self.settings, self.catalog, health=self.health, past=self.past)
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
                slot=self._slots.hold,
                observe=self.past.observed.add,
                expect=self.past.seconds,
            )
        )

    def on_behalf(self, *, token: str | None = None, bill_to: str | None = None) -> Self:
        """A client for another account that shares ledger, store, connections and memory with this one.

        With a ``token`` nothing of this client's own credentials is used, providers' keys included. Closing it ends
        its jobs alone; close it before this one.
        """
        made = copy.copy(self)
        made.settings = settings_of_caller(self.settings, token=token, bill_to=bill_to)
        made._shares = True
        made._assemble(self.catalog if token is None else None)
        return made

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
        idempotency_key: str | None = None,
        **options: Unpack[VideoOptions],
    ) -> AsyncGenerator[Event, None]:
        """The events of ``n`` outputs made side by side, as they happen; each output ends in MediaReady or JobFailed.

        Without ``task`` it is what the model does. One output's failure never costs another's result. What is wrong
        before anything is sent (bad input, no credential, no such model) is raised.

        With an ``idempotency_key`` of the caller's, a job that has it already is joined, carried on, or returned, also
        across processes that share a ledger; one that failed or was cancelled is tried anew.
        """
        check_outputs(n)
        limit = options.get("timeout")
        timeouts = self.timeouts if limit is None else Timeouts.of(limit)
        planned = await self.planner.plan(prompt, task, image, options)
        place = self._place(options.get("output"), planned.wish.prompt or planned.wish.task)
        await self.store.check(place)
        notes = (*self.catalog.warnings, *planned.plan.notes)
        told = self.engine.generate(
            planned.wish,
            planned.plan.routes,
            place=place,
            n=n,
            timeouts=timeouts,
            notes=notes,
            key=idempotency_key,
            choice=str(planned.choice),
        )
        async with aclosing(told):
            async for event in told:
                yield event

    async def preview(
        self, prompt: str | None = None, *, task: str | None = None, image: Any = None, **options: Unpack[VideoOptions]
    ) -> list[Preview]:
        """What each provider would be told, in the order in which they would be asked; nothing is sent to them.

        Raises what ``generate`` would raise before anything is sent.
        """
        return self.planner.preview(await self.planner.plan(prompt, task, image, options))

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

    async def jobs(
        self,
        *,
        states: Collection[State] | None = None,
        provider: str | None = None,
        model: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> list[Job]:
        """The jobs in the ledger that fit, oldest first; with ``limit`` the latest so many. ``since``: unix seconds.

        A job whose process died while its request was on its way is in doubt from here on.
        """
        await self.engine.settle()
        found = self.ledger.jobs(
            states=states, provider=provider, model=model, since=since, newest_first=True, limit=limit
        )
        return [job async for job in found][::-1]

    async def unfinished(self) -> list[Job]:
        """The jobs that can be carried on: not ended, not in doubt, and carried by no process that lives."""
        waiting = await self.jobs(states=CARRIABLE)
        carried = await self.ledger.carried()
        return [job for job in waiting if job.id not in carried]

    async def story(self, job_id: str) -> list[Fact]:
        """Everything that happened to a job, each fact with its time (``at``, in unix seconds), oldest first."""
        await self.engine.job(job_id)
        return await self.ledger.facts(job_id)

    async def resume(self, job_id: str, *, output: str | os.PathLike[str] | None = None) -> Media:
        """The media of a job that was let go of (out of time, a crash, a broken download), without paying again."""
        return await _only(self.resume_events(job_id, output=output))

    async def resume_events(
        self, job_id: str, *, output: str | os.PathLike[str] | None = None
    ) -> AsyncGenerator[Event, None]:
        """The events of a job carried on from where it stands; it lands where it was to land unless ``output`` says."""
        job = await self.engine.job(job_id)
        place = self._place(output, "") if output is not None else self._place_of(job)
        await self.store.tidy(place.folder if place.file is None else place.file.parent)
        told = self.engine.resume(job_id, place=place, timeouts=self.timeouts, replan=self.planner.routes_for)
        async with aclosing(told):
            async for event in told:
                yield event

    async def resolve(self, job_id: str, decision: Literal["resend", "drop", "ask"]) -> Job:
        """The job after its doubt was settled: made ready to be sent again, dropped, or looked up at the provider.

        InvalidRequestError when it is not in doubt, or when the provider cannot be asked or does not know it.
        """
        return await self.engine.resolve(job_id, decision)

    async def prune(self, before: float) -> int:
        """Forgets the ended jobs last touched before then (unix seconds), and tells how many. Files stay."""
        return await self.ledger.prune(before)

    async def cancel(self, job_id: str) -> Job:
        """The job after it was told to stop, at the provider too where that is possible."""
        return await self.engine.cancel(job_id)

    async def detach(self, job_id: str, *, keep_unsent: bool = False) -> Job:
        """The job after it was let go of here: what a provider accepted goes on there, and ``resume`` brings it.

        One that was not sent yet is cancelled, or with ``keep_unsent`` left to be sent when it is resumed.
        """
        return await self.engine.detach(job_id, keep_unsent=keep_unsent)

    async def aclose(self) -> None:
        """Cancels what is still under way and lets go of every connection."""
        await self.engine.aclose()
        if self._shares:  # the rest belongs to the client it was made from
            return
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

    async def default_model(self, task: Task) -> str:
        """A well-known model that is live for this task, or else the first one that the Hub lists."""
        return await self.planner.default_model(task)

    def _place_of(self, job: Job) -> Place:
        """Where a job's media was to lie when it was made."""
        folder, file = Path(job.folder or self.store.folder), Path(job.file) if job.file else None
        return Place(folder=folder, file=file, words=job.request.prompt or job.request.task, at=job.created)

    def _place(self, output: str | os.PathLike[str] | None, words: str) -> Place:
        return place_at(output, self.store.folder, words=words, at=self.engine.world.clock())


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
