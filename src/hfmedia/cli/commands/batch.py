"""``hfmedia batch FILE -o DIR``: its options. The work is done in batching.py."""

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
    LIMITS_PANEL,
    OUTPUT_AS_JSON,
    OUTPUT_QUIET,
    PARAM,
    SIZE,
    TASK,
    with_parameter_options,
)


@with_parameter_options
def batch(
    *,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="One request per line: .jsonl, .csv with a header, .parquet, or .txt with one prompt per line; "
            "- reads JSON Lines or prompts from stdin.",
        ),
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results and index.jsonl.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL[:PROVIDER]",
            help="Default for lines without a model. (The options below are defaults too.)",
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", metavar="N", help="Number of outputs per line.")] = None,
    task: TASK = None,
    image: IMAGE = None,
    input_format: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="jsonl, csv, parquet or txt. Default: by suffix.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", metavar="", help="Show what remains to be done, by which provider, for how much; send nothing."
        ),
    ] = False,
    concurrency: Annotated[
        int, typer.Option(metavar="N", help="Outputs in progress at once, in total.", rich_help_panel=LIMITS_PANEL)
    ] = 8,
    per_provider: Annotated[
        int | None,
        typer.Option(metavar="N", help="Outputs in progress at once, per provider.", rich_help_panel=LIMITS_PANEL),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            help="Start nothing new once providers reported this cost, earlier runs included; what is in progress "
            "finishes. Costs that providers don't report are shown as unknown and don't count.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
    max_failures: Annotated[
        int | None,
        typer.Option(metavar="N", help="Start nothing new after N failures.", rich_help_panel=LIMITS_PANEL),
    ] = None,
    size: SIZE = None,
    parameters: Mapping[str, Any],
    param: PARAM = None,
    timeout: Annotated[
        float,
        typer.Option(metavar="S", help="Time limit per line in seconds (0 = none).", rich_help_panel=CONNECTION_PANEL),
    ] = 0,
    proxy: CONNECTION_PROXY = None,
    bill_to: BILL_TO = None,
    sandbox: CONNECTION_SANDBOX = False,
    as_json: OUTPUT_AS_JSON = False,
    quiet: OUTPUT_QUIET = False,
) -> None:
    """Run one request per line of a file; rerun to continue: only what is missing is generated.

    Columns, of which all but the prompt are optional: prompt, model, task, image (a URL, or a path relative to FILE),
    n, output (a file name in DIR), key (your own ID for the line), size, {columns}, extra (JSON). Any other column is
    passed to the provider unchanged.

    The whole file is validated before anything is sent.
    """
    from ..batching import run_batch
    from ..reporter import Reporter

    run_batch(
        file,
        output,
        {"model": model, "n": n, "task": task, "image": image, "size": size, **parameters},
        params=param or (),
        input_format=input_format,
        limits={"concurrency": concurrency, "max_cost": max_cost, "max_failures": max_failures},
        client_options={"bill_to": bill_to, "proxy": proxy, "timeout": timeout, "concurrency": per_provider},
        dry_run=dry_run,
        sandbox=sandbox,
        reporter=Reporter(as_json=as_json, quiet=quiet),
    )


def _with_column_names(text: str) -> str:
    """Fill in the columns of the table, and join the lines of each paragraph, which the help page wraps itself."""
    from hfmedia.core.parameters import PARAMETERS

    names = ", ".join(row.aliases[0] if row.aliases else row.name for row in PARAMETERS)
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.format(columns=names).split("\n\n"))


batch.__doc__ = _with_column_names(batch.__doc__ or "")
