"""How every command runs: one event loop, one way to end it, one exit code.

The first Ctrl-C (or SIGTERM) is gentle, the second is at once. A traceback is shown only with HFMEDIA_DEBUG=1.
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

from . import INTERRUPTED
from .voice import Voice

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = "\x1b[?25h"


class Stop:
    """What an interrupt does. ``gently`` is called by the first one; the second leaves without another word."""

    def __init__(self) -> None:
        self.asked = False
        self.gently: Callable[[], object] = lambda: None

    def __call__(self) -> None:
        """An interrupt has come."""
        if not self.asked:
            self.asked = True
            self.gently()
            return
        bye = "left at once: what a provider has accepted goes on there, and may be billed\n"
        sys.stderr.write((SHOW_CURSOR + "\n" if sys.stderr.isatty() else "") + bye)
        sys.stderr.flush()
        os._exit(INTERRUPTED)

    def listen(self) -> None:
        """Hears the signals from now on, for as long as the loop runs."""
        loop = asyncio.get_running_loop()

        def hear(number: int, frame: object) -> None:
            loop.call_soon_threadsafe(self)

        for number in SIGNALS:
            try:
                loop.add_signal_handler(number, self)
            except NotImplementedError:  # Windows: its loop has no signals, but its process does
                signal.signal(number, hear)


Work = Callable[[Stop], Coroutine[Any, Any, int]]


def run(work: Work, voice: Voice) -> NoReturn:
    """Runs the work to its end and leaves with the exit code that it, or its error, says."""
    _hush()
    try:
        with asyncio.Runner() as runner:
            code = runner.run(_heard(work))
    except HfmediaError as error:
        code = _failed(error, voice)
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = _failed(JobCancelledError("interrupted before anything was sent; there is nothing to pay"), voice)
    except BrokenPipeError:
        code = 0  # the reader of our results has seen enough
    except Exception as error:
        words = (
            f"unexpected: {type(error).__name__}: {error}. Run it again with HFMEDIA_DEBUG=1 and report what it says"
        )
        wrong = HfmediaError(words)
        wrong.__cause__ = error
        code = _failed(wrong, voice)
    raise typer.Exit(code)


async def _heard(work: Work) -> int:
    stop = Stop()
    task = asyncio.create_task(work(stop))
    stop.gently = task.cancel
    stop.listen()
    return await task


def _hush() -> None:
    """What libraries log is for whoever debugs; without a handler Python would print it between our lines."""
    if _debugging():
        logging.basicConfig(level=logging.DEBUG)
    elif not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())


def _debugging() -> bool:
    return os.environ.get("HFMEDIA_DEBUG") == "1"


def _failed(error: HfmediaError, voice: Voice) -> int:
    if _debugging():
        traceback.print_exception(error)
    voice.error(error)
    return error.exit_code


@asynccontextmanager
async def environment(sandbox: bool, voice: Voice) -> AsyncGenerator[Mapping[str, str], None]:
    """The environment a command works in: the process's own, or that of a simulated world made for it alone.

    In the simulation nothing of the real environment is read: a real key can never buy anything there.
    """
    if not sandbox:
        yield os.environ
        return
    from hfmedia.sandbox import Sandbox

    async with AsyncExitStack() as stack:
        home = stack.enter_context(TemporaryDirectory(prefix="hfmedia-sandbox-", ignore_cleanup_errors=True))
        try:
            world = await stack.enter_async_context(Sandbox(port=0))
        except ValueError as error:
            raise InvalidRequestError(f"HFMEDIA_SANDBOX_FAULTS cannot be ordered: {error}") from error
        voice.note("sandbox: a simulation on this machine; its pictures are drawn here, and nothing is paid.")
        yield {**world.environment, "HFMEDIA_HOME": home}
