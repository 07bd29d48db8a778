"""``hfmedia jobs``: the options of its commands. The work is done in job_views.py and job_actions.py."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..help import CommandWithExamples
from ..options import AS_JSON, PROXY, QUIET

DEFAULT_SUBCOMMAND = "list"
HELP = """
List, inspect, resume, cancel or resolve jobs; sum up their costs. `hfmedia jobs` alone lists them.

\b
A job is identified by its ID or by a unique prefix of it.
  hfmedia jobs                    the latest 20, active ones first, each with its next step
  hfmedia jobs resume --all       resume what a crash, Ctrl-C or a timeout interrupted
"""


class DefaultSubcommandGroup(TyperGroup):
    """A command group with a default command, for its name alone or followed by options."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.rich_markup_mode = None  # plain and quick, as the main help page

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command where none is named, then parse as any group."""
        own_options = {name for option in self.get_params(ctx) for name in option.opts}
        if not args or (args[0].startswith("-") and args[0] not in own_options):
            args = [DEFAULT_SUBCOMMAND, *args]
        elif args[0] not in self.commands and args[0] not in own_options:
            command_names = ", ".join(self.commands)
            ctx.fail(
                f"`hfmedia jobs {args[0]}` is not a command; choose one of {command_names}. "
                "To show one job: `hfmedia jobs show ID`."
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

JOB_ID = Annotated[str, typer.Argument(metavar="ID", help="Job ID, or a unique prefix of it.")]
JOB_IDS = Annotated[list[str], typer.Argument(metavar="ID...", help="Job IDs, or unique prefixes of them.")]
WATCH = Annotated[bool, typer.Option("--watch", "-w", metavar="", help="Keep watching until Ctrl-C.")]
YES = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Don't ask for confirmation.")]
SINCE = Annotated[str | None, typer.Option(metavar="WHEN", help="Only jobs created since: 30m, 3h, 2d, 4w, or a date.")]
PROVIDER = Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs at this provider.")]
MODEL = Annotated[str | None, typer.Option("-m", "--model", metavar="MODEL", help="Only jobs with this model.")]


@app.command("list", cls=CommandWithExamples, short_help="List jobs, active ones first, each with its next step.")
def list_jobs(
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only jobs in this state (running, in_doubt, done …). May be repeated."),
    ] = None,
    provider: PROVIDER = None,
    model: MODEL = None,
    since: SINCE = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of jobs.")] = 20,
    all_jobs: Annotated[bool, typer.Option("--all", metavar="", help="All jobs, without a limit.")] = False,
    as_json: AS_JSON = False,
    watch: WATCH = False,
) -> None:
    """List jobs, active ones first, each with its next step."""
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


@app.command(cls=CommandWithExamples, short_help="Show all details of one job.")
def show(job: JOB_ID, as_json: AS_JSON = False, watch: WATCH = False) -> None:
    """Show all details of one job: its history, files, cost and next step."""
    from ..job_views import show_job
    from ..reporter import Reporter

    show_job(job, watch=watch, reporter=Reporter(as_json=as_json))


@app.command(cls=CommandWithExamples, short_help="Resume unfinished jobs, at no extra cost.")
def resume(
    job: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Job IDs. Default: all unfinished jobs.")
    ] = None,
    all_jobs: Annotated[bool, typer.Option("--all", metavar="", help="All unfinished jobs (the default).")] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE|DIR/", help="Output file or folder. Default: that of the original request."
        ),
    ] = None,
    proxy: PROXY = None,
    as_json: AS_JSON = False,
    quiet: QUIET = False,
) -> None:
    """Resume unfinished jobs and print the paths of the results. Accepted jobs are never submitted again."""
    from ..job_actions import resume_jobs
    from ..reporter import Reporter

    resume_jobs(
        job or (), all_jobs=all_jobs, output=output, proxy=proxy, reporter=Reporter(as_json=as_json, quiet=quiet)
    )


@app.command(cls=CommandWithExamples, short_help="Cancel jobs, at the provider too where it supports that.")
def cancel(job: JOB_IDS, proxy: PROXY = None, as_json: AS_JSON = False) -> None:
    """Cancel jobs, at their providers too where they support that, and print whether they confirmed."""
    from ..job_actions import cancel_jobs
    from ..reporter import Reporter

    cancel_jobs(job, proxy=proxy, reporter=Reporter(as_json=as_json))


@app.command(cls=CommandWithExamples, short_help="Resolve a job in doubt: resend, drop, or look it up.")
def resolve(
    job: JOB_ID,
    resend: Annotated[
        bool, typer.Option("--resend", metavar="", help="Resend it; it may then be billed twice.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", metavar="", help="Give it up as failed.")] = False,
    ask: Annotated[
        bool, typer.Option("--ask", metavar="", help="Look it up at the provider (supported by replicate).")
    ] = False,
    proxy: PROXY = None,
    yes: YES = False,
    as_json: AS_JSON = False,
) -> None:
    """Resolve a job in doubt: it was sent, but it is unknown whether the provider accepted it. Choose one option."""
    from ..job_actions import resolve_job
    from ..reporter import Reporter

    decisions = [name for name, is_set in (("resend", resend), ("drop", drop), ("ask", ask)) if is_set]
    resolve_job(job, decisions, proxy=proxy, yes=yes, reporter=Reporter(as_json=as_json))


@app.command(cls=CommandWithExamples, short_help="Sum up the costs that providers reported.")
def costs(
    by: Annotated[str, typer.Option(metavar="WHAT", help="provider, model or day.")] = "provider",
    provider: PROVIDER = None,
    model: MODEL = None,
    since: SINCE = None,
    as_json: AS_JSON = False,
) -> None:
    """Sum up reported costs by unit, and count the jobs of unknown cost."""
    from ..job_views import show_costs
    from ..reporter import Reporter

    show_costs(by, {"provider": provider, "model": model}, since=since, reporter=Reporter(as_json=as_json))


@app.command(cls=CommandWithExamples, short_help="Delete old jobs that have ended.")
def prune(
    before: Annotated[str, typer.Option(metavar="WHEN", help="Jobs last updated before: 30d, 4w, or a date.")],
    yes: YES = False,
    as_json: AS_JSON = False,
) -> None:
    """Delete ended jobs from the ledger, never active ones or those in doubt. Media files stay."""
    from ..job_actions import prune_jobs
    from ..reporter import Reporter

    prune_jobs(before, yes=yes, reporter=Reporter(as_json=as_json))
