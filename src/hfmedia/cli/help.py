"""Help pages: the options of a command, then examples that run unchanged (the tests run them), never wrapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand

EXAMPLE_MODEL = "black-forest-labs/FLUX.1-schnell"
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "generate": (
        'hfmedia "a red fox in the snow" --sandbox',
        'hfmedia "a red fox" --sandbox -n 4 --seed 7 -o foxes/',
        f'hfmedia "a red fox" --sandbox -m {EXAMPLE_MODEL}:together --size 1024x768 -o fox.jpg',
        'hfmedia "waves at dusk" --sandbox --task text-to-video --aspect-ratio 16:9 -o waves.mp4',
        'hfmedia "make it night" --sandbox --image day.png -o night.png',
        'echo "a red fox" | hfmedia - --sandbox --json',
    ),
    "batch": (
        "hfmedia batch prompts.txt -o out/ --sandbox",
        f"hfmedia batch requests.csv -o out/ --sandbox -m {EXAMPLE_MODEL} --concurrency 16 --max-failures 5",
        "hfmedia batch requests.jsonl -o out/ --sandbox --dry-run",
        "hfmedia batch - -o out/ --sandbox --json < prompts.txt",
    ),
    "models": (
        "hfmedia models --sandbox --task text-to-video",
        "hfmedia models --sandbox --search flux --json",
    ),
    "providers": (f"hfmedia providers {EXAMPLE_MODEL} --sandbox",),
    "serve": (
        "hfmedia serve --sandbox",
        "hfmedia serve --config gateway.toml",
        "hfmedia serve --port 9000 --root-path /hf --trust-proxy 127.0.0.1",
    ),
    "sandbox": (
        "hfmedia sandbox --port 8765",
        "hfmedia sandbox --speed 4 --fault fal-ai:credit:all",
        'eval "$(hfmedia sandbox &)"',
    ),
    "jobs list": (
        "hfmedia jobs",
        "hfmedia jobs list --state in_doubt --state failed --since 2d",
        "hfmedia jobs list --all --json",
        "hfmedia jobs list --watch",
    ),
    "jobs show": ("hfmedia jobs show ID", "hfmedia jobs show ID --json", "hfmedia jobs show ID --watch"),
    "jobs resume": ("hfmedia jobs resume --all", "hfmedia jobs resume ID -o fox.png"),
    "jobs cancel": ("hfmedia jobs cancel ID",),
    "jobs resolve": (
        "hfmedia jobs resolve ID --ask",
        "hfmedia jobs resolve ID --drop",
        "hfmedia jobs resolve ID --resend",
    ),
    "jobs costs": ("hfmedia jobs costs", "hfmedia jobs costs --by day --since 4w --json"),
    "jobs prune": ("hfmedia jobs prune --before 30d",),
    "doctor": ("hfmedia doctor", "hfmedia doctor --sandbox --json"),
}


class CommandWithExamples(TyperCommand):
    """A command whose help ends with its examples."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return ``--help`` without a metavar, because it takes no value."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.metavar = ""
        return option

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the examples, then any extra help."""
        super().format_help(ctx, formatter)
        name = ctx.command_path.partition(" ")[2]  # without the program: ``jobs show``
        typer.echo("Examples:\n\n" + "".join(f"  {line}\n" for line in EXAMPLES[name]))
        self.write_extra_help()

    def write_extra_help(self) -> None:
        """Write nothing more, on most pages."""


class SandboxCommand(CommandWithExamples):
    """The help page of ``sandbox``, which ends with the table of faults, loaded only for this page."""

    def write_extra_help(self) -> None:
        """Write every fault and its syntax."""
        from hfmedia.sandbox.faults import help_text

        typer.echo(help_text())
