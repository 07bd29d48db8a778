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

from .batch import batch
from .doctor import doctor
from .generate import generate
from .look import models, providers
from .pages import Page, SandboxPage
from .sandbox import sandbox
from .serve import serve

BARE = "generate"  # what text that names no command means
ALIKE = 0.8  # of 1; "modles" and "models" are 0.83 alike, "noodles" and "models" 0.77

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


def spoken(
    args: Sequence[str], commands: Collection[str], *, own: Collection[str], takers: Collection[str]
) -> list[str]:
    """The arguments with the command in front that they mean.

    ``own`` are the options of ``hfmedia`` itself, ``takers`` the options of ``generate`` that are followed by a value.
    """
    if not args or args[0] in own:
        return list(args)
    first = _first_word(args, takers)
    if first is not None and args[first] in commands:  # options may come before the command
        return [args[first], *args[:first], *args[first + 1 :]]
    return [BARE, *args]


def _first_word(args: Sequence[str], takers: Collection[str]) -> int | None:
    """Where the first argument stands that is neither an option nor the value of one."""
    position = 0
    while position < len(args):
        arg = args[position]
        if arg == "--":
            return None  # what follows is text by the user's own word
        if arg == "-" or not arg.startswith("-"):
            return position
        position += 2 if arg in takers else 1
    return None


def near_miss(args: Sequence[str], commands: Collection[str], takers: Collection[str]) -> tuple[str, str] | None:
    """The first word and the command it nearly is; None for text that nobody would mistake for one."""
    first = _first_word(args, takers)
    if first is None or args[first] in commands or " " in args[first]:
        return None
    from difflib import get_close_matches

    found = get_close_matches(args[first].lower(), commands, n=1, cutoff=ALIKE)
    return (args[first], found[0]) if found else None


class Later(TyperCommand):
    """A command, or a group of them, that is built when somebody names it: the first page needs its line alone."""

    def __init__(self, name: str, build: Callable[[], Any], short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self._build = build

    def built(self) -> Any:
        """The command itself, with its options."""
        command = self._build()
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself."""
        return self.built().make_context(info_name, args, parent=parent, **extra)


def _keys() -> TyperGroup:
    from .keys import app as keys

    return get_group(keys)


def _jobs() -> TyperGroup:
    from .jobs import app as jobs

    return get_group(jobs)


def _alone(command: Callable[..., None]) -> Callable[[], Any]:
    def build() -> Any:
        one = typer.Typer(rich_markup_mode="rich", add_completion=False)
        one.command(cls=SandboxPage if command is sandbox else Page)(command)
        return get_command(one)

    return build


NOUNS: dict[str, tuple[Callable[[], TyperGroup], str]] = {  # with their lines on the first page
    "keys": (_keys, "Make, limit and revoke the keys of the gateway."),
    "jobs": (_jobs, "See what became of jobs; resume, cancel, resolve them."),
}
VERBS: dict[Callable[..., None], str] = {
    generate: "Make images or videos; bare text means this.",
    batch: "Make one for each line of a file, and go on where it stopped.",
    models: "List the models that somebody serves now.",
    providers: "Show who serves a model, and how you would reach it.",
    serve: "Serve OpenAI's images and videos API in front of it all.",
    sandbox: "Serve a simulated world to try things in.",
    doctor: "Find out whether a job could run here.",
}


class BareText(TyperGroup):
    """A group of commands in which anything that names no command is a prompt."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.rich_markup_mode = (
            None  # this page and usage errors are plain: rich alone takes longer to load than they do
        )
        for verb, short in VERBS.items():
            self.add_command(Later(verb.__name__, _alone(verb), short))
        for noun, (group, short) in NOUNS.items():
            self.add_command(Later(noun, group, short))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any group, once the command is there."""
        own = {name for option in self.get_params(ctx) for name in option.opts}
        # options may come first; only then it matters which of them are followed by a value
        takers = self._takers() if args and args[0] not in own and args[0].startswith("-") else frozenset[str]()
        if args and args[0] not in own and (missed := near_miss(args, self.commands, takers)):
            word, command = missed
            ctx.fail(f"did you mean `hfmedia {command}`? To make a picture of the word, write `hfmedia {BARE} {word}`.")
        return super().parse_args(ctx, spoken(args, self.commands, own=own, takers=takers))

    def _takers(self) -> frozenset[str]:
        """The options of ``generate`` that are followed by a value."""
        bare = self.commands[BARE]
        assert isinstance(bare, Later)
        options = [option for option in bare.built().params if not getattr(option, "is_flag", False)]
        return frozenset(name for option in options for name in option.opts if name.startswith("-"))


app = typer.Typer(
    cls=BareText,
    rich_markup_mode="rich",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hfmedia {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, help=HELP)
def hfmedia(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version, and nothing else.")
    ] = False,
) -> None:
    """Shows the help when nothing was asked for."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
