"""Accuracy against rounds: a small panel for each rule, one line for each attack."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from flwr_byzantine.bench.report._heat import worst
from flwr_byzantine.bench.report._markup import Markup, figure, number, svg, tag
from flwr_byzantine.bench.results import CellResult, scores

__all__ = ["curves"]

WIDTH, HEIGHT = 340.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 28.0, 122.0, 8.0, 22.0
NONE = "none"
APART = 13.0
LONGEST = 13

Curve = list[tuple[int, float]]


def curves(cells: Sequence[CellResult]) -> Markup:
    """The panels of one setting."""
    last = max((cell.accuracy[-1][0] for cell in cells if cell.accuracy), default=1)
    rules = dict.fromkeys(cell.rule for cell in cells if cell.accuracy)
    panels = [_panel(rule, [cell for cell in cells if cell.rule == rule], last) for rule in rules]
    return tag("div", *panels, class_="panels")


def _panel(rule: str, cells: Sequence[CellResult], last: int) -> Markup:
    least = worst(scores(cells), rule)
    bad = None if least is None or least.attack == NONE else least.attack
    lines = {attack: _median(cells, attack) for attack in dict.fromkeys(cell.attack for cell in cells)}
    lines = {attack: curve for attack, curve in lines.items() if curve}
    order = sorted(lines, key=lambda attack: (attack == NONE) + 2 * (attack == bad))  # what matters on top
    drawn = [_line(attack, lines[attack], last, _class(attack, bad)) for attack in order]
    ends = {attack: lines[attack][-1][1] for attack in (NONE, bad) if attack in lines}
    said = "; ".join(f"{attack} ends at {curve[-1][1]:.2f}" for attack, curve in lines.items())
    drawing = svg(
        WIDTH, HEIGHT, *_axes(last), *drawn, *_labels(ends, bad), title=f"Accuracy of {rule} by round", desc=said
    )
    return figure(drawing, tag("code", rule))


def _class(attack: str, bad: str | None) -> str:
    return f"curve{' none' if attack == NONE else ' worst' if attack == bad else ''}"


def _median(cells: Sequence[CellResult], attack: str) -> Curve:
    """Of the seeds' accuracies, where all of them were measured."""
    runs = [dict(cell.accuracy) for cell in cells if cell.attack == attack and cell.accuracy]
    rounds = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
    return [(round, statistics.median(run[round] for run in runs)) for round in rounds]


def _x(round: int, last: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * round / max(last, 1)


def _y(accuracy: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - accuracy)


def _axes(last: int) -> list[Markup]:
    parts = []
    for value in (0.0, 0.5, 1.0):
        y = _y(value)
        parts.append(tag("path", d=f"M{number(LEFT)} {number(y)}H{number(WIDTH - RIGHT)}", class_="rule"))
        parts.append(tag("text", f"{value:g}", x=LEFT - 6, y=y + 4, class_="s e n"))
    for round in sorted({0, last // 2, last}):
        name = f"round {round}" if round == 0 else str(round)
        place = "s n" if round == 0 else "s n c"
        parts.append(tag("text", name, x=_x(round, last), y=HEIGHT - 5, class_=place))
    return parts


def _line(attack: str, curve: Curve, last: int, class_: str) -> Markup:
    points = " ".join(f"{number(_x(round, last))},{number(_y(value))}" for round, value in curve)
    title = tag("title", f"{attack}: {curve[-1][1]:.3f} after round {curve[-1][0]}")
    if len(curve) == 1:
        ((round, value),) = curve
        mark = "dot" if "worst" in class_ else "chosen"
        return tag("circle", title, cx=_x(round, last), cy=_y(value), r=2.5, class_=mark)
    return tag("polyline", title, points=points, class_=class_)


def _labels(ends: dict[str, float], bad: str | None) -> list[Markup]:
    """The two names that matter, beside the ends of their lines and apart from each other."""
    parts, before = [], -APART
    for attack, value in sorted(ends.items(), key=lambda end: -end[1]):
        y = max(_y(value) + 4, before + APART)
        before = y
        name = attack if len(attack) <= LONGEST else attack[: LONGEST - 1] + "…"
        class_ = "badtext" if attack == bad else ""
        parts.append(tag("text", f"{name} {value:.2f}", x=WIDTH - RIGHT + 6, y=y, class_=class_))
    return parts
