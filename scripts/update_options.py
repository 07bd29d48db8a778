"""Copy the types of core/parameters.py into the keyword options of options.py, where type checkers see them.

Run by ``make options``; ``--check`` changes nothing and ends with status 1 when the copy is out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from hfmedia.core.parameters import PARAMETERS, Parameter

OPTIONS = Path(__file__).resolve().parent.parent / "src" / "hfmedia" / "options.py"
TYPES = {"integer": "int | None", "number": "float | None"}  # every other kind is text
SPECIAL_TYPES = {"negative_prompt": "str | list[str] | None"}  # the Hub's own client takes a list for videos


def option(parameter: Parameter) -> str:
    """Return the line that declares one option."""
    value_type = SPECIAL_TYPES.get(parameter.name) or TYPES.get(parameter.kind, "str | None")
    return f"    {parameter.name}: {value_type}\n"


def updated(source: str) -> str:
    """Return the source with both generated blocks replaced."""
    for title, video_only in (("parameters", False), ("video parameters", True)):
        lines = "".join(option(row) for row in PARAMETERS if row.video_only == video_only)
        block = re.compile(rf"(    # {title}: [^\n]*\n).*?(    # end of {title}\n)", re.DOTALL)
        source, count = block.subn(lambda match, lines=lines: match[1] + lines + match[2], source)
        assert count == 1, f"options.py has no block for {title}"
    return source


def main() -> int:
    """Update options.py, or check it; return the exit status."""
    source = OPTIONS.read_text(encoding="utf-8")
    wanted = updated(source)
    if source == wanted:
        return 0
    if "--check" in sys.argv[1:]:
        sys.stderr.write("options.py is out of date: run `make options`\n")
        return 1
    OPTIONS.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
