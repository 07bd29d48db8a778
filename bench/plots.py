"""SVG plots for light and dark backgrounds: bar charts for comparisons, line charts for growth. No dependencies."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

WIDTH, BAR, LABEL_WIDTH = 720, 26, 170
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f } .soft { fill: #57606a } .grid { stroke: #d0d7de }
.ours { fill: #0969da } .other { fill: #afb8c1 } .line { stroke: #0969da; fill: none; stroke-width: 2 }
.line2 { stroke: #bc4c00; fill: none; stroke-width: 2 } .two { fill: #bc4c00 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .soft { fill: #9198a1 } .grid { stroke: #3d444d }
.ours { fill: #4493f8 } .other { fill: #656c76 } .line { stroke: #4493f8 }
.line2 { stroke: #f0883e } .two { fill: #f0883e } }
</style>"""
NAMES = {"ours": "hfmedia", "LiteLLM": "LiteLLM's proxy"}
BAR_CASES = ("videos", "thousand", "image", "films", "inline", "pause-films", "lag", "import", "polls", "gateway-ready",
        "gateway-idle", "gateway-added")  # fmt: skip


def _svg(height: int, title: str, elements: list[str]) -> str:
    view_box = f'viewBox="0 0 {WIDTH} {height}"'
    opening_tag = f'<svg xmlns="http://www.w3.org/2000/svg" {view_box} role="img" aria-label="{escape(title)}">'
    return "\n".join(
        [opening_tag, STYLE, f'<text x="0" y="16" font-weight="600">{escape(title)}</text>', *elements, "</svg>\n"]
    )


def bar_chart(case_row: dict[str, Any]) -> str:
    """Draw the medians of a case as bars."""
    medians = {client: numbers["median"] for client, numbers in case_row["who"].items() if "median" in numbers}
    largest, elements = max(medians.values()) or 1.0, []
    for number, (client, value) in enumerate(medians.items()):
        y, bar_width = 32 + number * BAR, max(1.0, (WIDTH - LABEL_WIDTH - 110) * value / largest)
        css_class, name = "ours" if client == "ours" else "other", NAMES.get(client, client)
        elements += [
            f'<text x="{LABEL_WIDTH - 10}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{css_class}" x="{LABEL_WIDTH}" y="{y}" width="{bar_width:.0f}" height="{BAR - 8}" rx="2"/>',
            f'<text class="soft" x="{LABEL_WIDTH + bar_width + 8:.0f}" y="{y + 14}">'
            f"{value:.3g} {escape(case_row['unit'])}</text>",
        ]
    return _svg(40 + len(medians) * BAR, case_row["about"], elements)


def line_chart(title: str, axis_label: str, curves: dict[str, list[tuple[float, float]]], names: list[str]) -> str:
    """Draw curves over one axis; ``names`` are its labels, from the first point to the last."""
    points = [point for curve in curves.values() for point in curve]
    right, top = max(x for x, _ in points) or 1.0, max(y for _, y in points) or 1.0
    height, left_margin, elements = 240, 60, []
    for step in range(5):
        y = 200 - 160 * step / 4
        elements += [
            f'<line class="grid" x1="{left_margin}" y1="{y}" x2="{WIDTH - 20}" y2="{y}"/>',
            f'<text class="soft" x="{left_margin - 8}" y="{y + 4}" text-anchor="end">{top * step / 4:.3g}</text>',
        ]
    for number, (name, curve) in enumerate(curves.items()):
        path = " ".join(
            f"{left_margin + (WIDTH - left_margin - 30) * x / right:.1f},{200 - 160 * y / top:.1f}" for x, y in curve
        )
        elements += [
            f'<polyline class="{("line", "line2")[number % 2]}" points="{path}"/>',
            f'<text class="{("ours", "two")[number % 2]}" x="{WIDTH - 20}" y="{16 + 15 * number}" text-anchor="end">'
            f"{escape(name)}</text>",
        ]
    for number, name in enumerate(names):
        x = left_margin + (WIDTH - left_margin - 30) * number / max(1, len(names) - 1)
        elements.append(f'<text class="soft" x="{x:.0f}" y="218" text-anchor="middle">{escape(name)}</text>')
    elements.append(f'<text class="soft" x="{WIDTH - 20}" y="236" text-anchor="end">{escape(axis_label)}</text>')
    return _svg(height, title, elements)


def draw_plots(results: dict[str, Any], folder: Path) -> list[Path]:
    """Write the plots to a folder. Returns their paths."""
    rows = {case_row["name"]: case_row for case_row in results["cases"]}
    charts = {
        name: bar_chart(rows[name])
        for name in BAR_CASES
        if name in rows and "median" in rows[name]["who"].get("ours", {})
    }
    rates = {name: case_row for name, case_row in rows.items() if name.startswith("rate-")}
    if len(rates) > 1:
        curves = {
            label: [(float(index), case_row["who"][client]["median"]) for index, case_row in enumerate(rates.values())
                    if "median" in case_row["who"].get(client, {})]
            for client, label in (("ours", "hfmedia"), ("huggingface_hub", "huggingface_hub"))
        }  # fmt: skip
        curves = {name: curve for name, curve in curves.items() if curve}
        axis_label = "images in parallel"
        charts["rate"] = line_chart("20 kB images per second", axis_label, curves, [name[5:] for name in rates])
    concurrent_rows = {
        name[13:]: case_row["who"] for name, case_row in rows.items() if name.startswith("gateway-rate-")
    }
    curves = {
        NAMES[client]: [
            (float(index), case_row[client]["median"]) for index, case_row in enumerate(concurrent_rows.values())
        ]
        for client in ("ours", "LiteLLM")
        if len(concurrent_rows) > 1
        and all("median" in case_row.get(client, {}) for case_row in concurrent_rows.values())
    }
    if curves:
        charts["gateway-rate"] = line_chart("gateway: requests per second", "clients", curves, list(concurrent_rows))
    if "growth" in rows and "values" in rows["growth"]["who"]["ours"]:
        lengths = rows["growth"]["who"]["ours"]["values"][0]
        curves = {
            label: [(float(index), numbers[metric]) for index, numbers in enumerate(lengths.values())]
            for metric, label in (("job", "one job"), ("find", "lookup by key"))
        }
        names = [f"{int(length):,}" for length in lengths]
        charts["growth"] = line_chart("ledger: CPU milliseconds by length", "entries", curves, names)
    samples = rows.get("batch", {}).get("who", {}).get("ours", {}).get("samples") or []
    if samples:
        curves = {"MB of resident memory": [(index, memory) for index, _, memory in samples]}
        names = [f"{samples[-1][0] * part / 4:.0f}" for part in range(5)]
        charts["batch-memory"] = line_chart("batch: memory over time", "seconds", curves, names)
        curves = {"images": [(index, float(files)) for index, files, _ in samples]}
        charts["batch-files"] = line_chart("batch: images over time", "seconds", curves, names)
    for name, text in charts.items():
        (folder / f"{name}.svg").write_text(text)
    return [folder / f"{name}.svg" for name in charts]
