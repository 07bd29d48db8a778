"""Plots as SVG, readable on light and on dark: bars for those compared, a line for what grows. No library is needed."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

WIDE, BAR, LEFT = 720, 26, 170
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f } .soft { fill: #57606a } .grid { stroke: #d0d7de }
.ours { fill: #0969da } .other { fill: #afb8c1 } .line { stroke: #0969da; fill: none; stroke-width: 2 }
.line2 { stroke: #bc4c00; fill: none; stroke-width: 2 } .two { fill: #bc4c00 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .soft { fill: #9198a1 } .grid { stroke: #3d444d }
.ours { fill: #4493f8 } .other { fill: #656c76 } .line { stroke: #4493f8 }
.line2 { stroke: #f0883e } .two { fill: #f0883e } }
</style>"""
NAMES = {"ours": "hfmedia", "LiteLLM": "LiteLLM's proxy"}
BARS = ("videos", "thousand", "image", "films", "inline", "pause-films", "lag", "import", "polls", "gateway-ready",
        "gateway-idle", "gateway-added")  # fmt: skip


def _svg(high: int, title: str, inside: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {high}" role="img" aria-label="{escape(title)}">'
    )
    return "\n".join([head, STYLE, f'<text x="0" y="16" font-weight="600">{escape(title)}</text>', *inside, "</svg>\n"])


def bars(one: dict[str, Any]) -> str:
    """Medians side by side."""
    found = {who: numbers["median"] for who, numbers in one["who"].items() if "median" in numbers}
    most, inside = max(found.values()) or 1.0, []
    for number, (who, value) in enumerate(found.items()):
        y, wide = 32 + number * BAR, max(1.0, (WIDE - LEFT - 110) * value / most)
        look, name = "ours" if who == "ours" else "other", NAMES.get(who, who)
        inside += [
            f'<text x="{LEFT - 10}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{look}" x="{LEFT}" y="{y}" width="{wide:.0f}" height="{BAR - 8}" rx="2"/>',
            f'<text class="soft" x="{LEFT + wide + 8:.0f}" y="{y + 14}">{value:.3g} {escape(one["unit"])}</text>',
        ]
    return _svg(40 + len(found) * BAR, one["about"], inside)


def lines(title: str, across: str, curves: dict[str, list[tuple[float, float]]], names: list[str]) -> str:
    """Curves over the same axis; ``names`` are the words under it, from the first point to the last."""
    points = [point for curve in curves.values() for point in curve]
    right, top = max(x for x, _ in points) or 1.0, max(y for _, y in points) or 1.0
    high, left, inside = 240, 60, []
    for step in range(5):
        y = 200 - 160 * step / 4
        inside += [
            f'<line class="grid" x1="{left}" y1="{y}" x2="{WIDE - 20}" y2="{y}"/>',
            f'<text class="soft" x="{left - 8}" y="{y + 4}" text-anchor="end">{top * step / 4:.3g}</text>',
        ]
    for number, (name, curve) in enumerate(curves.items()):
        path = " ".join(f"{left + (WIDE - left - 30) * x / right:.1f},{200 - 160 * y / top:.1f}" for x, y in curve)
        inside += [
            f'<polyline class="{("line", "line2")[number % 2]}" points="{path}"/>',
            f'<text class="{("ours", "two")[number % 2]}" x="{WIDE - 20}" y="{16 + 15 * number}" text-anchor="end">'
            f"{escape(name)}</text>",
        ]
    for number, name in enumerate(names):
        x = left + (WIDE - left - 30) * number / max(1, len(names) - 1)
        inside.append(f'<text class="soft" x="{x:.0f}" y="218" text-anchor="middle">{escape(name)}</text>')
    inside.append(f'<text class="soft" x="{WIDE - 20}" y="236" text-anchor="end">{escape(across)}</text>')
    return _svg(high, title, inside)


def draw(whole: dict[str, Any], folder: Path) -> list[Path]:
    """A plot for each case that says more in a picture, in this folder."""
    rows = {one["name"]: one for one in whole["cases"]}
    drawn = {name: bars(rows[name]) for name in BARS if name in rows and "median" in rows[name]["who"].get("ours", {})}
    rates = {name: one for name, one in rows.items() if name.startswith("rate-")}
    if len(rates) > 1:
        curves = {
            shown: [(float(at), one["who"][who]["median"]) for at, one in enumerate(rates.values())
                    if "median" in one["who"].get(who, {})]
            for who, shown in (("ours", "hfmedia"), ("huggingface_hub", "huggingface_hub"))
        }  # fmt: skip
        curves = {name: curve for name, curve in curves.items() if curve}
        across = "side by side"
        drawn["rate"] = lines("pictures of 20 kB a second", across, curves, [name[5:] for name in rates])
    crowds = {name[13:]: one["who"] for name, one in rows.items() if name.startswith("gateway-rate-")}
    curves = {
        NAMES[who]: [(float(at), one[who]["median"]) for at, one in enumerate(crowds.values())]
        for who in ("ours", "LiteLLM")
        if len(crowds) > 1 and all("median" in one.get(who, {}) for one in crowds.values())
    }
    if curves:
        drawn["gateway-rate"] = lines("the gateway: requests a second", "clients", curves, list(crowds))
    if "growth" in rows and "values" in rows["growth"]["who"]["ours"]:
        lengths = rows["growth"]["who"]["ours"]["values"][0]
        curves = {
            words: [(float(at), numbers[what]) for at, numbers in enumerate(lengths.values())]
            for what, words in (("job", "a job"), ("find", "finding one by its key"))
        }
        names = [f"{int(length):,}" for length in lengths]
        drawn["growth"] = lines("ms of CPU in the ledger, by its length", "events before", curves, names)
    samples = rows.get("batch", {}).get("who", {}).get("ours", {}).get("samples") or []
    if samples:
        curves = {"MB of resident memory": [(at, memory) for at, _, memory in samples]}
        names = [f"{samples[-1][0] * part / 4:.0f}" for part in range(5)]
        drawn["batch-memory"] = lines("a batch: memory over time", "seconds", curves, names)
        curves = {"pictures": [(at, float(files)) for at, files, _ in samples]}
        drawn["batch-files"] = lines("a batch: pictures over time", "seconds", curves, names)
    for name, text in drawn.items():
        (folder / f"{name}.svg").write_text(text)
    return [folder / f"{name}.svg" for name in drawn]
