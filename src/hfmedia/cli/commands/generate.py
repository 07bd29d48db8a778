"""``hfmedia generate``, or bare text: its options. The work is done in generating.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ..options import (
    BILL_TO,
    CONNECTION_PANEL,
    CONNECTION_PROXY,
    CONNECTION_SANDBOX,
    IMAGE,
    OUTPUT_AS_JSON,
    OUTPUT_QUIET,
    PARAM,
    SIZE,
    TASK,
    with_parameter_options,
)

CURRENT_FOLDER = "./"  # default output: readable names in the current folder


@with_parameter_options
def generate(
    *,
    prompt: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="What to generate; - reads it from stdin.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL[:PROVIDER]",
            help="A model on the Hub, and optionally a provider or one of fastest, cheapest, preferred. "
            "Default: a well-known model that is live for the task.",
        ),
    ] = None,
    n: Annotated[
        int, typer.Option("-n", metavar="N", help="Number of outputs, in parallel, each with its own seed.")
    ] = 1,
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="FILE|DIR/", help="A file, or a folder when it is one or ends in a slash."
        ),
    ] = CURRENT_FOLDER,
    task: TASK = None,
    image: IMAGE = None,
    size: SIZE = None,
    parameters: Mapping[str, Any],
    param: PARAM = None,
    timeout: Annotated[
        float,
        typer.Option(metavar="S", help="Total time limit in seconds (0 = none).", rich_help_panel=CONNECTION_PANEL),
    ] = 0,
    proxy: CONNECTION_PROXY = None,
    bill_to: BILL_TO = None,
    sandbox: CONNECTION_SANDBOX = False,
    as_json: OUTPUT_AS_JSON = False,
    quiet: OUTPUT_QUIET = False,
) -> None:
    """Generate images or videos from a prompt, and print their paths, one per line."""
    from ..generating import run_generate
    from ..reporter import Reporter

    options = {"model": model, "n": n, "output": output or CURRENT_FOLDER, "task": task, "image": image}
    run_generate(
        prompt,
        {**options, **parameters},
        size=size,
        params=param or (),
        client_options={"bill_to": bill_to, "proxy": proxy, "timeout": timeout},
        sandbox=sandbox,
        reporter=Reporter(as_json=as_json, quiet=quiet),
    )
