"""Checks of ``hfmedia doctor``: each reports a status, and what to do about a problem.

Sends only requests that are free, and reports where a credential was found but never the credential.
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
from hfmedia.core.credentials import Credential
from hfmedia.core.errors import (
    AuthenticationError,
    HfmediaError,
    HubError,
    MissingAuthError,
    RequestNotSentError,
    ResponseLostError,
    StorageError,
)
from hfmedia.core.http import HttpResponse, get
from hfmedia.core.text import strip_control
from hfmedia.providers import PROVIDERS
from hfmedia.transport.proxies import proxy_rules

REQUEST_TIMEOUT = 10.0  # seconds for one response; the user is waiting
LOW_DISK_BYTES = 1_000_000_000  # bytes; a long video and its temporary twin are about a tenth of that
LIBRARIES = ("aiohttp", "aiohttp-socks", "msgspec", "pillow", "platformdirs", "puremagic", "rich", "typer")
EXTRAS = {"av": "sandbox videos and their inspection"}  # module: its purpose
INFERENCE_PERMISSION = "inference.serverless.write"  # the Hub's name for "make calls to Inference Providers"
CREATE_TOKEN_HINT = (
    "create a token that may make calls to Inference Providers at "
    "https://huggingface.co/settings/tokens and set HF_TOKEN to it; --sandbox needs none"
)

CheckStatus = Literal["ok", "warning", "error"]


class Check(Struct, frozen=True, kw_only=True):
    """The result of one check, with a hint about a problem.

    ``exit_code`` is that of a job which needs what the check found missing.
    """

    name: str
    status: CheckStatus
    message: str
    hint: str = ""
    exit_code: int = 0


def format_check(check: Check) -> str:
    """Format a check for a terminal: its status, name and message, and below it the hint."""
    label = {"ok": "ok", "warning": "warn", "error": "ERROR"}[check.status]
    hint_line = f"\n{'':<18}-> {check.hint}" if check.hint else ""
    return strip_control(f"{label:<5}  {check.name:<10} {check.message}{hint_line}")


async def run_checks(environ: Mapping[str, str], proxy: str | None) -> list[Check]:
    """Run every check; return the results in the order in which a job needs them."""
    try:
        client = MediaClient(proxy=proxy, environ=environ)
    except HfmediaError as error:  # an invalid variable: every other check depends on it
        return [
            Check(name="settings", status="error", message=str(error), exit_code=error.exit_code),
            *collect_versions(),
        ]
    async with client:
        credentials = _check_credentials(client)
        hub, router = await asyncio.gather(_check_hub(client), _check_router(client))
        token = await _check_token(client) if hub.status == "ok" else []
        disk = await asyncio.to_thread(_check_disk, client.settings.home)
    return [*credentials, hub, router, *token, _check_proxy(environ, proxy, client), *disk, *collect_versions()]


def _check_credentials(client: MediaClient) -> list[Check]:
    """Report the credentials by where they were found."""
    settings = client.settings
    provider_by_variable = {name: spec.name for spec in PROVIDERS.values() for name in spec.api_key_env_vars}
    keys = [f"{provider_by_variable.get(name, '?')} ({name})" for name in sorted(settings.keys)]
    checks: list[Check] = []
    if settings.token is not None:
        checks.append(Check(name="token", status="ok", message=f"found in {settings.token.source}"))
    elif keys:
        checks.append(
            Check(
                name="token",
                status="warning",
                message=_no_token_message(client),
                hint=f"for the other providers, {CREATE_TOKEN_HINT}",
            )
        )
    else:
        code = MissingAuthError.exit_code
        checks.append(
            Check(
                name="token", status="error", message=_no_token_message(client), hint=CREATE_TOKEN_HINT, exit_code=code
            )
        )
    if keys:
        checks.append(
            Check(name="keys", status="ok", message=f"{', '.join(keys)}; not verified, because that would cost")
        )
    else:
        checks.append(
            Check(name="keys", status="warning", message="no provider keys; none are needed with an HF token")
        )
    return checks


def _no_token_message(client: MediaClient) -> str:
    return client.settings.ignored_reason or "no Hugging Face token found"


async def _fetch(client: MediaClient, url: str, credential: Credential | None = None) -> HttpResponse | str:
    """Return the response, or why there is none."""
    try:
        return await client.transport.send(get(url), credential=credential, timeout=REQUEST_TIMEOUT)
    except (RequestNotSentError, ResponseLostError) as error:
        return str(error)


async def _check_hub(client: MediaClient) -> Check:
    return _check_reachable(
        "hub", client.settings.endpoint, await _fetch(client, f"{client.settings.endpoint}/api/models?limit=1")
    )


async def _check_router(client: MediaClient) -> Check:
    reply = await _fetch(client, f"{client.settings.router}/v1/models")
    check = _check_reachable("router", client.settings.router, reply)
    if check.status == "error" and client.settings.hub_token is None and client.settings.keys:
        return structs.replace(check, status="warning", exit_code=0)  # no request would use it
    return check


def _check_reachable(name: str, address: str, reply: HttpResponse | str) -> Check:
    """Report reachability: any response but a server error shows that requests get through."""
    if isinstance(reply, HttpResponse) and reply.status < 500:
        return Check(name=name, status="ok", message=f"{address} responds")
    problem = f"responds with HTTP {reply.status}" if isinstance(reply, HttpResponse) else f"cannot be reached: {reply}"
    hint = "check the network, the proxy variables (HTTPS_PROXY, NO_PROXY) and https://status.huggingface.co"
    return Check(name=name, status="error", message=f"{address} {problem}", hint=hint, exit_code=HubError.exit_code)


async def _check_token(client: MediaClient) -> list[Check]:
    """Report the account and the permissions of the token, as the Hub knows them."""
    if client.settings.hub_token is None:
        return []
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            account = await client.catalog.whoami()
    except TimeoutError:
        return [Check(name="account", status="warning", message="the Hub did not identify the token in time")]
    except AuthenticationError as error:
        return [
            Check(
                name="account", status="error", message=error.message, hint=CREATE_TOKEN_HINT, exit_code=error.exit_code
            )
        ]
    except HfmediaError as error:
        return [Check(name="account", status="warning", message=f"the token could not be identified: {error.message}")]
    account_label = f"{account.name}{', PRO' if account.is_pro else ''}" + (
        f", token {account.token_name!r}" if account.token_name else ""
    )
    if account.can_call_inference is False:
        message = f"{account_label}; the token may not make calls to Inference Providers"
        hint = f"give it that permission ({INFERENCE_PERMISSION}) at https://huggingface.co/settings/tokens"
        return [
            Check(name="account", status="error", message=message, hint=hint, exit_code=AuthenticationError.exit_code)
        ]
    permission = (
        "; may make calls to Inference Providers" if account.can_call_inference else " (token permissions unknown)"
    )
    billing = (
        f"; --bill-to can be {', '.join(organization.name for organization in account.organizations)}"
        if account.organizations
        else ""
    )
    return [Check(name="account", status="ok", message=f"{account_label}{permission}{billing}")]


def _check_proxy(environ: Mapping[str, str], explicit: str | None, client: MediaClient) -> Check:
    rules = proxy_rules(explicit, environ)
    addresses = (client.settings.endpoint, client.settings.router)
    proxy_by_address = {address: rules.choose(URL(address)) for address in dict.fromkeys(addresses)}
    routes = [
        f"{address} through {proxy.address}" if proxy else f"{address} directly"
        for address, proxy in proxy_by_address.items()
    ]
    return Check(
        name="proxy", status="ok", message="; ".join(routes) if any(proxy_by_address.values()) else "none in use"
    )


def _check_disk(home: Path) -> list[Check]:
    """Report whether media and caches can be written, and the free space."""
    existing = home
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        hint = "set HFMEDIA_HOME to a folder of your own"
        return [
            Check(
                name="home",
                status="error",
                message=f"{home} cannot be written",
                hint=hint,
                exit_code=StorageError.exit_code,
            )
        ]
    free = shutil.disk_usage(existing).free
    message = f"{home} is writable, {free / 1e9:.1f} GB free"
    if free < LOW_DISK_BYTES:
        return [
            Check(
                name="home",
                status="warning",
                message=message,
                hint="free some space, or set HFMEDIA_HOME to a folder on a larger disk",
            )
        ]
    return [Check(name="home", status="ok", message=message)]


def collect_versions() -> list[Check]:
    """Report versions, for a bug report."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    program = f"hfmedia {__version__}, Python {platform.python_version()}, {system}"
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    extras = [
        f"{name} {'installed' if importlib.util.find_spec(name) else 'not installed'} ({purpose})"
        for name, purpose in EXTRAS.items()
    ]
    sections = (("version", f"{program}, {sys.executable}"), ("libraries", libraries), ("extras", ", ".join(extras)))
    return [Check(name=name, status="ok", message=message) for name, message in sections]
