"""The report as text: what is in it, and that nothing in it can be more than text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from flwr_byzantine.bench import Results, report_html
from flwr_byzantine.bench.report._colour import DARK, LEVELS, LIGHT, contrast, fill, ink_on
from flwr_byzantine.bench.results import CellResult, KappaResult, Setting

SETTING = Setting("digits", "strategy", "gamma:0.33", 1, "")
HOSTILE = "<img src=x onerror=alert(1)>&\"'\x00\ud800"
VOID = {"meta", "!doctype"}


def cell(rule, attack, final, *, seed=0, setting=SETTING, **given):
    accuracy = ((1, final / 2), (2, final)) if final is not None else ()
    status = "done" if final is not None else "refused"
    given = {"nodes": 4, "honest": 3, "accuracy": accuracy, "rule_seconds": 0.002, **given}
    return CellResult(setting, rule, attack, seed, status, final=final, **given)


def results(*cells, kappas=(), sessions=()):
    return Results(list(cells), list(kappas), list(sessions))


class Read(HTMLParser):
    """Elements in order, texts, and whether all that is opened is closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def count(self, tag, class_=None):
        return sum(
            name == tag and (class_ is None or class_ in attrs.get("class", "").split())
            for name, attrs in self.elements
        )


def test_the_map_has_a_number_per_rule_and_attack_and_the_worst_beside():
    cells = [
        cell("mean", "none", 0.9),
        cell("mean", "alie", 0.1),
        cell("krum", "none", 0.8),
        cell("krum", "alie", 0.74),
    ]
    read = Read(report_html(results(*cells)))
    for text in ("0.90", "0.10", "0.80", "0.74", "worst", "alie", "none"):
        assert text in read.texts, text
    assert read.count("g", "mark") == 6
    assert read.texts.count("0.74") == 2
    lead = " ".join(read.texts[: read.texts.index("Accuracy under each attack")])
    assert "krum" in lead
    assert "0.74" in lead


def test_seeds_are_shown_by_their_median_with_least_and_greatest_beside():
    page = report_html(results(*(cell("krum", "alie", final, seed=seed) for seed, final in enumerate((0.2, 0.9, 0.7)))))
    assert "krum, alie: 0.700 (0.200 to 0.900, 3 seeds)" in page
    assert "medians over 3 seeds" in page


def test_several_settings_are_summed_up_in_one_map():
    other = SETTING._replace(f=3)
    finals = {("mean", SETTING): 0.4, ("mean", other): 0.11, ("krum", SETTING): 0.81, ("krum", other): 0.62}
    cells = [cell(rule, "alie", final, setting=setting) for (rule, setting), final in finals.items()]
    lost = cell("krum", "none", None, setting=other, error="ToleranceError: too few")
    read = Read(report_html(results(*cells, lost)))
    assert read.texts.index("Each rule under its worst attack") < read.texts.index(
        "digits, strategy, gamma:0.33, f = 1"
    )
    for text in ("f = 1", "f = 3", "0.620 alie"):
        assert text in read.texts, text
    assert read.count("g", "mark") == 2 * 3 + 2 * 2 + 2 * 2  # the sum, a column and a worst in each
    assert "Each rule under its worst attack" not in Read(report_html(results(*cells[:1]))).texts


def test_what_has_no_result_says_why():
    lost = cell("bulyan", "alie", None, error="ToleranceError: bulyan needs n >= 11")
    read = Read(report_html(results(cell("mean", "alie", 0.5), lost)))
    assert "refused" in read.texts
    assert read.texts.count("ToleranceError: bulyan needs n >= 11") == 1
    assert read.count("rect", "void") == 2


def test_who_was_selected_is_drawn_by_node_and_round():
    chosen = {1: frozenset({0, 3}), 2: frozenset({0, 1})}
    shown = cell("krum", "alie", 0.4, selected=chosen, rejected=((2, 3, "array 'w' is not finite"),))
    read = Read(report_html(results(shown)))
    marks = {state: read.count("rect", state) - 1 for state in ("chosen", "caught", "left", "out")}  # one is the key's
    assert marks == {"chosen": 2, "caught": 1, "left": 2, "out": 1}  # what lasts for rounds is one mark
    assert "array 'w' is not finite" in read.texts


def test_a_rule_that_chooses_and_rejects_none_has_no_raster():
    assert "Who was selected" not in report_html(results(cell("median", "alie", 0.4)))


def test_kappa_found_stands_beside_kappa_proven():
    kappas = [
        KappaResult("median", 5, 1, "done", found=0.5, proven=4.25, floor=1 / 3),
        KappaResult("mean", 5, 1, "done", found=1e7, proven=None, floor=1 / 3),
        KappaResult("mda", 5, 1, "failed", error="BudgetError: too much"),
    ]
    read = Read(report_html(results(kappas=kappas)))
    assert "0.5 found, 4.25 proven" in read.texts
    assert "1e+07 found, none proven" in read.texts
    assert "BudgetError: too much" in read.texts
    assert read.count("circle", "dot") == 2
    assert read.count("path", "tick") == 1


def test_it_says_how_it_was_made():
    session = {"command": "flwr-byzantine bench a.toml", "versions": {"torch": "2.0"}, "machine": {"cores": 2}}
    read = Read(report_html(results(cell("mean", "none", 0.9, seed=7), sessions=[session])))
    for text in ("flwr-byzantine bench a.toml", "torch 2.0", "cores 2", "7"):
        assert text in read.texts


def test_no_name_error_or_command_becomes_markup():
    setting = Setting(*[HOSTILE] * 3, 1, HOSTILE)
    cells = [
        cell(HOSTILE, HOSTILE, 0.5, setting=setting, selected={1: frozenset({0})}, rejected=((1, 1, HOSTILE),)),
        cell("mean", HOSTILE, None, setting=setting, error=HOSTILE),
    ]
    session = {"command": HOSTILE, "started": HOSTILE, "versions": {HOSTILE: HOSTILE}, "machine": HOSTILE}
    kappa = KappaResult(HOSTILE, 3, 1, "done", found=1.0)
    page = report_html(results(*cells, kappas=[kappa], sessions=[session]))
    read = Read(page)
    assert not {"img", "script", "link", "iframe", "object", "use", "image"} & {tag for tag, _ in read.elements}
    assert not any(
        name.startswith("on") or name in ("href", "src", "style") for _, attrs in read.elements for name in attrs
    )
    page.encode("utf-8")
    assert "\x00" not in page


def test_the_same_results_give_the_same_page():
    cells = [cell("mean", "none", 0.9)]
    assert report_html(results(*cells)) == report_html(results(*cells))


@pytest.mark.parametrize("stops", [LIGHT, DARK])
def test_numbers_are_legible_on_every_step_of_the_ramp_and_the_order_shows_without_hue(stops):
    colours = [fill(stops, step) for step in range(LEVELS + 1)]
    assert all(contrast(colour, ink_on(colour)) >= 4.5 for colour in colours)
    from_black = [contrast(colour, "#000000") for colour in colours]
    assert from_black in (sorted(from_black), sorted(from_black, reverse=True))
