"""Robust aggregation rules: pure functions ``[n, d] -> [d]`` on any float dtype and device, without Flower.

Every rule is called as ``rule(inputs, f=...)`` with one input per row, tolerates ``f`` Byzantine rows, and
carries its resilience bound as data: ``rule.min_inputs(f)``, ``rule.bound``, ``rule.source``,
``rule.kappa(n, f)``. ``rule.bind(f=2)`` fixes keywords, and pre-aggregators compose with what follows:

    >>> import torch
    >>> robust = nnm.bind(f=2) >> trimmed_mean.bind(f=2)
    >>> robust.min_inputs(2)
    5
    >>> rows = torch.cat([torch.ones(8, 3), torch.full((2, 3), -1e6)])
    >>> robust(rows)
    tensor([1., 1., 1.])

Inputs are a matrix, or a list of rows, each a tensor or a list of tensors such as a model's layers, which are read
where they lie (:class:`Rows`). :mod:`flwr_byzantine.rules.running` folds rows in as they arrive.

A row that is not finite is left out and counted against ``f``. Ties go to the lowest row. Inputs are never
changed, and results never share memory with them. Rules that are not translation-equivariant
(``rule.equivariant``) need updates or gradients, never raw parameters.

Every rule and chain is also a text: :func:`script_text` gives self-contained TorchScript that computes the same,
for a store to run.
"""

from flwr_byzantine.rules import _in_place as _in_place  # registers the faster forms of primitives
from flwr_byzantine.rules._rule import Aggregator, Chain, Outcome, Rule, average, pre_aggregator, rule
from flwr_byzantine.rules._script import ScriptError, script_givens, script_text
from flwr_byzantine.rules.bulyan import bulyan, multi_bulyan
from flwr_byzantine.rules.clustering import flame, sign_guard
from flwr_byzantine.rules.coordinatewise import meamed, mean, median, phocas, sign_majority, trimmed_mean
from flwr_byzantine.rules.distance import aksel, krum, medoid, monna, multi_krum
from flwr_byzantine.rules.elimination import cge, faba
from flwr_byzantine.rules.gossip import bridge, cg_plus, clipped_gossip, ios, nna
from flwr_byzantine.rules.location import centered_clipping, geometric_median
from flwr_byzantine.rules.preaggregators import arc, bucketing, clipping, nnm
from flwr_byzantine.rules.robustness import Robustness, robustness
from flwr_byzantine.rules.rows import Inputs, Rows
from flwr_byzantine.rules.spectral import caf, dnc
from flwr_byzantine.rules.subsets import mda, smea
from flwr_byzantine.rules.trust import fltrust, foolsgold
from flwr_byzantine.rules.weighted import weighted_geometric_median, weighted_median, weighted_trimmed_mean

RULES: dict[str, Rule[...]] = {name: value for name, value in sorted(globals().items()) if isinstance(value, Rule)}
"""Every rule and pre-aggregator by name."""

__all__ = [
    "RULES",
    "Aggregator",
    "Chain",
    "Inputs",
    "Outcome",
    "Robustness",
    "Rows",
    "Rule",
    "ScriptError",
    "aksel",
    "arc",
    "average",
    "bridge",
    "bucketing",
    "bulyan",
    "caf",
    "centered_clipping",
    "cg_plus",
    "cge",
    "clipped_gossip",
    "clipping",
    "dnc",
    "faba",
    "flame",
    "fltrust",
    "foolsgold",
    "geometric_median",
    "ios",
    "krum",
    "mda",
    "meamed",
    "mean",
    "median",
    "medoid",
    "monna",
    "multi_bulyan",
    "multi_krum",
    "nna",
    "nnm",
    "phocas",
    "pre_aggregator",
    "robustness",
    "rule",
    "script_givens",
    "script_text",
    "sign_guard",
    "sign_majority",
    "smea",
    "trimmed_mean",
    "weighted_geometric_median",
    "weighted_median",
    "weighted_trimmed_mean",
]
