"""Who was selected or rejected: a row per node, a column per round."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from flwr_byzantine.bench.report._heat import worst
from flwr_byzantine.bench.report._markup import NOTHING, Markup, figure, number, svg, table, tag
from flwr_byzantine.bench.results import CellResult, scores

__all__ = ["raster_key", "rasters"]

ROW, GAP = 11.0, 6.0
LEFT, PLOT, BOTTOM = 72.0, 250.0, 20.0
STATES = {
    "chosen": "honest, selected",
    "caught": "Byzantine, selected",
    "left": "not selected",
    "out": "rejected before the rule",
}


def rasters(cells: Sequence[CellResult]) -> Markup | None:
    """A panel for each rule that chooses, or has rejected replies, under its worst attack; None without any."""
    found, panels, rows = scores(cells), [], []
    for rule in dict.fromkeys(cell.rule for cell in cells):
        least = worst(found, rule)
        cell = next((c for c in cells if least and c.rule == rule and c.attack == least.attack and c.accuracy), None)
        if cell is not None and (cell.selected or cell.rejected):
            panels.append(_panel(cell))
            rows.append(_row(cell))
    if not panels:
        return None
    head = ["rule", "attack", "seed", "honest replies used", "Byzantine replies used", "rejected", "first reason"]
    shown = table(head, rows, summary="The same as counts")
    return Markup(tag("div", *panels, class_="panels") + shown)


def raster_key() -> Markup:
    """What the marks mean."""
    entries = [
        tag("span", svg(12, 12, _box(state), title=text, desc=f"The mark of: {text}"), text)
        for state, text in STATES.items()
    ]
    return tag("div", *entries, class_="key")


def _box(state: str) -> Markup:
    return tag("rect", x=1.0, y=1.0, width=10.0, height=10.0, class_=state)


def states(cell: CellResult) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Each node, with its state by round."""
    out = {(round, node) for round, node, _ in cell.rejected}
    for node in range(cell.nodes):
        row = []
        for round in range(1, _rounds(cell) + 1):
            chosen = node in cell.selected[round] if round in cell.selected else not cell.selected
            used = "chosen" if node < cell.honest else "caught"
            row.append((round, "out" if (round, node) in out else used if chosen else "left"))
        yield node, row


def _rounds(cell: CellResult) -> int:
    return max([*cell.selected, *(round for round, _, _ in cell.rejected), *(round for round, _ in cell.accuracy)])


def _panel(cell: CellResult) -> Markup:
    rounds, parts = _rounds(cell), []
    for node, row in states(cell):
        y = _y(cell, node)
        parts += [_run(y, run, rounds) for run in _runs(row)]
    height = _y(cell, cell.nodes - 1) + ROW + BOTTOM
    parts += [*_node_labels(cell), *_round_labels(rounds, height)]
    counts = _counts(cell)
    asked = rounds * (cell.nodes - cell.honest)
    said = f"Of {asked} Byzantine replies {counts['caught']} were used; of all replies {counts['out']} were rejected."
    caption = Markup(tag("code", cell.rule) + f" {tag('span', f'under {cell.attack}, seed {cell.seed}')}")
    drawing = svg(LEFT + PLOT, height, *parts, title=f"Replies used by {cell.rule} under {cell.attack}", desc=said)
    return figure(drawing, caption)


def _y(cell: CellResult, node: int) -> float:
    return ROW * node + (GAP if node >= cell.honest else 0.0)


def _runs(row: list[tuple[int, str]]) -> Iterator[tuple[str, int, int]]:
    """State, first round and number of rounds of what does not change: few marks instead of many."""
    for state, group in itertools.groupby(row, key=lambda entry: entry[1]):
        members = list(group)
        yield state, members[0][0], len(members)


def _run(y: float, run: tuple[str, int, int], rounds: int) -> Markup:
    state, first, count = run
    unit = PLOT / rounds
    inset = 0.5 if unit > 4 else 0.0
    x, width = LEFT + unit * (first - 1) + inset, unit * count - 2 * inset
    return tag("rect", x=x, y=y + 0.5, width=width, height=ROW - 1.5, class_=state)


def _node_labels(cell: CellResult) -> list[Markup]:
    groups = [("honest", 0, cell.honest), ("Byzantine", cell.honest, cell.nodes)]
    return [
        tag("text", name, x=LEFT - 8, y=(_y(cell, first) + _y(cell, end - 1) + ROW) / 2 + 4, class_="s e")
        for name, first, end in groups
        if end > first
    ]


def _round_labels(rounds: int, height: float) -> list[Markup]:
    return [
        tag("text", "round 1", x=LEFT, y=height - 5, class_="s n"),
        tag("text", str(rounds), x=LEFT + PLOT, y=height - 5, class_="s e n"),
    ]


def _counts(cell: CellResult) -> Counter[str]:
    counted: Counter[str] = Counter()
    for _, row in states(cell):
        for _, state in row:
            counted[state] += 1
    return counted


def _row(cell: CellResult) -> list[str]:
    counts = _counts(cell)
    reason = cell.rejected[0][2] if cell.rejected else NOTHING
    shares = [number(counts[state]) for state in ("chosen", "caught", "out")]
    return [cell.rule, cell.attack, str(cell.seed), *shares, reason]
