"""A sweep over the digits from its file to its report, and the report in a real browser."""

from __future__ import annotations

import json

import pytest

from flwr_byzantine.bench import Results, load_results, report_html
from flwr_byzantine.bench.results import CellResult, Setting
from flwr_byzantine.cli import main
from tests.bench.browser import Browser, found

pytestmark = pytest.mark.system

SWEEP = """
[sweep]
rules = ["mean", "nnm >> multi_krum"]
attacks = ["none", "optimal(ipm)"]
f = [2]
heterogeneity = ["dirichlet:1"]

[training]
honest = 8
rounds = 8

[kappa]
evaluations = 80
"""
SECTIONS = [
    "Accuracy under each attack",
    "Accuracy by round",
    "Who was selected",
    "Kappa found against kappa proven",
    "Time per rule",
    "How it was made",
]
CLIPPED = """
[...document.querySelectorAll('svg')].flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const own = text.getBoundingClientRect();
    return own.width && (own.left < box.left - 1 || own.right > box.right + 1
      || own.top < box.top - 3 || own.bottom > box.bottom + 3);
  }).map(text => text.textContent);
})
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if found() is None:
        pytest.skip("no Chromium on the PATH; on Debian: apt install chromium-headless-shell")
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "sweep.toml").write_text(SWEEP)
    assert main(["bench", str(folder / "sweep.toml"), "--report", str(folder / "report.html")]) == 0
    return folder


def test_the_smoke_sweep_shows_that_the_mean_breaks_and_the_robust_rule_does_not(report):
    finals = {(cell.rule, cell.attack): cell.final for cell in load_results(report / "sweep.jsonl").cells}
    assert len(finals) == 4
    assert finals["mean", "none"] > 0.6
    assert finals["mean", "optimal(ipm)"] < 0.4
    assert finals["nnm >> multi_krum", "optimal(ipm)"] > finals["mean", "optimal(ipm)"] + 0.2


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_is_whole_in_a_browser(width, dark, report, browser):
    page = report / "report.html"
    browser.show(page, width=width, dark=dark)
    assert browser.logged == []
    assert browser.requested == [page.as_uri()]
    assert browser.value("[...document.querySelectorAll('h2')].map(h => h.textContent)") == SECTIONS
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value(CLIPPED) == []
    red, green, blue = json.loads(
        browser.value("'[' + getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3) + ']'")
    )
    assert (red + green + blue < 3 * 60) == dark


def test_every_mark_is_drawn_and_every_drawing_has_a_name(report, browser):
    browser.show(report / "report.html", width=1280)
    drawn = "[...document.querySelectorAll('{}')].filter(e => e.getBoundingClientRect().width > 0).length"
    assert browser.value(drawn.format("svg.heat g.mark")) == 6
    assert browser.value(drawn.format("polyline.curve")) == 4
    assert browser.value(drawn.format("circle.dot")) == 2
    assert browser.value(drawn.format("rect.bar")) == 2
    assert browser.value(drawn.format("rect.chosen")) > 2
    nameless = "[...document.querySelectorAll('svg')].filter(s => !s.querySelector(':scope > title') || "
    assert browser.value(nameless + "!s.querySelector(':scope > desc') || s.getAttribute('role') != 'img').length") == 0
    assert browser.value("document.querySelectorAll('details table').length") >= 4


def test_text_stands_out_from_the_paper_in_both_themes(report, browser):
    script = """
    (() => { const of = c => c.match(/[0-9.]+/g).slice(0, 3).map(v => { v /= 255;
        return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
      const light = c => { const [r, g, b] = of(c); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const paper = light(getComputedStyle(document.body).backgroundColor);
      return [...document.querySelectorAll('p, h1, h2, figcaption, summary, dt, .badtext, svg .s')].map(e => {
        const style = getComputedStyle(e), own = light(e.closest('svg') ? style.fill : style.color);
        return (Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05); }); })()
    """
    for dark in (False, True):
        browser.show(report / "report.html", width=1280, dark=dark)
        assert min(browser.value(script)) >= 4.5


def test_hostile_names_ask_for_nothing_and_run_nothing(tmp_path, browser):
    name = "<img src='http://127.0.0.1:9/x' onerror='console.log(1)'></title></style><script>console.log(2)</script>"
    cell = CellResult(Setting(name, name, "iid", 1, ""), name, name, 0, "done", name, 3, 2, 0.5, ((1, 0.5),))
    page = tmp_path / "report.html"
    page.write_text(report_html(Results([cell], [], [{"command": name}])), encoding="utf-8")
    browser.show(page, width=375)
    assert browser.requested == [page.as_uri()]
    assert browser.logged == []
    assert browser.value("document.documentElement.scrollWidth") <= 375
    assert browser.value("document.querySelectorAll('img, script').length") == 0
