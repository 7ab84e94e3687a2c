"""Kappa found against kappa proven, and what a rule costs: one row per rule."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from flwr_byzantine.bench.report._markup import NOTHING, Markup, chars, figure, number, svg, table, tag
from flwr_byzantine.bench.results import CellResult, KappaResult

__all__ = ["kappas", "times"]

ROW, PLOT, RIGHT, BOTTOM = 24.0, 300.0, 190.0, 24.0
LARGEST = 1e3
"""A kappa beyond it says no more than that there is no robustness; the axis ends there."""


def kappas(found: Sequence[KappaResult]) -> Markup | None:
    """Dots for what was found, strokes for what is proven; None if nothing was searched."""
    shown = [kappa for kappa in found if kappa.found is not None]
    if not shown:
        return None
    names = [f"{kappa.rule}, f = {kappa.f}" for kappa in shown]
    values = [v for k in shown for v in (k.found, k.proven, k.floor) if v is not None and v > 0]
    scale = _Scale(min(values, default=0.1) / 1.5, min(max(values, default=1.0), LARGEST) * 1.2, chars(names) + 12)
    parts = scale.axis(ROW * len(shown))
    for place, (name, kappa) in enumerate(zip(names, shown, strict=True)):
        parts += _kappa_row(name, kappa, scale, ROW * place + ROW / 2)
    width = scale.left + PLOT + RIGHT
    said = "; ".join(f"{name}: {_found(kappa)}" for name, kappa in zip(names, shown, strict=True))
    drawing = svg(width, ROW * len(shown) + BOTTOM, *parts, title="Kappa found against kappa proven", desc=said)
    head = ["rule", "n", "f", "found, at least", "proven, at most", "no rule below"]
    rows = [[k.rule, str(k.n), str(k.f), *(_number(v) for v in (k.found, k.proven, k.floor))] for k in shown]
    caption = (
        "Dot: found by search, so the true kappa is no smaller. Stroke: proven bound. Ring: what no rule can beat."
    )
    return Markup(figure(drawing, caption, wide=True) + table(head, rows, summary="The numbers"))


class _Scale:
    """A logarithmic axis."""

    def __init__(self, low: float, high: float, left: float) -> None:
        self.low, self.high, self.left = low, max(high, 2 * low), left

    def x(self, value: float) -> float:
        share = math.log(min(max(value, self.low), self.high) / self.low) / math.log(self.high / self.low)
        return self.left + PLOT * share

    def axis(self, height: float) -> list[Markup]:
        parts = []
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        for power in range(first, last + 1):
            x = number(self.x(10.0**power))
            parts.append(tag("path", d=f"M{x} 0V{number(height)}", class_="rule"))
            parts.append(tag("text", f"{10.0**power:g}", x=x, y=height + 16, class_="c s n"))
        return parts


def _kappa_row(name: str, kappa: KappaResult, scale: _Scale, y: float) -> list[Markup]:
    parts = [tag("text", name, x=scale.left - 12, y=y + 4, class_="m e")]
    if kappa.found is not None and kappa.proven is not None:
        ends = f"M{number(scale.x(kappa.found))} {number(y)}H{number(scale.x(kappa.proven))}"
        parts.append(tag("path", d=ends, class_="rule"))
    if kappa.proven is not None:
        x = number(scale.x(kappa.proven))
        title = tag("title", f"proven: {_number(kappa.proven)}")
        parts.append(tag("path", title, d=f"M{x} {y - 6:g}V{y + 6:g}", class_="tick"))
    if kappa.floor is not None and math.isfinite(kappa.floor):
        title = tag("title", f"no rule has less than {_number(kappa.floor)}")
        parts.append(tag("circle", title, cx=scale.x(kappa.floor), cy=y, r=3.5, class_="out"))
    if kappa.found is not None:
        parts.append(
            tag(
                "circle",
                tag("title", f"found: {_number(kappa.found)}"),
                cx=scale.x(kappa.found),
                cy=y,
                r=4.0,
                class_="dot",
            )
        )
    parts.append(tag("text", _found(kappa), x=scale.left + PLOT + 12, y=y + 4, class_="n"))
    return parts


def _found(kappa: KappaResult) -> str:
    proven = "none proven" if kappa.proven is None else f"{_number(kappa.proven)} proven"
    return f"{_number(kappa.found)} found, {proven}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"


def times(cells: Sequence[CellResult]) -> Markup | None:
    """Bars of processor time per call, the slowest first; None if nothing was timed."""
    timed: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        if cell.rule_seconds is not None:
            timed.setdefault((cell.setting.system, cell.rule), []).append(1000 * cell.rule_seconds)
    if not timed:
        return None
    systems = {system for system, _ in timed}
    bars = [
        (rule if len(systems) == 1 else f"{system}: {rule}", statistics.median(values), len(values))
        for (system, rule), values in timed.items()
    ]
    bars.sort(key=lambda bar: -bar[1])
    left, longest = chars(name for name, _, _ in bars) + 12, max(value for _, value, _ in bars) or 1.0
    parts = [part for place, bar in enumerate(bars) for part in _bar(bar, left, longest, ROW * place)]
    said = "; ".join(f"{name}: {value:.3g} ms" for name, value, _ in bars)
    drawing = svg(left + PLOT + 64, ROW * len(bars), *parts, title="Time per rule", desc=said)
    rows = [[name, f"{value:.3g}", str(count)] for name, value, count in bars]
    shown = table(["rule", "milliseconds", "trainings"], rows, summary="The numbers")
    return Markup(figure(drawing, "Milliseconds of one call, medians over the trainings.", wide=True) + shown)


def _bar(bar: tuple[str, float, int], left: float, longest: float, y: float) -> list[Markup]:
    name, value, _ = bar
    width = PLOT * value / longest
    return [
        tag("text", name, x=left - 12, y=y + ROW / 2 + 4, class_="m e"),
        tag(
            "rect",
            tag("title", f"{name}: {value:.3g} ms"),
            x=left,
            y=y + 5,
            width=max(width, 1.0),
            height=ROW - 10,
            class_="bar",
        ),
        tag("text", f"{value:.3g}", x=left + width + 6, y=y + ROW / 2 + 4, class_="n"),
    ]
