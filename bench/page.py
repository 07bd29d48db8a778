"""`python -m bench.page`: writes the measured numbers into docs/performance.md, from the JSON file beside its plots.

What stands between the marks is made, and a test holds it to the file; the words around it are written by people.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
RESULTS = PAGE.parent / "performance" / "results.json"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HERE = ("ours", "floor", "huggingface_hub", "g4f", "fal-client")  # columns of the library's cases
SERVED = ("ours", "floor", "LiteLLM")  # and of the gateway's
NAMES = {"ours": "hfmedia", "LiteLLM": "LiteLLM's proxy"}
VERDICTS = {True: "met", False: "**not met**", None: "not judged"}
CROWDED = re.compile(r"gateway-(?P<what>rate|p50|p99)-(?P<clients>\d+)")
Found = dict[str, Any]


def number(value: float) -> str:
    """Three digits that say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell(found: Found | None) -> str:
    """A median with its spread, or why there is none."""
    if found is None:
        return ""
    if "median" not in found:
        return f"({found['cannot']})" if "cannot" in found else ""
    values = found["values"]
    spread = f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
    return number(found["median"]) + spread


def lined(*cells: str) -> str:
    """A row of Markdown."""
    return f"| {' | '.join(cells)} |"


def compared(cases: list[Found], columns: tuple[str, ...], *, floor: str) -> list[str]:
    """The cases as a table, one column for each of those compared."""
    if not cases:
        return []
    rows = [lined("case", *(floor if who == "floor" else NAMES.get(who, who) for who in columns), "budget")]
    rows.append("|---" * (len(columns) + 2) + "|")
    for one in cases:
        unit = f", {one['unit']}" if one["unit"] else ""
        budget = f"{one['budget']}: {VERDICTS[one['met']]}" if one["budget"] else ""
        rows.append(lined(one["about"] + unit, *(cell(one["who"].get(who)) for who in columns), budget))
    return [*rows, ""]


def crowds(cases: list[Found]) -> list[str]:
    """The gateway under many clients: a row for each number of them."""
    found: dict[int, dict[str, Found]] = {}
    for one in cases:
        named = CROWDED.fullmatch(one["name"])
        if named:
            found.setdefault(int(named["clients"]), {})[named["what"]] = one["who"]
    if not found:
        return []
    whats = (("rate", "requests a second"), ("p50", "median, ms"), ("p99", "99th percentile, ms"))
    rows = [lined("clients", *(f"{NAMES[who]}: {words}" for who in ("ours", "LiteLLM") for _, words in whats))]
    rows.append("|---" * 7 + "|")
    rows += [
        lined(str(clients), *(cell(told.get(what, {}).get(who)) for who in ("ours", "LiteLLM") for what, _ in whats))
        for clients, told in found.items()
    ]
    return [*rows, ""]


def growing(cases: list[Found]) -> list[str]:
    """What a job costs in a ledger of so many events."""
    growth = next((one for one in cases if one["name"] == "growth"), None)
    lengths = growth["who"]["ours"].get("values", [{}])[0] if growth else {}
    if not lengths:
        return []
    head = lined("events in the ledger before", "a job of six facts, ms of CPU", "finding one by its key", "latest 100")
    times = ([f"{taken[what]:.2f}" for what in ("job", "find", "latest")] for taken in lengths.values())
    rows = [lined(f"{int(length):,}", *told) for length, told in zip(lengths, times, strict=True)]
    return [head, "|---" * 4 + "|", *rows, ""]


def table(whole: Found) -> str:
    """The cases as tables of Markdown, the gateway's and the ledger's growth as their own, and how each was taken."""
    cases: list[Found] = whole["cases"]
    served = [one for one in cases if one["name"].startswith(("gateway-", "page-"))]
    rest = [one for one in cases if one not in served and one["name"] != "growth"]
    crowd = next((one["how"] for one in cases if CROWDED.fullmatch(one["name"])), None)
    hows = [f"- {one['about']}: {one['how']}." for one in cases if not CROWDED.fullmatch(one["name"])]
    hows += [f"- the gateway under many clients: {crowd}."] if crowd else []
    lines = [
        f"Measured on {whole['when']} in {whole['seconds']} s: {whole['machine']}.",
        "",
        *compared(rest, HERE, floor="floor"),
        *compared([one for one in served if not CROWDED.fullmatch(one["name"])], SERVED, floor="no gateway"),
        *crowds(served),
        *growing(cases),
        "How each number was taken:",
        "",
        *hows,
    ]
    return "\n".join(lines)


def written(page: str, whole: dict[str, Any]) -> str:
    """The page with these numbers in it."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(whole)}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Rewrites the page."""
    PAGE.write_text(written(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
