"""``hfmedia serve``: the gateway, an OpenAI-compatible images and videos API.

Prints its address on stdout once it is ready. Ctrl-C or SIGTERM detaches from its jobs; the next start resumes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hfmedia.server.config import Config

    from ..reporter import Reporter
    from ..runtime import InterruptHandler

REQUIRED_MODULES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "fastapi_offline")
SHUTDOWN_GRACE_PERIOD = 70  # seconds for open requests after a stop signal; it waits as long for providers
KEEPALIVE_TIMEOUT = 75  # seconds; longer than that of the usual reverse proxies
BACKLOG = 2048  # connections waiting to be accepted


def serve(
    host: Annotated[str | None, typer.Option(metavar="HOST", help="The address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="The port to listen on; 0 selects a free one.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="TOML configuration file.")] = None,
    public_url: Annotated[str | None, typer.Option(metavar="URL", help="Public URL, when behind a proxy.")] = None,
    root_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="Path prefix that the proxy does not strip.")
    ] = None,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDR", help="Address or network whose X-Forwarded-* headers are trusted. May be repeated."
        ),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", metavar="", help="Serve the local simulation: no account, no cost.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", metavar="", help="Don't log requests.")] = False,
) -> None:
    """Serve an OpenAI-compatible images and videos API for the models on Hugging Face Inference Providers."""
    from ..reporter import Reporter
    from ..runtime import command_environment, run

    reporter = Reporter()
    flags = {"host": host, "port": port, "public_url": public_url, "root_path": root_path}
    flags["trusted_proxies"] = tuple(trust_proxy) if trust_proxy else None  # type: ignore[assignment]

    async def command(interrupts: InterruptHandler) -> int:
        gateway_config = _load_config(config, flags)
        async with command_environment(sandbox, reporter) as environ:
            return await _serve(
                gateway_config, environ, sandbox=sandbox, quiet=quiet, interrupts=interrupts, reporter=reporter
            )

    run(command, reporter)


def _load_config(path: Path | None, flags: Mapping[str, Any]) -> Config:
    from hfmedia.core.errors import InvalidRequestError

    for name in REQUIRED_MODULES:
        if find_spec(name) is None:
            raise InvalidRequestError(f'the gateway requires {name}: pip install "hfmedia[server]"')
    from hfmedia.server.config import load_config

    return load_config(path, **flags)


async def _serve(
    config: Config,
    environ: Mapping[str, str],
    *,
    sandbox: bool,
    quiet: bool,
    interrupts: InterruptHandler,
    reporter: Reporter,
) -> int:
    import uvicorn

    from hfmedia.core.errors import HfmediaError
    from hfmedia.server.app import create_app
    from hfmedia.server.http.header_timeout import HeaderTimeoutProtocol

    app = create_app(config, environ, sandbox=sandbox)
    gateway = app.state.gateway
    try:
        requires_keys = _check_access(gateway)
        _configure_logging(quiet)
        listener = _bind_socket(config)
    except BaseException:
        await gateway.close_unstarted()
        raise
    address = f"http://{_format_address(listener.getsockname())}{config.root_path}"
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=HeaderTimeoutProtocol,
        server_header=False,
        ws="none",
        timeout_keep_alive=KEEPALIVE_TIMEOUT,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_PERIOD,
        backlog=BACKLOG,
        proxy_headers=False,
    )

    class Server(uvicorn.Server):
        """Leaves signals to the command, and prints its address when it is ready."""

        def install_signal_handlers(self) -> None:
            """Do nothing: the command handles signals."""

        async def startup(self, sockets: Any = None) -> None:
            """Start serving, then print the address."""
            await super().startup(sockets)
            if self.started:
                _print_ready(
                    address, config.public_url, requires_keys=requires_keys, sandbox=sandbox, reporter=reporter
                )

    server = Server(settings)

    def shut_down() -> None:
        reporter.info("stopping: jobs continue at their providers, and the next start resumes them")
        gateway.begin_shutdown()
        server.should_exit = True

    interrupts.on_interrupt = shut_down
    await server._serve([listener])  # pyright: ignore[reportPrivateUsage] - ``serve`` would take the signals away
    if not server.started:
        raise HfmediaError("the gateway could not start; the log above says why")
    return 0


def _check_access(gateway: Any) -> bool:
    """Return whether callers need keys; InvalidRequestError or MissingAuthError when serving would not be safe."""
    from hfmedia.core.errors import InvalidRequestError
    from hfmedia.core.request import ModelSpec
    from hfmedia.routing import require_credential
    from hfmedia.server.auth.local_access import requires_api_keys

    requires_keys = bool(gateway.database.requires_keys())
    if requires_api_keys(gateway.config.host) and not requires_keys and not gateway.config.allow_caller_tokens:
        raise InvalidRequestError(
            f"listening on {gateway.config.host} would let anyone who can reach it generate, and there are no keys: "
            "create one with `hfmedia keys create NAME`, or listen on 127.0.0.1"
        )
    if not gateway.config.allow_caller_tokens:
        require_credential(ModelSpec(""), gateway.client.settings)
    return requires_keys


def _bind_socket(config: Config) -> Any:
    """Return the listening socket; InvalidRequestError when the address cannot be used."""
    import socket

    from hfmedia.core.errors import InvalidRequestError

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # The protocol is explicit because asyncio disables Nagle's algorithm only then.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host.strip("[]"), config.port))
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise InvalidRequestError(
            f"cannot listen on {config.host}:{config.port}: {reason}; choose another --port or --host"
        ) from None
    return listener


def _format_address(address: tuple[Any, ...]) -> str:
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _print_ready(
    address: str, public_url: str | None, *, requires_keys: bool, sandbox: bool, reporter: Reporter
) -> None:
    access = "requests require an API key" if requires_keys else "there are no API keys, so it serves only this machine"
    access = f"public URL {public_url}; {access}" if public_url else access
    reporter.info(f"gateway: {address}/v1 for OpenAI clients, documentation at {address}/docs; {access}.")
    if sandbox:
        reporter.info("All results are simulated.")
    reporter.result(address)


def _configure_logging(quiet: bool) -> None:
    """Log to stderr, one JSON object per line."""
    import logging

    from hfmedia.server.observability.logs import JsonFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name, level in (("hfmedia.server", logging.WARNING if quiet else logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
