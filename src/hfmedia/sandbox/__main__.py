"""`python -m hfmedia.sandbox --port N`: the standalone sandbox, for clients in any language."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from .faults import FaultSpecError, help_text
from .server import Sandbox, serve_forever


def print_environment(sandbox: Sandbox) -> None:
    """Write the client environment to stdout as shell exports."""
    for name, value in sandbox.environment.items():
        sys.stdout.write(f"export {name}='{value}'\n")
    sys.stdout.flush()


def _speed(text: str) -> float:
    """Parse a speed above 0. Raises ValueError otherwise, which argparse reports."""
    if not (speed := float(text)) > 0:
        raise ValueError(text)
    return speed


def main() -> None:
    """Serve until Ctrl-C."""
    formatter_class = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m hfmedia.sandbox", epilog=help_text(), formatter_class=formatter_class
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free port)")
    parser.add_argument("--speed", type=_speed, default=1.0, help="speed-up factor for simulated work")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="PROVIDER:KIND[:TIMES]", help="fault to inject; repeatable"
    )
    arguments = parser.parse_args()
    server_coroutine = serve_forever(
        host=arguments.host,
        port=arguments.port,
        speed=arguments.speed,
        fault_specs=arguments.fault,
        ready=print_environment,
    )
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(server_coroutine)
    except (FaultSpecError, OSError) as error:  # OSError: the address is not available
        parser.error(str(error))


if __name__ == "__main__":
    main()
