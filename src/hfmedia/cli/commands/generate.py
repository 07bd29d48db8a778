"""``hfmedia generate``, or bare text: its options, in the words of the command.

Nothing but typer is loaded for its help; what it does is in make.py.
"""

from __future__ import annotations

from typing import Annotated

import typer

CURRENT_FOLDER = "./"  # where results go when nobody says: with readable names, into the current folder
SIZE_PANEL, PARAMETERS_PANEL, CONNECTION_PANEL, OUTPUT_PANEL = (
    "Size and length",
    "How it is drawn",
    "Where and with what",
    "What is said",
)


def generate(
    prompt: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="What to make; - reads it from stdin.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL[:PROVIDER]",
            help="A model of the Hub, and who shall run it: a provider, or fastest, cheapest, preferred. "
            "Absent: a well-known model that is live for the task.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", help="How many, made side by side, each with its own seed.")] = 1,
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="FILE|DIR/", help="A file, or a folder when it is one or ends in a slash."
        ),
    ] = CURRENT_FOLDER,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="text-to-image, text-to-video, image-to-image or image-to-video. Absent: what the model does.",
        ),
    ] = None,
    image: Annotated[str | None, typer.Option(metavar="FILE|URL", help="An image to begin with.")] = None,
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
        typer.Option(
            metavar="N", help="The same seed draws the same picture; -n counts up.", rich_help_panel=PARAMETERS_PANEL
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Inference steps: more is slower.", rich_help_panel=PARAMETERS_PANEL)
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
            help="Anything else, as JSON or text; goes to the provider as it stands. May be repeated.",
            rich_help_panel=PARAMETERS_PANEL,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="S", help="Seconds for all of it; 0 is no limit.", rich_help_panel=CONNECTION_PANEL)
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
        bool,
        typer.Option(
            "--json",
            metavar="",
            help="One JSON object a line: results on stdout, errors and notes on stderr.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", metavar="", help="Only results and errors.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
) -> None:
    """Make images or videos from a prompt, and print where they lie, one path a line."""
    from ..generating import run_generate
    from ..reporter import Reporter

    run_generate(
        prompt,
        {
            "model": model,
            "n": n,
            "output": output or CURRENT_FOLDER,
            "task": task,
            "image": image,
            "aspect_ratio": aspect_ratio,
            "resolution": resolution,
            "seconds": seconds,
            "seed": seed,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "negative_prompt": negative,
        },
        size=size,
        params=param or (),
        client_options={"bill_to": bill_to, "proxy": proxy, "timeout": timeout},
        sandbox=sandbox,
        reporter=Reporter(as_json=as_json, quiet=quiet),
    )
