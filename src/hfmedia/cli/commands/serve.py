"""``hfmedia serve``: the gateway, OpenAI's images and videos API in front of everything that the library can do.

On stdout its address alone, once it is ready; Ctrl-C or SIGTERM lets go of its jobs, and the next start takes them up.
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

REQUIRED_MODULES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "fastapi_offline")
SHUTDOWN_GRACE_PERIOD = (
    70  # seconds that requests may still take when the gateway is told to stop: it waits as long for providers
)
KEEPALIVE_TIMEOUT = 75  # seconds; longer than the proxies in front keep theirs
BACKLOG = 2048  # connections that may wait to be accepted


def serve(
    host: Annotated[str | None, typer.Option(metavar="HOST", help="The address to listen at.")] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes a free one.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A TOML file with options.")] = None,
    public_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Its address as callers see it, behind a proxy.")
    ] = None,
    root_path: Annotated[str | None, typer.Option(metavar="PATH", help="A path prefix the proxy leaves.")] = None,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDR", help="An address or network whose X-Forwarded-* count; may be repeated."),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", metavar="", help="Serve a simulated world: no account, no cost.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", metavar="", help="Write no line of each request.")] = False,
) -> None:
    """Serve OpenAI's images and videos API, with the models on Hugging Face Inference Providers behind it."""
    from ..reporter import Reporter
    from ..runtime import InterruptHandler, command_environment, run

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
            raise InvalidRequestError(f'the gateway needs {name}, which comes with `pip install "hfmedia[server]"`')
    from hfmedia.server.config import load_config

    return load_config(path, **flags)


async def _serve(
    config: Config, environ: Mapping[str, str], *, sandbox: bool, quiet: bool, interrupts: Any, reporter: Reporter
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
        """Leaves signals to the command, and says when it is ready."""

        def install_signal_handlers(self) -> None:
            """The command hears them."""

        async def startup(self, sockets: Any = None) -> None:
            """Serves; then says where."""
            await super().startup(sockets)
            if self.started:
                _print_ready(
                    address, config.public_url, requires_keys=requires_keys, sandbox=sandbox, reporter=reporter
                )

    server = Server(settings)

    def shut_down() -> None:
        reporter.info("stopping: jobs go on at their providers, and the next start takes them up")
        gateway.begin_shutdown()
        server.should_exit = True

    interrupts.on_interrupt = shut_down
    await server._serve([listener])  # pyright: ignore[reportPrivateUsage] - ``serve`` would take the signals away
    if not server.started:
        raise HfmediaError("the gateway could not start; the lines above say why")
    return 0


def _check_access(gateway: Any) -> bool:
    """Whether callers need keys; InvalidRequestError or MissingAuthError when it cannot be served like this."""
    from hfmedia.core.errors import InvalidRequestError
    from hfmedia.core.request import ModelSpec
    from hfmedia.routing import require_credential
    from hfmedia.server.auth.authentication import requires_api_keys

    requires_keys = bool(gateway.database.requires_keys())
    if requires_api_keys(gateway.config.host) and not requires_keys and not gateway.config.allow_caller_tokens:
        raise InvalidRequestError(
            f"listening at {gateway.config.host} would let everybody in who can reach it, and there are no keys: make "
            "one with `hfmedia keys make NAME`, or listen at 127.0.0.1"
        )
    if not gateway.config.allow_caller_tokens:
        require_credential(ModelSpec(""), gateway.client.settings)
    return requires_keys


def _bind_socket(config: Config) -> Any:
    """The socket that it listens at; InvalidRequestError when it cannot be had."""
    import socket

    from hfmedia.core.errors import InvalidRequestError

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(
        family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # named, or asyncio leaves Nagle's delay on
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host.strip("[]"), config.port))
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise InvalidRequestError(
            f"cannot listen at {config.host}:{config.port}: {reason}; choose another --port or --host"
        ) from None
    return listener


def _format_address(address: tuple[Any, ...]) -> str:
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _print_ready(
    address: str, public_url: str | None, *, requires_keys: bool, sandbox: bool, reporter: Reporter
) -> None:
    access = "callers need a gateway key" if requires_keys else "no keys were made, so it serves this machine alone"
    access = f"its callers know it as {public_url}; {access}" if public_url else access
    reporter.info(f"gateway: {address}/v1 for OpenAI clients, {address}/docs describes it; {access}.")
    if sandbox:
        reporter.info("Everything it makes is a simulation.")
    reporter.result(address)


def _configure_logging(quiet: bool) -> None:
    """Its log goes to stderr, one JSON object a line."""
    import logging

    from hfmedia.server.observability.logs import JsonFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name, level in (("hfmedia.server", logging.WARNING if quiet else logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
