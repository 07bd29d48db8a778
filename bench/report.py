"""`python -m bench.report`: writes the measured numbers into docs/performance.md, from the JSON file beside its plots.

What stands between the marks is made, and a test holds it to the file; the words around it are written by people.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
RESULTS = PAGE.parent / "performance" / "results.json"
BEGIN_MARK, END_MARK = "<!-- measured: begin -->", "<!-- measured: end -->"
LIBRARY_COLUMNS = ("ours", "floor", "huggingface_hub", "g4f", "fal-client")  # columns of the library's cases
GATEWAY_COLUMNS = ("ours", "floor", "LiteLLM")  # and of the gateway's
NAMES = {"ours": "hfmedia", "LiteLLM": "LiteLLM's proxy"}
VERDICTS = {True: "met", False: "**not met**", None: "not judged"}
CONCURRENT_CASE = re.compile(r"gateway-(?P<what>rate|p50|p99)-(?P<clients>\d+)")
Results = dict[str, Any]


def format_number(value: float) -> str:
    """Three digits that say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def format_cell(result: Results | None) -> str:
    """A median with its spread, or why there is none."""
    if result is None:
        return ""
    if "median" not in result:
        return f"({result['cannot']})" if "cannot" in result else ""
    values = result["values"]
    spread = f" ({format_number(min(values))} to {format_number(max(values))})" if len(values) > 1 else ""
    return format_number(result["median"]) + spread


def markdown_row(*cells: str) -> str:
    """A row of Markdown."""
    return f"| {' | '.join(cells)} |"


def comparison_table(cases: list[Results], columns: tuple[str, ...], *, floor: str) -> list[str]:
    """The cases as a table, one column for each of those compared."""
    if not cases:
        return []
    rows = [
        markdown_row(
            "case", *(floor if client == "floor" else NAMES.get(client, client) for client in columns), "budget"
        )
    ]
    rows.append("|---" * (len(columns) + 2) + "|")
    for case_row in cases:
        unit = f", {case_row['unit']}" if case_row["unit"] else ""
        budget = f"{case_row['budget']}: {VERDICTS[case_row['met']]}" if case_row["budget"] else ""
        rows.append(
            markdown_row(
                case_row["about"] + unit, *(format_cell(case_row["who"].get(client)) for client in columns), budget
            )
        )
    return [*rows, ""]


def concurrency_table(cases: list[Results]) -> list[str]:
    """The gateway under many clients: a row for each number of them."""
    by_clients: dict[int, dict[str, Results]] = {}
    for case_row in cases:
        match = CONCURRENT_CASE.fullmatch(case_row["name"])
        if match:
            by_clients.setdefault(int(match["clients"]), {})[match["what"]] = case_row["who"]
    if not by_clients:
        return []
    metrics = (("rate", "requests a second"), ("p50", "median, ms"), ("p99", "99th percentile, ms"))
    rows = [
        markdown_row(
            "clients", *(f"{NAMES[client]}: {label}" for client in ("ours", "LiteLLM") for _, label in metrics)
        )
    ]
    rows.append("|---" * 7 + "|")
    rows += [
        markdown_row(
            str(clients),
            *(
                format_cell(by_metric.get(metric, {}).get(client))
                for client in ("ours", "LiteLLM")
                for metric, _ in metrics
            ),
        )
        for clients, by_metric in by_clients.items()
    ]
    return [*rows, ""]


def growth_table(cases: list[Results]) -> list[str]:
    """What a job costs in a ledger of so many events."""
    growth = next((case_row for case_row in cases if case_row["name"] == "growth"), None)
    lengths = growth["who"]["ours"].get("values", [{}])[0] if growth else {}
    if not lengths:
        return []
    head = markdown_row(
        "events in the ledger before", "a job of six facts, ms of CPU", "finding one by its key", "latest 100"
    )
    times = ([f"{timings[metric]:.2f}" for metric in ("job", "find", "latest")] for timings in lengths.values())
    rows = [markdown_row(f"{int(length):,}", *cells) for length, cells in zip(lengths, times, strict=True)]
    return [head, "|---" * 4 + "|", *rows, ""]


def results_tables(results: Results) -> str:
    """The cases as tables of Markdown, the gateway's and the ledger's growth as their own, and how each was taken."""
    cases: list[Results] = results["cases"]
    gateway_rows = [case_row for case_row in cases if case_row["name"].startswith(("gateway-", "page-"))]
    library_rows = [case_row for case_row in cases if case_row not in gateway_rows and case_row["name"] != "growth"]
    concurrent_method = next(
        (case_row["how"] for case_row in cases if CONCURRENT_CASE.fullmatch(case_row["name"])), None
    )
    method_lines = [
        f"- {case_row['about']}: {case_row['how']}."
        for case_row in cases
        if not CONCURRENT_CASE.fullmatch(case_row["name"])
    ]
    method_lines += [f"- the gateway under many clients: {concurrent_method}."] if concurrent_method else []
    lines = [
        f"Measured on {results['when']} in {results['seconds']} s: {results['machine']}.",
        "",
        *comparison_table(library_rows, LIBRARY_COLUMNS, floor="floor"),
        *comparison_table(
            [case_row for case_row in gateway_rows if not CONCURRENT_CASE.fullmatch(case_row["name"])],
            GATEWAY_COLUMNS,
            floor="no gateway",
        ),
        *concurrency_table(gateway_rows),
        *growth_table(cases),
        "How each number was taken:",
        "",
        *method_lines,
    ]
    return "\n".join(lines)


def updated_page(page: str, results: dict[str, Any]) -> str:
    """The page with these numbers in it."""
    before, _, after = page.partition(BEGIN_MARK)
    return f"{before}{BEGIN_MARK}\n\n{results_tables(results)}\n\n{END_MARK}{after.partition(END_MARK)[2]}"


def main() -> None:
    """Rewrites the page."""
    PAGE.write_text(updated_page(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
