"""Line plots as small SVG texts: linear or logarithmic axes, a legend, readable on light and on dark pages.

    text = line_plot(
        [Line("GuanYu", [(1, 0.5), (10, 0.9)])], title="Accuracy", x=Axis("step", log=True), y=Axis("accuracy")
    )

The same numbers give the same bytes. Nothing is fetched: a text stands in a page or in a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

__all__ = ["Axis", "Line", "line_plot", "ticks"]

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 18, 64, 52
COLOURS = (("#0969da", "#58a6ff"), ("#bc4c00", "#f0883e"), ("#1a7f37", "#3fb950"), ("#8250df", "#bc8cff"),
           ("#cf222e", "#ff7b72"), ("#6e7781", "#a5adb6"))  # fmt: skip
"""On light pages and on dark ones."""
MARKS = ("M-3.5,0a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0z", "M-3,-3h6v6h-6z", "M0,-4L4,3H-4z", "M0,-4.5L4,0L0,4.5L-4,0z",
         "M-3,-3L3,3M-3,3L3,-3", "M0,-4V4M-4,0H4")  # fmt: skip
"""Around the origin, so that lines can be told apart without their colours."""
MANY = 25
"""Points from which on a line bears no marks."""


@dataclass(frozen=True)
class Axis:
    """What is along an axis, and how."""

    label: str
    log: bool = False
    low: float | None = None
    """Where it begins; at the least value unless given."""
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A name for the legend, and points ``(x, y)`` in their order; points that are not finite are left out."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False

    @property
    def finite(self) -> list[tuple[float, float]]:
        """Those that can be drawn."""
        return [point for point in self.points if all(map(math.isfinite, point))]


def line_plot(lines: Sequence[Line], *, title: str, x: Axis, y: Axis) -> str:
    """A whole SVG document with all lines in one frame.

    Raises:
        ValueError: If there are no points or more than six lines, or a logarithmic axis meets a number <= 0.
    """
    if len(lines) > len(COLOURS):
        raise ValueError(f"line_plot has {len(COLOURS)} colours, got {len(lines)} lines")
    x_ticks, y_ticks = (_axis_ticks(axis, lines, place) for place, axis in enumerate((x, y)))
    across = _scale(x_ticks, x.log, LEFT, WIDTH - RIGHT)
    up = _scale(y_ticks, y.log, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{_style()}</style>",
        f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>',
        *(_grid_line(across(tick), None, _shown(tick)) for tick in x_ticks),
        *(_grid_line(None, up(tick), _shown(tick)) for tick in y_ticks),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x.label)}</text>',
        f'<text transform="translate(16,{(TOP + HEIGHT - BOTTOM) / 2:g})rotate(-90)" text-anchor="middle">'
        f"{escape(y.label)}</text>",
        *(_drawn(line, number, across, up) for number, line in enumerate(lines)),
        *_legend(lines),
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def ticks(low: float, high: float, *, log: bool = False) -> list[float]:
    """Round numbers, the first at most ``low`` and the last at least ``high``; two to a dozen of them."""
    if log:
        return _log_ticks(low, high)
    width = (high - low) or abs(high) or 1.0
    unit = 10.0 ** math.floor(math.log10(width / 4))
    step = unit * next(times for times in (1, 2, 5, 10) if width / (unit * times) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = math.log10(high / low)
    steps, every = ((1, 2, 5), 1) if decades < 2.5 else ((1,), math.ceil(decades / 9))
    start = math.floor(math.log10(low) + 1e-9) // every * every
    powers = range(start, math.ceil(math.log10(high)) + 2 * every, every)
    every_tick = [float(f"{step}e{power}") for power in powers for step in steps]
    first = sum(tick <= low * (1 + 1e-9) for tick in every_tick) - 1
    last = next(place for place, tick in enumerate(every_tick) if tick >= high * (1 - 1e-9))
    return every_tick[first : max(last, first + 1) + 1]


def _axis_ticks(axis: Axis, lines: Sequence[Line], place: int) -> list[float]:
    values = [point[place] for line in lines for point in line.finite]
    if not values or (axis.log and min(values) <= 0):
        raise ValueError(f"{axis.label!r} has nothing that can be drawn" if not values else f"log of {min(values)}")
    return ticks(min(values) if axis.low is None else axis.low, max(values) if axis.high is None else axis.high,
                 log=axis.log)  # fmt: skip


def _scale(marks: list[float], log: bool, start: float, end: float) -> Callable[[float], float]:
    measure = math.log if log else float
    low, high = measure(marks[0]), measure(marks[-1])
    return lambda value: start + (end - start) * (measure(value) - low) / (high - low)


def _shown(tick: float) -> str:
    text = f"{tick:.4g}" if tick == 0 or 1e-3 <= abs(tick) < 1e5 else f"{tick:.0e}"
    return text.replace("e-0", "e-").replace("e+0", "e")


def _grid_line(x: float | None, y: float | None, text: str) -> str:
    if x is not None:
        line = f'x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
        label = f'x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle"'
    else:
        line = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
        label = f'x="{LEFT - 7}" y="{(y or 0) + 4:.1f}" text-anchor="end"'
    return f'<line class="grid" {line}/><text class="tick" {label}>{text}</text>'


def _drawn(line: Line, number: int, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    places = [(across(x), up(y)) for x, y in line.finite]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = f'<polyline class="line c{number}{" dashed" if line.dashed else ""}" points="{path}"/>'
    marks = [f'<path transform="translate({x:.1f},{y:.1f})" d="{MARKS[number]}"/>' for x, y in places]
    return f'{drawn}<g class="mark c{number}">{"".join(marks) if len(marks) < MANY else ""}</g>'


def _legend(lines: Sequence[Line]) -> list[str]:
    """From the left in one row, or two where the names are long."""
    widths = [44 + 7 * len(line.name) for line in lines]
    rows, x = [0], [float(LEFT)]
    for before, width in pairwise(widths):
        wraps = x[-1] + before + width > WIDTH
        rows.append(rows[-1] + wraps)
        x.append(LEFT if wraps else x[-1] + before)
    entries = []
    for number, line in enumerate(lines):
        y = 40 + 15 * rows[number]
        kind = f"line c{number}{' dashed' if line.dashed else ''}"
        entries.append(
            f'<line class="{kind}" x1="{x[number]:g}" x2="{x[number] + 24:g}" y1="{y}" y2="{y}"/>'
            f'<g class="mark c{number}"><path transform="translate({x[number] + 12:g},{y})" d="{MARKS[number]}"/></g>'
            f'<text class="tick" x="{x[number] + 30:g}" y="{y + 4}">{escape(line.name)}</text>'
        )
    return entries


def _style() -> str:
    def rules(shade: int, ink: str, soft: str) -> str:
        own = "".join(f".plot .c{n}{{stroke:{pair[shade]}}}.plot g.c{n}{{fill:{pair[shade]}}}"
                      for n, pair in enumerate(COLOURS))  # fmt: skip
        return f".plot text{{fill:{ink}}}.plot .grid{{stroke:{soft}}}{own}"

    return (
        ".plot{font:12px system-ui,sans-serif}.plot .title{font-size:15px;font-weight:600}.plot .tick{font-size:11px}"
        ".plot .line{fill:none;stroke-width:2}.plot .dashed{stroke-dasharray:6 4}"
        + rules(0, "#1f2328", "#d8dee4")
        + f"@media(prefers-color-scheme:dark){{{rules(1, '#e6edf3', '#3d444d')}}}"
    )
