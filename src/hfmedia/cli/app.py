"""The commands by name, and the rule that bare text is a picture to make.

``hfmedia "a red fox"`` means ``hfmedia generate "a red fox"``; a word that is nearly a command is asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from hfmedia._version import __version__

from .commands.batch import batch
from .commands.doctor import doctor
from .commands.generate import generate
from .commands.models import models, providers
from .commands.sandbox import sandbox
from .commands.serve import serve
from .help import CommandWithExamples, SandboxCommand

DEFAULT_COMMAND = "generate"  # what text that names no command means
SIMILARITY_CUTOFF = 0.8  # of 1; "modles" and "models" are 0.83 alike, "noodles" and "models" 0.77

HELP = """
Images and videos from every model on Hugging Face Inference Providers.

\b
Make something:
  hfmedia "a red fox in the snow"
  hfmedia "a red fox" -m black-forest-labs/FLUX.1-schnell:fal-ai -n 4 -o out/
  hfmedia "waves at dusk" --task text-to-video -o waves.mp4
Left off half-way (a crash, Ctrl-C, a time limit)? Nothing paid for is lost:
  hfmedia jobs
  hfmedia jobs resume --all
No account yet? Add --sandbox, and a simulated world draws for you:
  hfmedia "a red fox" --sandbox

\b
Bare text means `hfmedia generate`; see `hfmedia generate --help` for every option.
Results go to stdout, everything else to stderr.

\b
Exit codes: 0 done, 1 unexpected, 2 usage, 3 credential, 4 credit, 5 model or task not
supported, 6 refused or failed, 7 out of time, 8 in doubt, 130 interrupted.
"""


def resolve_args(
    args: Sequence[str], commands: Collection[str], *, own_options: Collection[str], value_options: Collection[str]
) -> list[str]:
    """The arguments with the command in front that they mean.

    ``own`` are the options of ``hfmedia`` itself, ``takers`` the options of ``generate`` that are followed by a value.
    """
    if not args or args[0] in own_options:
        return list(args)
    command_index = _first_argument(args, value_options)
    if command_index is not None and args[command_index] in commands:  # options may come before the command
        return [args[command_index], *args[:command_index], *args[command_index + 1 :]]
    return [DEFAULT_COMMAND, *args]


def _first_argument(args: Sequence[str], value_options: Collection[str]) -> int | None:
    """Where the first argument stands that is neither an option nor the value of one."""
    index = 0
    while index < len(args):
        arg = args[index]
        if arg == "--":
            return None  # what follows is text by the user's own word
        if arg == "-" or not arg.startswith("-"):
            return index
        index += 2 if arg in value_options else 1
    return None


def suggest_command(
    args: Sequence[str], commands: Collection[str], value_options: Collection[str]
) -> tuple[str, str] | None:
    """The first word and the command it nearly is; None for text that nobody would mistake for one."""
    index = _first_argument(args, value_options)
    if index is None or args[index] in commands or " " in args[index]:
        return None
    from difflib import get_close_matches

    matches = get_close_matches(args[index].lower(), commands, n=1, cutoff=SIMILARITY_CUTOFF)
    return (args[index], matches[0]) if matches else None


class LazyCommand(TyperCommand):
    """A command, or a group of them, that is built when somebody names it: the first page needs its line alone."""

    def __init__(self, name: str, loader: Callable[[], Any], short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self._loader = loader

    def load(self) -> Any:
        """The command itself, with its options."""
        command = self._loader()
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


def _load_keys() -> TyperGroup:
    from .commands.keys import app as keys

    return get_group(keys)


def _load_jobs() -> TyperGroup:
    from .commands.jobs import app as jobs

    return get_group(jobs)


def _load_single(command: Callable[..., None]) -> Callable[[], Any]:
    def load() -> Any:
        wrapper = typer.Typer(rich_markup_mode="rich", add_completion=False)
        wrapper.command(cls=SandboxCommand if command is sandbox else CommandWithExamples)(command)
        return get_command(wrapper)

    return load


GROUPS: dict[str, tuple[Callable[[], TyperGroup], str]] = {  # with their lines on the first page
    "keys": (_load_keys, "Make, limit and revoke the keys of the gateway."),
    "jobs": (_load_jobs, "See what became of jobs; resume, cancel, resolve them."),
}
COMMANDS: dict[Callable[..., None], str] = {
    generate: "Make images or videos; bare text means this.",
    batch: "Make one for each line of a file, and go on where it stopped.",
    models: "List the models that somebody serves now.",
    providers: "Show who serves a model, and how you would reach it.",
    serve: "Serve OpenAI's images and videos API in front of it all.",
    sandbox: "Serve a simulated world to try things in.",
    doctor: "Find out whether a job could run here.",
}


class DefaultCommandGroup(TyperGroup):
    """A group of commands in which anything that names no command is a prompt."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.rich_markup_mode = (
            None  # this page and usage errors are plain: rich alone takes longer to load than they do
        )
        for function, short_help in COMMANDS.items():
            self.add_command(LazyCommand(function.__name__, _load_single(function), short_help))
        for name, (group, short_help) in GROUPS.items():
            self.add_command(LazyCommand(name, group, short_help))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any group, once the command is there."""
        own_options = {name for option in self.get_params(ctx) for name in option.opts}
        # options may come first; only then it matters which of them are followed by a value
        value_options = (
            self._value_options()
            if args and args[0] not in own_options and args[0].startswith("-")
            else frozenset[str]()
        )
        if args and args[0] not in own_options and (suggestion := suggest_command(args, self.commands, value_options)):
            word, command = suggestion
            ctx.fail(
                f"did you mean `hfmedia {command}`? To make a picture of the word, write `hfmedia {DEFAULT_COMMAND} {word}`."
            )
        return super().parse_args(
            ctx, resolve_args(args, self.commands, own_options=own_options, value_options=value_options)
        )

    def _value_options(self) -> frozenset[str]:
        """The options of ``generate`` that are followed by a value."""
        default_command = self.commands[DEFAULT_COMMAND]
        assert isinstance(default_command, LazyCommand)
        options = [option for option in default_command.load().params if not getattr(option, "is_flag", False)]
        return frozenset(name for option in options for name in option.opts if name.startswith("-"))


app = typer.Typer(
    cls=DefaultCommandGroup,
    rich_markup_mode="rich",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"hfmedia {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, help=HELP)
def hfmedia(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="The version, and nothing else.")
    ] = False,
) -> None:
    """Shows the help when nothing was asked for."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
