"""MediaClient: images and videos from every model on Hugging Face Inference Providers, natively async.

Composition root: picks defaults and wires the components together.
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
from .engine import Engine, EngineDependencies, Event, EventStream, JobFailed, MediaReady
from .ledger import Ledger, MemoryLedger, SqliteLedger
from .options import GenerationOptions, VideoGenerationOptions
from .planning import Planner, PreparedRequest, Preview
from .providers import get_provider
from .routing import ConcurrencyLimiter, LedgerStats, ProviderHealth, ProviderStats, credential_resolver
from .settings import Settings, load_settings, settings_for_account
from .storage import FileStorage, Media, resolve_target
from .transport import Transport

RESUMABLE_STATES: tuple[State, ...] = ("created", "routed", "running", "completed")


class MediaClient:
    """Images and videos from every model on Hugging Face Inference Providers.

    Args:
        token: a Hugging Face token (``hf_…``, through the router), or a provider's own key (then choose the provider
            with ``model:provider``). Default: discovered in the same places as by huggingface_hub.
        bill_to: the organization to bill instead of the user (``X-HF-Bill-To``).
        proxy: an ``http://``, ``https://``, ``socks5://`` … URL. Default: the usual environment variables.
        timeout: total seconds for each call, 0 for no limit; or Timeouts for each step.
        ledger: storage of job histories: ``"disk"`` for a file under HFMEDIA_HOME, None for memory only, or a Ledger.
        store: storage of media: a FileStorage or a folder. Default: ``media`` under HFMEDIA_HOME.
        concurrency: maximum number of concurrent jobs per provider: one number, or one by provider name.
        provider_keys: providers' own API keys by provider name; requests to such a provider bypass the router.
        base_urls: replacements for providers' base URLs, by the original one (``https://fal.run``).
        trusted_hosts: ``host`` or ``host:port`` from which media may be fetched although its address is private.
        endpoint, router: URLs of the Hub and the router, instead of HF_ENDPOINT and HFMEDIA_ROUTER.
        environ: environment variables to use instead of the process's.

    Raises:
        InvalidRequestError: an argument or a variable is invalid; nothing was sent.
        AuthenticationError: a token or key is malformed; nothing was sent.
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
        """Build the account-specific components: the catalog, as its token sees it, the planner and the engine."""
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
        """Return a client for another account that shares ledger, store, connections and statistics with this one.

        With a ``token``, none of this client's own credentials is used, provider keys included. Closing the returned
        client ends only its own jobs; close it before this one.
        """
        client = copy.copy(self)
        client.settings = settings_for_account(self.settings, token=token, bill_to=bill_to)
        client._is_derived = True
        client._build(self.catalog if token is None else None)
        return client

    # -- generating -----------------------------------------------------------------------------------------------

    async def text_to_image(self, prompt: str, **options: Unpack[GenerationOptions]) -> Media:
        """Generate one image from a prompt. Raises HfmediaError, with the job's id."""
        return await self._generate_one("text-to-image", prompt, None, options)

    async def text_to_video(self, prompt: str, **options: Unpack[VideoGenerationOptions]) -> Media:
        """Generate one video from a prompt. Raises HfmediaError, with the job's id."""
        return await self._generate_one("text-to-video", prompt, None, options)

    async def image_to_image(
        self, image: Any, prompt: str | None = None, **options: Unpack[GenerationOptions]
    ) -> Media:
        """Generate one image from another: a path, a URL, bytes, an open file or a Pillow image."""
        return await self._generate_one("image-to-image", prompt, image, options)

    async def image_to_video(
        self, image: Any, prompt: str | None = None, **options: Unpack[VideoGenerationOptions]
    ) -> Media:
        """Generate one video that starts with an image: a path, a URL, bytes, an open file or a Pillow image."""
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
        """Generate ``n`` outputs concurrently and yield their events; each output ends in MediaReady or JobFailed.

        Without ``task``, the model's own task is used. A failed output does not affect the others. Errors before
        anything is sent (invalid input, no credential, unknown model) are raised.

        With an ``idempotency_key``, an existing job with that key is attached to, resumed or returned, also across
        processes that share a ledger; a failed or cancelled one is submitted again.
        """
        validate_output_count(n)
        timeout, output = options.get("timeout"), options.get("output")
        timeouts = self.timeouts if timeout is None else Timeouts.parse(timeout)
        prepared = await self.planner.prepare(prompt, task, image, options)
        events = await self.start(prepared, n=n, timeouts=timeouts, output=output, idempotency_key=idempotency_key)
        async with aclosing(events):
            async for event in events:
                yield event

    async def start(
        self,
        prepared: PreparedRequest,
        *,
        n: int = 1,
        timeouts: Timeouts | None = None,
        output: str | os.PathLike[str] | None = None,
        idempotency_key: str | None = None,
    ) -> EventStream:
        """Route a prepared request and return the events of its jobs; nothing is sent before the first is requested.

        Raises the errors of Planner.route, and StorageError when the output cannot be written.
        """
        planned = await self.planner.route(prepared)
        target = self._target(output, planned.request.prompt or planned.request.task)
        await self.store.ensure_writable(target)
        return self.engine.generate(
            planned.request,
            planned.route_plan.routes,
            target=target,
            n=n,
            timeouts=timeouts or self.timeouts,
            warnings=(*self.catalog.warnings, *planned.route_plan.warnings),
            idempotency_key=idempotency_key,
            requested_model=str(planned.model_spec),
        )

    async def preview(
        self,
        prompt: str | None = None,
        *,
        task: str | None = None,
        image: Any = None,
        **options: Unpack[VideoGenerationOptions],
    ) -> list[Preview]:
        """Return the request as each provider would receive it, in order of preference; nothing is sent to them.

        Raises the same errors as ``generate`` does before anything is sent.
        """
        return self.planner.preview(await self.planner.plan(prompt, task, image, options))

    # -- models ---------------------------------------------------------------------------------------------------

    async def models(
        self, task: str | None = None, *, provider: str | None = None, search: str | None = None
    ) -> list[HubModel]:
        """List the Hub's models with a live provider, for one task or for all four."""
        return await self.catalog.models(parse_task(task) if task else None, provider=provider, search=search)

    async def mapping(self, model: str) -> HubModel:
        """Return one model and all its providers, live or not, in the Hub's order."""
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
        """List the matching jobs in the ledger, oldest first; with ``limit``, only the most recent ones.

        ``since`` is in Unix seconds. A job whose process died while its request was being sent becomes in doubt here.
        """
        await self.engine.mark_orphans_in_doubt()
        matching = self.ledger.iter_jobs(
            states=states, provider=provider, model=model, since=since, newest_first=True, limit=limit
        )
        return [job async for job in matching][::-1]

    async def resumable_jobs(self) -> list[Job]:
        """List the jobs that can be resumed: not ended, not in doubt, and not running in a live process."""
        candidates = await self.jobs(states=RESUMABLE_STATES)
        claims = await self.ledger.claims()
        return [job for job in candidates if job.id not in claims]

    async def history(self, job_id: str) -> list[LedgerEntry]:
        """List the ledger entries of a job, each with its ``timestamp`` in Unix seconds, oldest first."""
        await self.engine.get_job(job_id)
        return await self.ledger.entries(job_id)

    async def resume(self, job_id: str, *, output: str | os.PathLike[str] | None = None) -> Media:
        """Return the media of a detached job (a time limit, a crash, an interrupted download) at no extra cost."""
        return await _single_result(self.resume_stream(job_id, output=output))

    async def resume_stream(
        self, job_id: str, *, output: str | os.PathLike[str] | None = None
    ) -> AsyncGenerator[Event, None]:
        """Resume a job and yield its events; it is stored at its original path unless ``output`` is given."""
        job = await self.engine.get_job(job_id)
        target = self._target(output, "") if output is not None else self._target_of(job)
        await self.store.remove_stale_parts_once(target.folder if target.file is None else target.file.parent)
        events = self.engine.resume(job_id, target=target, timeouts=self.timeouts, replan=self.planner.routes_for)
        async with aclosing(events):
            async for event in events:
                yield event

    async def resolve(self, job_id: str, decision: Literal["resend", "drop", "ask"]) -> Job:
        """Resolve a job in doubt: resend it on the next ``resume``, drop it, or look it up at the provider (``ask``).

        Raises InvalidRequestError when it is not in doubt, or when the provider supports no lookup or has no such job.
        """
        return await self.engine.resolve(job_id, decision)

    async def prune(self, before: float) -> int:
        """Delete ended jobs last updated before then (Unix seconds) and return their number. Files stay."""
        return await self.ledger.prune(before)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job, at the provider too where possible, and return it."""
        return await self.engine.cancel(job_id)

    async def detach(self, job_id: str, *, keep_unsent: bool = False) -> Job:
        """Detach from a job: the provider keeps running it and ``resume`` fetches the result later.

        A job that was not sent yet is cancelled, or with ``keep_unsent`` left to be sent when it is resumed.
        """
        return await self.engine.detach(job_id, keep_unsent=keep_unsent)

    async def aclose(self) -> None:
        """Cancel running jobs and close all connections."""
        await self.engine.aclose()
        if self._is_derived:  # the rest belongs to the client that created it
            return
        await self.transport.aclose()
        await self.ledger.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- internals ------------------------------------------------------------------------------------------------

    async def _generate_one(self, task: Task, prompt: str | None, image: Any, options: Mapping[str, Any]) -> Media:
        return await _single_result(self.generate(prompt, task=task, image=image, **options))

    async def default_model(self, task: Task) -> str:
        """Return a well-known model that is live for this task, or else the first one that the Hub lists."""
        return await self.planner.default_model(task)

    def _target_of(self, job: Job) -> OutputTarget:
        """Return the output target that the job was created with."""
        folder, file = Path(job.output_folder or self.store.folder), Path(job.output_file) if job.output_file else None
        return OutputTarget(
            folder=folder, file=file, name_hint=job.request.prompt or job.request.task, created_at=job.created_at
        )

    def _target(self, output: str | os.PathLike[str] | None, name_hint: str) -> OutputTarget:
        return resolve_target(output, self.store.folder, name_hint=name_hint, created_at=self.engine.deps.clock())


async def _single_result(events: AsyncGenerator[Event, None]) -> Media:
    """Return the media of the only output. Raises its error when there is none."""
    async with aclosing(events):
        media: Media | None = None
        async for event in events:
            if isinstance(event, MediaReady):
                media = media or event.media
            elif isinstance(event, JobFailed):
                raise event.error
    if media is None:
        raise InvalidRequestError("at least one output is required")
    return media
