"""``hfmedia sandbox``: the simulated Hub, router, providers and CDN, served on this machine until Ctrl-C.

Prints only ``export`` lines on stdout, which a shell can evaluate, and then closes stdout.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer


def sandbox(
    host: Annotated[str, typer.Option(metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="The port to listen on; 0 selects a free one.")
    ] = 0,
    speed: Annotated[float, typer.Option(metavar="X", help="Speed of its clock, as a multiple of real time.")] = 1.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT",
            help="A fault to simulate: PROVIDER:KIND[:TIMES][;detail=value…]. May be repeated. See below.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", metavar="", help="Print only the export lines and errors.")
    ] = False,
) -> None:
    """Run a local simulation of the Hub, the router and every provider: no account, no cost, no outside traffic."""
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
            raise InvalidRequestError(f"{error}; see `hfmedia sandbox --help` for valid faults") from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InvalidRequestError(f"cannot listen on {host}:{port}: {reason}; choose another --port") from error
        try:
            reporter.info(f"sandbox: simulated on this machine at {simulation.url}; nothing is billed.")
            reporter.info(f"Stop it with Ctrl-C or `kill {os.getpid()}`. To use it, set:")
            for name, value in simulation.environment.items():
                reporter.result(f"export {name}={shlex.quote(value)}")
            _close_stdout()
            await interrupted.wait()
        finally:
            await simulation.__aexit__(None, None, None)
        return 0

    run(command, reporter)


def _close_stdout() -> None:
    """Close a piped stdout, so that ``eval "$(hfmedia sandbox &)"`` returns while the sandbox keeps running."""
    if sys.stdout.isatty():
        return
    sys.stdout.flush()
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)
