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

    from ..reporter import Reporter
    from ..runtime import InterruptHandler, run

    reporter = Reporter(quiet=quiet)

    async def command(interrupts: InterruptHandler) -> int:
        from hfmedia.sandbox import Sandbox

        simulation = Sandbox(host=host, port=port, speed=speed, faults=fault or ())
        interrupted = asyncio.Event()
        interrupts.on_interrupt = interrupted.set
        try:
            await simulation.__aenter__()
        except ValueError as error:
            raise InvalidRequestError(f"{error}; `hfmedia sandbox --help` shows what can be ordered") from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InvalidRequestError(f"cannot serve at {host}:{port}: {reason}; choose another --port") from error
        try:
            reporter.info(
                f"sandbox: a simulation at {simulation.url}; its pictures are drawn here, and nothing is paid."
            )
            reporter.info(f"Stop it with Ctrl-C or `kill {os.getpid()}`. Point any client at it with:")
            for name, value in simulation.environment.items():
                reporter.result(f"export {name}={shlex.quote(value)}")
            _close_stdout()
            await interrupted.wait()
        finally:
            await simulation.__aexit__(None, None, None)
        return 0

    run(command, reporter)


def _close_stdout() -> None:
    """Tells a pipe that everything was said, so that ``eval "$(hfmedia sandbox &)"`` goes on while this one serves."""
    if sys.stdout.isatty():
        return
    sys.stdout.flush()
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)
