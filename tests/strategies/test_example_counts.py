"""What becomes of the numbers of examples that nodes state."""

import numpy as np
import pytest
import torch

from flwr_byzantine.rules import RULES, mean, median, multi_krum
from flwr_byzantine.strategies import AdmissionPolicy, GeometricMedian, RobustMedian, RobustStrategy, TrimmedMean
from flwr_byzantine.testing import make_reply
from tests.strategies.helpers import configured, honest_reply, initial, step_of, towards_target


def test_example_counts_are_ignored_by_default():
    strategy = configured(RobustStrategy(mean, num_malicious_nodes=0))
    plain, _ = step_of(strategy, [honest_reply(n) for n in range(1, 6)])
    stated, _ = step_of(strategy, [honest_reply(n, **{"num-examples": 10**n}) for n in range(1, 6)])
    assert np.array_equal(plain, stated)


def test_example_counts_where_asked_for_are_clipped():
    strategy = configured(
        RobustStrategy(multi_krum.bind(m="n-f"), num_malicious_nodes=0, example_counts="clip", max_count_ratio=3.0)
    )
    replies = [honest_reply(n, **{"num-examples": count}) for n, count in enumerate([10, 20, 10**8, 5, 20], start=1)]
    rows = np.stack([reply.content["arrays"]["w"].numpy() for reply in replies])
    weights = np.array([10, 20, 60, 5, 20]) / 115  # the median is 20
    model, _ = step_of(strategy, replies)
    np.testing.assert_allclose(model, np.tensordot(weights, rows, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [RobustMedian, TrimmedMean, GeometricMedian])
def test_example_counts_weigh_in_the_rules_that_average_nothing_too(make):
    claims = [10, 20, 10**9, 5, 20, 30, 20]
    replies = [honest_reply(n, **{"num-examples": count}) for n, count in enumerate(claims, start=1)]
    updates = torch.from_numpy(np.stack([reply.content["arrays"]["w"].numpy().reshape(-1) for reply in replies]))
    strategy = configured(make(num_malicious_nodes=1, example_counts="clip", max_count_ratio=3.0))
    weighted = RULES[f"weighted_{make(num_malicious_nodes=1).rule}"]
    assert repr(strategy.rule) == f"{weighted}(max_ratio=3.0)"
    model, _ = step_of(strategy, replies)
    expected = weighted(updates, f=1, counts=torch.tensor(claims), max_ratio=3.0)
    np.testing.assert_allclose(model.reshape(-1), expected, rtol=0, atol=1e-6)
    clipped = [honest_reply(n, **{"num-examples": min(60, count)}) for n, count in enumerate(claims, start=1)]
    np.testing.assert_allclose(step_of(strategy, clipped)[0], model, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", [multi_krum, median], ids=repr)
@pytest.mark.parametrize("stated", [{"num-examples": 0}, {"another": 7}], ids=["zero", "none"])
def test_example_counts_of_zero_are_equal_counts(rule, stated):
    replies = [make_reply(n, towards_target(n, initial()), stated) for n in range(1, 6)]
    models = [
        step_of(configured(RobustStrategy(rule, num_malicious_nodes=1, example_counts=use)), replies)[0]
        for use in ("clip", "ignore")
    ]
    np.testing.assert_allclose(*models, rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [[1.0, 2.0], float("nan"), -5])
def test_an_own_admission_policy_checks_the_example_counts_that_weigh(count):
    strategy = RobustStrategy(
        multi_krum.bind(m="n-f"), num_malicious_nodes=1, example_counts="clip", weighted_by_key="n",
        admission=AdmissionPolicy(max_update_norm=50.0),
    )  # fmt: skip
    replies = [make_reply(k, towards_target(k, initial()), {"n": count if k == 7 else 10}) for k in range(1, 8)]
    model, _ = step_of(configured(strategy), replies)
    assert np.isfinite(model).all()
    assert "metric 'n'" in strategy.rounds[1].rejected[0].reason
