"""`python -m bench [NAME …] [--quick] [--out FOLDER | --docs]`: run cases; print a table, write JSON and plots."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from . import plots, report
from .cases import FLOOR, HFMEDIA, INSTRUCTIONS, POLL_CASES, Case, all_cases
from .runner import POLL_CLIENTS, Numbers, Runs, count_polls, run_environment
from .venvs import find_interpreters

Row = dict[str, Any]


def build_row(name: str, case: Case, runs_by_client: dict[str, list[Numbers]], is_judged: bool) -> Row:
    """Summarize a case: all values, their medians, and whether the budget is met."""
    results: dict[str, Any] = {}
    for client, runs in runs_by_client.items():
        error = next((numbers["error"] for numbers in runs if "error" in numbers), None)
        values = [numbers[case.metric] for numbers in runs if case.metric in numbers]
        if error or not values:
            results[client] = {"cannot": error or "not available on this machine"}
        elif isinstance(values[0], dict | list):
            results[client] = {"values": values}
        else:
            results[client] = {"median": statistics.median(values), "values": values}
        if "samples" in (runs[0] if runs else {}):
            results[client]["samples"] = runs[0]["samples"]
    results |= {client: {"cannot": reason} for client, reason in case.unsupported.items()}
    medians = {
        client: client_result["median"] for client, client_result in results.items() if "median" in client_result
    }
    met = None
    if is_judged and case.is_within_budget is not None and HFMEDIA in medians:
        try:
            met = case.is_within_budget(medians)
        except KeyError:  # a client in the budget was not measured
            met = None
    case_fields = {"about": case.title, "how": case.method, "unit": case.unit, "budget": case.budget, "met": met}
    return {"name": name, **case_fields, "who": results}


def format_row(case_row: Row) -> list[str]:
    """Format a row as lines of text."""
    verdict = {True: "met", False: "NOT MET", None: "not judged"}[case_row["met"]]
    lines = [f"\n{case_row['about']}" + (f"  [budget {case_row['budget']}: {verdict}]" if case_row["budget"] else "")]
    own_median = case_row["who"].get(HFMEDIA, {}).get("median")
    for client, client_result in case_row["who"].items():
        if "cannot" in client_result:
            lines.append(f"  {client:16} -          {client_result['cannot']}")
        elif "median" in client_result:
            ratio = (
                f"{own_median / client_result['median']:.2f} x"
                if client != HFMEDIA and own_median and client_result["median"]
                else ""
            )
            spread = f"{min(client_result['values']):.2f} to {max(client_result['values']):.2f}"
            lines.append(f"  {client:16} {client_result['median']:9.2f} {case_row['unit']:3} ({spread:>20})  {ratio}")
        else:
            lines += [f"  {client:16} {length:>9} entries: {numbers['job']:.2f} ms per job, {numbers['find']:.2f} ms "
                      f"per lookup by key, {numbers['latest']:.2f} ms for the latest 100"
                      for length, numbers in client_result["values"][0].items()]  # fmt: skip
    return [*lines, f"  method: {case_row['how']}"]


def merge_results(previous: Row, new_results: Row) -> Row:
    """Merge new results into previous ones: repeated cases are replaced in place, new ones appended."""
    rerun = {case_row["name"]: case_row for case_row in new_results["cases"]}
    merged_cases = [rerun.pop(case_row["name"], case_row) for case_row in previous["cases"]]
    return {
        **previous,
        "seconds": previous["seconds"] + new_results["seconds"],
        "cases": [*merged_cases, *rerun.values()],
    }


def run_cases(names: list[str], cases_by_name: dict[str, Case], folder: Path, *, quick: bool) -> tuple[list[Row], int]:
    """Run the cases, printing each row as it completes. Returns the rows and the seconds spent installing."""
    started_at, rows, has_poll_cases = time.time(), list[Row](), bool(set(names) & set(POLL_CASES))
    clients = {client for name in names if name in cases_by_name for client in cases_by_name[name].commands} | (
        set(POLL_CLIENTS) if has_poll_cases else set()
    )
    with run_environment(folder) as environ, ThreadPoolExecutor(1) as pool:
        installing = pool.submit(find_interpreters, clients)
        runs = Runs(folder, {HFMEDIA: sys.executable, FLOOR: sys.executable})
        for name in names:
            if (
                name in cases_by_name and cases_by_name[name].metric == INSTRUCTIONS
            ):  # instruction counts do not depend on other load, such as the installation
                runs.results_for(cases_by_name[name], environ)
        runs.pythons |= installing.result()
        install_seconds = round(time.time() - started_at)
        poll_futures = count_polls(folder, runs.pythons, 6 if quick else 60) if has_poll_cases else {}
        for name in names:
            if name in cases_by_name:
                start = time.time()
                case_row = build_row(
                    name, cases_by_name[name], runs.results_for(cases_by_name[name], environ), not quick
                )
                rows.append({**case_row, "took": round(time.time() - start, 1)})
                print("\n".join(format_row(rows[-1])), flush=True)
    poll_counts = {client: [future.result()] for client, future in poll_futures.items()}
    for name in names:
        if name in POLL_CASES:
            rows.append(build_row(name, POLL_CASES[name], poll_counts, not quick))
            print("\n".join(format_row(rows[-1])), flush=True)
    return rows, install_seconds


def main() -> None:
    """Run the selected cases and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small sizes, as a smoke test; takes a minute or two")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("bench-results"),
        help="output folder for the JSON and the plots (default: bench-results)",
    )
    parser.add_argument("--docs", action="store_true", help="write to docs/performance and update docs/performance.md")
    arguments = parser.parse_args()
    out = report.RESULTS.parent if arguments.docs else arguments.out
    cases_by_name = all_cases(arguments.quick)
    if arguments.quick:
        cases_by_name = {name: replace(case, rounds=1) for name, case in cases_by_name.items()}
    names = arguments.names or [*cases_by_name, *POLL_CASES]
    unknown = set(names) - set(cases_by_name) - set(POLL_CASES)
    if unknown:
        sys.exit(f"unknown case {min(unknown)!r}; known: {', '.join([*cases_by_name, *POLL_CASES])}")
    started_at, folder = time.time(), Path(mkdtemp(prefix="hfmedia-bench-"))
    try:
        rows, installed = run_cases(names, cases_by_name, folder, quick=arguments.quick)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    metadata = {"machine": machine, "when": time.strftime("%Y-%m-%d"), "quick": arguments.quick}
    results = {**metadata, "seconds": round(time.time() - started_at), "installing": installed, "cases": rows}
    results_path = out / "results.json"
    if arguments.names and results_path.exists():
        results = merge_results(json.loads(results_path.read_text()), results)
    results_path.write_text(json.dumps(results, indent=1) + "\n")
    plot_paths = plots.draw_plots(results, out)
    if arguments.docs:
        report.main()
    over_budget = [case_row["name"] for case_row in rows if case_row["met"] is False]
    print(f"\n{len(rows)} cases in {results['seconds']} s; over budget: {', '.join(over_budget) or 'none'}")
    print(f"wrote {results_path} and {len(plot_paths)} plots")


if __name__ == "__main__":
    main()
