"""The gateway's configuration: one TOML file and a few flags, read once and frozen.

Whatever cannot be used is refused at the start, in a sentence that names where it stands.
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


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model costs by its price list, in USD: an output, or a second of video."""

    output: float = 0.0
    second: float = 0.0


class Reserve(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is set aside, in USD, for an output whose price nobody knows."""

    image: float = 0.05
    video: float = 0.50


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gateway serves.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        public_url: its address as its users see it; it goes before every guess out of a request.
        root_path: a path prefix that the proxy in front leaves in place.
        trusted_proxies: addresses or networks whose forwarded headers count.
        cors_origins: origins of web pages that may call it.
        caller_tokens: whether a caller may bring an own Hugging Face token instead of a gateway key.
        open_metrics: whether /metrics needs no key.
        aliases: a model's other names: for all tasks, or one for each task.
        builtin_aliases: whether gpt-image-*, dall-e-* and sora-* stand for the default model of the task.
        prices: by model, or by model:provider.
        reserve: for outputs without a price.
        media_days: days for which results are kept; 0 is for ever.
        most_body, most_upload: bytes of a request, and of one file in it.
        most_files: files in one request.
        most_wait: seconds that a request for images is kept waiting; its jobs go on after that.
        most_jobs: jobs that one caller may have under way.
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
    """The configuration out of a file and the flags that go before it; flags that are None say nothing.

    Raises InvalidRequestError: a file that cannot be read or is no TOML, a name that is unknown, a value of no use.
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
    """The configuration with its addresses in their plain form; InvalidRequestError for what cannot be meant."""
    if config.public_url is not None and normalize_url(config.public_url) is None:
        raise InvalidRequestError(f"{source}public_url {config.public_url!r} is no address such as https://example.org")
    if not 0 <= config.port <= 65535:
        raise InvalidRequestError(f"{source}port {config.port} is not from 0 to 65535")
    for name in ("media_days", "most_body", "most_files", "most_upload", "most_wait", "most_jobs"):
        if getattr(config, name) < (0 if name == "media_days" else 1):
            raise InvalidRequestError(f"{source}{name} is {getattr(config, name)}, but must be at least 1")
    for name, price in (
        *config.prices.items(),
        ("reserve", Price(output=config.reserve.image, second=config.reserve.video)),
    ):
        if min(price.output, price.second) < 0 or max(price.output, price.second) > 1e6:
            raise InvalidRequestError(f"{source}the price of {name} is no sensible number of USD")
    for proxy in config.trusted_proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise InvalidRequestError(
                f"{source}trusted_proxies holds {proxy!r}, which is no address or network"
            ) from None
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
            raise InvalidRequestError(f"{source}the alias {name!r} names {task!r}; there are {', '.join(TASKS)}")
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
        raise InvalidRequestError(f"{path} is no TOML: {error}") from None
