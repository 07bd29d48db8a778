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

    from .voice import Voice

NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "fastapi_offline")
GRACE = 70  # seconds that requests may still take when the gateway is told to stop: it waits as long for providers
KEEP_ALIVE = 75  # seconds; longer than the proxies in front keep theirs
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
    from .run import Stop, environment, run
    from .voice import Voice

    voice = Voice()
    flags = {"host": host, "port": port, "public_url": public_url, "root_path": root_path}
    flags["trusted_proxies"] = tuple(trust_proxy) if trust_proxy else None  # type: ignore[assignment]

    async def work(stop: Stop) -> int:
        told = _config(config, flags)
        async with environment(sandbox, voice) as environ:
            return await _serve(told, environ, sandbox=sandbox, quiet=quiet, stop=stop, voice=voice)

    run(work, voice)


def _config(path: Path | None, flags: Mapping[str, Any]) -> Config:
    from hfmedia.core.errors import InvalidRequestError

    for name in NEEDED:
        if find_spec(name) is None:
            raise InvalidRequestError(f'the gateway needs {name}, which comes with `pip install "hfmedia[server]"`')
    from hfmedia.server.config import read_config

    return read_config(path, **flags)


async def _serve(
    config: Config, environ: Mapping[str, str], *, sandbox: bool, quiet: bool, stop: Any, voice: Voice
) -> int:
    import uvicorn

    from hfmedia.core.errors import HfmediaError
    from hfmedia.server.app import create_app
    from hfmedia.server.entrance.patience import Patient

    app = create_app(config, environ, sandbox=sandbox)
    gateway = app.state.gateway
    try:
        keyed = _check(gateway)
        _listen_to_logs(quiet)
        listening = _bound(config)
    except BaseException:
        await gateway.abandon()
        raise
    address = f"http://{_named(listening.getsockname())}{config.root_path}"
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=Patient,
        server_header=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
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
                _say(address, config.public_url, keyed=keyed, sandbox=sandbox, voice=voice)

    server = Server(settings)

    def leave() -> None:
        voice.note("stopping: jobs go on at their providers, and the next start takes them up")
        gateway.stopping()
        server.should_exit = True

    stop.gently = leave
    await server._serve([listening])  # pyright: ignore[reportPrivateUsage] - ``serve`` would take the signals away
    if not server.started:
        raise HfmediaError("the gateway could not start; the lines above say why")
    return 0


def _check(gateway: Any) -> bool:
    """Whether callers need keys; InvalidRequestError or MissingAuthError when it cannot be served like this."""
    from hfmedia.core.errors import InvalidRequestError
    from hfmedia.core.request import Choice
    from hfmedia.routing import check_credential
    from hfmedia.server.entrance.gate import must_have_keys

    keyed = bool(gateway.book.ever_keyed())
    if must_have_keys(gateway.config.host) and not keyed and not gateway.config.caller_tokens:
        raise InvalidRequestError(
            f"listening at {gateway.config.host} would let everybody in who can reach it, and there are no keys: make "
            "one with `hfmedia keys make NAME`, or listen at 127.0.0.1"
        )
    if not gateway.config.caller_tokens:
        check_credential(Choice(""), gateway.client.settings)
    return keyed


def _bound(config: Config) -> Any:
    """The socket that it listens at; InvalidRequestError when it cannot be had."""
    import socket

    from hfmedia.core.errors import InvalidRequestError

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle's delay on
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((config.host.strip("[]"), config.port))
    except OSError as error:
        made.close()
        reason = (error.strerror or str(error)).lower()
        raise InvalidRequestError(
            f"cannot listen at {config.host}:{config.port}: {reason}; choose another --port or --host"
        ) from None
    return made


def _named(address: tuple[Any, ...]) -> str:
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _say(address: str, public: str | None, *, keyed: bool, sandbox: bool, voice: Voice) -> None:
    who = "callers need a gateway key" if keyed else "no keys were made, so it serves this machine alone"
    who = f"its callers know it as {public}; {who}" if public else who
    voice.note(f"gateway: {address}/v1 for OpenAI clients, {address}/docs describes it; {who}.")
    if sandbox:
        voice.note("Everything it makes is a simulation.")
    voice.result(address)


def _listen_to_logs(quiet: bool) -> None:
    """Its log goes to stderr, one JSON object a line."""
    import logging

    from hfmedia.server.watching.logs import Lines

    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    for name, level in (("hfmedia.server", logging.WARNING if quiet else logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
