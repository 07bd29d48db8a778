"""``hfmedia jobs``: what became of every job, and what may still be done with it; its options, in words.

A bare noun lists. Nothing but typer is loaded for its help; what it does is in browse.py and settle.py.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..help import CommandWithExamples
from .models import PROXY

DEFAULT_SUBCOMMAND = "list"  # what the noun alone means
HELP = """
What became of every job, and what may still be done with it: list (what the noun alone means), show,
resume, cancel, resolve, costs, prune.

\b
A job is known by its id, or by the beginning of it where no other job begins so.
  hfmedia jobs                    the last 20, live ones first, each with what to do next
  hfmedia jobs resume --all       carry on what a crash, Ctrl-C or a time limit left behind
"""


class DefaultSubcommandGroup(TyperGroup):
    """A group of commands whose name alone, or followed by options, means the first of them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.rich_markup_mode = None  # as on the first page: plain, and there at once

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any group, once the command is there."""
        own_options = {name for option in self.get_params(ctx) for name in option.opts}
        if not args or (args[0].startswith("-") and args[0] not in own_options):
            args = [DEFAULT_SUBCOMMAND, *args]
        elif args[0] not in self.commands and args[0] not in own_options:
            command_names = ", ".join(self.commands)
            ctx.fail(
                f"`hfmedia jobs {args[0]}` is no command; there are {command_names}. One job: `hfmedia jobs show ID`."
            )
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=DefaultSubcommandGroup,
    help=HELP,
    rich_markup_mode="rich",
    no_args_is_help=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

JOB_ID = Annotated[str, typer.Argument(metavar="ID", help="A job's id, or the beginning of it.")]
JOB_IDS = Annotated[list[str], typer.Argument(metavar="ID...", help="Jobs by their ids, or the beginnings of them.")]
AS_JSON = Annotated[bool, typer.Option("--json", metavar="", help="One JSON object a line.")]
WATCH = Annotated[bool, typer.Option("--watch", "-w", metavar="", help="Go on telling what changes, until Ctrl-C.")]
YES = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask first.")]
SINCE = Annotated[str | None, typer.Option(metavar="WHEN", help="Only jobs made since: 30m, 3h, 2d, 4w, or a date.")]
PROVIDER = Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs at this provider.")]
MODEL = Annotated[str | None, typer.Option("-m", "--model", metavar="MODEL", help="Only jobs with this model.")]


@app.command("list", cls=CommandWithExamples, short_help="Jobs, live ones first, each with what to do next.")
def list_jobs(
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only jobs in this state (running, doubt, done …). May be repeated."),
    ] = None,
    provider: PROVIDER = None,
    model: MODEL = None,
    since: SINCE = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 20,
    all_jobs: Annotated[bool, typer.Option("--all", metavar="", help="However many there are.")] = False,
    as_json: AS_JSON = False,
    watch: WATCH = False,
) -> None:
    """List jobs, live ones first, each with what to do next."""
    from ..job_views import show_jobs
    from ..reporter import Reporter

    filters = {"provider": provider, "model": model}
    show_jobs(
        state or (),
        filters,
        since=since,
        limit=None if all_jobs else limit,
        watch=watch,
        reporter=Reporter(as_json=as_json),
    )


@app.command(cls=CommandWithExamples, short_help="All that is known of one job.")
def show(job: JOB_ID, as_json: AS_JSON = False, watch: WATCH = False) -> None:
    """Show all that is known of one job: what happened when, its files, its cost, what to do next."""
    from ..job_views import show_job
    from ..reporter import Reporter

    show_job(job, watch=watch, reporter=Reporter(as_json=as_json))


@app.command(cls=CommandWithExamples, short_help="Carry jobs on, without paying again.")
def resume(
    job: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Jobs by their ids; absent: every unfinished one.")
    ] = None,
    all_jobs: Annotated[
        bool, typer.Option("--all", metavar="", help="Every unfinished job that nobody carries; so is naming none.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE|DIR/", help="Where the results go; absent: where they were to go."
        ),
    ] = None,
    proxy: PROXY = None,
    as_json: AS_JSON = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", metavar="", help="Only results and errors.")] = False,
) -> None:
    """Carry jobs on from where they stand; what was bought is not bought again. Prints where the results lie."""
    from ..job_actions import resume_jobs
    from ..reporter import Reporter

    resume_jobs(
        job or (), all_jobs=all_jobs, output=output, proxy=proxy, reporter=Reporter(as_json=as_json, quiet=quiet)
    )


@app.command(cls=CommandWithExamples, short_help="Stop jobs, at the provider too where it can be.")
def cancel(job: JOB_IDS, proxy: PROXY = None, as_json: AS_JSON = False) -> None:
    """Stop jobs, at their providers too where that is possible, and tell whether it was."""
    from ..job_actions import cancel_jobs
    from ..reporter import Reporter

    cancel_jobs(job, proxy=proxy, reporter=Reporter(as_json=as_json))


@app.command(cls=CommandWithExamples, short_help="Settle a doubt: resend, drop, or ask the provider.")
def resolve(
    job: JOB_ID,
    resend: Annotated[
        bool, typer.Option("--resend", metavar="", help="Let it be sent again: it may then be paid twice.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", metavar="", help="Give it up.")] = False,
    ask: Annotated[
        bool, typer.Option("--ask", metavar="", help="Ask the provider whether it has it (replicate can be asked).")
    ] = False,
    proxy: PROXY = None,
    yes: YES = False,
    as_json: AS_JSON = False,
) -> None:
    """Settle a job in doubt: it was sent, and nobody knows whether the provider accepted it. Say one of the three."""
    from ..job_actions import resolve_job
    from ..reporter import Reporter

    decisions = [name for name, is_set in (("resend", resend), ("drop", drop), ("ask", ask)) if is_set]
    resolve_job(job, decisions, proxy=proxy, yes=yes, reporter=Reporter(as_json=as_json))


@app.command(cls=CommandWithExamples, short_help="Add up what providers reported.")
def costs(
    by: Annotated[str, typer.Option(metavar="WHAT", help="provider, model or day.")] = "provider",
    provider: PROVIDER = None,
    model: MODEL = None,
    since: SINCE = None,
    as_json: AS_JSON = False,
) -> None:
    """Add up what providers reported, each unit apart, and count what nobody told."""
    from ..job_views import show_costs
    from ..reporter import Reporter

    show_costs(by, {"provider": provider, "model": model}, since=since, reporter=Reporter(as_json=as_json))


@app.command(cls=CommandWithExamples, short_help="Forget old jobs that have ended.")
def prune(
    before: Annotated[str, typer.Option(metavar="WHEN", help="Jobs last touched before: 30d, 4w, or a date.")],
    yes: YES = False,
    as_json: AS_JSON = False,
) -> None:
    """Forget old jobs that have ended, never live ones or doubts; their media files stay where they are."""
    from ..job_actions import prune_jobs
    from ..reporter import Reporter

    prune_jobs(before, yes=yes, reporter=Reporter(as_json=as_json))
