"""The commands by name, and the rule that bare text is a prompt.

``hfmedia "a red fox"`` means ``hfmedia generate "a red fox"``; a misspelled command is an error, not a prompt. Each
command is imported when it is used, so that ``hfmedia --help`` stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from hfmedia._version import __version__

from .help import CommandWithExamples, SandboxCommand

DEFAULT_COMMAND = "generate"  # the command of text that names none
SIMILARITY_CUTOFF = 0.8  # of 1; "modles" and "models" are 0.83 alike, "noodles" and "models" 0.77

HELP = """
Images and videos from every model on Hugging Face Inference Providers.

\b
Generate something:
  hfmedia "a red fox in the snow"
  hfmedia "a red fox" -m black-forest-labs/FLUX.1-schnell:fal-ai -n 4 -o out/
  hfmedia "waves at dusk" --task text-to-video -o waves.mp4
Interrupted by a crash, Ctrl-C or a timeout? Nothing paid for is lost:
  hfmedia jobs
  hfmedia jobs resume --all
No account yet? Add --sandbox to use a simulation on this machine:
  hfmedia "a red fox" --sandbox

\b
Bare text means `hfmedia generate`; see `hfmedia generate --help` for every option.
Results go to stdout, everything else to stderr.

\b
Exit codes: 0 done, 1 unexpected, 2 usage, 3 credential, 4 credit, 5 model or task not
supported, 6 rejected or failed, 7 timed out, 8 in doubt, 130 interrupted.
"""


def resolve_args(
    args: Sequence[str], commands: Collection[str], *, own_options: Collection[str], value_options: Collection[str]
) -> list[str]:
    """Return the arguments with their command in front.

    ``own_options`` are the options of ``hfmedia`` itself, ``value_options`` those of ``generate`` that take a value.
    """
    if not args or args[0] in own_options:
        return list(args)
    command_index = _first_argument(args, value_options)
    if command_index is not None and args[command_index] in commands:  # options may come before the command
        return [args[command_index], *args[:command_index], *args[command_index + 1 :]]
    return [DEFAULT_COMMAND, *args]


def _first_argument(args: Sequence[str], value_options: Collection[str]) -> int | None:
    """Return the index of the first argument that is neither an option nor the value of one."""
    index = 0
    while index < len(args):
        arg = args[index]
        if arg == "--":
            return None  # the user declared what follows to be text
        if arg == "-" or not arg.startswith("-"):
            return index
        index += 2 if arg in value_options else 1
    return None


def suggest_command(
    args: Sequence[str], commands: Collection[str], value_options: Collection[str]
) -> tuple[str, str] | None:
    """Return the first word and the command it resembles; None for text that does not resemble one."""
    index = _first_argument(args, value_options)
    if index is None or args[index] in commands or " " in args[index]:
        return None
    from difflib import get_close_matches

    matches = get_close_matches(args[index].lower(), commands, n=1, cutoff=SIMILARITY_CUTOFF)
    return (args[index], matches[0]) if matches else None


class LazyCommand(TyperCommand):
    """A command or group that is imported when it is used: the main help page needs only its one line."""

    def __init__(self, name: str, loader: Callable[[], Any], short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self._loader = loader

    def load(self) -> Any:
        """Import the command, with its options."""
        command = self._loader()
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return the context of the imported command."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


def _load_keys() -> TyperGroup:
    from .commands.keys import app as keys

    return get_group(keys)


def _load_jobs() -> TyperGroup:
    from .commands.jobs import app as jobs

    return get_group(jobs)


def _import_generate() -> Callable[..., None]:
    from .commands.generate import generate

    return generate


def _import_batch() -> Callable[..., None]:
    from .commands.batch import batch

    return batch


def _import_models() -> Callable[..., None]:
    from .commands.models import models

    return models


def _import_providers() -> Callable[..., None]:
    from .commands.models import providers

    return providers


def _import_serve() -> Callable[..., None]:
    from .commands.serve import serve

    return serve


def _import_sandbox() -> Callable[..., None]:
    from .commands.sandbox import sandbox

    return sandbox


def _import_doctor() -> Callable[..., None]:
    from .commands.doctor import doctor

    return doctor


def _load_command(name: str) -> Callable[[], Any]:
    def load() -> Any:
        import_command, _ = COMMANDS[name]
        wrapper = typer.Typer(rich_markup_mode="rich", add_completion=False)
        wrapper.command(cls=SandboxCommand if name == "sandbox" else CommandWithExamples)(import_command())
        return get_command(wrapper)

    return load


GROUPS: dict[str, tuple[Callable[[], TyperGroup], str]] = {  # with their lines on the main help page
    "keys": (_load_keys, "Create, limit and revoke API keys of the gateway."),
    "jobs": (_load_jobs, "List, inspect, resume, cancel or resolve jobs."),
}
COMMANDS: dict[str, tuple[Callable[[], Callable[..., None]], str]] = {  # with their lines on the main help page
    "generate": (_import_generate, "Generate images or videos (the default command)."),
    "batch": (_import_batch, "Run one request per line of a file; rerun to continue."),
    "models": (_import_models, "List models with a live provider."),
    "providers": (_import_providers, "Show a model's providers and how requests reach them."),
    "serve": (_import_serve, "Serve an OpenAI-compatible images and videos API."),
    "sandbox": (_import_sandbox, "Run a local simulation of the Hub and every provider."),
    "doctor": (_import_doctor, "Check token, network, disk and versions."),
}


class DefaultCommandGroup(TyperGroup):
    """A group of commands in which anything that names no command is a prompt."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.rich_markup_mode = None  # plain help page and usage errors: loading rich takes longer than all the rest
        for name, (_, short_help) in COMMANDS.items():
            self.add_command(LazyCommand(name, _load_command(name), short_help))
        for name, (group, short_help) in GROUPS.items():
            self.add_command(LazyCommand(name, group, short_help))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command where none is named, then parse as any group."""
        own_options = {name for option in self.get_params(ctx) for name in option.opts}
        # options may come before the command; only then it matters which of them take a value
        value_options = (
            self._value_options()
            if args and args[0] not in own_options and args[0].startswith("-")
            else frozenset[str]()
        )
        if args and args[0] not in own_options and (suggestion := suggest_command(args, self.commands, value_options)):
            word, command = suggestion
            ctx.fail(
                f"did you mean `hfmedia {command}`? To use {word} as a prompt, run `hfmedia {DEFAULT_COMMAND} {word}`."
            )
        return super().parse_args(
            ctx, resolve_args(args, self.commands, own_options=own_options, value_options=value_options)
        )

    def _value_options(self) -> frozenset[str]:
        """Return the options of ``generate`` that take a value."""
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
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Show the help when no command is given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
