"""The cut of the sources, walked with ``ast``: who may import whom, what the pure parts may touch, how long things get.

Each rule is a function from a folder to sentences, held against the sources and against small trees that break it.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "hfmedia"

# Parts by level; a part imports from lower levels only. What is not named here is a face, beside the client.
FACE = 5
LEVELS: dict[str, int] = {
    "_version": 0,
    "ids": 0,  # the one clock that every part may read, to name what it creates
    "core": 1,
    "database": 2,
    "providers": 3, "transport": 3, "ledger": 3, "store": 3,
    "engine": 4, "routing": 4, "catalog": 4, "settings": 4,
    "sandbox": 4,  # so that only faces and what stands above them may start one
    "client": FACE,
    "": FACE,  # the package root: the list of what is public
    "cli": 6, "server": 6, "__main__": 6,
}  # fmt: skip

# Siblings are strangers, but for these.
NEIGHBOURS: dict[tuple[str, str], str] = {
    ("routing", "settings"): "the credentials of a route come out of what the environment says",
    ("client", "options"): "what a client may be asked for is written down once",
    ("client", "plans"): "a client plans before it lets the engine spend",
    ("plans", "options"): "which models are asked for when none is named",
    ("", "plans"): "the root lists what is public",
    ("doors", "options"): "a door takes what the client takes",
    ("published", "options"): "the published parameters become the client's",
    ("", "options"): "the root lists what is public",
    ("batch", "client"): "a batch is many calls of a client",
    ("batch", "options"): "a line of a batch may ask for what a call may",
    ("doors", "client"): "a synchronous door opens onto the one asynchronous path",
    ("published", "client"): "the published class is a client in the clothes its callers know",
    ("published", "doors"): "its synchronous methods use the same door",
    ("", "client"): "the root lists what is public",
    ("", "doors"): "the root lists what is public",
    ("", "published"): "the root lists what is public",
    ("__main__", "cli"): "python -m hfmedia is the command",
    ("cli", "server"): "hfmedia serve runs the gateway, hfmedia keys writes in its book",
}

# What core and providers may import beside msgspec: whole modules, or the names that know no clock and no disk.
PURE_MODULES = frozenset({
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "collections.abc", "dataclasses", "decimal",
    "enum", "fractions", "functools", "heapq", "html", "itertools", "json", "math", "msgspec", "operator", "re",
    "string", "struct", "textwrap", "types", "typing", "urllib.parse",
})  # fmt: skip
PURE_NAMES: dict[str, frozenset[str]] = {
    "datetime": frozenset({"UTC", "datetime", "timedelta", "timezone"}),  # to read dates, not to ask for the time
    "email.utils": frozenset({"parsedate_to_datetime"}),
    "msgspec.json": frozenset({"decode", "encode"}),
}
PURE_EXCEPTIONS: dict[tuple[str, str, str], str] = {
    ("core/ports.py", "pathlib", "Path"): "protocols of the store name a type; nothing is opened",
    ("core/ports.py", "contextlib", "AbstractAsyncContextManager"): "a type too",
}
PURE_PARTS = ("core", "providers")
DEEDS = frozenset({"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"})
CLOCKS = frozenset({"now", "utcnow", "today"})

LONGEST_MODULE = 350  # lines; beyond it a reader loses the thread
LONGEST_FUNCTION = 70


@cache
def parsed(text: str, file: str) -> ast.Module:
    """The tree of a module, made once for all rules."""
    return ast.parse(text, file)


def modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """Every module below the root: its path there, and its tree."""
    for file in sorted(root.rglob("*.py")):
        yield file.relative_to(root).as_posix(), parsed(file.read_text(encoding="utf-8"), str(file))


def part_of(path: str) -> str:
    """The part to which a module belongs: its top folder or file; empty for the package root."""
    top = path.split("/")[0].removesuffix(".py")
    return "" if top == "__init__" else top


def absolute(path: str, node: ast.ImportFrom) -> str:
    """The full name of the module from which names are imported."""
    if not node.level:
        return node.module or ""
    package = ["hfmedia", *path.split("/")[:-1]]
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


def called(node: ast.Call) -> str:
    """The last part of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """All that a module imports, wherever it stands: line, module, name (empty where it is the module itself)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, absolute(path, node), alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            target = node.args[0] if node.args else None
            known = isinstance(target, ast.Constant) and isinstance(target.value, str)
            yield node.lineno, str(target.value) if known else "?", ""  # type: ignore[union-attr]


def parts_imported(path: str, tree: ast.Module, parts: set[str]) -> Iterator[tuple[int, str]]:
    """The parts of hfmedia that a module imports, with the lines where it does."""
    for line, module, name in imports(path, tree):
        words = module.split(".")
        if module == "?" and path != "__init__.py":  # the root imports by name when a name is asked for
            yield line, "?"
        if words[0] != "hfmedia":
            continue
        if len(words) > 1:
            yield line, words[1]
        else:
            yield line, name if name in parts else ""


def strangers(root: Path) -> list[str]:
    """Imports that point up or sideways."""
    found: list[str] = []
    trees = list(modules(root))
    parts = {part_of(path) for path, _ in trees} - {""}
    for path, tree in trees:
        mine = part_of(path)
        for line, theirs in parts_imported(path, tree, parts):
            where = f"{path}:{line} imports {theirs or 'the package root'}"
            if theirs == "?":
                found.append(f"{path}:{line} imports what nobody can tell beforehand")
            elif theirs == mine:
                continue
            elif mine == "sandbox":
                found.append(
                    f"{where}: the sandbox knows nothing of the rest, so that both can be wrong only separately"
                )
            elif LEVELS.get(theirs, FACE) > LEVELS.get(mine, FACE):
                found.append(f"{where}, which lies above {mine or 'the package root'}")
            elif LEVELS.get(theirs, FACE) == LEVELS.get(mine, FACE) and (mine, theirs) not in NEIGHBOURS:
                found.append(f"{where}, which lies beside {mine or 'the package root'}")
    return found


def impurities(root: Path) -> list[str]:
    """What core and providers do that a thought cannot do."""
    found: list[str] = []
    for path, tree in modules(root):
        if part_of(path) not in PURE_PARTS:
            continue
        for line, module, name in imports(path, tree):
            allowed = module in PURE_MODULES or name in PURE_NAMES.get(module, ()) or module.split(".")[0] == "hfmedia"
            if not allowed and (path, module, name) not in PURE_EXCEPTIONS:
                found.append(f"{path}:{line} imports {module}{'.' if name else ''}{name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DEEDS:
                found.append(f"{path}:{node.lineno} calls {node.func.id}")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
                found.append(f"{path}:{node.lineno} asks for the time")
            elif isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
                found.append(f"{path}:{node.lineno} waits")
    return found


def lengths(root: Path) -> list[str]:
    """Modules and functions that are too long."""
    found: list[str] = []
    for path, tree in modules(root):
        lines = len((root / path).read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_MODULE:
            found.append(f"{path} has {lines} lines; at most {LONGEST_MODULE}")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                # without the signature: that of a command is a table of its options
                lines = (node.end_lineno or node.lineno) - node.body[0].lineno + 1
                if lines > LONGEST_FUNCTION:
                    found.append(f"{path}:{node.lineno} {node.name} has {lines} lines; at most {LONGEST_FUNCTION}")
    return found


Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, Named]]:
    """Public functions, classes and methods, but for what only states a signature (overloads, stubs of a protocol)."""
    for node in body:
        if not isinstance(node, Named) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield f"{inside}{node.name}", node
            yield from public(node.body, f"{inside}{node.name}.")
            continue
        marks = {ast.unparse(mark).split(".")[-1] for mark in node.decorator_list}
        stub = len(node.body) == 1 and ast.unparse(node.body[0]) == "..."
        if not stub and not marks & {"overload", "override", "setter"}:
            yield f"{inside}{node.name}", node


def silences(root: Path) -> list[str]:
    """Modules, and public functions, classes and methods, without a docstring."""
    found: list[str] = []
    for path, tree in modules(root):
        if tree.body and not ast.get_docstring(tree):
            found.append(f"{path} says not what it is")
        found += [
            f"{path}:{node.lineno} {name} has no docstring"
            for name, node in public(tree.body)
            if not ast.get_docstring(node)
        ]
    return found


# Spelled in two halves, so that this file does not contain what it looks for.
MACHINE = re.compile("/wo" + r"rk/|(?<![\w-])shar" + "ed/")


def machine_paths(root: Path, files: list[str]) -> list[str]:
    """Text files that name a folder of one machine; tests may name where optional recordings lie."""
    found: list[str] = []
    for name in files:
        data = (root / name).read_bytes() if (root / name).is_file() else b""
        if b"\0" in data[:8192]:
            continue
        text = data.decode("utf-8", errors="replace")
        if name.startswith("tests/") and "recordings" in text:
            continue
        found += [
            f"{name}:{number} names {hit[0]}"
            for number, line in enumerate(text.splitlines(), 1)
            if (hit := MACHINE.search(line))
        ]
    return found


RULES: dict[str, Callable[[Path], list[str]]] = {
    "imports": strangers,
    "purity": impurities,
    "lengths": lengths,
    "docstrings": silences,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_sources_keep_the_rule(rule: str) -> None:
    """Every module of the package, whatever there is of it."""
    assert len(list(modules(SOURCES))) > 10
    faults = RULES[rule](SOURCES)
    assert not faults, "\n" + "\n".join(faults)


def test_every_neighbour_has_a_reason_and_is_one() -> None:
    """A row of the table for parts on different levels would say nothing."""
    for (mine, theirs), reason in NEIGHBOURS.items():
        assert reason
        assert mine != theirs
        assert LEVELS.get(mine, FACE) == LEVELS.get(theirs, FACE)


def test_nothing_in_the_repository_names_a_machine() -> None:
    """What is tracked, or about to be, works on every machine."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    faults = machine_paths(ROOT, listed.stdout.splitlines())
    assert not faults, "\n" + "\n".join(faults)


FINE = '"""Says what it is."""\n'

BROKEN: list[tuple[str, str, str, str | None]] = [
    # rule, module, its source, words of the fault (None: no fault)
    ("imports", "engine/a.py", "from hfmedia.core.job import Job", None),
    ("imports", "engine/a.py", "from ..core import job", None),
    ("imports", "engine/a.py", "from .b import x", None),
    ("imports", "engine/sub/a.py", "from ..b import x\nfrom ...core import job", None),
    ("imports", "routing/a.py", "from hfmedia.providers import fal_ai", None),
    ("imports", "routing/a.py", "from hfmedia.settings import Settings", None),
    ("imports", "cli/a.py", "import hfmedia\nfrom hfmedia import X\nfrom hfmedia.sandbox import Sandbox", None),
    ("imports", "client.py", "from .sandbox import Sandbox\nfrom ._version import __version__", None),
    ("imports", "doors.py", "from .client import MediaClient", None),
    ("imports", "__init__.py", "from .client import MediaClient\nimport_module(f'{__name__}.x')", None),
    ("imports", "core/a.py", "import msgspec, json", None),
    ("imports", "core/a.py", "from hfmedia.engine import Engine", "core/a.py:2 imports engine, which lies above core"),
    ("imports", "core/a.py", "from ..ledger import Ledger", "imports ledger, which lies above core"),
    ("imports", "core/a.py", "from .. import MediaClient", "imports the package root, which lies above core"),
    ("imports", "core/a.py", "def f():\n    import hfmedia.transport", "core/a.py:3 imports transport"),
    ("imports", "core/a.py", "if TYPE_CHECKING:\n    from hfmedia.storage import Media", "imports store"),
    ("imports", "core/a.py", "importlib.import_module('hfmedia.storage')", "imports store"),
    ("imports", "core/a.py", "importlib.import_module(name)", "imports what nobody can tell beforehand"),
    ("imports", "providers/a.py", "from ..transport import X", "imports transport, which lies beside providers"),
    ("imports", "ledger/a.py", "from hfmedia import store", "imports store, which lies beside ledger"),
    ("imports", "store/a.py", "from hfmedia.transport import Transport", "lies beside store"),
    ("imports", "transport/a.py", "from hfmedia.sandbox import Sandbox", "lies above transport"),
    ("imports", "engine/a.py", "from hfmedia.sandbox import Sandbox", "lies beside engine"),
    ("imports", "engine/a.py", "from hfmedia.catalog import Catalog", "lies beside engine"),
    ("imports", "settings.py", "from .routing import keyring", "lies beside settings"),
    ("imports", "engine/a.py", "from hfmedia.sync import x", "imports doors, which lies above engine"),
    ("imports", "client.py", "from .published import x", "imports published, which lies beside client"),
    ("imports", "client.py", "from .doors import x", "imports doors, which lies beside client"),
    ("imports", "client.py", "from .cli import main", "imports cli, which lies above client"),
    ("imports", "cli/a.py", "from hfmedia.server import app", None),
    ("imports", "server/a.py", "from hfmedia.cli import app", "imports cli, which lies beside server"),
    ("imports", "sandbox/a.py", "from hfmedia.core.wire import redact", "the sandbox knows nothing of the rest"),
    ("imports", "sandbox/a.py", "from ..providers import fal_ai", "the sandbox knows nothing of the rest"),
    ("imports", "sandbox/a.py", "from .. import __version__", "the sandbox knows nothing of the rest"),
    ("imports", "sandbox/a.py", "from .world import World\nimport aiohttp, os", None),
    ("purity", "core/a.py", "import msgspec, re\nfrom datetime import UTC\nfrom urllib.parse import quote", None),
    ("purity", "core/ports.py", "from pathlib import Path", None),
    ("purity", "engine/a.py", "import asyncio, time, os\nprint(open('x'))", None),
    ("purity", "core/a.py", "from pathlib import Path", "core/a.py:2 imports pathlib.Path"),
    ("purity", "core/ports.py", "from pathlib import PurePath", "imports pathlib.PurePath"),
    ("purity", "core/a.py", "import datetime", "imports datetime"),
    ("purity", "core/a.py", "datetime.now(UTC)", "asks for the time"),
    ("purity", "core/a.py", "from email.utils import formatdate", "imports email.utils.formatdate"),
    ("purity", "core/a.py", "print('x')", "calls print"),
    ("purity", "core/a.py", "async def f(x):\n    await x", "waits"),
    ("purity", "providers/a.py", "def f():\n    return open('x')", "providers/a.py:3 calls open"),
    *(
        ("purity", f"{part}/a.py", f"def f():\n    import {module}", f"{part}/a.py:3 imports {module}")
        for part in PURE_PARTS
        for module in ("asyncio", "time", "socket", "os", "random", "secrets", "ssl", "subprocess", "logging", "uuid",
                       "aiohttp", "stamina", "PIL", "urllib.request", "threading", "tempfile", "pathlib")
    ),
    ("lengths", "cli/a.py", "\n" * (LONGEST_MODULE - 1), None),
    ("lengths", "cli/a.py", "\n" * LONGEST_MODULE, "cli/a.py has 351 lines"),
    ("lengths", "cli/a.py", "def f(\n a,\n b,\n):\n" + "    x\n" * LONGEST_FUNCTION, None),
    ("lengths", "cli/a.py", "class A:\n  def f():\n" + "    x\n" * (LONGEST_FUNCTION + 1), "cli/a.py:3 f has 71 lines"),
    ("docstrings", "cli/a.py", "def _f(): pass\nclass _A:\n  def g(self): pass", None),
    ("docstrings", "cli/a.py", "class A:\n  'x'\n  def __init__(self): pass\n  def g(self): ...", None),
    ("docstrings", "cli/a.py", "def f(): pass", "cli/a.py:2 f has no docstring"),
    ("docstrings", "cli/a.py", "async def f(): pass", "f has no docstring"),
    ("docstrings", "cli/a.py", "class A: pass", "A has no docstring"),
    ("docstrings", "cli/a.py", "class A:\n  'x'\n  def g(self): pass", "cli/a.py:4 A.g has no docstring"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "module", "source", "fault"), BROKEN)
def test_a_tree_that_breaks_the_rule_is_caught(
    rule: str, module: str, source: str, fault: str | None, tmp_path: Path
) -> None:
    """On a small made-up package, beside modules that are fine."""
    for name in ("core", "providers", "transport", "ledger", "store", "engine", "routing", "catalog", "settings",
                 "sandbox", "client", "published", "cli", "server"):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "fine.py").write_text(FINE)
    assert RULES[rule](tmp_path) == []
    (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / module).write_text(FINE + source)
    faults = RULES[rule](tmp_path)
    assert bool(faults) == (fault is not None), faults
    assert fault is None or any(fault in one for one in faults), faults


def test_a_module_must_say_what_it_is(tmp_path: Path) -> None:
    """An empty one says enough."""
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("")
    assert silences(tmp_path) == ["a.py says not what it is"]


def test_a_machine_s_path_is_caught(tmp_path: Path) -> None:
    """In any text file, but for tests that look for recordings; pictures are not read."""
    machine, folder = "/wo" + "rk/main", "shar" + "ed/facts"
    files = {
        "README.md": f"see {machine}\n",
        "src/a.py": f'"""See {folder}."""\n',
        "tests/test_a.py": f"# {folder}\n",
        "tests/test_replay.py": f"recordings = '{folder}'\n",
        "fine.md": "they shared their work/life; /workshop/ and framework/x\n",
        "picture.png": f"\0{machine}",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    caught = [fault.split(":")[0] for fault in machine_paths(tmp_path, [*files, "gone.md"])]
    assert caught == ["README.md", "src/a.py", "tests/test_a.py"]
