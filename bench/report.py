"""`python -m bench.report`: write the tables in docs/performance.md from docs/performance/results.json.

The text between the two marks is generated, which a test verifies; the text around it is written by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
RESULTS = PAGE.parent / "performance" / "results.json"
BEGIN_MARK, END_MARK = "<!-- measured: begin -->", "<!-- measured: end -->"
LIBRARY_COLUMNS = ("ours", "floor", "huggingface_hub", "g4f", "fal-client")  # clients in the table of library cases
GATEWAY_COLUMNS = ("ours", "floor", "LiteLLM")  # and in the table of gateway cases
NAMES = {"ours": "hfmedia", "LiteLLM": "LiteLLM's proxy"}
VERDICTS = {True: "met", False: "**not met**", None: "not judged"}
CONCURRENT_CASE = re.compile(r"gateway-(?P<what>rate|p50|p99)-(?P<clients>\d+)")
Results = dict[str, Any]


def format_number(value: float) -> str:
    """Format a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def format_cell(result: Results | None) -> str:
    """Format a median with its spread, or the reason why there is none."""
    if result is None:
        return ""
    if "median" not in result:
        return f"({result['cannot']})" if "cannot" in result else ""
    values = result["values"]
    spread = f" ({format_number(min(values))} to {format_number(max(values))})" if len(values) > 1 else ""
    return format_number(result["median"]) + spread


def markdown_row(*cells: str) -> str:
    """Format a Markdown table row."""
    return f"| {' | '.join(cells)} |"


def comparison_table(cases: list[Results], columns: tuple[str, ...], *, floor: str) -> list[str]:
    """Format the cases as a table with a column per client."""
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
    """Format the gateway under load: a row per number of clients."""
    by_clients: dict[int, dict[str, Results]] = {}
    for case_row in cases:
        match = CONCURRENT_CASE.fullmatch(case_row["name"])
        if match:
            by_clients.setdefault(int(match["clients"]), {})[match["what"]] = case_row["who"]
    if not by_clients:
        return []
    metrics = (("rate", "requests per second"), ("p50", "median, ms"), ("p99", "99th percentile, ms"))
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
    """Format the cost of a job by ledger length."""
    growth = next((case_row for case_row in cases if case_row["name"] == "growth"), None)
    lengths = growth["who"]["ours"].get("values", [{}])[0] if growth else {}
    if not lengths:
        return []
    head = markdown_row(
        "entries in the ledger", "job of six entries, CPU ms", "lookup by key, CPU ms", "latest 100 jobs, CPU ms"
    )
    times = ([f"{timings[metric]:.2f}" for metric in ("job", "find", "latest")] for timings in lengths.values())
    rows = [markdown_row(f"{int(length):,}", *cells) for length, cells in zip(lengths, times, strict=True)]
    return [head, "|---" * 4 + "|", *rows, ""]


def results_tables(results: Results) -> str:
    """Format all results as Markdown tables, followed by the method of each measurement."""
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
    method_lines += [f"- gateway under load: {concurrent_method}."] if concurrent_method else []
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
        "Methods:",
        "",
        *method_lines,
    ]
    return "\n".join(lines)


def updated_page(page: str, results: dict[str, Any]) -> str:
    """Return the page with its generated part replaced."""
    before, _, after = page.partition(BEGIN_MARK)
    return f"{before}{BEGIN_MARK}\n\n{results_tables(results)}\n\n{END_MARK}{after.partition(END_MARK)[2]}"


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(updated_page(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
