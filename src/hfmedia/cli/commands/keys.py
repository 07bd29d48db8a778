"""``hfmedia keys``: the options of its commands. The work is done in key_actions.py.

Needs no running gateway; a running one applies changes from its next request on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..help import CommandWithExamples
from ..options import AS_JSON
from .jobs import DEFAULT_SUBCOMMAND, DefaultSubcommandGroup

HELP = """
Create, limit and revoke API keys of the gateway (`hfmedia serve`). `hfmedia keys` alone lists them.

\b
A key is identified by its name or its ID. Its text is shown once, when it is created.
  KEY=$(hfmedia keys create web --images-per-day 100 --usd-per-month 20)
  hfmedia keys show web           its limits and its usage
"""
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "list": ("hfmedia keys", "hfmedia keys list --json"),
    "create": (
        "KEY=$(hfmedia keys create web)",
        'hfmedia keys create web --models "black-forest-labs/*" --images-per-day 100 --usd-per-month 20',
        "hfmedia keys create guest --requests-per-minute 10 --expires 7 --json",
    ),
    "make": ("KEY=$(hfmedia keys make web)", "hfmedia keys make guest --expires 7"),
    "show": ("hfmedia keys show web",),
    "limit": ("hfmedia keys limit web --images-per-day 200 --usd-per-month none",),
    "revoke": ("hfmedia keys revoke web",),
}


class KeysGroup(DefaultSubcommandGroup):
    """The group ``keys``, whose default command lists the keys."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command where none is named, then parse as any group."""
        own_options = {name for option in self.get_params(ctx) for name in option.opts}
        if not args or (args[0].startswith("-") and args[0] not in own_options):
            args = [DEFAULT_SUBCOMMAND, *args]
        elif args[0] not in self.commands and args[0] not in own_options:
            ctx.fail(f"`hfmedia keys {args[0]}` is not a command; choose one of {', '.join(self.commands)}.")
        return TyperGroup.parse_args(self, ctx, args)


class KeyCommandWithExamples(CommandWithExamples):
    """A command whose help page ends with the examples of this group."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the examples."""
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

KEY = Annotated[str, typer.Argument(metavar="NAME|ID", help="Name or ID of a key.")]
MODELS = Annotated[
    list[str] | None,
    typer.Option("-m", "--models", metavar="PATTERN", help="Only models such as org/name or org/*. May be repeated."),
]
REQUESTS_PER_MINUTE = Annotated[str | None, typer.Option(metavar="N", help="Maximum requests per minute.")]
IMAGES_PER_DAY = Annotated[str | None, typer.Option(metavar="N", help="Maximum images per day (UTC).")]
VIDEOS_PER_DAY = Annotated[str | None, typer.Option(metavar="N", help="Maximum videos per day (UTC).")]
USD_PER_MONTH = Annotated[str | None, typer.Option(metavar="X", help="Maximum USD per month (UTC).")]


@app.command("list", cls=KeyCommandWithExamples, short_help="List every key with its state and limits.")
def list_keys(as_json: AS_JSON = False) -> None:
    """List every key, oldest first: ID, name, state, created, expires, limits."""
    from ..key_actions import show_keys
    from ..reporter import Reporter

    show_keys(Reporter(as_json=as_json))


@app.command("make", cls=KeyCommandWithExamples, short_help="Same as create.")
@app.command(cls=KeyCommandWithExamples, short_help="Create a key; its text is shown once.")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of your choice.")],
    models: MODELS = None,
    requests_per_minute: REQUESTS_PER_MINUTE = None,
    images_per_day: IMAGES_PER_DAY = None,
    videos_per_day: VIDEOS_PER_DAY = None,
    usd_per_month: USD_PER_MONTH = None,
    bill_to: Annotated[str | None, typer.Option(metavar="ORG", help="Organization to bill.")] = None,
    admin: Annotated[bool, typer.Option("--admin", metavar="", help="May see all jobs.")] = False,
    expires: Annotated[float | None, typer.Option(metavar="DAYS", help="Expires after DAYS days.")] = None,
    as_json: AS_JSON = False,
) -> None:
    """Create a key. Its text is printed on stdout once; only a digest of it is stored."""
    from ..key_actions import create_key, parse_limits
    from ..reporter import Reporter

    limits = parse_limits(models, requests_per_minute, images_per_day, videos_per_day, usd_per_month)
    create_key(name, limits, bill_to=bill_to, admin=admin, days=expires, reporter=Reporter(as_json=as_json))


@app.command(cls=KeyCommandWithExamples, short_help="Show one key with its limits and usage.")
def show(key: KEY, as_json: AS_JSON = False) -> None:
    """Show one key: its limits, and the usage that counts against them today and this month (UTC)."""
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
    """Change the given limits and keep the others; `none` removes a limit."""
    from ..key_actions import parse_limits, update_key
    from ..reporter import Reporter

    limits = parse_limits(models, requests_per_minute, images_per_day, videos_per_day, usd_per_month)
    update_key(key, limits, Reporter(as_json=as_json))


@app.command(cls=KeyCommandWithExamples, short_help="Revoke a key permanently.")
def revoke(key: KEY, as_json: AS_JSON = False) -> None:
    """Revoke a key permanently: the gateway rejects it from the next request on. Its running jobs continue."""
    from ..key_actions import revoke_key
    from ..reporter import Reporter

    revoke_key(key, Reporter(as_json=as_json))
