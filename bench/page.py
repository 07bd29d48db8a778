"""`python -m bench.page`: writes the measured numbers into docs/performance.md, from the JSON file beside its plots.

What stands between the marks is made, and a test holds it to the file; the words around it are written by people.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
RESULTS = PAGE.parent / "performance" / "results.json"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COLUMNS = ("ours", "floor", "huggingface_hub", "g4f", "fal-client")
VERDICTS = {True: "met", False: "**not met**", None: "not judged"}


def number(value: float) -> str:
    """Three digits that say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell(found: dict[str, Any] | None) -> str:
    """A median with its spread, or why there is none."""
    if found is None:
        return ""
    if "median" not in found:
        return f"({found['cannot']})" if "cannot" in found else ""
    values = found["values"]
    spread = f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
    return number(found["median"]) + spread


def table(whole: dict[str, Any]) -> str:
    """The cases as a table of Markdown, the ledger's growth as one of its own, and how each number was taken."""
    rows = ["| case | hfmedia | floor | huggingface_hub | g4f | fal-client | budget |", "|---|---|---|---|---|---|---|"]
    hows: list[str] = []
    for one in whole["cases"]:
        if one["name"] != "growth":
            unit = f", {one['unit']}" if one["unit"] else ""
            budget = f"{one['budget']}: {VERDICTS[one['met']]}" if one["budget"] else ""
            cells = [cell(one["who"].get(who)) for who in COLUMNS]
            rows.append("| " + " | ".join([one["about"] + unit, *cells, budget]) + " |")
        hows.append(f"- {one['about']}: {one['how']}.")
    growth = next((one for one in whole["cases"] if one["name"] == "growth"), None)
    lengths = growth["who"]["ours"].get("values", [{}])[0] if growth else {}
    if lengths:
        rows += [
            "",
            "| events in the ledger before | a job of six facts, ms of CPU | finding one by its key | latest 100 |",
        ]
        rows += ["|---|---|---|---|"]
        rows += [
            f"| {int(length):,} | {taken['job']:.2f} | {taken['find']:.2f} | {taken['latest']:.2f} |"
            for length, taken in lengths.items()
        ]
    machine = f"Measured on {whole['when']} in {whole['seconds']} s: {whole['machine']}."
    return "\n".join([machine, "", *rows, "", "How each number was taken:", "", *hows])


def written(page: str, whole: dict[str, Any]) -> str:
    """The page with these numbers in it."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(whole)}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Rewrites the page."""
    PAGE.write_text(written(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
