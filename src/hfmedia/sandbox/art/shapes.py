"""Silhouettes of subjects common in prompts, as outlines in a unit square (y pointing down, base at y = 1).

Points marked sharp remain corners; a smooth curve joins the others.
"""

from __future__ import annotations

Point = tuple[float, float]
Outline = list[Point]

_SHARP_MARK = "!"


def _outline(text: str, smooth: bool = True) -> Outline:
    """Parse an outline from `x,y` pairs in hundredths; a trailing `!` marks a sharp corner."""
    point_texts = text.split()
    points = [
        (float(x) / 100, float(y) / 100)
        for x, y in (point_text.rstrip(_SHARP_MARK).split(",") for point_text in point_texts)
    ]
    if not smooth:
        return points
    is_sharp = [point_text.endswith(_SHARP_MARK) for point_text in point_texts]
    curve: Outline = []
    count = len(points)
    for index in range(count):
        before, current = points[index - 1], points[index]
        following, after = points[(index + 1) % count], points[(index + 2) % count]
        start = current if is_sharp[index] else before
        end = following if is_sharp[(index + 1) % count] else after
        curve.extend(_spline_point(start, current, following, end, step / 8) for step in range(8))
    return curve


def _spline_point(a: Point, b: Point, c: Point, d: Point, t: float) -> Point:
    """Return a point of the Catmull-Rom curve from b to c."""

    def interpolate(p: float, q: float, r: float, s: float) -> float:
        return 0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3)

    return interpolate(a[0], b[0], c[0], d[0]), interpolate(a[1], b[1], c[1], d[1])


def _rectangle(left: float, top: float, right: float, bottom: float) -> Outline:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


SHAPES: dict[str, tuple[Outline, ...]] = {
    "fox": (
        _outline(
            "6,33! 17,27 24,20 27,4! 33,15 37,5! 41,20 44,30 52,42 62,58 66,74 68,84 76,86 85,78 88,66 97,52! 100,70 "
            "96,88 84,98 66,100! 26,100! 27,97 33,95 35,84 33,68 30,54 28,46 22,41 12,39"
        ),
    ),
    "cat": (
        _outline(
            "28,28 27,18 28,4! 36,13 44,13 52,4! 53,18 52,28 50,34 58,44 66,60 69,78 70,90 80,90 87,82 86,70 80,60 "
            "84,56 91,66 94,80 88,94 76,100! 26,100! 24,90 26,70 28,52 32,40 29,34"
        ),
    ),
    "boat": (
        _outline("4,72! 96,70! 84,92 76,97 24,97 14,90"),
        _outline("50,4! 50,66! 92,64! 80,40 66,18"),
        _outline("46,14! 46,66! 14,66! 26,44 38,26"),
    ),
    "whale": (
        _outline(
            "2,62 6,46 20,34 42,32 62,42 78,56 86,50 88,34 80,24 92,28 98,22 100,36 94,50 92,70 80,84 58,92 30,90 10,80"
        ),
    ),
    "house": (
        _outline("10,52! 50,20! 90,52! 84,52! 84,100! 16,100! 16,52!", smooth=False),
        _rectangle(0.66, 0.18, 0.75, 0.42),
    ),
    "city": (
        _rectangle(0.0, 0.58, 0.14, 1),
        _rectangle(0.12, 0.34, 0.26, 1),
        _rectangle(0.28, 0.50, 0.38, 1),
        _rectangle(0.38, 0.08, 0.52, 1),
        _rectangle(0.445, 0.0, 0.455, 0.1),
        _rectangle(0.54, 0.40, 0.66, 1),
        _rectangle(0.66, 0.22, 0.78, 1),
        _rectangle(0.80, 0.52, 0.90, 1),
        _rectangle(0.88, 0.66, 1.0, 1),
    ),
    "balloon": (
        _outline("50,0 74,6 88,24 86,44 72,62 60,76! 40,76! 28,62 14,44 12,24 26,6"),
        _outline("42,84! 58,84! 56,98! 44,98!", smooth=False),
        _outline("41,76! 42,76! 44,84! 43,84!", smooth=False),
        _outline("58,76! 59,76! 57,84! 56,84!", smooth=False),
    ),
    "rocket": (
        _outline("50,0! 62,16 66,36 64,62 62,74! 38,74! 36,62 34,36 38,16"),
        _outline("36,50! 20,74! 22,86! 38,72!", smooth=False),
        _outline("64,50! 80,74! 78,86! 62,72!", smooth=False),
        _outline("42,78! 58,78! 50,100!", smooth=False),
    ),
    "tree": (
        _outline("46,100! 47,70 44,50! 56,50! 53,70 54,100!"),
        _outline("50,2 66,6 78,18 90,30 88,46 76,56 58,60 40,60 22,56 10,44 12,28 24,16 36,6"),
    ),
    "castle": (
        _outline(
            "6,100! 6,36! 10,36! 10,40! 14,40! 14,36! 20,36! 20,40! 24,40! 24,36! 28,36! 28,56! 38,56! 38,22! 50,4! "
            "62,22! 62,56! 72,56! 72,30! 82,14! 92,30! 92,100!",
            smooth=False,
        ),
    ),
    "robot": (
        _rectangle(0.34, 0.12, 0.66, 0.34),
        _rectangle(0.49, 0.02, 0.51, 0.12),
        _rectangle(0.46, 0.33, 0.54, 0.40),
        _rectangle(0.28, 0.38, 0.72, 0.72),
        _rectangle(0.14, 0.40, 0.24, 0.70),
        _rectangle(0.76, 0.40, 0.86, 0.70),
        _rectangle(0.34, 0.72, 0.46, 1.0),
        _rectangle(0.54, 0.72, 0.66, 1.0),
    ),
}

IN_THE_SKY = frozenset({"balloon", "rocket"})
IN_THE_WATER = frozenset({"boat", "whale"})
FAR_AWAY = frozenset({"city", "castle"})
