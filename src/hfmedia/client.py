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
from .core.credentials import Credential
from .core.errors import InvalidRequestError
from .core.hub_models import HubModel
from .core.job import Job, LedgerEntry, State
from .core.ports import OutputTarget
from .core.request import Task, parse_model_spec, parse_task, validate_output_count
from .core.timeouts import Timeouts
from .engine import Engine, EngineDependencies, Event, JobFailed, MediaReady
from .ledger import Ledger, MemoryLedger, SqliteLedger
from .options import GenerationOptions, VideoGenerationOptions
from .planning import Planner, Preview
from .providers import get_provider
from .routing import ConcurrencyLimiter, LedgerStats, ProviderHealth, ProviderStats, credential_resolver
from .settings import Settings, load_settings, settings_for_account
from .storage import FileStorage, Media, resolve_target
from .transport import Transport

RESUMABLE_STATES: tuple[State, ...] = ("created", "routed", "running", "completed")


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
        store: FileStorage | str | os.PathLike[str] | None = None,
        concurrency: int | Mapping[str, int] | None = None,
        provider_keys: Mapping[str, str] | None = None,
        base_urls: Mapping[str, str] | None = None,
        trusted_hosts: Iterable[str] = (),
        endpoint: str | None = None,
        router: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.settings: Settings = load_settings(
            environ,
            token=token,
            bill_to=bill_to,
            provider_keys=provider_keys,
            base_urls=base_urls,
            trusted_hosts=tuple(trusted_hosts),
            endpoint=endpoint,
            router=router,
        )
        self.timeouts = Timeouts.parse(timeout)
        media_folder = self.settings.home / "media" if store is None or isinstance(store, FileStorage) else Path(store)
        self.store = store if isinstance(store, FileStorage) else FileStorage(media_folder)
        ledger_path = self.settings.home / "ledger.sqlite3"
        self.ledger: Ledger = SqliteLedger(ledger_path) if ledger == "disk" else ledger or MemoryLedger()
        self.transport = Transport(proxy=proxy, environ=environ, trusted_hosts=self.settings.trusted_hosts)
        self.health, self._limiter = ProviderHealth(), ConcurrencyLimiter(concurrency)
        self.stats = LedgerStats(ProviderStats(), self.ledger)
        self._is_derived = False
        self._build()

    def _build(self, catalog: Catalog | None = None) -> None:
        """What depends on whose account it is: the catalog that its token sees, and the engine that spends."""
        hub_token = self.settings.hub_token
        self.catalog = catalog or Catalog(
            self.transport,
            endpoint=self.settings.endpoint,
            credential=Credential(secret=hub_token, base_url=self.settings.endpoint) if hub_token else None,
            folder=self.settings.home / "cache" / "hub",
        )
        self.planner = Planner(self.settings, self.catalog, health=self.health, stats=self.stats)
        self.engine = Engine(
            EngineDependencies(
                sender=self.transport,
                fetch=self.transport.fetch,
                storage=self.store,
                ledger=self.ledger,
                get_provider=get_provider,
                credential_for=credential_resolver(self.settings),
                health=self.health,
                router_headers={"X-HF-Bill-To": self.settings.bill_to} if self.settings.bill_to else {},
                slot=self._limiter.slot,
                record_stats=self.stats.stats.add,
                expected_duration=self.stats.expected_seconds,
            )
        )

    def for_account(self, *, token: str | None = None, bill_to: str | None = None) -> Self:
        """A client for another account that shares ledger, store, connections and memory with this one.

        With a ``token`` nothing of this client's own credentials is used, providers' keys included. Closing it ends
        its jobs alone; close it before this one.
        """
        client = copy.copy(self)
        client.settings = settings_for_account(self.settings, token=token, bill_to=bill_to)
        client._is_derived = True
        client._build(self.catalog if token is None else None)
        return client

    # -- making ---------------------------------------------------------------------------------------------------

    async def text_to_image(self, prompt: str, **options: Unpack[GenerationOptions]) -> Media:
        """One image from a prompt. Raises one of hfmedia's errors, typed, with the job's id."""
        return await self._generate_one("text-to-image", prompt, None, options)

    async def text_to_video(self, prompt: str, **options: Unpack[VideoGenerationOptions]) -> Media:
        """One video from a prompt. Raises one of hfmedia's errors, typed, with the job's id."""
        return await self._generate_one("text-to-video", prompt, None, options)

    async def image_to_image(
        self, image: Any, prompt: str | None = None, **options: Unpack[GenerationOptions]
    ) -> Media:
        """One image from another: a path, a URL, bytes, an open file or a Pillow image."""
        return await self._generate_one("image-to-image", prompt, image, options)

    async def image_to_video(
        self, image: Any, prompt: str | None = None, **options: Unpack[VideoGenerationOptions]
    ) -> Media:
        """One video that begins with an image: a path, a URL, bytes, an open file or a Pillow image."""
        return await self._generate_one("image-to-video", prompt, image, options)

    async def generate(
        self,
        prompt: str | None = None,
        *,
        task: str | None = None,
        image: Any = None,
        n: int = 1,
        idempotency_key: str | None = None,
        **options: Unpack[VideoGenerationOptions],
    ) -> AsyncGenerator[Event, None]:
        """The events of ``n`` outputs made side by side, as they happen; each output ends in MediaReady or JobFailed.

        Without ``task`` it is what the model does. One output's failure never costs another's result. What is wrong
        before anything is sent (bad input, no credential, no such model) is raised.

        With an ``idempotency_key`` of the caller's, a job that has it already is joined, carried on, or returned, also
        across processes that share a ledger; one that failed or was cancelled is tried anew.
        """
        validate_output_count(n)
        timeout = options.get("timeout")
        timeouts = self.timeouts if timeout is None else Timeouts.parse(timeout)
        planned = await self.planner.plan(prompt, task, image, options)
        target = self._target(options.get("output"), planned.request.prompt or planned.request.task)
        await self.store.ensure_writable(target)
        warnings = (*self.catalog.warnings, *planned.route_plan.warnings)
        events = self.engine.generate(
            planned.request,
            planned.route_plan.routes,
            target=target,
            n=n,
            timeouts=timeouts,
            warnings=warnings,
            idempotency_key=idempotency_key,
            requested_model=str(planned.model_spec),
        )
        async with aclosing(events):
            async for event in events:
                yield event

    async def preview(
        self,
        prompt: str | None = None,
        *,
        task: str | None = None,
        image: Any = None,
        **options: Unpack[VideoGenerationOptions],
    ) -> list[Preview]:
        """What each provider would be told, in the order in which they would be asked; nothing is sent to them.

        Raises what ``generate`` would raise before anything is sent.
        """
        return self.planner.preview(await self.planner.plan(prompt, task, image, options))

    # -- looking --------------------------------------------------------------------------------------------------

    async def models(
        self, task: str | None = None, *, provider: str | None = None, search: str | None = None
    ) -> list[HubModel]:
        """The Hub's models with a live provider, of one task or of all four."""
        return await self.catalog.models(parse_task(task) if task else None, provider=provider, search=search)

    async def mapping(self, model: str) -> HubModel:
        """One model and all its providers, live or not, in the Hub's order."""
        return await self.catalog.model(parse_model_spec(model).model)

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
        await self.engine.mark_orphans_in_doubt()
        matching = self.ledger.iter_jobs(
            states=states, provider=provider, model=model, since=since, newest_first=True, limit=limit
        )
        return [job async for job in matching][::-1]

    async def resumable_jobs(self) -> list[Job]:
        """The jobs that can be carried on: not ended, not in doubt, and carried by no process that lives."""
        candidates = await self.jobs(states=RESUMABLE_STATES)
        claims = await self.ledger.claims()
        return [job for job in candidates if job.id not in claims]

    async def history(self, job_id: str) -> list[LedgerEntry]:
        """Everything that happened to a job, each fact with its time (``at``, in unix seconds), oldest first."""
        await self.engine.get_job(job_id)
        return await self.ledger.entries(job_id)

    async def resume(self, job_id: str, *, output: str | os.PathLike[str] | None = None) -> Media:
        """The media of a job that was let go of (out of time, a crash, a broken download), without paying again."""
        return await _single_result(self.resume_stream(job_id, output=output))

    async def resume_stream(
        self, job_id: str, *, output: str | os.PathLike[str] | None = None
    ) -> AsyncGenerator[Event, None]:
        """The events of a job carried on from where it stands; it lands where it was to land unless ``output`` says."""
        job = await self.engine.get_job(job_id)
        target = self._target(output, "") if output is not None else self._target_of(job)
        await self.store.remove_stale_parts_once(target.folder if target.file is None else target.file.parent)
        events = self.engine.resume(job_id, target=target, timeouts=self.timeouts, replan=self.planner.routes_for)
        async with aclosing(events):
            async for event in events:
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
        if self._is_derived:  # the rest belongs to the client it was made from
            return
        await self.transport.aclose()
        await self.ledger.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _generate_one(self, task: Task, prompt: str | None, image: Any, options: Mapping[str, Any]) -> Media:
        return await _single_result(self.generate(prompt, task=task, image=image, **options))

    async def default_model(self, task: Task) -> str:
        """A well-known model that is live for this task, or else the first one that the Hub lists."""
        return await self.planner.default_model(task)

    def _target_of(self, job: Job) -> OutputTarget:
        """Where a job's media was to lie when it was made."""
        folder, file = Path(job.output_folder or self.store.folder), Path(job.output_file) if job.output_file else None
        return OutputTarget(
            folder=folder, file=file, name_hint=job.request.prompt or job.request.task, created_at=job.created_at
        )

    def _target(self, output: str | os.PathLike[str] | None, name_hint: str) -> OutputTarget:
        return resolve_target(output, self.store.folder, name_hint=name_hint, created_at=self.engine.deps.clock())


async def _single_result(events: AsyncGenerator[Event, None]) -> Media:
    """The media of a run of one output; its error, raised, when there is none."""
    async with aclosing(events):
        media: Media | None = None
        async for event in events:
            if isinstance(event, MediaReady):
                media = media or event.media
            elif isinstance(event, JobFailed):
                raise event.error
    if media is None:
        raise InvalidRequestError("nothing was asked for")
    return media
