"""Rules for the structure of the sources, checked with ``ast``: imports, cycles, purity, lengths, names, docstrings.

Each rule is a function from a folder to error messages. It is applied to the sources, and to small trees that break it.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "hfmedia"

# The top-level parts by level: a part imports from lower levels only. Parts that are not listed are public APIs.
PUBLIC_API = 6
LEVELS: dict[str, int] = {
    "_version": 0,
    "core": 1, "aio": 1, "ids": 1,
    "singleflight": 2, "files": 2, "sqlite": 2,
    "providers": 3, "transport": 3, "ledger": 3, "storage": 3,
    "engine": 4, "catalog": 4, "routing": 4, "settings": 4, "hf_token": 4,
    "sandbox": 5,  # so that only the public APIs and what is built on them can start one
    "client": PUBLIC_API,
    "": PUBLIC_API,  # the package root: the list of public names
    "cli": 7, "server": 7, "__main__": 7,
}  # fmt: skip

# Imports between parts of one level need a reason.
NEIGHBORS: dict[tuple[str, str], str] = {
    ("routing", "settings"): "the credentials of a route come from the environment's settings",
    ("settings", "hf_token"): "the settings contain the Hugging Face token",
    ("client", "options"): "the options of a request are typed in one place",
    ("client", "planning"): "a client plans a request before the engine submits it",
    ("planning", "options"): "the default models are options",
    ("sync", "options"): "the synchronous functions take the client's options",
    ("compat", "options"): "the compatible parameters become the client's options",
    ("batch", "options"): "a line of a batch takes the same options as a call",
    ("batch", "client"): "a batch is many calls of a client",
    ("sync", "client"): "the synchronous functions share one asynchronous client",
    ("compat", "client"): "the compatible class is a client under another interface",
    ("compat", "planning"): "a request is validated before its model is chosen",
    ("compat", "sync"): "its synchronous methods use the same portal",
    ("", "client"): "the root lists the public names",
    ("", "compat"): "the root lists the public names",
    ("", "options"): "the root lists the public names",
    ("", "planning"): "the root lists the public names",
    ("", "sync"): "the root lists the public names",
    ("__main__", "cli"): "python -m hfmedia runs the command",
    ("cli", "server"): "hfmedia serve runs the gateway, hfmedia keys edits its database",
}

# The parts of server/ by level: api -> jobs -> db. A lower part knows neither HTTP types nor what is above it.
SERVER_LEVELS: dict[str, int] = {
    "config": 0,
    "db": 1,
    "jobs": 2,
}
SERVER_DEFAULT_LEVEL = 3  # HTTP: api, auth, middleware, http, media, observability, studio, gateway, app, errors, ...
HTTP_FREE = ("server/jobs/", "server/db/")
HTTP_MODULES = ("fastapi", "starlette", "uvicorn", "hfmedia.server.errors")

# What core and providers may import in addition to msgspec: modules, or single names that use no clock and no disk.
PURE_MODULES = frozenset({
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "collections.abc", "dataclasses", "decimal",
    "enum", "fractions", "functools", "heapq", "html", "itertools", "json", "math", "msgspec", "operator", "re",
    "string", "struct", "textwrap", "types", "typing", "urllib.parse",
})  # fmt: skip
PURE_NAMES: dict[str, frozenset[str]] = {
    "datetime": frozenset({"UTC", "datetime", "timedelta", "timezone"}),  # to parse dates, not to read the clock
    "email.utils": frozenset({"parsedate_to_datetime"}),
    "msgspec.json": frozenset({"decode", "encode"}),
}
PURE_EXCEPTIONS: dict[tuple[str, str, str], str] = {
    ("core/ports.py", "pathlib", "Path"): "the storage protocols name the type; no file is opened",
    ("core/ports.py", "contextlib", "AbstractAsyncContextManager"): "a type as well",
}
PURE_PARTS = ("core", "providers")
SIDE_EFFECTS = frozenset({"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"})
CLOCKS = frozenset({"now", "utcnow", "today"})

MAX_MODULE_LINES = 400  # longer modules usually have two subjects
MAX_FUNCTION_LINES = 70

# Names that other projects rely on: compat keeps them, whatever they are called elsewhere.
FROZEN_PACKAGES = ("compat/",)


@cache
def parsed(text: str, file: str) -> ast.Module:
    """The syntax tree of a module, parsed once for all rules."""
    return ast.parse(text, file)


def modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """Every module below the root: its path relative to it, and its syntax tree."""
    for file in sorted(root.rglob("*.py")):
        yield file.relative_to(root).as_posix(), parsed(file.read_text(encoding="utf-8"), str(file))


def part_of(path: str) -> str:
    """The part of a module: its top-level folder or file; empty for the package root."""
    top = path.split("/")[0].removesuffix(".py")
    return "" if top == "__init__" else top


def absolute(path: str, node: ast.ImportFrom) -> str:
    """The absolute name of the module that a statement imports from."""
    if not node.level:
        return node.module or ""
    package = ["hfmedia", *path.split("/")[:-1]]
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


def called(node: ast.Call) -> str:
    """The last name of the called expression."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def imported_name(path: str, node: ast.Call) -> tuple[str, str]:
    """The module that a call of ``import_module`` imports; with the name ``*`` for any module of that package."""
    target = node.args[0] if node.args else None
    if isinstance(target, ast.JoinedStr):  # f".commands.{name}"
        prefix = target.values[0]
        if isinstance(prefix, ast.Constant) and str(prefix.value).endswith("."):
            level = len(str(prefix.value)) - len(str(prefix.value).lstrip("."))
            statement = ast.ImportFrom(module=str(prefix.value).strip("."), names=[], level=level)
            return absolute(path, statement), "*"
    known = isinstance(target, ast.Constant) and isinstance(target.value, str)
    return (str(target.value) if known else "?"), ""  # type: ignore[union-attr]


def imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """All imports of a module, at any depth: line, module, name (empty for the module itself)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, absolute(path, node), alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            yield node.lineno, *imported_name(path, node)


def parts_imported(path: str, tree: ast.Module, parts: set[str]) -> Iterator[tuple[int, str]]:
    """The parts of hfmedia that a module imports, with the lines of the imports."""
    for line, module, name in imports(path, tree):
        names = module.split(".")
        if module == "?" and path != "__init__.py":  # the root imports a public name when it is first used
            yield line, "?"
        if names[0] != "hfmedia":
            continue
        if len(names) > 1:
            yield line, names[1]
        else:
            yield line, name if name in parts else ""


def forbidden_imports(root: Path) -> list[str]:
    """Imports between parts of hfmedia that the levels do not allow."""
    errors: list[str] = []
    trees = list(modules(root))
    parts = {part_of(path) for path, _ in trees} - {""}
    for path, tree in trees:
        part = part_of(path)
        for line, imported in parts_imported(path, tree, parts):
            statement = f"{path}:{line} imports {imported or 'the package root'}"
            level, imported_level = LEVELS.get(part, PUBLIC_API), LEVELS.get(imported, PUBLIC_API)
            if imported == "?":
                errors.append(f"{path}:{line} imports a module whose name is computed")
            elif imported == part:
                continue
            elif part == "sandbox":
                errors.append(f"{statement}: the sandbox shares no code with the package, so that no bug is in both")
            elif imported_level > level:
                errors.append(f"{statement}, which is above {part or 'the package root'}")
            elif imported_level == level and (part, imported) not in NEIGHBORS:
                errors.append(f"{statement}, which is on the same level as {part or 'the package root'}")
    return errors


def server_layers(root: Path) -> list[str]:
    """Imports inside server/ that point upward, and HTTP types below the API."""
    errors: list[str] = []
    for path, tree in modules(root):
        if not path.startswith("server/"):
            continue
        part = path.split("/")[1].removesuffix(".py")
        level = SERVER_LEVELS.get(part, SERVER_DEFAULT_LEVEL)
        for line, module, name in imports(path, tree):
            full = f"{module}.{name}" if name else module
            if path.startswith(HTTP_FREE) and any(f"{full}.".startswith(f"{http}.") for http in HTTP_MODULES):
                errors.append(f"{path}:{line} imports {full}: HTTP is handled above server/jobs and server/db")
                continue
            names = full.split(".")
            if names[:2] != ["hfmedia", "server"] or len(names) < 3 or names[2] == part:
                continue
            if SERVER_LEVELS.get(names[2], SERVER_DEFAULT_LEVEL) > level:
                errors.append(f"{path}:{line} imports {full}, which is above server/{part}")
    return errors


def import_graph(root: Path) -> dict[str, set[str]]:
    """The modules that each module imports, at any depth: lazily and for type checking as well."""
    trees = {f"hfmedia.{path.removesuffix('.py').replace('/', '.')}": (path, tree) for path, tree in modules(root)}
    trees = {name.removesuffix(".__init__"): value for name, value in trees.items()}
    graph: dict[str, set[str]] = {}
    for importer, (path, tree) in trees.items():
        targets: set[str] = set()
        for _, module, name in imports(path, tree):
            if name == "*":
                targets |= {other for other in trees if other.startswith(f"{module}.")}
            else:
                targets.add(f"{module}.{name}" if f"{module}.{name}" in trees else module)
        graph[importer] = targets & trees.keys() - {importer}
    return graph


def components(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components with more than one node (Tarjan's algorithm), sorted."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                result.append(sorted(component))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return sorted(result)


def import_cycles(root: Path) -> list[str]:
    """Groups of modules that import each other in a circle, with the imports that close it."""
    graph = import_graph(root)
    return [
        "import cycle: "
        + "; ".join(f"{node} -> {', '.join(sorted(graph[node] & set(component)))}" for node in component)
        for component in components(graph)
    ]


def duplicate_classes(root: Path) -> list[str]:
    """Public classes of the same name in different modules."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in modules(root):
        if path.startswith(FROZEN_PACKAGES):
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(f"{path}:{node.lineno}")
    return [
        f"class {name} is defined in {' and '.join(paths)}" for name, paths in sorted(homes.items()) if len(paths) > 1
    ]


def impurities(root: Path) -> list[str]:
    """Input, output, clocks and waiting in core and providers, which are pure."""
    errors: list[str] = []
    for path, tree in modules(root):
        if part_of(path) not in PURE_PARTS:
            continue
        for line, module, name in imports(path, tree):
            allowed = module in PURE_MODULES or name in PURE_NAMES.get(module, ()) or module.split(".")[0] == "hfmedia"
            if not allowed and (path, module, name) not in PURE_EXCEPTIONS:
                errors.append(f"{path}:{line} imports {module}{'.' if name else ''}{name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SIDE_EFFECTS:
                errors.append(f"{path}:{node.lineno} calls {node.func.id}")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
                errors.append(f"{path}:{node.lineno} reads the clock")
            elif isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
                errors.append(f"{path}:{node.lineno} awaits")
    return errors


def lengths(root: Path) -> list[str]:
    """Modules and functions that are too long."""
    errors: list[str] = []
    for path, tree in modules(root):
        lines = len((root / path).read_text(encoding="utf-8").splitlines())
        if lines > MAX_MODULE_LINES:
            errors.append(f"{path} has {lines} lines; the maximum is {MAX_MODULE_LINES}")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                # without the signature: that of a command is a table of its options
                lines = (node.end_lineno or node.lineno) - node.body[0].lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    errors.append(
                        f"{path}:{node.lineno} {node.name} has {lines} lines; the maximum is {MAX_FUNCTION_LINES}"
                    )
    return errors


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public_definitions(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions, classes and methods, except bare signatures (overloads, stubs of a protocol)."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield f"{inside}{node.name}", node
            yield from public_definitions(node.body, f"{inside}{node.name}.")
            continue
        decorators = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
        stub = len(node.body) == 1 and ast.unparse(node.body[0]) == "..."
        if not stub and not decorators & {"overload", "override", "setter"}:
            yield f"{inside}{node.name}", node


def missing_docstrings(root: Path) -> list[str]:
    """Modules, and public functions, classes and methods, without a docstring."""
    errors: list[str] = []
    for path, tree in modules(root):
        if tree.body and not ast.get_docstring(tree):
            errors.append(f"{path} has no docstring")
        errors += [
            f"{path}:{node.lineno} {name} has no docstring"
            for name, node in public_definitions(tree.body)
            if not ast.get_docstring(node)
        ]
    return errors


# Words of the private vocabulary that the redesign removed; docs/glossary.md lists the terms that replaced them.
PRIVATE_WORDS = re.compile(
    r"(?<![a-z])(told|wish(es)?|whoever|anew|let go of|mended|nobody|somebody|begun|trouble|deeds?|patience)(?![a-z])",
    re.I,
)
MAX_PRIVATE_WORDS = 20  # in code and comments; where users read, none
MIGRATIONS = ("ledger/migrations.py", "server/db/schema.py")  # they name tables and fields of earlier versions


def private_words(text: str) -> list[str]:
    """The private words of a text, in words and in identifiers (``so_told``, ``SoTold``)."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).replace("_", " ")
    return [match[0].lower() for match in PRIVATE_WORDS.finditer(spaced)]


# Written in two halves, so that this file does not contain what it searches for.
MACHINE = re.compile("/wo" + r"rk/|(?<![\w-])shar" + "ed/")


def machine_paths(root: Path, files: list[str]) -> list[str]:
    """Text files that name a folder of one machine; tests may name the folder of optional recordings."""
    errors: list[str] = []
    for name in files:
        data = (root / name).read_bytes() if (root / name).is_file() else b""
        if b"\0" in data[:8192]:
            continue
        text = data.decode("utf-8", errors="replace")
        if name.startswith("tests/") and "recordings" in text:
            continue
        errors += [
            f"{name}:{number} names {match[0]}"
            for number, line in enumerate(text.splitlines(), 1)
            if (match := MACHINE.search(line))
        ]
    return errors


RULES: dict[str, Callable[[Path], list[str]]] = {
    "imports": forbidden_imports,
    "server layers": server_layers,
    "import cycles": import_cycles,
    "class names": duplicate_classes,
    "purity": impurities,
    "lengths": lengths,
    "docstrings": missing_docstrings,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_sources_keep_the_rule(rule: str) -> None:
    """Applied to every module of the package."""
    assert len(list(modules(SOURCES))) > 10
    errors = RULES[rule](SOURCES)
    assert not errors, "\n" + "\n".join(errors)


def test_every_neighbor_has_a_reason_and_is_on_the_same_level() -> None:
    """A row for parts on different levels would have no effect."""
    for (part, imported), reason in NEIGHBORS.items():
        assert reason
        assert part != imported
        assert LEVELS.get(part, PUBLIC_API) == LEVELS.get(imported, PUBLIC_API)


def tracked_files() -> list[str]:
    """The files that git tracks or would add, relative to the root; skips the test outside a checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.splitlines()


def test_nothing_in_the_repository_names_a_machine() -> None:
    """Every tracked file works on every machine."""
    errors = machine_paths(ROOT, tracked_files())
    assert not errors, "\n" + "\n".join(errors)


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The string literals of a module except its docstrings, with their lines: among them every text for users."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, Definition | ast.Module) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def word_count(files: list[Path]) -> dict[str, int]:
    """The number of private words in each file that has any."""
    counts = {str(path.relative_to(ROOT)): len(private_words(path.read_text(encoding="utf-8"))) for path in files}
    return {name: count for name, count in counts.items() if count}


def test_the_sources_use_the_glossary_s_terms() -> None:
    """Private words are counted, in code and comments of the package; a few may remain where they are right."""
    counts = word_count(
        [path for path in sorted(SOURCES.rglob("*.*")) if path.suffix in (".py", ".js", ".html", ".css")]
    )
    assert sum(counts.values()) <= MAX_PRIVATE_WORDS, counts


def test_the_texts_for_users_use_the_glossary_s_terms() -> None:
    """No private word in help, errors, warnings and log lines, which are string literals, nor in the page's markup."""
    errors = [
        f"{path}:{line} has {word!r} in {text[:80]!r}"
        for path, tree in modules(SOURCES)
        if path not in MIGRATIONS
        for line, text in texts(tree)
        for word in private_words(text)
    ]
    markup = word_count(sorted(SOURCES.rglob("*.html")))
    assert not errors and not markup, "\n".join([*errors, str(markup)])


def test_the_documents_use_the_glossary_s_terms() -> None:
    """No private word where users read, except as code: the changelog lists renamed identifiers."""
    pages = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.*")])
    prose = {page: re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8")) for page in pages}
    assert not {str(page): words for page, text in prose.items() if (words := private_words(text))}


VALID = '"""A valid module."""\n'

EXAMPLES: list[tuple[str, str, str, str | None]] = [
    # rule, module, its source, part of the error message (None: the source is valid)
    ("imports", "engine/a.py", "from hfmedia.core.job import Job", None),
    ("imports", "engine/a.py", "from ..core import job", None),
    ("imports", "engine/a.py", "from .b import x", None),
    ("imports", "engine/sub/a.py", "from ..b import x\nfrom ...core import job", None),
    ("imports", "routing/a.py", "from hfmedia.providers import fal_ai", None),
    ("imports", "routing/a.py", "from hfmedia.settings import Settings", None),
    ("imports", "cli/a.py", "import hfmedia\nfrom hfmedia import X\nfrom hfmedia.sandbox import Sandbox", None),
    ("imports", "client.py", "from .sandbox import Sandbox\nfrom ._version import __version__", None),
    ("imports", "sync.py", "from .client import MediaClient", None),
    ("imports", "__init__.py", "from .client import MediaClient\nimport_module(f'{__name__}.x')", None),
    ("imports", "core/a.py", "import msgspec, json", None),
    ("imports", "core/a.py", "from hfmedia.engine import Engine", "core/a.py:2 imports engine, which is above core"),
    ("imports", "core/a.py", "from ..ledger import Ledger", "imports ledger, which is above core"),
    ("imports", "core/a.py", "from .. import MediaClient", "imports the package root, which is above core"),
    ("imports", "core/a.py", "def f():\n    import hfmedia.transport", "core/a.py:3 imports transport"),
    ("imports", "core/a.py", "if TYPE_CHECKING:\n    from hfmedia.storage import Media", "imports storage"),
    ("imports", "core/a.py", "importlib.import_module('hfmedia.storage')", "imports storage"),
    ("imports", "core/a.py", "importlib.import_module(name)", "imports a module whose name is computed"),
    ("imports", "cli/a.py", "import_module(f'.commands.{name}', __package__)", None),
    ("imports", "core/a.py", "import_module(f'..engine.{name}', __package__)", "core/a.py:2 imports engine, which is"),
    ("imports", "providers/a.py", "from ..transport import X", "imports transport, which is on the same level"),
    ("imports", "ledger/a.py", "from hfmedia import storage", "imports storage, which is on the same level as ledger"),
    ("imports", "storage/a.py", "from hfmedia.transport import Transport", "on the same level as"),
    ("imports", "transport/a.py", "from hfmedia.sandbox import Sandbox", "is above transport"),
    ("imports", "engine/a.py", "from hfmedia.sandbox import Sandbox", "is above engine"),
    ("imports", "engine/a.py", "from hfmedia.catalog import Catalog", "on the same level as engine"),
    ("imports", "settings.py", "from .routing import credential_resolver", "on the same level as settings"),
    ("imports", "engine/a.py", "from hfmedia.sync import x", "imports sync, which is above engine"),
    ("imports", "client.py", "from .compat import x", "imports compat, which is on the same level as client"),
    ("imports", "client.py", "from .sync import x", "imports sync, which is on the same level as client"),
    ("imports", "client.py", "from .cli import main", "imports cli, which is above client"),
    ("imports", "cli/a.py", "from hfmedia.server import app", None),
    ("imports", "server/a.py", "from hfmedia.cli import app", "imports cli, which is on the same level as server"),
    ("imports", "sandbox/a.py", "from ..core.text import truncate", "the sandbox shares no code with the package"),
    ("imports", "sandbox/a.py", "from ..providers import fal_ai", "the sandbox shares no code with the package"),
    ("imports", "sandbox/a.py", "from .. import __version__", "the sandbox shares no code with the package"),
    ("imports", "sandbox/a.py", "from .state import SandboxState\nimport aiohttp, os", None),
    ("imports", "storage/a.py", "from hfmedia.files.atomic import write_atomic\nfrom ..aio import run_in_thread", None),
    ("imports", "core/a.py", "from ..ids import new_id", "imports ids, which is on the same level as core"),
    ("server layers", "server/api/a.py", "import fastapi\nfrom ..jobs import service\nfrom ..errors import X", None),
    ("server layers", "server/jobs/a.py", "from ..db.rows import x\nfrom ..config import Config", None),
    ("server layers", "server/db/a.py", "from fastapi import Request", "HTTP is handled above server/jobs"),
    ("server layers", "server/jobs/a.py", "import starlette.responses", "imports starlette.responses"),
    ("server layers", "server/jobs/a.py", "from ..errors import ApiError", "imports hfmedia.server.errors"),
    ("server layers", "server/jobs/a.py", "from .. import errors", "imports hfmedia.server.errors"),
    ("server layers", "server/db/a.py", "def f():\n    from ..jobs import service", "which is above server/db"),
    ("server layers", "server/jobs/a.py", "from ..auth.policy import x", "which is above server/jobs"),
    ("server layers", "server/jobs/a.py", "if TYPE_CHECKING:\n    from ..gateway import Gateway", "is above server"),
    ("import cycles", "cli/a.py", "from . import b\nfrom .fine import x", None),
    ("import cycles", "cli/fine.py", "from .a import x", None),
    ("import cycles", "cli/a.py", "from hfmedia.engine.a import x", None),
    ("import cycles", "cli/fine.py", "import_module(f'.commands.{name}', __package__)", None),
    ("import cycles", "cli/fine.py", "import_module(f'..cli.{name}', __package__)", "cli.c -> hfmedia.cli.fine"),
    ("import cycles", "cli/fine.py", "def f():\n    from .c import x", "hfmedia.cli.c -> hfmedia.cli.fine"),
    ("class names", "cli/a.py", "class _Valid: 'x'", None),
    ("class names", "compat/a.py", "class Valid: 'x'", None),
    ("class names", "cli/a.py", "class Valid: 'x'", "class Valid is defined in cli/a.py:2 and core/valid.py:2"),
    ("purity", "core/a.py", "import msgspec, re\nfrom datetime import UTC\nfrom urllib.parse import quote", None),
    ("purity", "core/ports.py", "from pathlib import Path", None),
    ("purity", "engine/a.py", "import asyncio, time, os\nprint(open('x'))", None),
    ("purity", "core/a.py", "from pathlib import Path", "core/a.py:2 imports pathlib.Path"),
    ("purity", "core/ports.py", "from pathlib import PurePath", "imports pathlib.PurePath"),
    ("purity", "core/a.py", "import datetime", "imports datetime"),
    ("purity", "core/a.py", "datetime.now(UTC)", "reads the clock"),
    ("purity", "core/a.py", "from email.utils import formatdate", "imports email.utils.formatdate"),
    ("purity", "core/a.py", "print('x')", "calls print"),
    ("purity", "core/a.py", "async def f(x):\n    await x", "awaits"),
    ("purity", "providers/a.py", "def f():\n    return open('x')", "providers/a.py:3 calls open"),
    *(
        ("purity", f"{part}/a.py", f"def f():\n    import {module}", f"{part}/a.py:3 imports {module}")
        for part in PURE_PARTS
        for module in ("asyncio", "time", "socket", "os", "random", "secrets", "ssl", "subprocess", "logging", "uuid",
                       "aiohttp", "stamina", "PIL", "urllib.request", "threading", "tempfile", "pathlib")
    ),
    ("lengths", "cli/a.py", "\n" * (MAX_MODULE_LINES - 1), None),
    ("lengths", "cli/a.py", "\n" * MAX_MODULE_LINES, "cli/a.py has 401 lines"),
    ("lengths", "cli/a.py", "def f(\n a,\n b,\n):\n" + "    x\n" * MAX_FUNCTION_LINES, None),
    ("lengths", "cli/a.py", "class A:\n  def f():\n" + "    x\n" * (MAX_FUNCTION_LINES + 1), "a.py:3 f has 71 lines"),
    ("docstrings", "cli/a.py", "def _f(): pass\nclass _A:\n  def g(self): pass", None),
    ("docstrings", "cli/a.py", "class A:\n  'x'\n  def __init__(self): pass\n  def g(self): ...", None),
    ("docstrings", "cli/a.py", "def f(): pass", "cli/a.py:2 f has no docstring"),
    ("docstrings", "cli/a.py", "async def f(): pass", "f has no docstring"),
    ("docstrings", "cli/a.py", "class A: pass", "A has no docstring"),
    ("docstrings", "cli/a.py", "class A:\n  'x'\n  def g(self): pass", "cli/a.py:4 A.g has no docstring"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "module", "source", "message"), EXAMPLES)
def test_a_tree_that_breaks_the_rule_is_caught(
    rule: str, module: str, source: str, message: str | None, tmp_path: Path
) -> None:
    """In a small package whose other modules are valid."""
    for name in ("core", "providers", "transport", "ledger", "storage", "engine", "routing", "catalog", "settings",
                 "sandbox", "client", "compat", "cli", "server"):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "fine.py").write_text(VALID)
    (tmp_path / "core" / "valid.py").write_text(VALID + 'class Valid:\n    "A class."\n')
    (tmp_path / "cli" / "c.py").write_text(VALID + "if TYPE_CHECKING:\n    from hfmedia.cli.fine import x\n")
    assert RULES[rule](tmp_path) == []
    (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / module).write_text(VALID + source)
    errors = RULES[rule](tmp_path)
    assert bool(errors) == (message is not None), errors
    assert message is None or any(message in error for error in errors), errors


def test_a_module_needs_a_docstring(tmp_path: Path) -> None:
    """Unless it is empty."""
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("")
    assert missing_docstrings(tmp_path) == ["a.py has no docstring"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Nobody was told.", ["nobody", "told"]),
        ("NOBODY = so_told(_WISH)", ["nobody", "told", "wish"]),
        ("class TroubleMaker: ...", ["trouble"]),
        ("it let go of both deeds", ["let go of", "deeds"]),
        ("troubleshooting, indeed", []),
    ],
)
def test_private_words_are_found(text: str, words: list[str]) -> None:
    """In prose and in identifiers."""
    assert private_words(text) == words


def test_a_path_of_one_machine_is_caught(tmp_path: Path) -> None:
    """In any text file, except tests that read recordings; binary files are not read."""
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
    caught = [error.split(":")[0] for error in machine_paths(tmp_path, [*files, "gone.md"])]
    assert caught == ["README.md", "src/a.py", "tests/test_a.py"]
