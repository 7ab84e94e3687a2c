"""Every line that the package logs is in docs/operations.md or docs/peers.md, where an operator looks it up."""

import ast
import re
from pathlib import Path

import pytest

import flwr_byzantine

ROOT = Path(__file__).parents[2]
LOGS = {"log", "debug", "info", "warning", "error", "exception", "say", "warn"}
PLACEHOLDER = re.compile(r"%[-+ #0-9.]*[a-z]|\{\}")
SETTINGS = ("├", "└── Peers", "└── Strategy", "└── Waits", "└── Nodes", "Starting %s")
"""The summary before a run, of which each line says what it is."""
TOLD_BY_FLOWER = {"testing"}
"""Rooms that stand in for Flower, and log in its words."""


def formats() -> list[tuple[str, str]]:
    """Where a line is logged, and its format."""
    found = []
    package = Path(flwr_byzantine.__file__).parent
    for path in sorted(package.rglob("*.py")):
        where = path.relative_to(package)
        if where.parts[0] in TOLD_BY_FLOWER:
            continue
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if name in LOGS and texts and "source" not in ast.unparse(call.func):
                found.append((f"{where}:{call.lineno}", texts[0].strip()))
    return found


def telling(text: str) -> str:
    """The longest part of a format that is the same each time."""
    return max((part.strip(" \t>├│└─:,;()") for part in PLACEHOLDER.split(text)), key=len)


@pytest.mark.parametrize(("where", "text"), [pytest.param(*each, id=each[0]) for each in formats()])
def test_the_line_is_explained(where, text):
    if any(mark in text for mark in SETTINGS) and "EXPERIMENT" not in text and "Given up" not in text:
        return
    part = telling(text)
    assert len(part) >= 4, f"{where} logs {text!r}, which says nothing of its own"
    explained = "".join((ROOT / "docs" / page).read_text() for page in ("operations.md", "peers.md"))
    assert part in explained, f"{where} logs {text!r}, of which no page says what it means"


def test_the_lines_are_found():
    assert len(formats()) > 50
