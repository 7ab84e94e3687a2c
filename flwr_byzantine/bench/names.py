"""Rules and attacks by their text, written as in Python: ``clipping(radius=2.0) >> nnm >> krum``, ``optimal(ipm)``."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from flwr_byzantine.attacks import ATTACKS, DATA_ATTACKS, Attack, optimal
from flwr_byzantine.rules import RULES, Aggregator

__all__ = ["Staged", "attack_named", "known_attacks", "nearest", "rule_named"]

MAX_TEXT = 500
KEBAB = re.compile(r"(?<=[A-Za-z])-(?=[A-Za-z])")
NONE, OPTIMAL = "none", "optimal"
GIVEN = frozenset({"generator"})
"""Keywords that strategies hand to rules and attacks in each round."""


@dataclass(frozen=True)
class Call:
    """One name with what it is called with."""

    name: str
    inner: tuple[Call, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Staged:
    """What the Byzantine nodes do: an attack on updates, one on their data, or neither."""

    updates: Attack[...] | None = None
    data: str = ""


def rule_named(text: str) -> Aggregator:
    """The rule or chain that a text names.

    Args:
        text: Names of :data:`~flwr_byzantine.rules.RULES`, with keywords if any, joined by ``>>``; ``-`` counts as
            ``_``.

    Raises:
        ValueError: If it names none, a stage has no such keyword, or the chain ends in a pre-aggregator.

    Example:
        >>> rule_named("clipping(radius=2.0) >> nnm >> trimmed-mean")
        clipping(radius=2.0) >> nnm >> trimmed_mean
    """
    stages = []
    for call in calls(text):
        if call.name not in RULES:
            raise ValueError(f"there is no rule {call.name!r}{nearest(call.name, RULES)}")
        if call.inner:
            raise ValueError(f"{text!r}: give {call.name}'s settings by name, such as f=2")
        try:
            stages.append(RULES[call.name].bind(**call.keywords))
        except TypeError as error:
            raise ValueError(f"{text!r}: {error}") from error
    last, chosen = stages[-1], _chain(text, stages)
    if last.is_pre_aggregator:
        raise ValueError(f"{text!r} ends in a pre-aggregator: a rule must follow {last.name}")
    return _ready(text, chosen)


def _chain(text: str, stages: list[Any]) -> Aggregator:
    chosen: Aggregator = stages[0]
    try:
        for stage in stages[1:]:
            chosen = chosen >> stage
    except (TypeError, ValueError) as error:
        raise ValueError(f"{text!r}: {error}") from error
    return chosen


def _ready(text: str, chosen: Aggregator) -> Aggregator:
    """The rule, if nothing that a sweep cannot give is missing."""
    missing = sorted(chosen.needs - GIVEN)
    if missing or chosen.own_row:
        needed = ", ".join(missing) or "a row of its own, as peers on a graph have"
        raise ValueError(f"{text!r} needs {needed}, which a sweep cannot give")
    return chosen


def known_attacks() -> list[str]:
    """What an attack may be called.

    Example:
        >>> {"none", "alie", "label_flip", "optimal"} <= set(known_attacks())
        True
    """
    names = (name for name, attack in ATTACKS.items() if attack.needs <= GIVEN)
    return sorted(name.replace("-", "_") for name in (NONE, OPTIMAL, *names, *DATA_ATTACKS))


def attack_named(text: str, rule: Aggregator) -> Staged:
    """What a text has the Byzantine nodes do.

    Args:
        text: ``none``, an attack on updates or on data, or ``optimal(ipm)``: the attack at the strength that does
            the rule the most harm.
        rule: The rule under attack, with f bound.

    Raises:
        ValueError: If there is no such attack, or it has no such keyword.

    Example:
        >>> from flwr_byzantine.rules import median
        >>> attack_named("optimal(ipm)", median).updates
        optimal(ipm, median)
        >>> attack_named("label-flip", median).data
        'label-flip'
    """
    found = calls(text)
    if len(found) > 1:
        raise ValueError(f"{text!r}: attacks do not follow each other")
    call, kebab = found[0], found[0].name.replace("_", "-")
    if call.name not in known_attacks():
        raise ValueError(f"there is no attack {call.name!r}{nearest(call.name, known_attacks())}")
    if call.name != OPTIMAL and call.inner:
        raise ValueError(f"{text!r}: give {call.name}'s settings by name, such as scale=2.0")
    if call.name == NONE or kebab in DATA_ATTACKS:
        if call.keywords:
            raise ValueError(f"{text!r}: {call.name} takes no settings")
        return Staged(data=kebab if kebab in DATA_ATTACKS else "")
    try:
        return Staged(_optimal(text, call, rule) if call.name == OPTIMAL else ATTACKS[kebab].bind(**call.keywords))
    except TypeError as error:
        raise ValueError(f"{text!r}: {error}") from error


def _optimal(text: str, call: Call, rule: Aggregator) -> Attack[...]:
    kebab = call.inner[0].name.replace("_", "-") if len(call.inner) == 1 else ""
    if kebab not in ATTACKS:
        able = sorted(name.replace("-", "_") for name, attack in ATTACKS.items() if attack.factor)
        raise ValueError(f"{text!r}: optimal takes one attack with a strength: {', '.join(able)}")
    return optimal(ATTACKS[kebab].bind(**call.inner[0].keywords), rule, **call.keywords)


def calls(text: str) -> list[Call]:
    """The calls that a text joins by ``>>``.

    Raises:
        ValueError: If it is anything else; nothing of it is run.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"{text[:40]!r}...: more than {MAX_TEXT} characters")
    try:
        return _joined(ast.parse(KEBAB.sub("_", text.strip()), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError):
        raise ValueError(f"{text!r} is not written as in Python: name, or name(setting=1), joined by >>") from None


def _joined(node: ast.expr) -> list[Call]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift):
        return [*_joined(node.left), *_joined(node.right)]
    return [_call(node)]


def _call(node: ast.expr) -> Call:
    if isinstance(node, ast.Name):
        return Call(node.id)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ValueError("neither a name nor a call")
    keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
    if len(keywords) < len(node.keywords):
        raise ValueError("a setting without a name")
    return Call(node.func.id, tuple(_call(argument) for argument in node.args), keywords)


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say after a name that is not known."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
