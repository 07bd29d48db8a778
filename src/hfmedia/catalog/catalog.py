"""Catalog: the models of the Hub and their providers, at most minutes old, and available while the Hub is not.

A fresh page is used as it is; an older one is revalidated with its ETag; when the Hub fails, the stale page is used,
with a warning.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import quote, urlencode, urljoin

import msgspec
from msgspec import structs

from hfmedia.core.credentials import Credential
from hfmedia.core.errors import AuthenticationError, HubError, MissingAuthError, ModelNotFoundError
from hfmedia.core.http import HttpResponse
from hfmedia.core.hub_models import HubModel, parse_model, parse_models
from hfmedia.core.ports import HttpSender
from hfmedia.core.request import TASKS, Task

from ..singleflight import SingleFlight
from .cache import CachedPage, PageCache
from .hub_client import MAX_ATTEMPTS, Account, HubClient, error_message, next_link, require_origin

FRESH_FOR = 300.0  # seconds; the Hub checks providers hourly at most, and its rate limit window is as long
MAX_STALE = 7 * 24 * 3600.0  # seconds; after a week no data is better than stale data
HUB_COOLDOWN = 30.0  # seconds after a failure in which stale pages are used without contacting the Hub
ATTEMPTS_WITH_CACHED = 2  # with a stale page to fall back on, retries are not worth the wait
PAGE_SIZE = 1000  # models; the maximum of the Hub
MAX_PAGES = 200  # of one list: ten times the longest today
THREADED_PARSE_BYTES = 32 * 1024  # bytes; longer JSON is parsed in a thread, since it would block the event loop
CACHE_VERSION = 2  # of the JSON of CachedPage, HubModel and ProviderMapping: files of other versions are not read
MAX_IDS_COMPARED = 20_000  # IDs compared for a suggestion
MODEL_FIELDS = "expand[]=inferenceProviderMapping"


class Catalog:
    """The Hub's models for one endpoint and one token (or none). Use it from one event loop.

    Args:
        sender: HTTP client.
        endpoint: base URL of the Hub.
        credential: Hugging Face token; sent to the endpoint only.
        folder: cache directory; None caches in memory only.
        clock, sleep: unix time in seconds, and how to wait.
        ttl: seconds for which a page counts as fresh.
    """

    def __init__(
        self,
        sender: HttpSender,
        *,
        endpoint: str,
        credential: Credential | None,
        folder: Path | None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ttl: float = FRESH_FOR,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._hub = HubClient(sender, endpoint=self.endpoint, clock=clock, sleep=sleep)
        self._credential = credential
        self._token_rejected = False
        self._cache = PageCache(folder)
        self._page_requests: SingleFlight[CachedPage] = SingleFlight()
        self._account_requests: SingleFlight[Account] = SingleFlight()
        self._account: tuple[float, Account] | None = None
        self._clock = clock
        self._ttl = ttl
        self._down_until = 0.0
        self._last_error = ""
        self._stale: dict[str, float] = {}  # stale pages in use, by key: the time they were fetched

    @property
    def warnings(self) -> tuple[str, ...]:
        """Current warnings: the token was rejected, stale data is in use, the cache cannot be written."""
        token_warning = (
            f"the Hub at {self.endpoint} rejected the Hugging Face token; continuing without one "
            "(create a token at https://huggingface.co/settings/tokens)"
        )
        stale_warning = f"{self._last_error}; using model data that is {self._stale_minutes()} min old"
        candidates = (
            (self._token_rejected, token_warning),
            (bool(self._stale), stale_warning),
            (bool(self._cache.write_error), self._cache.write_error),
        )
        return tuple(message for applies, message in candidates if applies and message)

    async def models(
        self,
        task: Task | None = None,
        *,
        provider: str | None = None,
        search: str | None = None,
        limit: int | None = None,
    ) -> list[HubModel]:
        """List the models with a live provider, of one task or all, in the Hub's order; each with all its mappings.

        ``provider`` selects models that are live there, ``search`` IDs that contain it (case-insensitive). At ``limit``
        models, no further pages are fetched.

        Raises:
            HubError: the Hub fails, and there is no cached page.
        """
        lists = await asyncio.gather(
            *(self._list_models(listed_task, provider, search, limit) for listed_task in ((task,) if task else TASKS))
        )
        merged = {model.id: model for model in itertools.chain.from_iterable(lists)}
        return list(merged.values())[:limit]

    async def model(self, model_id: str, *, fresh: bool = False) -> HubModel:
        """Return one model and all its providers, live or not; ``fresh`` revalidates even a fresh page.

        A renamed model has its new ID.

        Raises:
            ModelNotFoundError: the model does not exist, or this token may not see it.
            AuthenticationError: the Hub rejected the token, and does not show the model without one.
            HubError: the Hub fails, and there is no cached page.
        """
        url = f"{self.endpoint}/api/models/{quote(model_id, safe='/')}?{MODEL_FIELDS}"
        page = await self._get_page(url, model=model_id, fresh=fresh)
        return page.models[0]

    async def whoami(self) -> Account:
        """Return the token's account, cached like pages, because the Hub limits this call strictly.

        Raises:
            MissingAuthError: there is no token.
            AuthenticationError: the Hub rejected it.
            HubError: the Hub fails.
        """
        if self._credential is None:
            raise MissingAuthError("no Hugging Face token; `export HF_TOKEN=…` or `hf auth login`")
        if self._account and self._clock() - self._account[0] < self._ttl:
            return self._account[1]
        return await self._account_requests.do("whoami", self._fetch_account)

    async def _list_models(
        self, task: Task, provider: str | None, search: str | None, limit: int | None
    ) -> list[HubModel]:
        matches: dict[str, HubModel] = {}
        needle = (search or "").casefold()
        async for page in self._iter_pages(task):
            for model in page.models:
                live = [mapping for mapping in model.live_mappings(task) if provider in (None, mapping.provider)]
                if live and needle in model.id.casefold():
                    matches.setdefault(model.id, model)
            if limit is not None and len(matches) >= limit:
                break
        return list(matches.values())

    async def _iter_pages(self, task: Task) -> AsyncIterator[CachedPage]:
        query = urlencode({"pipeline_tag": task, "inference_provider": "all", "limit": PAGE_SIZE})
        url: str | None = f"{self.endpoint}/api/models?{query}&{MODEL_FIELDS}"
        seen: set[str] = set()
        while url is not None:
            if url in seen or len(seen) >= MAX_PAGES:
                raise HubError(
                    f"the list of {task} models at {self.endpoint} does not end (over {MAX_PAGES} pages, or a loop)"
                )
            seen.add(url)
            page = await self._get_page(url)
            yield page
            url = page.next_url

    async def _get_page(self, url: str, *, model: str | None = None, fresh: bool = False) -> CachedPage:
        key = self._cache_key(url)
        page = self._cache.peek(key)
        if page is not None and not fresh and self._is_fresh(page):
            return page
        return await self._page_requests.do((key, fresh), lambda: self._refresh(url, key, model, fresh))

    def _is_fresh(self, page: CachedPage) -> bool:
        return 0 <= self._clock() - page.fetched_at < self._ttl

    async def _refresh(self, url: str, key: str, model: str | None, fresh: bool) -> CachedPage:
        cached = await self._cache.get(key)
        now = self._clock()
        if cached is not None and not 0 <= now - cached.fetched_at < MAX_STALE:
            cached = None
        if cached is not None and not fresh and self._is_fresh(cached):
            return cached
        if cached is not None and not fresh and now < self._down_until:
            return self._mark_stale(cached)
        try:
            page = await self._fetch_page(url, cached, model)
        except HubError as error:
            self._last_error, self._down_until = str(error), self._clock() + HUB_COOLDOWN
            if cached is None:
                raise
            return self._mark_stale(cached)
        except ModelNotFoundError:
            await self._cache.delete(key)
            raise
        self._down_until = 0.0
        self._stale.pop(key, None)
        await self._cache.put(page)
        return page

    def _mark_stale(self, page: CachedPage) -> CachedPage:
        """Return the page, and record for ``warnings`` that it is stale."""
        self._stale[page.key] = page.fetched_at
        return page

    def _stale_minutes(self) -> int:
        """Return the age of the oldest stale page in use, in minutes."""
        return max(1, round((self._clock() - min(self._stale.values(), default=self._clock())) / 60))

    async def _fetch_page(self, url: str, cached: CachedPage | None, model: str | None) -> CachedPage:
        response = await self._get_response(url, cached, model)
        now = self._clock()
        if response.status == 304 and cached is not None:
            return structs.replace(cached, fetched_at=now)
        if not response.ok:
            raise HubError(
                f"the Hub at {self.endpoint} responded with an error: {error_message(response)}", status=response.status
            )
        try:
            models = await _parse_models(response, single=model is not None)
        except msgspec.DecodeError as error:
            expected = "a model" if model else "a list of models"
            raise HubError(
                f"the Hub at {self.endpoint} sent something other than {expected} "
                f"({response.mime or 'no content type'})"
            ) from error
        next_url = next_link(response.headers.get("link", ""))
        return CachedPage(
            key=self._cache_key(url),
            fetched_at=now,
            models=models,
            etag=response.headers.get("etag"),
            next_url=require_origin(self.endpoint, urljoin(url, next_url)) if next_url else None,
        )

    async def _get_response(self, url: str, cached: CachedPage | None, model: str | None) -> HttpResponse:
        """Request a page with the token; without it once the Hub has rejected it."""
        etag, attempts = (cached.etag, ATTEMPTS_WITH_CACHED) if cached else (None, MAX_ATTEMPTS)
        credential = None if self._token_rejected else self._credential
        response = await self._hub.get(url, credential, etag=etag, attempts=attempts)
        if response.status == 401 and credential is not None and response.headers.get("x-error-code") != "RepoNotFound":
            anonymous_response = await self._hub.get(url, None)
            if not anonymous_response.ok:
                message = "the Hub rejected the Hugging Face token" + (
                    f", and does not show {model} without one" if model else ""
                )
                raise AuthenticationError(
                    f"{message}: {error_message(response)}. {NEW_TOKEN_HINT}", status=401, model=model
                )
            self._token_rejected = True
            return anonymous_response
        if model is not None and response.status in (401, 403, 404):
            raise ModelNotFoundError(
                await self._not_found_message(model, response.status), model=model, status=response.status
            )
        return response

    async def _not_found_message(self, model: str, status: int) -> str:
        suggestions = await asyncio.to_thread(
            _similar_ids, model, list(itertools.islice(self._cache.model_ids(), MAX_IDS_COMPARED))
        )
        hint = f" Did you mean {' or '.join(suggestions)}?" if suggestions else ""
        if status == 403:
            return f"this token has no access to {model}; request it at {self.endpoint}/{model}.{hint}"
        if status == 404:
            return f"model {model} was not found on the Hub, or it is private.{hint}"
        explanation = (
            "The Hub rejected the token, so the request was made without one. " if self._token_rejected else ""
        )
        return (
            f"model {model} was not found without a token: it does not exist, or it is private. {explanation}"
            f"If you have access to it, log in with `hf auth login` or `export HF_TOKEN=…`.{hint}"
        )

    async def _fetch_account(self) -> Account:
        response = await self._hub.get(f"{self.endpoint}/api/whoami-v2", self._credential)
        if response.status in (401, 403):
            raise AuthenticationError(
                f"the Hub rejected the Hugging Face token: {error_message(response)}. {NEW_TOKEN_HINT}", status=401
            )
        try:
            if not response.ok:
                raise HubError(
                    f"the Hub at {self.endpoint} responded with an error: {error_message(response)}",
                    status=response.status,
                )
            account = response.json(Account)
        except msgspec.DecodeError as error:
            raise HubError(
                f"the Hub at {self.endpoint} sent no account for the token ({response.mime or 'no content type'})"
            ) from error
        self._account = (self._clock(), account)
        return account

    def _cache_key(self, url: str) -> str:
        """Return the key of a page; responses depend on the account, so it includes a hash of the token's hash."""
        token = None if self._token_rejected or self._credential is None else self._credential.secret.reveal()
        identity = hashlib.sha256(token.encode()).hexdigest() if token else "anybody"
        text = f"v{CACHE_VERSION}\n{self.endpoint}\n{identity}\n{url}"
        return hashlib.sha256(text.encode()).hexdigest()[:40]


NEW_TOKEN_HINT = "Create a new one at https://huggingface.co/settings/tokens, or remove this one to continue without"


async def _parse_models(response: HttpResponse, *, single: bool) -> tuple[HubModel, ...]:
    def parse() -> tuple[HubModel, ...]:
        return (parse_model(response.body),) if single else tuple(parse_models(response.body))

    return parse() if len(response.body) < THREADED_PARSE_BYTES else await asyncio.to_thread(parse)


def _similar_ids(model: str, candidates: list[str]) -> list[str]:
    """Return up to three known IDs that may have been meant."""
    by_lowercase = {name.lower(): name for name in candidates}
    target = model.lower()
    same_name = [
        name for lowered, name in by_lowercase.items() if lowered.rpartition("/")[2] == target.rpartition("/")[2]
    ]
    close_matches = difflib.get_close_matches(target, list(by_lowercase), n=3, cutoff=0.75)
    return list(dict.fromkeys([*same_name, *(by_lowercase[name] for name in close_matches)]))[:3]
