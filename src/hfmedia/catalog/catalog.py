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

from hfmedia.core.errors import CredentialError, HubError, MissingAuthError, ModelNotFoundError
from hfmedia.core.mapping import Model, read_model, read_models
from hfmedia.core.ports import Sender
from hfmedia.core.request import TASKS, Task
from hfmedia.core.wire import Credential, HttpReply

from .flights import Flights
from .hub import ATTEMPTS, Hub, Who, complaint_of, next_link, on_origin
from .shelf import Page, Shelf

FRESH = 300.0  # seconds; the Hub checks providers hourly at most, and its own rate window is as long
STALEST = 7 * 24 * 3600.0  # seconds; what was true a week ago is no better than nothing
HUB_REST = 30.0  # seconds for which a Hub in trouble is not asked again where an older answer will do
ATTEMPTS_WITH_OLDER = 2  # where an older answer will do, nobody needs to wait for a Hub in trouble
PAGE_SIZE = 1000  # models; the most the Hub puts on one page
MOST_PAGES = 200  # of one list: ten times the longest there is
LARGE_BODY = 32 * 1024  # bytes; longer JSON is read in a thread, since it would hold up the event loop
MOST_COMPARED = 20_000  # ids looked through for a similar one
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
        sender: Sender,
        *,
        endpoint: str,
        credential: Credential | None,
        folder: Path | None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ttl: float = FRESH,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._hub = Hub(sender, endpoint=self.endpoint, clock=clock, sleep=sleep)
        self._credential = credential
        self._refused = False
        self._shelf = Shelf(folder)
        self._flights: Flights[Page] = Flights()
        self._whoami: Flights[Who] = Flights()
        self._who: tuple[float, Who] | None = None
        self._clock = clock
        self._ttl = ttl
        self._down_until = 0.0
        self._trouble = ""
        self._stale: dict[str, float] = {}  # the pages that were used although too old: when they were true

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the answers given: the token refused, older answers used, a cache not writable.

        What is no longer so is no longer here.
        """
        refused = (
            f"the Hub at {self.endpoint} refused the Hugging Face token; it was asked without one "
            "(make a token at https://huggingface.co/settings/tokens)"
        )
        aged = f"{self._trouble}; what is known of its models is {self._age()} min old"
        told = ((self._refused, refused), (bool(self._stale), aged), (bool(self._shelf.trouble), self._shelf.trouble))
        return tuple(words for so, words in told if so and words)

    async def models(
        self,
        task: Task | None = None,
        *,
        provider: str | None = None,
        search: str | None = None,
        limit: int | None = None,
    ) -> list[Model]:
        """The models with a live provider, of one task or of all, in the Hub's order; each with all its mappings.

        ``provider`` narrows to what is live there, ``search`` to ids that contain it in any case, ``limit`` to so many
        (no further page is asked for then).

        Raises:
            HubError: the Hub does not answer as it should, and there is no older answer.
        """
        lists = await asyncio.gather(
            *(self._listed(one, provider, search, limit) for one in ((task,) if task else TASKS))
        )
        merged = {model.id: model for model in itertools.chain.from_iterable(lists)}
        return list(merged.values())[:limit]

    async def mapping(self, model: str, *, fresh: bool = False) -> Model:
        """One model and all its providers, live or not. ``fresh`` asks the Hub even if the last answer is young.

        A model that was renamed comes back under its new id.

        Raises:
            ModelNotFoundError: the Hub does not know it, or hides it from this token.
            CredentialError: the Hub refused the token, and does not show the model without one.
            HubError: the Hub does not answer as it should, and there is no older answer.
        """
        url = f"{self.endpoint}/api/models/{quote(model, safe='/')}?{MODEL_FIELDS}"
        page = await self._page(url, model=model, fresh=fresh)
        return page.models[0]

    async def whoami(self) -> Who:
        """Whose token it is; kept for as long as other answers, for the Hub limits this strictly.

        Raises:
            MissingAuthError: there is no token.
            CredentialError: the Hub refused it.
            HubError: the Hub does not answer as it should.
        """
        if self._credential is None:
            raise MissingAuthError("there is no Hugging Face token; `export HF_TOKEN=…` or `hf auth login`")
        if self._who and self._clock() - self._who[0] < self._ttl:
            return self._who[1]
        return await self._whoami.join("whoami", self._ask_who)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _listed(self, task: Task, provider: str | None, search: str | None, limit: int | None) -> list[Model]:
        found: dict[str, Model] = {}
        wanted = (search or "").casefold()
        async for page in self._pages(task):
            for model in page.models:
                live = [one for one in model.live(task) if provider in (None, one.provider)]
                if live and wanted in model.id.casefold():
                    found.setdefault(model.id, model)
            if limit is not None and len(found) >= limit:
                break
        return list(found.values())

    async def _pages(self, task: Task) -> AsyncIterator[Page]:
        query = urlencode({"pipeline_tag": task, "inference_provider": "all", "limit": PAGE_SIZE})
        url: str | None = f"{self.endpoint}/api/models?{query}&{MODEL_FIELDS}"
        seen: set[str] = set()
        while url is not None:
            if url in seen or len(seen) >= MOST_PAGES:
                raise HubError(f"the list of {task} models at {self.endpoint} does not end")
            seen.add(url)
            page = await self._page(url)
            yield page
            url = page.next

    async def _page(self, url: str, *, model: str | None = None, fresh: bool = False) -> Page:
        key = self._key(url)
        page = self._shelf.at_hand(key)
        if page is not None and not fresh and self._young(page):
            return page
        return await self._flights.join((key, fresh), lambda: self._renewed(url, key, model, fresh))

    def _young(self, page: Page) -> bool:
        return 0 <= self._clock() - page.at < self._ttl

    async def _renewed(self, url: str, key: str, model: str | None, fresh: bool) -> Page:
        kept = await self._shelf.find(key)
        now = self._clock()
        if kept is not None and not 0 <= now - kept.at < STALEST:
            kept = None
        if kept is not None and not fresh and self._young(kept):
            return kept
        if kept is not None and not fresh and now < self._down_until:
            return self._aged(kept)
        try:
            page = await self._asked(url, kept, model)
        except HubError as error:
            self._trouble, self._down_until = str(error), self._clock() + HUB_REST
            if kept is None:
                raise
            return self._aged(kept)
        except ModelNotFoundError:
            await self._shelf.drop(key)
            raise
        self._down_until = 0.0
        self._stale.pop(key, None)
        await self._shelf.keep(page)
        return page

    def _aged(self, page: Page) -> Page:
        """The page, and a note for the warnings that it is older than it should be."""
        self._stale[page.key] = page.at
        return page

    def _age(self) -> int:
        """Minutes since the oldest of the pages used although too old was true."""
        return max(1, round((self._clock() - min(self._stale.values(), default=self._clock())) / 60))

    async def _asked(self, url: str, kept: Page | None, model: str | None) -> Page:
        reply = await self._reply(url, kept, model)
        now = self._clock()
        if reply.status == 304 and kept is not None:
            return structs.replace(kept, at=now)
        if not reply.ok:
            raise HubError(f"the Hub at {self.endpoint} answered {complaint_of(reply)}", status=reply.status)
        try:
            models = await _read(reply, one=model is not None)
        except msgspec.DecodeError as error:
            what = f"something that is no {'model' if model else 'list of models'}"
            raise HubError(f"the Hub at {self.endpoint} answered {what} ({reply.mime or 'no type'})") from error
        further = next_link(reply.headers.get("link", ""))
        return Page(
            key=self._key(url),
            at=now,
            models=models,
            etag=reply.headers.get("etag"),
            next=on_origin(self.endpoint, urljoin(url, further)) if further else None,
        )

    async def _reply(self, url: str, kept: Page | None, model: str | None) -> HttpReply:
        """The Hub's answer, with the token if it takes it; else without, which is remembered."""
        etag, attempts = (kept.etag, ATTEMPTS_WITH_OLDER) if kept else (None, ATTEMPTS)
        credential = None if self._refused else self._credential
        reply = await self._hub.get(url, credential, etag=etag, attempts=attempts)
        if reply.status == 401 and credential is not None and reply.headers.get("x-error-code") != "RepoNotFound":
            openly = await self._hub.get(url, None)
            if not openly.ok:
                words = "the Hub refused the Hugging Face token" + (
                    f", and does not show {model} without" if model else ""
                )
                raise CredentialError(f"{words}: {complaint_of(reply)}. {NEW_TOKEN}", status=401, model=model)
            self._refused = True
            return openly
        if model is not None and reply.status in (401, 403, 404):
            raise ModelNotFoundError(await self._unknown(model, reply.status), model=model, status=reply.status)
        return reply

    async def _unknown(self, model: str, status: int) -> str:
        near = await asyncio.to_thread(_nearest, model, list(itertools.islice(self._shelf.ids(), MOST_COMPARED)))
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        if status == 403:
            return f"the Hub does not let this token see {model}; ask for access at {self.endpoint}/{model}.{hint}"
        if status == 404:
            return f"there is no model {model} on the Hub, or it is private to others.{hint}"
        why = "The token that was given is refused, so it was asked without one. " if self._refused else ""
        return (
            f"the Hub shows no model {model} to somebody without a token: it does not exist, or it is private. {why}"
            f"If it is yours, log in with `hf auth login` or `export HF_TOKEN=…`.{hint}"
        )

    async def _ask_who(self) -> Who:
        reply = await self._hub.get(f"{self.endpoint}/api/whoami-v2", self._credential)
        if reply.status in (401, 403):
            raise CredentialError(
                f"the Hub refused the Hugging Face token: {complaint_of(reply)}. {NEW_TOKEN}", status=401
            )
        try:
            if not reply.ok:
                raise HubError(f"the Hub at {self.endpoint} answered {complaint_of(reply)}", status=reply.status)
            who = reply.read(Who)
        except msgspec.DecodeError as error:
            raise HubError(f"the Hub at {self.endpoint} did not say whose token it is ({reply.mime})") from error
        self._who = (self._clock(), who)
        return who

    def _key(self, url: str) -> str:
        """The name of a page: what is told may depend on who asks, so the token takes part, as a hash of a hash."""
        token = None if self._refused or self._credential is None else self._credential.secret.reveal()
        who = hashlib.sha256(token.encode()).hexdigest() if token else "anybody"
        return hashlib.sha256(f"{self.endpoint}\n{who}\n{url}".encode()).hexdigest()[:40]


NEW_TOKEN = "Make a new one at https://huggingface.co/settings/tokens, or remove this one to go on without"


async def _read(reply: HttpReply, *, one: bool) -> tuple[Model, ...]:
    def read() -> tuple[Model, ...]:
        return (read_model(reply.body),) if one else tuple(read_models(reply.body))

    return read() if len(reply.body) < LARGE_BODY else await asyncio.to_thread(read)


def _nearest(model: str, known: list[str]) -> list[str]:
    """Up to three known ids that a person may have meant."""
    lower = {name.lower(): name for name in known}
    wanted = model.lower()
    same = [name for small, name in lower.items() if small.rpartition("/")[2] == wanted.rpartition("/")[2]]
    near = difflib.get_close_matches(wanted, list(lower), n=3, cutoff=0.75)
    return list(dict.fromkeys([*same, *(lower[name] for name in near)]))[:3]
