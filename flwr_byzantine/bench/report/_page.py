"""The page as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from flwr_byzantine.bench.report._curves import curves
from flwr_byzantine.bench.report._heat import heat_legend, heat_map, overview
from flwr_byzantine.bench.report._markup import NOTHING, Markup, table, tag
from flwr_byzantine.bench.report._numbers import kappas, times
from flwr_byzantine.bench.report._raster import raster_key, rasters
from flwr_byzantine.bench.report._style import CSS
from flwr_byzantine.bench.results import CellResult, Results, Score, Setting, worst_attacks

__all__ = ["report_html"]

TITLE = "Robust rules under attack"
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SHOWN = 4
"""So many settings are unfolded; the others are a click away."""


def report_html(results: Results) -> str:
    """One self-contained page: no script, no request, every name and error escaped.

    Args:
        results: As :func:`~flwr_byzantine.bench.load_results` reads them.

    Returns:
        The HTML, to be written as UTF-8.

    Example:
        >>> page = report_html(Results([], [], []))
        >>> page.startswith("<!doctype html>"), "<script" in page
        (True, False)
    """
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("title", TITLE),
        tag("style", Markup(CSS)),
    )
    body = tag("body", tag("main", tag("h1", TITLE), *_lead(results), *_sections(results)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _lead(results: Results) -> Iterator[Markup]:
    """What came out, in two sentences."""
    counted = Counter(cell.status for cell in results.cells)
    best = _best(results)
    if best is None:
        yield tag("p", "No rule has results everywhere yet.", class_="lead")
    else:
        setting, score = best
        many = len(results.settings())
        within = "" if many == 1 else " in both settings" if many == 2 else f" in all {many} settings"
        against = f" keeps {score.median:.2f} accuracy against {score.attack} ({setting})."
        yield tag("p", f"Best at its worst{within}: ", tag("code", score.rule), against, class_="lead")
    said = ", ".join(f"{count} {status}" for status, count in sorted(counted.items()))
    searches = f"; {len(results.kappas)} searches for kappa" if results.kappas else ""
    yield tag("p", f"{len(results.cells)} trainings: {said or 'none'}{searches}.", class_="note")


def _best(results: Results) -> tuple[Setting, Score] | None:
    """The rule whose lowest score is the highest, among those that have one in each setting; and that score."""
    by_rule: dict[str, list[tuple[Setting, Score]]] = {}
    for setting, score in worst_attacks(results):
        by_rule.setdefault(score.rule, []).append((setting, score))
    whole = [found for found in by_rule.values() if len(found) == len(results.settings())]
    lowest = [min(found, key=lambda each: each[1].median) for found in whole]
    return max(lowest, key=lambda each: each[1].median, default=None)


def _sections(results: Results) -> Iterator[Markup | None]:
    settings = results.settings()
    if settings:
        yield tag("h2", "Accuracy under each attack")
        yield tag("p", "Accuracy on held-out data after the last round. The more ink, the more is lost.", class_="note")
        yield heat_legend()
        yield overview(results)
        for setting in settings:
            yield heat_map(setting, results.within(setting))
        yield tag("h2", "Accuracy by round")
        note = "One panel per rule, one line per attack: the worst in colour, no attack in black, the others grey."
        yield tag("p", note, class_="note")
        yield from _folded(results, curves)
    if any(cell.selected or cell.rejected for cell in results.cells):
        yield tag("h2", "Who was selected")
        note = "Each rule under its worst attack. Rules that choose no replies are shown where some were rejected."
        yield tag("p", note, class_="note")
        yield raster_key()
        yield from _folded(results, rasters)
    if (drawn := kappas(results.kappas)) is not None:
        yield tag("h2", "Kappa found against kappa proven")
        note = "How far a rule's result may lie from the honest mean, in units of the honest spread: less is better."
        yield tag("p", note, class_="note")
        yield drawn
    if (drawn := times(results.cells)) is not None:
        yield tag("h2", "Time per rule")
        yield drawn
    yield from _errors(results)
    yield from _origin(results)


def _folded(results: Results, draw: Callable[[Sequence[CellResult]], Markup | None]) -> Iterator[Markup]:
    """A drawing for each setting, the first few unfolded."""
    drawn = [(setting, draw(results.within(setting))) for setting in results.settings()]
    for place, (setting, drawing) in enumerate(entry for entry in drawn if entry[1] is not None):
        opened = "open" if place < SHOWN else None
        yield tag("details", tag("summary", tag("b", str(setting))), drawing, open=opened)


def _errors(results: Results) -> Iterator[Markup]:
    rows = [
        [f"{cell.rule}, {cell.attack}", str(cell.setting), str(cell.seed), cell.status, cell.error]
        for cell in results.cells
        if cell.status != "done"
    ]
    rows += [
        [kappa.rule, f"kappa, n = {kappa.n}, f = {kappa.f}", NOTHING, kappa.status, kappa.error]
        for kappa in results.kappas
        if kappa.status != "done"
    ]
    if rows:
        yield tag("h2", "What has no result")
        yield tag("p", "Refused: a bound does not hold, so that nothing was run. Failed: an error.", class_="note")
        yield table(["rule and attack", "setting", "seed", "status", "reason"], rows, summary=f"{len(rows)} of them")


def _origin(results: Results) -> Iterator[Markup]:
    """The command, versions and machine of the last run, and how many there were."""
    yield tag("h2", "How it was made")
    if not results.sessions:
        yield tag("p", "The results do not say.", class_="note")
        return
    last = results.sessions[-1]
    yield tag("pre", tag("code", str(last.get("command") or "from Python")))
    seeds = sorted({cell.seed for cell in results.cells})
    runs = len(results.sessions)
    facts = {
        "started": last.get("started"),
        "runs": f"{runs}, this is the last" if runs > 1 else None,
        "seeds": ", ".join(map(str, seeds)) or None,
        "time": f"{sum(cell.seconds for cell in results.cells):.0f} s of training, all processes together",
        "versions": _listed(last.get("versions")),
        "machine": _listed(last.get("machine")),
    }
    terms = [part for name, value in facts.items() if value for part in (tag("dt", name), tag("dd", str(value)))]
    yield tag("dl", *terms)


def _listed(facts: object) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items()) if isinstance(facts, Mapping) else ""
