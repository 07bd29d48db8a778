"""`python -m hfmedia.sandbox --port N`: the sandbox alone, for clients in any language."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from .faults import OrderError, help_text
from .server import Sandbox, serve_forever


def announce(sandbox: Sandbox) -> None:
    """The environment for a shell, on stdout."""
    for name, value in sandbox.environment.items():
        sys.stdout.write(f"export {name}='{value}'\n")
    sys.stdout.flush()


def _speed(text: str) -> float:
    """A speed above 0; ValueError is what argparse expects of one that is not."""
    if not (speed := float(text)) > 0:
        raise ValueError(text)
    return speed


def main() -> None:
    """Serves until Ctrl-C."""
    form = argparse.RawDescriptionHelpFormatter
    words = argparse.ArgumentParser(prog="python -m hfmedia.sandbox", epilog=help_text(), formatter_class=form)
    words.add_argument("--host", default="127.0.0.1")
    words.add_argument("--port", type=int, default=0)
    words.add_argument("--speed", type=_speed, default=1.0)
    words.add_argument("--fault", action="append", default=[], metavar="PROVIDER:KIND[:TIMES]")
    given = words.parse_args()
    serving = serve_forever(host=given.host, port=given.port, speed=given.speed, orders=given.fault, ready=announce)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serving)
    except (OrderError, OSError) as error:  # OSError: it cannot listen there
        words.error(str(error))


if __name__ == "__main__":
    main()
