"""``hfmedia sandbox``: the simulated Hub, router, providers and CDN, served on this machine until Ctrl-C.

On stdout only ``export`` lines, so that a shell can take them as they are; stdout is closed once they are said.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer


def sandbox(
    host: Annotated[str, typer.Option(metavar="HOST", help="The address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes a free one.")] = 0,
    speed: Annotated[float, typer.Option(metavar="X", help="How many times faster its time passes.")] = 1.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="ORDER", help="PROVIDER:KIND[:TIMES][;detail=value…]; may be repeated. See below."),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", metavar="", help="Only the export lines and errors.")] = False,
) -> None:
    """Serve a simulated Hub, router and all providers on this machine: no account, no cost, nothing leaves it."""
    import asyncio

    from hfmedia.core.errors import InvalidRequestError

    from .run import Stop, run
    from .voice import Voice

    voice = Voice(quiet=quiet)

    async def work(stop: Stop) -> int:
        from hfmedia.sandbox import Sandbox

        world = Sandbox(host=host, port=port, speed=speed, faults=fault or ())
        over = asyncio.Event()
        stop.gently = over.set
        try:
            await world.__aenter__()
        except ValueError as error:
            raise InvalidRequestError(f"{error}; `hfmedia sandbox --help` shows what can be ordered") from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InvalidRequestError(f"cannot serve at {host}:{port}: {reason}; choose another --port") from error
        try:
            voice.note(f"sandbox: a simulation at {world.url}; its pictures are drawn here, and nothing is paid.")
            voice.note(f"Stop it with Ctrl-C or `kill {os.getpid()}`. Point any client at it with:")
            for name, value in world.environment.items():
                voice.result(f"export {name}={shlex.quote(value)}")
            _close_stdout()
            await over.wait()
        finally:
            await world.__aexit__(None, None, None)
        return 0

    run(work, voice)


def _close_stdout() -> None:
    """Tells a pipe that everything was said, so that ``eval "$(hfmedia sandbox &)"`` goes on while this one serves."""
    if sys.stdout.isatty():
        return
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
