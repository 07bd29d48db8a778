"""Catalog: the models of the Hub and their providers, fresh within minutes, and still there when the Hub is not.

A page younger than its time is not asked for; an older one is asked for with its ETag; one that cannot be asked for is
used as it was, and the caller can see that.
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

FRESH_FOR = 300.0  # seconds; the Hub checks providers hourly at most, and its own rate window is as long
MAX_STALE = 7 * 24 * 3600.0  # seconds; what was true a week ago is no better than nothing
HUB_COOLDOWN = 30.0  # seconds for which a Hub in trouble is not asked again where an older answer will do
ATTEMPTS_WITH_CACHED = 2  # where an older answer will do, nobody needs to wait for a Hub in trouble
PAGE_SIZE = 1000  # models; the most the Hub puts on one page
MAX_PAGES = 200  # of one list: ten times the longest there is
THREADED_PARSE_BYTES = 32 * 1024  # bytes; longer JSON is read in a thread, since it would hold up the event loop
CACHE_VERSION = 2  # of the JSON of CachedPage, HubModel and ProviderMapping: files of other versions are not read
MAX_IDS_COMPARED = 20_000  # ids looked through for a similar one
MODEL_FIELDS = "expand[]=inferenceProviderMapping"


class Catalog:
    """What the Hub knows, for one endpoint and one token (or none). It is used from one event loop.

    Args:
        sender: sends the requests.
        endpoint: the Hub's address.
        credential: the Hugging Face token; it goes to the endpoint alone.
        folder: where pages are kept between runs; None keeps them in memory only.
        clock, sleep: the time in unix seconds, and how to wait.
        ttl: for how long, in seconds, an answer is not asked for again.
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
        self._stale: dict[str, float] = {}  # the pages that were used although too old: when they were true

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the answers given: the token refused, older answers used, a cache not writable.

        What is no longer so is no longer here.
        """
        token_warning = (
            f"the Hub at {self.endpoint} refused the Hugging Face token; it was asked without one "
            "(make a token at https://huggingface.co/settings/tokens)"
        )
        stale_warning = f"{self._last_error}; what is known of its models is {self._stale_minutes()} min old"
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
        """The models with a live provider, of one task or of all, in the Hub's order; each with all its mappings.

        ``provider`` narrows to what is live there, ``search`` to ids that contain it in any case, ``limit`` to so many
        (no further page is asked for then).

        Raises:
            HubError: the Hub does not answer as it should, and there is no older answer.
        """
        lists = await asyncio.gather(
            *(self._list_models(listed_task, provider, search, limit) for listed_task in ((task,) if task else TASKS))
        )
        merged = {model.id: model for model in itertools.chain.from_iterable(lists)}
        return list(merged.values())[:limit]

    async def model(self, model_id: str, *, fresh: bool = False) -> HubModel:
        """One model and all its providers, live or not. ``fresh`` asks the Hub even if the last answer is young.

        A model that was renamed comes back under its new id.

        Raises:
            ModelNotFoundError: the Hub does not know it, or hides it from this token.
            CredentialError: the Hub refused the token, and does not show the model without one.
            HubError: the Hub does not answer as it should, and there is no older answer.
        """
        url = f"{self.endpoint}/api/models/{quote(model_id, safe='/')}?{MODEL_FIELDS}"
        page = await self._get_page(url, model=model_id, fresh=fresh)
        return page.models[0]

    async def whoami(self) -> Account:
        """Whose token it is; kept for as long as other answers, for the Hub limits this strictly.

        Raises:
            MissingAuthError: there is no token.
            CredentialError: the Hub refused it.
            HubError: the Hub does not answer as it should.
        """
        if self._credential is None:
            raise MissingAuthError("there is no Hugging Face token; `export HF_TOKEN=…` or `hf auth login`")
        if self._account and self._clock() - self._account[0] < self._ttl:
            return self._account[1]
        return await self._account_requests.do("whoami", self._fetch_account)

    # -- inside ---------------------------------------------------------------------------------------------------

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
                raise HubError(f"the list of {task} models at {self.endpoint} does not end")
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
        """The page, and a note for the warnings that it is older than it should be."""
        self._stale[page.key] = page.fetched_at
        return page

    def _stale_minutes(self) -> int:
        """Minutes since the oldest of the pages used although too old was true."""
        return max(1, round((self._clock() - min(self._stale.values(), default=self._clock())) / 60))

    async def _fetch_page(self, url: str, cached: CachedPage | None, model: str | None) -> CachedPage:
        response = await self._get_response(url, cached, model)
        now = self._clock()
        if response.status == 304 and cached is not None:
            return structs.replace(cached, fetched_at=now)
        if not response.ok:
            raise HubError(f"the Hub at {self.endpoint} answered {error_message(response)}", status=response.status)
        try:
            models = await _parse_models(response, single=model is not None)
        except msgspec.DecodeError as error:
            problem = f"something that is no {'model' if model else 'list of models'}"
            raise HubError(f"the Hub at {self.endpoint} answered {problem} ({response.mime or 'no type'})") from error
        next_url = next_link(response.headers.get("link", ""))
        return CachedPage(
            key=self._cache_key(url),
            fetched_at=now,
            models=models,
            etag=response.headers.get("etag"),
            next_url=require_origin(self.endpoint, urljoin(url, next_url)) if next_url else None,
        )

    async def _get_response(self, url: str, cached: CachedPage | None, model: str | None) -> HttpResponse:
        """The Hub's answer, with the token if it takes it; else without, which is remembered."""
        etag, attempts = (cached.etag, ATTEMPTS_WITH_CACHED) if cached else (None, MAX_ATTEMPTS)
        credential = None if self._token_rejected else self._credential
        response = await self._hub.get(url, credential, etag=etag, attempts=attempts)
        if response.status == 401 and credential is not None and response.headers.get("x-error-code") != "RepoNotFound":
            anonymous_response = await self._hub.get(url, None)
            if not anonymous_response.ok:
                message = "the Hub refused the Hugging Face token" + (
                    f", and does not show {model} without" if model else ""
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
            return f"the Hub does not let this token see {model}; ask for access at {self.endpoint}/{model}.{hint}"
        if status == 404:
            return f"there is no model {model} on the Hub, or it is private to others.{hint}"
        explanation = (
            "The token that was given is refused, so it was asked without one. " if self._token_rejected else ""
        )
        return (
            f"the Hub shows no model {model} to somebody without a token: it does not exist, or it is private. {explanation}"
            f"If it is yours, log in with `hf auth login` or `export HF_TOKEN=…`.{hint}"
        )

    async def _fetch_account(self) -> Account:
        response = await self._hub.get(f"{self.endpoint}/api/whoami-v2", self._credential)
        if response.status in (401, 403):
            raise AuthenticationError(
                f"the Hub refused the Hugging Face token: {error_message(response)}. {NEW_TOKEN_HINT}", status=401
            )
        try:
            if not response.ok:
                raise HubError(f"the Hub at {self.endpoint} answered {error_message(response)}", status=response.status)
            account = response.json(Account)
        except msgspec.DecodeError as error:
            raise HubError(f"the Hub at {self.endpoint} did not say whose token it is ({response.mime})") from error
        self._account = (self._clock(), account)
        return account

    def _cache_key(self, url: str) -> str:
        """The name of a page: what is told may depend on who asks, so the token takes part, as a hash of a hash."""
        token = None if self._token_rejected or self._credential is None else self._credential.secret.reveal()
        identity = hashlib.sha256(token.encode()).hexdigest() if token else "anybody"
        text = f"v{CACHE_VERSION}\n{self.endpoint}\n{identity}\n{url}"
        return hashlib.sha256(text.encode()).hexdigest()[:40]


NEW_TOKEN_HINT = "Make a new one at https://huggingface.co/settings/tokens, or remove this one to go on without"


async def _parse_models(response: HttpResponse, *, single: bool) -> tuple[HubModel, ...]:
    def parse() -> tuple[HubModel, ...]:
        return (parse_model(response.body),) if single else tuple(parse_models(response.body))

    return parse() if len(response.body) < THREADED_PARSE_BYTES else await asyncio.to_thread(parse)


def _similar_ids(model: str, candidates: list[str]) -> list[str]:
    """Up to three known ids that a person may have meant."""
    by_lowercase = {name.lower(): name for name in candidates}
    target = model.lower()
    same_name = [
        name for lowered, name in by_lowercase.items() if lowered.rpartition("/")[2] == target.rpartition("/")[2]
    ]
    close_matches = difflib.get_close_matches(target, list(by_lowercase), n=3, cutoff=0.75)
    return list(dict.fromkeys([*same_name, *(by_lowercase[name] for name in close_matches)]))[:3]
