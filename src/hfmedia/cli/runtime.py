"""Runtime of commands: one event loop, one interrupt handler, one exit code.

The first Ctrl-C (or SIGTERM) ends a command gracefully, the second immediately. HFMEDIA_DEBUG=1 shows tracebacks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import typer

from hfmedia.core.errors import HfmediaError, InvalidRequestError, JobCancelledError

from .exit_codes import EXIT_INTERRUPTED
from .reporter import Reporter

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = "\x1b[?25h"


class InterruptHandler:
    """Handles interrupts: the first one calls ``on_interrupt``, the second one ends the process immediately."""

    def __init__(self) -> None:
        self.interrupted = False
        self.on_interrupt: Callable[[], object] = lambda: None

    def __call__(self) -> None:
        """Handle one interrupt."""
        if not self.interrupted:
            self.interrupted = True
            self.on_interrupt()
            return
        message = "Interrupted. Jobs already accepted continue at the provider and may be billed.\n"
        sys.stderr.write((SHOW_CURSOR + "\n" if sys.stderr.isatty() else "") + message)
        sys.stderr.flush()
        os._exit(EXIT_INTERRUPTED)

    def install(self) -> None:
        """Handle SIGINT and SIGTERM while the event loop runs."""
        loop = asyncio.get_running_loop()

        def on_signal(number: int, frame: object) -> None:
            loop.call_soon_threadsafe(self)

        for number in SIGNALS:
            try:
                loop.add_signal_handler(number, self)
            except NotImplementedError:  # Windows: signals of the process, not of its loop
                signal.signal(number, on_signal)


AsyncCommand = Callable[[InterruptHandler], Coroutine[Any, Any, int]]


def run(command: AsyncCommand, reporter: Reporter) -> NoReturn:
    """Run a command and exit with its exit code, or that of its error."""
    _configure_logging()
    try:
        with asyncio.Runner() as runner:
            code = runner.run(_run_with_signals(command))
    except HfmediaError as error:
        code = _report_failure(error, reporter)
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = _report_failure(JobCancelledError("interrupted before anything was sent; nothing is billed"), reporter)
    except BrokenPipeError:
        code = 0  # the reader of the results is gone
    except Exception as error:
        message = (
            f"unexpected: {type(error).__name__}: {error}. Run it again with HFMEDIA_DEBUG=1 and report the traceback"
        )
        unexpected_error = HfmediaError(message)
        unexpected_error.__cause__ = error
        code = _report_failure(unexpected_error, reporter)
    raise typer.Exit(code)


async def _run_with_signals(command: AsyncCommand) -> int:
    interrupts = InterruptHandler()
    task = asyncio.create_task(command(interrupts))
    interrupts.on_interrupt = task.cancel
    interrupts.install()
    return await task


def _configure_logging() -> None:
    """Show the log of libraries only when debugging; without any handler Python would print it between our lines."""
    if _is_debugging():
        logging.basicConfig(level=logging.DEBUG)
    elif not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())


def _is_debugging() -> bool:
    return os.environ.get("HFMEDIA_DEBUG") == "1"


def _report_failure(error: HfmediaError, reporter: Reporter) -> int:
    if _is_debugging():
        traceback.print_exception(error)
    reporter.error(error)
    return error.exit_code


@asynccontextmanager
async def command_environment(sandbox: bool, reporter: Reporter) -> AsyncGenerator[Mapping[str, str], None]:
    """Yield the environment of a command: that of the process, or of a sandbox started for this command alone.

    With the sandbox nothing of the real environment is used, so real credentials are never sent.
    """
    if not sandbox:
        yield os.environ
        return
    from hfmedia.sandbox import Sandbox

    async with AsyncExitStack() as stack:
        home = stack.enter_context(TemporaryDirectory(prefix="hfmedia-sandbox-", ignore_cleanup_errors=True))
        try:
            simulation = await stack.enter_async_context(Sandbox(port=0))
        except ValueError as error:
            raise InvalidRequestError(f"HFMEDIA_SANDBOX_FAULTS is not valid: {error}") from error
        reporter.info("sandbox: simulated on this machine; nothing is billed.")
        yield {**simulation.environment, "HFMEDIA_HOME": home}
