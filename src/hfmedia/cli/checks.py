"""What the doctor looks at: each check says how it is, and what to do where it is not well.

It asks only what is free, says where a credential was found and never the credential itself.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct, structs
from yarl import URL

from hfmedia._version import __version__
from hfmedia.client import MediaClient
from hfmedia.core.errors import (
    CredentialError,
    HfmediaError,
    HubError,
    LostError,
    MissingAuthError,
    StoreError,
    UnsentError,
)
from hfmedia.core.wire import Credential, HttpReply, get
from hfmedia.providers import PROVIDERS
from hfmedia.transport.proxies import proxy_rules

PATIENCE = 10.0  # seconds for one answer; a person is waiting
LITTLE_DISK = 1_000_000_000  # bytes; a long video and its temporary twin are about a tenth of that
LIBRARIES = ("aiohttp", "aiohttp-socks", "msgspec", "pillow", "platformdirs", "puremagic", "rich", "stamina", "typer")
EXTRAS = {"av": "sandbox videos and their inspection"}  # module: what it is for
MAKE_CALLS = "inference.serverless.write"  # the Hub's name for "make calls to Inference Providers"
MAKE_TOKEN = (
    "make a token with the permission to make calls to Inference Providers at "
    "https://huggingface.co/settings/tokens and put it into HF_TOKEN; --sandbox needs none"
)

State = Literal["ok", "note", "bad"]


class Check(Struct, frozen=True, kw_only=True):
    """One thing looked at: how it is, in words, and what to do where it is not well.

    ``exit_code`` is what a job that needs it would end with.
    """

    name: str
    state: State
    says: str
    do: str = ""
    exit_code: int = 0


def line(check: Check) -> str:
    """The check for a person: its mark, its name, its words, and below what to do."""
    mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[check.state]
    follow = f"\n{'':<17}-> {check.do}" if check.do else ""
    return f"{mark}  {check.name:<10} {check.says}{follow}"


async def examine(environ: Mapping[str, str], proxy: str | None) -> list[Check]:
    """Every check, in the order in which a job would need them."""
    try:
        client = MediaClient(proxy=proxy, environ=environ)
    except HfmediaError as error:  # a variable that nobody could work with: all else hangs on it
        return [Check(name="settings", state="bad", says=str(error), exit_code=error.exit_code), *versions()]
    async with client:
        credentials = _credentials(client)
        hub, router = await asyncio.gather(_hub(client), _router(client))
        token = await _token(client) if hub.state == "ok" else []
        disk = await asyncio.to_thread(_disk, client.settings.home)
    return [*credentials, hub, router, *token, _proxy(environ, proxy, client), *disk, *versions()]


def _credentials(client: MediaClient) -> list[Check]:
    """What there is to pay with, by where it was found."""
    settings = client.settings
    owner = {name: one.name for one in PROVIDERS.values() for name in one.key_names}
    keys = [f"{owner.get(name, '?')} ({name})" for name in sorted(settings.keys)]
    checks: list[Check] = []
    if settings.token is not None:
        checks.append(Check(name="token", state="ok", says=f"found in {settings.token.found}"))
    elif keys:
        checks.append(
            Check(name="token", state="note", says=_no_token(client), do=f"for the other providers, {MAKE_TOKEN}")
        )
    else:
        code = MissingAuthError.exit_code
        checks.append(Check(name="token", state="bad", says=_no_token(client), do=MAKE_TOKEN, exit_code=code))
    if keys:
        checks.append(Check(name="keys", state="ok", says=f"{', '.join(keys)}; found, not tried: that would cost"))
    else:
        checks.append(Check(name="keys", state="note", says="no provider's own key; none is needed with an HF token"))
    return checks


def _no_token(client: MediaClient) -> str:
    return client.settings.unused or "no Hugging Face token anywhere"


async def _ask(client: MediaClient, url: str, credential: Credential | None = None) -> HttpReply | str:
    """The reply, or why there is none."""
    try:
        return await client.transport.send(get(url), credential=credential, timeout=PATIENCE)
    except (UnsentError, LostError) as error:
        return str(error)


async def _hub(client: MediaClient) -> Check:
    return _reachable(
        "hub", client.settings.endpoint, await _ask(client, f"{client.settings.endpoint}/api/models?limit=1")
    )


async def _router(client: MediaClient) -> Check:
    reply = await _ask(client, f"{client.settings.router}/v1/models")
    check = _reachable("router", client.settings.router, reply)
    if check.state == "bad" and client.settings.hub_token is None and client.settings.keys:
        return structs.replace(check, state="note", exit_code=0)  # nobody will go through it
    return check


def _reachable(name: str, address: str, reply: HttpReply | str) -> Check:
    """Any answer but a failure of the server shows that the way is open."""
    if isinstance(reply, HttpReply) and reply.status < 500:
        return Check(name=name, state="ok", says=f"{address} answers")
    what = f"answers HTTP {reply.status}" if isinstance(reply, HttpReply) else f"cannot be reached: {reply}"
    follow = "check the network, the proxy variables (HTTPS_PROXY, NO_PROXY) and https://status.huggingface.co"
    return Check(name=name, state="bad", says=f"{address} {what}", do=follow, exit_code=HubError.exit_code)


async def _token(client: MediaClient) -> list[Check]:
    """Whose token it is and what it may do, as the Hub says."""
    if client.settings.hub_token is None:
        return []
    try:
        async with asyncio.timeout(PATIENCE):
            who = await client.catalog.whoami()
    except TimeoutError:
        return [Check(name="account", state="note", says="the Hub did not say in time whose token it is")]
    except CredentialError as error:
        return [Check(name="account", state="bad", says=error.message, do=MAKE_TOKEN, exit_code=error.exit_code)]
    except HfmediaError as error:
        return [Check(name="account", state="note", says=f"not known whose token it is: {error.message}")]
    named = f"{who.name}{', PRO' if who.pro else ''}" + (f", token {who.token_name!r}" if who.token_name else "")
    if who.may_infer is False:
        says = f"{named}; the token may not make calls to Inference Providers"
        follow = f"give it that permission ({MAKE_CALLS}) at https://huggingface.co/settings/tokens"
        return [Check(name="account", state="bad", says=says, do=follow, exit_code=CredentialError.exit_code)]
    may = "may make calls to Inference Providers" if who.may_infer else "its permission is not told"
    bill = f"; --bill-to can name {', '.join(one.name for one in who.organisations)}" if who.organisations else ""
    return [Check(name="account", state="ok", says=f"{named}; {may}{bill}")]


def _proxy(environ: Mapping[str, str], given: str | None, client: MediaClient) -> Check:
    rules = proxy_rules(given, environ)
    addresses = (client.settings.endpoint, client.settings.router)
    used = {where: rules.choose(URL(where)) for where in dict.fromkeys(addresses)}
    told = [f"{where} through {proxy.address}" if proxy else f"{where} directly" for where, proxy in used.items()]
    return Check(name="proxy", state="ok", says="; ".join(told) if any(used.values()) else "none in use")


def _disk(home: Path) -> list[Check]:
    """Whether media and caches can be written, and how much fits."""
    there = home
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        follow = "set HFMEDIA_HOME to a folder of your own"
        return [
            Check(name="home", state="bad", says=f"{home} cannot be written", do=follow, exit_code=StoreError.exit_code)
        ]
    free = shutil.disk_usage(there).free
    says = f"{home} can be written, {free / 1e9:.1f} GB free"
    if free < LITTLE_DISK:
        return [Check(name="home", state="note", says=says, do="make room, or set HFMEDIA_HOME to a larger disk")]
    return [Check(name="home", state="ok", says=says)]


def versions() -> list[Check]:
    """What runs here, for a report."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    ours = f"hfmedia {__version__}, Python {platform.python_version()}, {system}"
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    extras = [
        f"{name} {'here' if importlib.util.find_spec(name) else 'absent'} ({purpose})"
        for name, purpose in EXTRAS.items()
    ]
    told = (("version", f"{ours}, {sys.executable}"), ("libraries", libraries), ("extras", ", ".join(extras)))
    return [Check(name=name, state="ok", says=says) for name, says in told]
