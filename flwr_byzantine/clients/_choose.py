"""A rule or a graph by its text, as configuration files name them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from flwr_byzantine.protocols.graphs import Graph
from flwr_byzantine.rules import RULES, Aggregator

__all__ = ["graph_of", "nearest_of", "rule_of"]


def rule_of(text: str) -> Aggregator:
    """The rule that a text such as ``trimmed-mean`` or ``nnm >> krum`` names.

    Raises:
        ValueError: If there is none of that name.
        TypeError: If the stages do not follow each other.

    Example:
        >>> rule_of("nnm >> trimmed-mean")
        nnm >> trimmed_mean
    """
    names = [name.strip().replace("-", "_") for name in text.split(">>")]
    for name in names:
        if name not in RULES:
            raise ValueError(f"there is no rule {name!r}{nearest_of(name, RULES)}")
    chosen: Aggregator = RULES[names[0]]
    for name in names[1:]:
        chosen = chosen >> RULES[name]
    return chosen


def graph_of(text: str, n: int) -> Graph:
    """The graph of ``n`` nodes that a text names.

    Args:
        text: ``full``, ``ring``, ``ring:2``, ``random-regular:4:7`` (degree, seed), or the path of a file.
        n: Number of nodes.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If there is no such graph, or the file's has another number of nodes.

    Example:
        >>> graph_of("ring:2", 8).neighbours(0)
        (1, 2, 6, 7)
    """
    kind, *rest = text.split(":")
    if kind in ("full", "ring", "random-regular"):
        try:
            numbers = [int(number) for number in rest]
        except ValueError:
            raise ValueError(f"graph {text!r}: what follows ':' are whole numbers") from None
        match kind, numbers:
            case "full", []:
                return Graph.full(n)
            case "ring", [] | [_]:
                return Graph.ring(n, *numbers)
            case "random-regular", [degree] | [degree, _]:
                return Graph.random_regular(n, degree, seed=numbers[1] if len(numbers) > 1 else 0)
        raise ValueError(f"graph {text!r}: it is full, ring, ring:K or random-regular:DEGREE:SEED")
    if not Path(text).is_file():
        raise ValueError(f"graph {text!r}: neither full, ring, ring:K, random-regular:DEGREE:SEED nor a file")
    graph = Graph.from_file(text)
    if graph.n != n:
        raise ValueError(f"graph {text!r} has {graph.n} nodes, and there are {n} peers")
    return graph


def nearest_of(name: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` if something known is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
