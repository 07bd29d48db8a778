"""`python -m bench [NAME …] [--quick] [--out FOLDER | --docs]`: runs the cases; a table, a JSON file and plots."""

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

from . import page, plots
from .cases import COUNT, FLOOR, OURS, POLLED, Case, cases
from .peers import interpreters
from .running import COUNTED, Numbers, Runs, polled, world

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


def taken(names: list[str], table: dict[str, Case], folder: Path, *, quick: bool) -> tuple[list[Row], int]:
    """The rows of these cases, told as they come, and the seconds until the peers were there."""
    began, rows, polls = time.time(), list[Row](), bool(set(names) & set(POLLED))
    needed = {who for name in names if name in table for who in table[name].run} | (set(COUNTED) if polls else set())
    with world(folder) as environ, ThreadPoolExecutor(1) as pool:
        installing = pool.submit(interpreters, needed)
        runs = Runs(folder, {OURS: sys.executable, FLOOR: sys.executable})
        for name in names:
            if name in table and table[name].read == COUNT:  # it is no matter what else happens meanwhile
                runs.of(table[name], environ)
        runs.pythons |= installing.result()
        installed = round(time.time() - began)
        counting = polled(folder, runs.pythons, 6 if quick else 60) if polls else {}
        for name in names:
            if name in table:
                start = time.time()
                made = row(name, table[name], runs.of(table[name], environ), not quick)
                rows.append({**made, "took": round(time.time() - start, 1)})
                print("\n".join(shown(rows[-1])), flush=True)
    counted = {who: [future.result()] for who, future in counting.items()}
    for name in names:
        if name in POLLED:
            rows.append(row(name, POLLED[name], counted, not quick))
            print("\n".join(shown(rows[-1])), flush=True)
    return rows, installed


def main() -> None:
    """The table, as the numbers come."""
    words = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    words.add_argument("names", nargs="*", metavar="NAME")
    words.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs; a minute or two")
    words.add_argument("--out", type=Path, default=Path("bench-results"), help="where the JSON and the plots go")
    words.add_argument("--docs", action="store_true", help="into docs/performance, and the page beside it anew")
    asked = words.parse_args()
    out = page.RESULTS.parent if asked.docs else asked.out
    table = cases(asked.quick)
    if asked.quick:
        table = {name: replace(case, rounds=1) for name, case in table.items()}
    names = asked.names or [*table, *POLLED]
    unknown = set(names) - set(table) - set(POLLED)
    if unknown:
        sys.exit(f"there is no case {min(unknown)!r}; there are {', '.join([*table, *POLLED])}")
    began, folder = time.time(), Path(mkdtemp(prefix="hfmedia-bench-"))
    try:
        rows, installed = taken(names, table, folder, quick=asked.quick)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    about = {"machine": machine, "when": time.strftime("%Y-%m-%d"), "quick": asked.quick}
    whole = {**about, "seconds": round(time.time() - began), "installing": installed, "cases": rows}
    results = out / "results.json"
    if asked.names and results.exists():
        whole = merged(json.loads(results.read_text()), whole)
    results.write_text(json.dumps(whole, indent=1) + "\n")
    drawn = plots.draw(whole, out)
    if asked.docs:
        page.main()
    missed = [one["name"] for one in rows if one["met"] is False]
    print(f"\n{len(rows)} cases in {whole['seconds']} s; over budget: {', '.join(missed) or 'none'}")
    print(f"{results}, and {len(drawn)} plots beside it")


if __name__ == "__main__":
    main()
