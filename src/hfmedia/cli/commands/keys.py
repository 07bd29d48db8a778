"""``hfmedia keys``: who may use the gateway, how much of it, and what they used.

A bare noun lists. The text of a new key goes to stdout once and is kept nowhere. It needs no running gateway, and a
running one obeys at the next request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..help import CommandWithExamples
from .jobs import DefaultSubcommandGroup

DEFAULT_SUBCOMMAND = "list"  # what the noun alone means
HELP = """
Who may use the gateway (`hfmedia serve`), and how much of it: list (what the noun alone means), make,
show, limit, revoke.

\b
A key is known by its name or its id. Its text is shown once, when it is made.
  KEY=$(hfmedia keys make web --images-per-day 100 --usd-per-month 20)
  hfmedia keys show web           its limits, and what it used of them
"""
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "list": ("hfmedia keys", "hfmedia keys list --json"),
    "make": (
        "KEY=$(hfmedia keys make web)",
        'hfmedia keys make web --models "black-forest-labs/*" --images-per-day 100 --usd-per-month 20',
        "hfmedia keys make guest --requests-per-minute 10 --expires 7 --json",
    ),
    "show": ("hfmedia keys show web",),
    "limit": ("hfmedia keys limit web --images-per-day 200 --usd-per-month none",),
    "revoke": ("hfmedia keys revoke web",),
}


class KeysGroup(DefaultSubcommandGroup):
    """The noun ``keys``; alone, or followed by options, it means its list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any group, once the command is there."""
        own_options = {name for option in self.get_params(ctx) for name in option.opts}
        if not args or (args[0].startswith("-") and args[0] not in own_options):
            args = [DEFAULT_SUBCOMMAND, *args]
        elif args[0] not in self.commands and args[0] not in own_options:
            ctx.fail(f"`hfmedia keys` has no such command; there are {', '.join(self.commands)}")
        return TyperGroup.parse_args(self, ctx, args)


class KeyCommandWithExamples(CommandWithExamples):
    """A command's page, with the examples of this noun."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The options, then the examples."""
        TyperCommand.format_help(self, ctx, formatter)
        typer.echo("Examples:\n\n" + "".join(f"  {line}\n" for line in EXAMPLES[self.name or ""]))


app = typer.Typer(
    cls=KeysGroup,
    help=HELP,
    rich_markup_mode="rich",
    no_args_is_help=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

KEY = Annotated[str, typer.Argument(metavar="NAME|ID", help="A key's name or its id.")]
AS_JSON = Annotated[bool, typer.Option("--json", metavar="", help="One JSON object a line.")]
MODELS = Annotated[
    list[str] | None,
    typer.Option("-m", "--models", metavar="PATTERN", help="Only models such as org/name or org/*. May be repeated."),
]
REQUESTS_PER_MINUTE = Annotated[str | None, typer.Option(metavar="N", help="At most so many requests a minute.")]
IMAGES_PER_DAY = Annotated[str | None, typer.Option(metavar="N", help="At most so many images a day (UTC).")]
VIDEOS_PER_DAY = Annotated[str | None, typer.Option(metavar="N", help="At most so many videos a day (UTC).")]
USD_PER_MONTH = Annotated[str | None, typer.Option(metavar="X", help="At most so many USD a month (UTC).")]


@app.command("list", cls=KeyCommandWithExamples, short_help="Every key, its state and its limits.")
def list_keys(as_json: AS_JSON = False) -> None:
    """List every key that was made, the oldest first: id, name, state, made, expires, limits."""
    from ..key_actions import show_keys
    from ..reporter import Reporter

    show_keys(Reporter(as_json=as_json))


@app.command(cls=KeyCommandWithExamples, short_help="Make a key; its text is shown once.")
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it.")],
    models: MODELS = None,
    requests_per_minute: REQUESTS_PER_MINUTE = None,
    images_per_day: IMAGES_PER_DAY = None,
    videos_per_day: VIDEOS_PER_DAY = None,
    usd_per_month: USD_PER_MONTH = None,
    bill_to: Annotated[str | None, typer.Option(metavar="ORG", help="The organisation to bill.")] = None,
    admin: Annotated[bool, typer.Option("--admin", metavar="", help="May see everybody's jobs.")] = False,
    expires: Annotated[float | None, typer.Option(metavar="DAYS", help="Stops to work after so many days.")] = None,
    as_json: AS_JSON = False,
) -> None:
    """Make a key. Its text, alone on stdout, is shown this once; only a digest of it is kept."""
    from ..key_actions import create_key, parse_limits
    from ..reporter import Reporter

    limits = parse_limits(models, requests_per_minute, images_per_day, videos_per_day, usd_per_month)
    create_key(name, limits, bill_to=bill_to, admin=admin, days=expires, reporter=Reporter(as_json=as_json))


@app.command(cls=KeyCommandWithExamples, short_help="One key: its limits, and what it used.")
def show(key: KEY, as_json: AS_JSON = False) -> None:
    """Show one key: its limits, and what counts against them today and this month (UTC)."""
    from ..key_actions import show_key
    from ..reporter import Reporter

    show_key(key, Reporter(as_json=as_json))


@app.command(cls=KeyCommandWithExamples, short_help="Change a key's limits.")
def limit(
    key: KEY,
    models: MODELS = None,
    requests_per_minute: REQUESTS_PER_MINUTE = None,
    images_per_day: IMAGES_PER_DAY = None,
    videos_per_day: VIDEOS_PER_DAY = None,
    usd_per_month: USD_PER_MONTH = None,
    as_json: AS_JSON = False,
) -> None:
    """Change the limits that are named, and leave the others; `none` takes one away."""
    from ..key_actions import parse_limits, update_key
    from ..reporter import Reporter

    limits = parse_limits(models, requests_per_minute, images_per_day, videos_per_day, usd_per_month)
    update_key(key, limits, Reporter(as_json=as_json))


@app.command(cls=KeyCommandWithExamples, short_help="Revoke a key, for good.")
def revoke(key: KEY, as_json: AS_JSON = False) -> None:
    """Revoke a key, for good: the gateway refuses it from the next request on. What it began goes on."""
    from ..key_actions import revoke_key
    from ..reporter import Reporter

    revoke_key(key, Reporter(as_json=as_json))
