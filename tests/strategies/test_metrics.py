"""Metrics that nodes state: no node owns one, and none ends a run."""

import logging

from flwr.app import MetricRecord

from flwr_byzantine.strategies import RobustMedian, median_metrics
from flwr_byzantine.testing import make_error_reply
from tests.strategies.helpers import configured, honest_reply, step_of


def test_own_metric_functions_see_admitted_replies_only():
    seen = []

    def aggregate(contents, key):
        seen.append(len(contents))
        return MetricRecord({"mine": 1.0})

    strategy = configured(RobustMedian(num_malicious_nodes=1, train_metrics_aggr_fn=aggregate))
    _, metrics = step_of(strategy, [make_error_reply(9, "boom"), *[honest_reply(n) for n in range(1, 4)]])
    assert seen == [3]
    assert metrics["mine"] == 1.0


def test_one_node_owns_no_metric():
    replies = [honest_reply(n, loss=loss, grid=[loss, 2.0]) for n, loss in enumerate([0.4, 0.5, 1e30], start=1)]
    metrics = median_metrics([reply.content for reply in replies], "num-examples")
    assert dict(metrics) == {"loss": 0.5, "grid": [0.5, 2.0]}


def test_a_metric_that_is_not_finite_counts_for_nobody():
    contents = [honest_reply(n, loss=loss).content for n, loss in enumerate([float("nan"), 0.5, float("inf")])]
    assert median_metrics(contents, "num-examples")["loss"] == 0.5
    assert "loss" not in median_metrics(contents[::2], "num-examples")


def test_a_metrics_function_may_return_nothing():
    strategy = configured(RobustMedian(num_malicious_nodes=1, train_metrics_aggr_fn=lambda contents, key: None))
    assert step_of(strategy, [honest_reply(n) for n in range(1, 4)])[1] == {"num-admitted": 3, "num-rejected": 0}


def test_a_metrics_function_that_raises_does_not_end_the_run(caplog):
    def fragile(contents, key):
        raise ZeroDivisionError

    strategy = configured(RobustMedian(num_malicious_nodes=1, train_metrics_aggr_fn=fragile))
    with caplog.at_level(logging.ERROR, logger="flwr"):
        model, metrics = step_of(strategy, [honest_reply(n) for n in range(1, 5)])
    assert model is not None
    assert metrics["loss"] == 1.0
    assert "fragile raised; the median per key is taken instead" in caplog.text


def test_evaluate_metrics_that_liars_can_own_are_said_to_be(caplog):
    strategy = RobustMedian(num_malicious_nodes=2)
    with caplog.at_level(logging.WARNING, logger="flwr"):
        strategy.aggregate_evaluate(1, [honest_reply(n) for n in range(1, 5)])
        assert "liars can own their metrics" in caplog.text
        caplog.clear()
        strategy.aggregate_evaluate(2, [honest_reply(n) for n in range(1, 6)])
        assert "liars" not in caplog.text
