"""Pages made of the package's own data before each build: rules, attacks, rooms, the command line, which rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import choice
import command_line
import rooms
import tables
from sphinx.application import Sphinx

from flwr_byzantine import attacks
from flwr_byzantine.rules import RULES, Rule, trimmed_mean

REPOSITORY = "https://github.com/flwr-byzantine/flwr-byzantine"
SIZES = ((10, 1), (10, 2), (10, 4), (20, 4), (50, 10))
"""The (n, f) for which a rule's page states kappa."""
KNOWS = {
    "own": "its own row: one client can run it alone",
    "honest": "the rows of all honest clients",
    "rule": "the honest rows, and the server's rule",
}


def rule_page(name: str, rule: Rule[...]) -> str:
    """The page of one rule: its data, then its docstring."""
    facts = [
        ("Kind", _kind(rule)),
        ("Bound", f"{rule.bound}; {_needed(rule)}"),
        ("Fed with", "updates, gradients or parameters" if rule.equivariant else "updates or gradients only"),
        ("Result", "the mean of the inputs it selects" if rule.averages else "as in the formula"),
        ("Source", rule.source),
    ]
    body = [*tables.title(name), *tables.facts(facts), *_kappa(name, rule)]
    body += [".. py:currentmodule:: flwr_byzantine.rules", "", f".. autofunction:: flwr_byzantine.rules.{name}", ""]
    return "\n".join(body)


def _kind(rule: Rule[...]) -> str:
    if rule.is_pre_aggregator:
        return f"pre-aggregator: ``{rule.__name__} >> trimmed_mean`` is a rule"
    if rule.own_row:
        return "for a node of a graph: row 0 is its own"
    return "rule"


def _needed(rule: Rule[...]) -> str:
    return "for f = 1, 2, 3, 5 at least " + ", ".join(str(rule.min_inputs(f)) for f in (1, 2, 3, 5)) + " inputs"


def _kappa(name: str, rule: Rule[...]) -> Iterator[str]:
    """The proven kappa at some sizes; a pre-aggregator's is that of the trimmed mean after it."""
    whole = rule >> trimmed_mean if rule.is_pre_aggregator and not rule.needs else rule
    rows = [(f"n = {n}, f = {f}", whole.kappa(n, f), f / (n - 2 * f)) for n, f in SIZES]
    known = [(size, f"{value:.3g}", f"{floor:.3g}") for size, value, floor in rows if value is not None]
    if not known:
        yield from ["No kappa is proven for it here; :func:`~flwr_byzantine.rules.robustness` searches the worst.", ""]
        return
    yield from tables.table([f"Proven kappa of ``{whole}``", "at most", "no rule has less than"], known)


def attack_page(name: str, attack: attacks.Attack[...]) -> str:
    """The page of one attack on updates: its data, then its docstring."""
    factor = f"``{attack.factor}``" if attack.factor else "none"
    facts = [
        ("Chosen as", f"``{name}``"),
        ("Must see", KNOWS[attack.knows]),
        ("Strength", factor),
        ("Source", attack.source),
    ]
    function = attack.__name__
    body = [*tables.title(name), *tables.facts(facts), ".. py:currentmodule:: flwr_byzantine.attacks", ""]
    return "\n".join([*body, f".. autofunction:: flwr_byzantine.attacks.{function}", ""])


def server_attacks() -> list[str]:
    """The table of what lying parameter servers send."""
    rows = [(f"``{each.name}``", each.arrives, each.source) for each in attacks.SERVER_ATTACKS.values()]
    return tables.table(["Attack", "Its messages arrive", "Source"], rows)


def index(heading: str, text: str, table: list[str], names: list[str]) -> str:
    """A page that lists others, each with a few words."""
    entries = [".. toctree::", "   :hidden:", "", *(f"   {name}" for name in names), ""]
    return "\n".join([*tables.title(heading), text, "", *table, *entries])


def rules_index() -> str:
    """All rules: bound, and what each gives."""
    rows = [(f":doc:`{name}`", rule.bound, _first_line(rule)) for name, rule in RULES.items()]
    return index("Rules", RULES_TEXT, tables.table(["Rule", "Bound", "What comes back"], rows), list(RULES))


def attacks_index() -> str:
    """All attacks on updates, and the table of what lying servers send."""
    rows = [(f":doc:`{name}`", each.knows, _first_line(each)) for name, each in attacks.ATTACKS.items()]
    table = [*tables.table(["Attack", "Sees", "What is sent"], rows), "Lying parameter servers:", "", *server_attacks()]
    return index("Attacks", ATTACKS_TEXT, table, list(attacks.ATTACKS))


def _first_line(function: object) -> str:
    return (function.__doc__ or "").splitlines()[0]


def pages() -> dict[str, str]:
    """Every generated page by its path below ``generated/``."""
    made = {f"rules/{name}.rst": rule_page(name, rule) for name, rule in RULES.items()}
    made |= {f"attacks/{name}.rst": attack_page(name, attack) for name, attack in attacks.ATTACKS.items()}
    made |= {"rules/index.rst": rules_index(), "attacks/index.rst": attacks_index()}
    made |= {"which-rule.txt": choice.costs(SIZES), "minorities.txt": choice.minorities()}
    made["cli.rst"] = command_line.cli_page()
    return made | rooms.pages()


RULES_TEXT = """A rule is a function of a matrix with one input per row, and knows its bound and its source. Each page
below is made of that data. :doc:`../../which-rule` helps to choose."""
ATTACKS_TEXT = """What Byzantine participants send, for experiments. Attacks on data (``backdoor``, ``label-flip``), on
gossip (``dissensus``, ``spectral``) and what makes others stronger are in :doc:`../api/attacks`."""


def write(app: Sphinx) -> None:
    """Write what changed, so that Sphinx reads again only that; remove what is gone."""
    folder = Path(app.srcdir) / "generated"
    made = pages()
    for path, text in made.items():
        target = folder / path
        if not target.exists() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    for old in folder.rglob("*.*"):
        if str(old.relative_to(folder)) not in made:
            old.unlink()


def outside(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links that lead out of the documentation lead to the repository, as they do there."""
    source[0] = source[0].replace("](../", f"]({REPOSITORY}/tree/main/") if "/" not in docname else source[0]


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for documents."""
    app.connect("builder-inited", write)
    app.connect("source-read", outside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
