"""One row per rule: what it needs, what it claims, and values worked out by hand. The battery runs them all."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from flwr_byzantine.rules import RULES, Rule
from tests.rules import references

CLOSE = [1.0, 2.0, 3.0, 99.0]  # three honest numbers and one far off


@dataclass(frozen=True)
class Row:
    rule: str
    values: list[float]
    """The inputs of the hand calculation, d = 1."""
    f: int
    expected: list[float]
    because: str
    keywords: Callable[[torch.Tensor], dict[str, Any]] = field(default=lambda inputs: {})
    """What the rule needs besides f, from its inputs."""
    ordered: bool = True
    """Whether the result is the same for any order of the inputs."""
    holds: bool = True
    """Whether f arbitrary inputs cannot carry it away from honest ones that agree up to noise."""
    reference: bool = True
    """Whether references.py has it: not for rules that draw numbers."""
    scales: bool = True
    """Whether scaling the inputs scales the result."""

    def get(self) -> Rule:
        return RULES[self.rule]

    def id(self) -> str:
        return self.rule


def ranks(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Example counts that follow their inputs in any order: the largest inputs, liars among them, claim the most."""
    return {"counts": 1.0 + x.detach().double().sum(1).argsort(stable=True).argsort()}


ROWS = [
    Row("mean", CLOSE, 0, [26.25], "105 / 4", holds=False),
    Row("median", CLOSE, 1, [2.5], "the middle two are 2 and 3"),
    Row("trimmed_mean", CLOSE, 1, [2.5], "without 1 and 99"),
    Row("meamed", CLOSE, 1, [2.0], "1, 2, 3 are nearest to 2.5"),
    Row("phocas", CLOSE, 1, [2.0], "1, 2, 3 are nearest to 2.5"),
    Row("sign_majority", [-1.0, -2.0, 99.0, 0.0], 1, [-1.0], "two against one", scales=False),
    Row("cge", CLOSE, 1, [2.0], "the shortest three", holds=False),
    Row("faba", CLOSE, 1, [2.0], "99 is farthest from 26.25"),
    Row("krum", [1, 2, 4, 7, 99], 1, [2.0], "2 neighbours; scores 1+9, 1+4, 4+9, 9+25: the second row"),
    Row("multi_krum", [1, 2, 4, 7, 99], 1, [1.5], "the two least of scores 10, 5, 13, 34 are rows 2 and 1"),
    Row("bulyan", [1, 2, 3, 4, 5, 6, 99], 1, [3.0], "picks 3, 4, 2, 5, 1; around their median 3 lie 2, 3, 4"),
    Row("multi_bulyan", [1, 1, 1, 1, 1, 1, 99], 1, [1.0], "every round's mean is 1"),
    Row("mda", [1, 2, 4, 99], 1, [7 / 3], "1, 2, 4 have diameter 3"),
    Row("smea", CLOSE, 1, [2.0], "1, 2, 3 vary least"),
    Row("caf", [2, 2, 2, 99], 1, [2.0], "99 gets weight 0 first, then nothing varies"),
    Row("medoid", [0, 1, 3, 4, 99], 1, [3.0], "sums 107, 104, 102, 103, 388"),
    Row("aksel", CLOSE, 1, [2.0], "1, 2, 3 are nearest to 2.5"),
    Row("monna", CLOSE, 1, [2.0], "1, 2, 3 are nearest to 1", keywords=lambda x: {"pivot": honest_row(x)},
        ordered=False),
    Row("geometric_median", [0, 1, 3, 4, 99], 1, [3.0], "in one dimension the median"),
    Row("centered_clipping", [1, 2, 3, 99], 1, [4.0], "(1 + 2 + 3 + 10) / 4", scales=False),
    Row("dnc", CLOSE, 1, [2.0], "99 is farthest along the only direction"),
    Row("fltrust", [3.0, -9.0], 0, [1.0], "3 at length 1; -9 points away",
        keywords=lambda x: {"reference": torch.ones_like(x[0])}, scales=False),
    Row("foolsgold", [1.0, 1.0], 0, [0.0], "two alike are Sybils", keywords=lambda x: {"history": x},
        holds=False),
    Row("flame", [2, 2, -8], 1, [2.0], "2, 2 are the majority and of median length",
        keywords=lambda x: {"epsilon": float("inf")}, reference=False),
    Row("sign_guard", [1, 1, -9], 1, [1.0], "1, 1 share their sign and are of median length", reference=False),
    Row("clipped_gossip", [0, 1, -1, 99], 1, [0.125**0.5], "tau^2 = 1 + 1; (1 - 1 + sqrt 2) / 4",
        ordered=False),
    Row("cg_plus", [0, 1, 2, 99], 1, [0.75], "tau = 1, the third from above; (1 + 1 + 1) / 4", ordered=False),
    Row("nna", [0, 1, 3, 99], 1, [1.0], "(1 + 3) / 4", ordered=False),
    Row("ios", CLOSE, 1, [2.0], "99 is farthest from 26.25", ordered=False),
    Row("bridge", [0, 1, 3, 99], 1, [1.5], "3 is left of the neighbours; (0 + 3) / 2", ordered=False),
    Row("nnm", [1, 2, 6], 1, [1.5, 1.5, 4.0], "1 with 2, 2 with 1, 6 with 2"),
    Row("bucketing", [3, 3, 3, 3], 1, [3.0, 3.0], "means of two equal ones each", reference=False, holds=False),
    Row("clipping", [1, -2, 8], 1, [1.0, -2.0, 4.0], "8 is cut to 4", keywords=lambda x: {"radius": 4.0},
        scales=False),
    Row("arc", [1, 2, 99], 1, [1.0, 2.0, 2.0], "k = 1, so 99 is cut to the next length"),
    Row("weighted_median", CLOSE, 1, [3.0], "weights 1, 2, 3, 3: half of 9 is reached at 3", keywords=ranks),
    Row("weighted_trimmed_mean", [1.0, 2.0, 3.5, 99.0], 1, [3.5], "3 of 1, 2, 3, 3 are cut at each end",
        keywords=ranks),
    Row("weighted_geometric_median", CLOSE, 1, [3.0], "in one dimension the median", keywords=ranks),
]  # fmt: skip


def honest_row(x: torch.Tensor) -> torch.Tensor:
    """The first row, which the battery always keeps honest."""
    return x[0].clone()


def reference(row: Row) -> Callable[..., Any]:
    return getattr(references, row.rule)
