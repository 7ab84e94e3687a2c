"""The numbers of examples that nodes state, as far as a robust strategy lets them weigh."""

from __future__ import annotations

from typing import cast

import torch
from flwr.app import MetricRecord
from torch import Tensor

from flwr_byzantine.admission import Admitted
from flwr_byzantine.records import records_of
from flwr_byzantine.rules import (
    Aggregator,
    Rule,
    geometric_median,
    median,
    trimmed_mean,
    weighted_geometric_median,
    weighted_median,
    weighted_trimmed_mean,
)
from flwr_byzantine.rules.weighted import believed

__all__ = ["selected_shares", "stated_counts", "takes_counts", "weighing"]

FORMS: dict[object, Rule[...]] = {
    form.__wrapped__: weighted
    for plain, weighted in (
        (median, weighted_median),
        (trimmed_mean, weighted_trimmed_mean),
        (geometric_median, weighted_geometric_median),
    )
    for form in (plain, weighted)
}
"""What weighs example counts in place of a rule, by the function of the rule."""


def weighing(rule: Aggregator, max_ratio: float) -> Aggregator:
    """The rule's form that weighs example counts, or the rule itself if it has none.

    Example:
        >>> weighing(median, 2.0), weighing(weighted_median.bind(max_ratio=3.0), 2.0)
        (weighted_median(max_ratio=2.0), weighted_median(max_ratio=3.0))
    """
    form = FORMS.get(rule.__wrapped__) if isinstance(rule, Rule) else None
    return rule if form is None else form.bind(**{"max_ratio": max_ratio, **cast(Rule[...], rule).keywords})


def takes_counts(rule: Aggregator) -> bool:
    """Whether a rule clips and weighs example counts. In a composition they would be those of other rows."""
    return isinstance(rule, Rule) and {"counts", "max_ratio"} <= rule.accepts


def stated_counts(admitted: Admitted, key: str) -> Tensor:
    """``float64[n]``: the number of examples of each admitted reply, 0 where it states none."""
    metrics = (records_of(content, MetricRecord)[0] for content in admitted.contents)
    return torch.tensor([float(cast(float, each.get(key, 0))) for each in metrics], dtype=torch.float64)


def selected_shares(counts: Tensor, selected: Tensor, max_ratio: float) -> Tensor:
    """``float64[n]``: weights of sum 1 over the selected rows, none above ``max_ratio`` times their median count.

    If that is 0, all are equal.
    """
    shares = torch.zeros_like(counts)
    shares[selected] = believed(counts[selected], f=0, max_ratio=max_ratio)
    return shares / shares.sum()
