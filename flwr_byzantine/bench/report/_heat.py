"""The heat map: a row per rule, the worst of its attacks first, then a column for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flwr_byzantine.bench.report._colour import LEVELS, level
from flwr_byzantine.bench.report._markup import NOTHING, Markup, chars, figure, svg, table, tag, wrapped
from flwr_byzantine.bench.results import CellResult, Results, Score, Setting, scores, worst_attacks

__all__ = ["heat_legend", "heat_map", "overview"]

CELL, LINE, GAP, PAD = 30.0, 14.0, 10.0, 10.0
NARROWEST = 54.0
WORST = "worst"


def heat_map(setting: Setting, cells: Sequence[CellResult]) -> Markup:
    """The map of one setting, and its table."""
    found = scores(cells)
    rules, attacks = (list(dict.fromkeys(getattr(cell, what) for cell in cells)) for what in ("rule", "attack"))
    missing = {(cell.rule, cell.attack): cell for cell in cells if cell.final is None}
    seeds = max((len(score.finals) for score in found.values()), default=0)
    drawing = _Map(rules, attacks, found, missing).draw(f"Accuracy of each rule under each attack: {setting}")
    caption = Markup(f"{tag('b', str(setting))}{'' if seeds < 2 else f', medians over {seeds} seeds'}")
    numbers = table(["rule", WORST, *attacks], _rows(rules, attacks, found), summary="The numbers, least and greatest")
    return Markup(figure(drawing, caption, wide=True) + numbers)


def overview(results: Results) -> Markup | None:
    """Each rule's worst in each setting, in one map; None if there is one setting only."""
    settings = results.settings()
    if len(settings) < 2:
        return None
    labels = dict(zip(settings, _labels(settings), strict=True))
    found = {(score.rule, labels[setting]): score for setting, score in worst_attacks(results)}
    missing = {(c.rule, labels[c.setting]): c for c in results.cells if (c.rule, labels[c.setting]) not in found}
    rules = list(dict.fromkeys(cell.rule for cell in results.cells))
    drawing = _Map(rules, list(labels.values()), found, missing).draw("Accuracy of each rule under its worst attack")
    rows = _rows(rules, list(labels.values()), found, named=True)
    numbers = table(["rule", WORST, *labels.values()], rows, summary="The numbers, and the attacks")
    return Markup(figure(drawing, tag("b", "Each rule under its worst attack"), wide=True) + numbers)


def _labels(settings: Sequence[Setting]) -> list[str]:
    """What tells the settings from each other, without what all have in common."""
    varied = [place for place, values in enumerate(zip(*settings, strict=True)) if len(set(values)) > 1]
    return [", ".join(f"f = {s.f}" if s._fields[place] == "f" else str(s[place]) for place in varied) for s in settings]


class _Map:
    """Where everything of one map lies."""

    def __init__(
        self, rules: list[str], attacks: list[str], found: Mapping[tuple[str, str], Score],
        missing: Mapping[tuple[str, str], CellResult],
    ) -> None:  # fmt: skip
        self.rules, self.attacks, self.found, self.missing = rules, attacks, found, missing
        self.names = [wrapped(rule, 24) for rule in rules]
        self.heads = [wrapped(attack, 10) for attack in attacks]
        self.left = chars(line for lines in self.names for line in lines) + PAD
        self.top = LINE * max(len(lines) for lines in [*self.heads, [WORST]]) + 6
        self.widths = [max(NARROWEST, chars(lines, 12) + PAD) for lines in self.heads]
        self.heights = [max(CELL, LINE * len(lines) + 8) for lines in self.names]

    def draw(self, title: str) -> Markup:
        parts = [*self._row_names(), *self._column(WORST, [WORST], self.left, NARROWEST)]
        x = self.left + NARROWEST + GAP
        for attack, lines, width in zip(self.attacks, self.heads, self.widths, strict=True):
            parts += self._column(attack, lines, x, width)
            x += width + 2
        height = self.top + sum(self.heights) + 2 * len(self.rules)
        return svg(x, height, *parts, title=title, desc=self._said(), class_="heat")

    def _row_names(self) -> list[Markup]:
        parts, y = [], self.top
        for lines, height in zip(self.names, self.heights, strict=True):
            start = y + height / 2 + 4 - LINE * (len(lines) - 1) / 2
            for place, line in enumerate(lines):
                parts.append(tag("text", line, x=self.left - PAD, y=start + LINE * place, class_="m e"))
            y += height + 2
        return parts

    def _column(self, attack: str, lines: list[str], x: float, width: float) -> list[Markup]:
        class_ = "c b" if attack == WORST else "m c"
        first = self.top - 6 - LINE * (len(lines) - 1)
        parts = [
            tag("text", line, x=x + width / 2, y=first + LINE * place, class_=class_)
            for place, line in enumerate(lines)
        ]
        y = self.top
        for rule, height in zip(self.rules, self.heights, strict=True):
            parts.append(self._cell(rule, attack, (x, y, width, height)))
            y += height + 2
        return parts

    def _cell(self, rule: str, attack: str, box: tuple[float, float, float, float]) -> Markup:
        x, y, width, height = box
        place = {"x": x, "y": y, "width": width, "height": height, "rx": 2.0}
        middle = {"x": x + width / 2, "y": y + height / 2 + 4}
        score = worst(self.found, rule) if attack == WORST else self.found.get((rule, attack))
        if score is None:
            lost = self.missing.get((rule, attack))
            said = "not run" if lost is None else f"{lost.status}: {lost.error}"
            word = NOTHING if lost is None or lost.status == "refused" else lost.status
            title = tag("title", f"{rule}, {attack}: {said}")
            return tag("g", title, tag("rect", class_="void", **place), tag("text", word, class_="c s", **middle))
        step = level(score.median)
        title = tag("title", f"{score.rule}, {score.attack}: {_spread(score)}")
        text = tag("text", f"{score.median:.2f}", class_=f"c n i{step}{' b' if attack == WORST else ''}", **middle)
        return tag("g", title, tag("rect", class_=f"r{step}", **place), text, class_="mark")

    def _said(self) -> str:
        """The map in a few sentences."""
        said = []
        for rule in self.rules:
            score = worst(self.found, rule)
            said.append(f"{rule}: no result." if score is None else f"{rule}: {score.median:.2f} at {score.attack}.")
        return "The lowest accuracy of each rule, and the attack. " + " ".join(said)


def worst(found: Mapping[tuple[str, str], Score], rule: str) -> Score | None:
    """The rule's lowest score."""
    return min((score for (name, _), score in found.items() if name == rule), key=lambda s: s.median, default=None)


def _spread(score: Score) -> str:
    low, high = score.finals[0], score.finals[-1]
    spread = "" if len(score.finals) == 1 else f" ({low:.3f} to {high:.3f}, {len(score.finals)} seeds)"
    return f"{score.median:.3f}{spread}"


def _rows(
    rules: list[str], attacks: list[str], found: Mapping[tuple[str, str], Score], *, named: bool = False
) -> list[list[str]]:
    rows = []
    for rule in rules:
        least = worst(found, rule)
        cells = [found.get((rule, attack)) for attack in attacks]
        shown = [NOTHING if s is None else f"{_spread(s)}{f' {s.attack}' if named else ''}" for s in cells]
        rows.append([rule, NOTHING if least is None else f"{least.median:.3f} {least.attack}", *shown])
    return rows


def heat_legend() -> Markup:
    """The ramp with its numbers."""
    width = 6.0
    steps = [
        tag("rect", x=16 + width * step, y=0.0, width=width + 0.3, height=12.0, class_=f"r{step}")
        for step in range(LEVELS + 1)
    ]
    ticks = [
        tag("text", text, x=16 + width * (LEVELS * share + 0.5), y=27.0, class_="c s n")
        for share, text in ((0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1, "1"))
    ]
    title, desc = "Colours of accuracies", "From much ink at 0 to almost none at 1."
    return svg(32 + width * (LEVELS + 1), 32, *steps, *ticks, title=title, desc=desc, class_="legend")
