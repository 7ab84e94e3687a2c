"""What the API reference is made of: every public name says what it is, and shows it."""

import dataclasses
import enum
import importlib
import inspect
import sys
import typing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
pytest.importorskip("sphinx", reason="the documentation's tools are not installed: pip install '.[docs]'")
import pages
import rooms

from flwr_byzantine.attacks import ATTACKS
from flwr_byzantine.rules import RULES

NAMES = [
    (f"flwr_byzantine.{room}", name)
    for room in rooms.ROOMS
    for name in importlib.import_module(f"flwr_byzantine.{room}").__all__
]
SHOWN_ELSEWHERE = {
    "Aggregator": "its rules",
    "Attack": "the attacks",
    "Chain": "Aggregator's >>",
    "average": "multi_krum",
    "rule": "CONTRIBUTING.md",
    "pre_aggregator": "nnm",
    "Gradient": "ModelGradient",
    "Rule": "the rules",
    "TensorStore": "its stores",
    "RedisAIStore": "docs/store.md; needs a server",
    "RedisStore": "docs/store.md; needs a server",
    "EmbeddedStore": "docs/store.md; starts a server",
}
"""Names whose docstring has no example, and where there is one, or why not."""
COMPILES = "flwr_byzantine.native"
"""The room whose functions need a compiler and seconds; its own tests show them."""


def is_plain(value: object) -> bool:
    """A record, an error, a list of names, a protocol, an alias or a constant: its words are enough."""
    if not inspect.isclass(value):
        return not inspect.isroutine(value) and not hasattr(value, "__wrapped__")
    plain = dataclasses.is_dataclass(value) or issubclass(value, BaseException | enum.Enum | tuple)
    return plain or getattr(value, "_is_protocol", False) or typing.is_typeddict(value)


@pytest.mark.parametrize(("room", "name"), NAMES)
def test_a_public_name_says_what_it_is_and_shows_it(room, name):
    value = getattr(importlib.import_module(room), name)
    has_own = inspect.isclass(value) or inspect.isroutine(value) or hasattr(value, "__wrapped__")
    words = inspect.getdoc(value) if has_own else rooms.words_about(name, value)
    assert words, f"{room}.{name} has no docstring"
    if not is_plain(value) and name not in SHOWN_ELSEWHERE and room != COMPILES:
        assert ">>>" in words, f"{room}.{name} has no example"


def test_every_rule_and_attack_has_a_page():
    made = pages.pages()
    assert {f"rules/{name}.rst" for name in RULES} <= made.keys()
    assert {f"attacks/{name}.rst" for name in ATTACKS} <= made.keys()
    for name in RULES:
        assert f".. autofunction:: flwr_byzantine.rules.{name}" in made[f"rules/{name}.rst"]
        assert RULES[name].source in made[f"rules/{name}.rst"]


def test_every_public_room_has_a_page():
    assert {f"api/{room}.rst" for room in rooms.ROOMS} <= pages.pages().keys()


def test_the_command_line_s_page_has_every_subcommand():
    page = pages.pages()["cli.rst"]
    for command in ("keys ring add", "store up", "peer", "peers", "guanyu", "recommend", "new"):
        assert f"\nflwr-byzantine {command}\n" in page.replace(" RING.toml", "")
