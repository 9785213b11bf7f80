"""Charts for the docs, as SVG that is read as it is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 420
LEFT, TOP, BOTTOM, RIGHT = 60, 40, 46, 130
COLOURS = (
    "#111",
    "#888",
    "#1864ab",
    "#e67700",
    "#2b8a3e",
    "#c2255c",
    "#5f3dc4",
    "#0b7285",
    "#a61e4d",
    "#5c940d",
    "#495057",
)


@dataclass(frozen=True)
class Line:
    """One line: (x, y) points; those at or below zero are left out."""

    name: str
    points: list[tuple[float, float]]


def log_log(panels: Sequence[tuple[str, Sequence[Line]]], *, across: str) -> str:
    """Return panels beside one another, both axes in powers of ten."""
    drawn = "".join(_panel(title, lines, across, number * WIDTH) for number, (title, lines) in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>{drawn}</svg>\n'
    )


def _panel(title: str, lines: Sequence[Line], across: str, left: int) -> str:
    points = [(x, y) for line in lines for x, y in line.points if x > 0 and y > 0]
    bounds = [_decades([point[axis] for point in points]) for axis in (0, 1)]

    def at(x: float, y: float) -> tuple[float, float]:
        (x0, x1), (y0, y1) = bounds
        across_share = (math.log10(x) - x0) / (x1 - x0)
        up_share = (math.log10(y) - y0) / (y1 - y0)
        return LEFT + across_share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up_share * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="22" font-size="14">{title}</text>']
    for power in range(bounds[0][0], bounds[0][1] + 1):
        x, y = at(10.0**power, 10.0 ** bounds[1][0])
        parts.append(f'<path d="M{x:.1f} {TOP}V{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{10**power:,}</text>')
    for power in range(bounds[1][0], bounds[1][1] + 1):
        x, y = at(10.0 ** bounds[0][0], 10.0**power)
        parts.append(f'<path d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{across}</text>')
    for number, line in enumerate(lines):
        parts.append(_line(line, COLOURS[number % len(COLOURS)], at, number))
    return f'<g transform="translate({left} 0)">{"".join(parts)}</g>'


def _line(line: Line, colour: str, at: object, number: int) -> str:
    assert callable(at)
    places = [at(x, y) for x, y in line.points if x > 0 and y > 0]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if places else ""
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places)
    y = TOP + 14 * number + 10
    legend = (
        f'<path d="M{WIDTH - RIGHT + 10} {y - 4}h14" stroke="{colour}" stroke-width="2"/>'
        f'<text x="{WIDTH - RIGHT + 28}" y="{y}">{line.name}</text>'
    )
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>{dots}{legend}'


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)
