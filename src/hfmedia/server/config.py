"""The gateway's configuration: one TOML file and a few flags, read once and frozen.

Read with msgspec rather than pydantic-settings: its errors name the path of the value (``$.prices``), an unknown name
is an error with its own message, and no environment variable overrides the configuration file.
"""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from hfmedia.core.errors import HfmediaError, InvalidRequestError
from hfmedia.core.origin import normalize_url
from hfmedia.core.request import TASKS, parse_model_spec

MEBIBYTE = 1024 * 1024
MINIMA = {
    "media_retention_days": 0,
    "max_body_bytes": 1,
    "max_files": 1,
    "max_upload_bytes": 1,
    "max_wait_seconds": 1,
    "max_jobs": 1,
}


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """List price of a model in USD: per output, and per second of video."""

    output: float = 0.0
    second: float = 0.0


class Reserve(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Amount in USD to reserve for an output without a known price."""

    image: float = 0.05
    video: float = 0.50


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of a gateway.

    Attributes:
        host, port: address to listen on; port 0 chooses a free one.
        public_url: base URL as callers see it; overrides what a request says.
        root_path: path prefix that the proxy in front leaves in place.
        trusted_proxies: addresses or networks whose forwarding headers are believed.
        cors_origins: origins of web pages that can call the gateway.
        allow_caller_tokens: accept callers' own Hugging Face tokens instead of API keys.
        public_metrics: serve /metrics without a key.
        aliases: other names of a model: for all tasks, or one for each task.
        builtin_aliases: gpt-image-*, dall-e-* and sora-* mean the default model of the task.
        prices: by model, or by model:provider.
        reserve: for outputs without a price.
        media_retention_days: days after which results are deleted; 0 keeps them forever.
        max_body_bytes, max_upload_bytes: bytes of a request, and of one file in it.
        max_files: files in one request.
        max_wait_seconds: seconds that a request for images waits; its jobs continue after that.
        max_jobs: active jobs of one caller.
        concurrency: jobs at one provider at once; None is no limit.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str | None = None
    root_path: str = ""
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    allow_caller_tokens: bool = False
    public_metrics: bool = False
    aliases: dict[str, str | dict[str, str]] = {}
    builtin_aliases: bool = True
    prices: dict[str, Price] = {}
    reserve: Reserve = Reserve()
    media_retention_days: float = 30.0
    max_body_bytes: int = 64 * MEBIBYTE
    max_files: int = 16
    max_upload_bytes: int = 20 * MEBIBYTE
    max_wait_seconds: float = 590.0
    max_jobs: int = 256
    concurrency: int | None = None


def load_config(path: Path | None, **flags: Any) -> Config:
    """Read the configuration from a file, overridden by flags that are not None.

    Raises InvalidRequestError for a file that cannot be read or is not TOML, an unknown name, or an invalid value.
    """
    values = {} if path is None else _read_toml(path)
    source = f"{path}: " if path else ""
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"{source}{error}") from None
    overrides = {name: value for name, value in flags.items() if value is not None}
    return validate_config(structs.replace(config, **overrides), source)


def validate_config(config: Config, source: str = "") -> Config:
    """Return the configuration with normalized URLs; raise InvalidRequestError for an invalid value."""
    if config.public_url is not None and normalize_url(config.public_url) is None:
        raise InvalidRequestError(f"{source}public_url {config.public_url!r} is not a URL such as https://example.org")
    if not 0 <= config.port <= 65535:
        raise InvalidRequestError(f"{source}port {config.port} must be between 0 and 65535")
    for name, minimum in MINIMA.items():
        if getattr(config, name) < minimum:
            raise InvalidRequestError(f"{source}{name} is {getattr(config, name)}, but must be at least {minimum}")
    for name, price in (
        *config.prices.items(),
        ("reserve", Price(output=config.reserve.image, second=config.reserve.video)),
    ):
        if min(price.output, price.second) < 0 or max(price.output, price.second) > 1e6:
            raise InvalidRequestError(f"{source}the price of {name} must be between 0 and 1,000,000 USD")
    for proxy in config.trusted_proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            message = f"{source}trusted_proxies contains {proxy!r}, which is not an IP address or network"
            raise InvalidRequestError(message) from None
    for name, target in config.aliases.items():
        _validate_alias(name, target, source)
    prefix = config.root_path.strip("/")
    return structs.replace(
        config,
        public_url=normalize_url(config.public_url) if config.public_url else None,
        root_path=f"/{prefix}" if prefix else "",
        cors_origins=tuple(normalize_url(origin) or origin for origin in config.cors_origins),
    )


def _validate_alias(name: str, target: str | dict[str, str], source: str) -> None:
    by_task = {"": target} if isinstance(target, str) else target
    for task, model in by_task.items():
        if task and task not in TASKS:
            known_tasks = ", ".join(TASKS)
            raise InvalidRequestError(f"{source}the alias {name!r} has an unknown task {task!r}; use {known_tasks}")
        try:
            parse_model_spec(model)
        except HfmediaError as error:
            raise InvalidRequestError(f"{source}the alias {name!r}: {error}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{path} is not valid TOML: {error}") from None
