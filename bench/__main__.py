"""`python -m bench [NAME …] [--quick] [--out FOLDER]`: runs the cases, prints the table, writes JSON and plots."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from . import plots
from .cases import OURS, POLLED, Case, cases
from .running import Numbers, Runs, peers, polled, world

Row = dict[str, Any]


def row(name: str, case: Case, taken: dict[str, list[Numbers]], judged: bool) -> Row:
    """What is kept of a case: every number, the medians, and whether the budget is met."""
    found: dict[str, Any] = {}
    for who, runs in taken.items():
        error = next((numbers["error"] for numbers in runs if "error" in numbers), None)
        values = [numbers[case.read] for numbers in runs if case.read in numbers]
        if error or not values:
            found[who] = {"cannot": error or "not measured here"}
        elif isinstance(values[0], dict | list):
            found[who] = {"values": values}
        else:
            found[who] = {"median": statistics.median(values), "values": values}
        if "samples" in (runs[0] if runs else {}):
            found[who]["samples"] = runs[0]["samples"]
    found |= {who: {"cannot": why} for who, why in case.cannot.items()}
    middle = {who: one["median"] for who, one in found.items() if "median" in one}
    met = None
    if judged and case.ok is not None and OURS in middle:
        try:
            met = case.ok(middle)
        except KeyError:  # a peer that the budget speaks of is not there
            met = None
    about = {"about": case.about, "how": case.how, "unit": case.unit, "budget": case.budget, "met": met}
    return {"name": name, **about, "who": found}


def shown(one: Row) -> list[str]:
    """A row as lines of text."""
    verdict = {True: "met", False: "NOT MET", None: "not judged"}[one["met"]]
    lines = [f"\n{one['about']}" + (f"  [budget {one['budget']}: {verdict}]" if one["budget"] else "")]
    ours = one["who"].get(OURS, {}).get("median")
    for who, found in one["who"].items():
        if "cannot" in found:
            lines.append(f"  {who:16} -          {found['cannot']}")
        elif "median" in found:
            ratio = f"{ours / found['median']:.2f} x" if who != OURS and ours and found["median"] else ""
            spread = f"{min(found['values']):.2f} to {max(found['values']):.2f}"
            lines.append(f"  {who:16} {found['median']:9.2f} {one['unit']:3} ({spread:>20})  {ratio}")
        else:
            lines += [f"  {who:16} {length:>9} events: {numbers['job']:.2f} ms a job, {numbers['find']:.2f} ms to find "
                      f"one, {numbers['latest']:.2f} ms for the latest 100"
                      for length, numbers in found["values"][0].items()]  # fmt: skip
    return [*lines, f"  how: {one['how']}"]


def merged(before: Row, now: Row) -> Row:
    """What was measured before, with the cases that were measured again in their places and new ones at the end."""
    again = {one["name"]: one for one in now["cases"]}
    kept = [again.pop(one["name"], one) for one in before["cases"]]
    return {**before, "seconds": before["seconds"] + now["seconds"], "cases": [*kept, *again.values()]}


def main() -> None:
    """The table, as the numbers come."""
    words = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    words.add_argument("names", nargs="*", metavar="NAME")
    words.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs; a minute or two")
    words.add_argument("--out", type=Path, default=Path("bench-results"), help="where the JSON and the plots go")
    asked = words.parse_args()
    table = cases(asked.quick)
    if asked.quick:
        table = {name: replace(case, rounds=1) for name, case in table.items()}
    names = asked.names or [*table, *POLLED]
    unknown = set(names) - set(table) - set(POLLED)
    if unknown:
        sys.exit(f"there is no case {min(unknown)!r}; there are {', '.join([*table, *POLLED])}")
    began, folder, rows = time.time(), Path(mkdtemp(prefix="hfmedia-bench-")), []
    python = peers()
    try:
        counting = polled(folder, python, 6 if asked.quick else 60) if set(names) & set(POLLED) else {}
        runs = Runs(folder, python)
        with world(folder) as environ:
            for name in names:
                if name in table:
                    rows.append(row(name, table[name], runs.of(table[name], environ), not asked.quick))
                    print("\n".join(shown(rows[-1])), flush=True)
        counted = {who: [future.result()] for who, future in counting.items()}
        for name in names:
            if name in POLLED:
                rows.append(row(name, POLLED[name], counted, not asked.quick))
                print("\n".join(shown(rows[-1])), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    about = {"machine": machine, "when": time.strftime("%Y-%m-%d"), "quick": asked.quick}
    whole = {**about, "seconds": round(time.time() - began), "cases": rows}
    results = asked.out / "results.json"
    if asked.names and results.exists():
        whole = merged(json.loads(results.read_text()), whole)
    results.write_text(json.dumps(whole, indent=1) + "\n")
    drawn = plots.draw(whole, asked.out)
    missed = [one["name"] for one in rows if one["met"] is False]
    print(f"\n{len(rows)} cases in {whole['seconds']} s; over budget: {', '.join(missed) or 'none'}")
    print(f"{asked.out / 'results.json'}, and {len(drawn)} plots beside it")


if __name__ == "__main__":
    main()
