"""``hfmedia batch FILE -o DIR``: its options, in the words of the command.

Nothing but typer is loaded for its help; what it does is in bulk.py.
"""

from __future__ import annotations

from typing import Annotated

import typer

SIZE_PANEL, PARAMETERS_PANEL, CONNECTION_PANEL, OUTPUT_PANEL = (
    "Size and length",
    "How it is drawn",
    "Where and with what",
    "What is said",
)
LIMITS_PANEL = "How fast, and when it stops"


def batch(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="One request a line: .jsonl, .csv with a header, .parquet, or .txt with a prompt a line; - reads JSON "
            "Lines or prompts from stdin.",
        ),
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="DIR", help="The folder of the results and of index.jsonl.")
    ],
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", metavar="MODEL[:PROVIDER]", help="For lines that name none; so are all below."),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", metavar="N", help="How many of each line.")] = None,
    task: Annotated[str | None, typer.Option(metavar="TASK", help="text-to-image, text-to-video …")] = None,
    image: Annotated[str | None, typer.Option(metavar="FILE|URL", help="An image to begin with.")] = None,
    input_format: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="jsonl, csv, parquet or txt. Absent: by the suffix.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", metavar="", help="Tell what there is to do, by whom and for how much; send nothing."),
    ] = False,
    concurrency: Annotated[
        int, typer.Option(metavar="N", help="How many at once in all.", rich_help_panel=LIMITS_PANEL)
    ] = 8,
    per_provider: Annotated[
        int | None, typer.Option(metavar="N", help="How many at once at each provider.", rich_help_panel=LIMITS_PANEL)
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            help="Begin nothing new once the providers reported this much, earlier starts included; what is under way "
            "ends. What they do not report is told, and not counted.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
    max_failures: Annotated[
        int | None,
        typer.Option(metavar="N", help="Begin nothing new after so many failures.", rich_help_panel=LIMITS_PANEL),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="In pixels: 1024x768.", rich_help_panel=SIZE_PANEL)
    ] = None,
    aspect_ratio: Annotated[
        str | None, typer.Option(metavar="W:H", help="Such as 16:9.", rich_help_panel=SIZE_PANEL)
    ] = None,
    resolution: Annotated[
        str | None, typer.Option(metavar="NAME", help="480p, 720p, 1080p, 2k …", rich_help_panel=SIZE_PANEL)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="How long a video is.", rich_help_panel=SIZE_PANEL)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="The same for every line; -n counts up.", rich_help_panel=PARAMETERS_PANEL),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Inference steps.", rich_help_panel=PARAMETERS_PANEL)
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(metavar="X", help="How closely to follow the prompt.", rich_help_panel=PARAMETERS_PANEL),
    ] = None,
    negative: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What shall not be in it.", rich_help_panel=PARAMETERS_PANEL)
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--param",
            metavar="KEY=VALUE",
            help="Anything else; may be repeated.",
            rich_help_panel=PARAMETERS_PANEL,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="S", help="Seconds for each line; 0 is no limit.", rich_help_panel=CONNECTION_PANEL)
    ] = 0,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="http://… or socks5://…; absent: as in the environment.",
            rich_help_panel=CONNECTION_PANEL,
        ),
    ] = None,
    bill_to: Annotated[
        str | None,
        typer.Option(metavar="ORG", help="Bill this organisation instead of you.", rich_help_panel=CONNECTION_PANEL),
    ] = None,
    sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox",
            metavar="",
            help="Use a simulated world: no account, no cost.",
            rich_help_panel=CONNECTION_PANEL,
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="One JSON object a line.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", metavar="", help="Only results and errors.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
) -> None:
    """Make one picture or video for each line of a file; started again, it does only what is missing.

    Columns (all but prompt may be absent): prompt, model, task, image (a path from where the file lies, or a URL),
    negative, seed, width, height, size, aspect_ratio, resolution, seconds, fps, num_frames, steps, guidance,
    scheduler, output (a file name in DIR), n, key, extra (JSON). Any other column goes to the provider as it is.

    The whole file is checked before anything is sent.
    """
    from ..batching import run_batch
    from ..reporter import Reporter

    run_batch(
        file,
        output,
        {
            "model": model,
            "n": n,
            "task": task,
            "image": image,
            "size": size,
            "aspect_ratio": aspect_ratio,
            "resolution": resolution,
            "seconds": seconds,
            "seed": seed,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "negative_prompt": negative,
        },
        params=param or (),
        input_format=input_format,
        limits={"concurrency": concurrency, "max_cost": max_cost, "max_failures": max_failures},
        client_options={"bill_to": bill_to, "proxy": proxy, "timeout": timeout, "concurrency": per_provider},
        dry_run=dry_run,
        sandbox=sandbox,
        reporter=Reporter(as_json=as_json, quiet=quiet),
    )
