"""What RobustStrategy promises beside robustness."""

import json
import logging

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp.strategy import FedAdam, Result

from flwr_byzantine.admission import Admitted
from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.rules import (
    RULES,
    arc,
    bucketing,
    foolsgold,
    krum,
    mda,
    median,
    monna,
    multi_krum,
    nna,
    nnm,
    sign_majority,
    trimmed_mean,
    weighted_median,
)
from flwr_byzantine.strategies import (
    MultiKrum,
    RobustMedian,
    RobustStrategy,
    TrimmedMean,
)
from flwr_byzantine.strategies._tolerance import largest_tolerated, seeded
from flwr_byzantine.testing import HostileReply, InProcessGrid, make_error_reply, make_reply, silent
from tests.strategies.helpers import configured, honest_reply, initial, make_app, step_of


def bad(node, fault=HostileReply.ALL_NAN):
    [reply] = fault.make(honest_reply(node))
    return reply


def test_start_takes_flowers_arguments_and_gives_flowers_result_and_more():
    seen = []

    def evaluate_fn(server_round, arrays):
        seen.append(server_round)
        return MetricRecord({"round": server_round})

    with InProcessGrid(make_app(), 7) as grid:
        result = TrimmedMean(num_malicious_nodes=2).start(
            grid=grid,
            initial_arrays=initial(),
            num_rounds=3,
            timeout=60,
            train_config=ConfigRecord({"lr": 0.1}),
            evaluate_config=ConfigRecord(),
            evaluate_fn=evaluate_fn,
        )
    assert isinstance(result, Result)
    assert seen == [0, 1, 2, 3]
    assert set(result.evaluate_metrics_serverapp) == {0, 1, 2, 3}
    assert list(result.train_metrics_clientapp) == [1, 2, 3]
    assert result.train_metrics_clientapp[1]["loss"] == pytest.approx(0.3)  # median of 0, 0.1, ..., 0.6
    assert "num-examples" not in result.train_metrics_clientapp[1]
    assert result.train_metrics_clientapp[1]["num-admitted"] == 7
    assert "error" in result.evaluate_metrics_clientapp[3]
    assert "round 3: 7 admitted, 0 rejected, all used, f = 2" in repr(result)
    json.dumps({k: report.as_dict() for k, report in result.rounds.items()})


def test_the_report_tells_who_was_admitted_rejected_and_selected():
    strategy = configured(MultiKrum(num_malicious_nodes=2, num_nodes_to_select=4))
    step_of(strategy, [bad(9), *[honest_reply(n) for n in range(1, 9)], bad(10, HostileReply.HUNDREDFOLD)])
    report = strategy.rounds[1]
    assert report.admitted == (1, 2, 3, 4, 5, 6, 7, 8, 10)
    assert [rejected.node_id for rejected in report.rejected] == [9]
    assert len(report.selected) == 4
    assert 10 not in report.selected
    assert report.f == 2


def test_a_rejected_reply_uses_up_one_of_f():
    assert largest_tolerated(krum, 7, 2, 0) == 2
    assert largest_tolerated(krum, 6, 2, 0) is None
    assert largest_tolerated(krum, 6, 2, 1) == 1
    assert largest_tolerated(krum, 9, 2, 1) == 2  # more caution where the bound allows it
    assert largest_tolerated(krum, 3, 2, 5) == 0


def test_too_few_replies_keep_the_model_and_say_so(caplog):
    strategy = configured(RobustStrategy(krum, num_malicious_nodes=2))
    with caplog.at_level(logging.WARNING, logger="flwr"):
        model, metrics = step_of(strategy, [honest_reply(n) for n in range(1, 7)])
    assert model is None
    assert metrics["num-admitted"] == 6
    assert not strategy.rounds[1].bound_met
    assert "6 replies admitted, but krum needs 7 (n >= 2f + 3) for f = 2: the model is kept" in caplog.text


def test_too_few_replies_raise_where_the_caller_wants_that():
    strategy = configured(RobustStrategy(krum, num_malicious_nodes=2, on_shortfall="raise"))
    with pytest.raises(ToleranceError, match="krum needs 7"):
        strategy.aggregate_train(1, [honest_reply(n) for n in range(1, 7)])


def test_a_run_goes_on_after_rounds_with_too_few_replies():
    with InProcessGrid(make_app(), 7, faults=dict.fromkeys(range(3), silent)) as grid:
        strategy = RobustStrategy(krum, num_malicious_nodes=2)
        result = strategy.start(grid, initial(), num_rounds=2, timeout=5)
        assert len(result.arrays) == 0
        grid.faults.clear()
        result = strategy.start(grid, initial(), num_rounds=2, timeout=5)
    assert result.arrays["steps"].numpy() == 2


def test_no_replies_at_all_keep_the_model():
    strategy = configured(RobustMedian(num_malicious_nodes=2))
    strategy.min_train_nodes = 2
    assert strategy.aggregate_train(1, [])[0] is None
    assert strategy.aggregate_evaluate(1, []) is None


def test_error_replies_are_faults_and_the_rest_is_aggregated():
    strategy = configured(RobustMedian(num_malicious_nodes=2))
    model, _ = step_of(strategy, [make_error_reply(9, "boom"), *[honest_reply(n) for n in range(1, 6)]])
    assert model is not None
    assert strategy.rounds[1].rejected[0].reason == "error 2: boom"


@pytest.mark.parametrize(
    "rule",
    [
        *(rule for rule in RULES.values() if not (rule.needs or rule.own_row or rule.is_pre_aggregator)),
        nnm >> trimmed_mean,
        monna.bind(pivot=torch.full((30,), 0.25)),
    ],
    ids=str,
)
def test_whatever_the_model_the_rule_is_that_of_the_updates(rule):
    sent = ArrayRecord({"w": Array(np.full((5, 6), 3.0, np.float32)), "steps": Array(np.array(0))})
    replies = [honest_reply(n, sent) for n in range(1, 12)]
    keywords = {"generator": seeded(0, 1)} if "generator" in rule.accepts else {}
    updates = torch.from_numpy(np.stack([r.content["arrays"]["w"].numpy().reshape(-1) - 3 for r in replies]))
    model, _ = step_of(configured(RobustStrategy(rule, num_malicious_nodes=2), sent), replies)
    expected = rule(updates, f=2, **keywords).numpy() + 3
    np.testing.assert_allclose(model.reshape(-1), expected, rtol=0, atol=2e-6)


def test_a_rule_that_moves_with_its_inputs_reads_the_replies_where_they_came(monkeypatch):
    strategy = configured(RobustMedian(num_malicious_nodes=2))
    monkeypatch.setattr(Admitted, "rows", property(lambda admitted: pytest.fail("the updates were put together")))
    model, _ = step_of(strategy, [honest_reply(n) for n in range(1, 6)])
    assert model is not None


def test_shapes_dtypes_and_buffers_come_back_as_sent():
    strategy = configured(RobustMedian(num_malicious_nodes=1))
    arrays, _ = strategy.aggregate_train(1, [honest_reply(n) for n in range(1, 5)])
    assert list(arrays) == ["w", "steps"]
    assert arrays["w"].numpy().dtype == np.float32
    assert arrays["steps"].numpy() == 1
    assert arrays["steps"].numpy().dtype == np.int64


def test_rules_that_draw_do_so_anew_each_round_and_the_same_in_each_run():
    replies = [honest_reply(n) for n in range(1, 12)]

    def run(server_round, seed=0):
        strategy = configured(RobustStrategy(bucketing >> median, num_malicious_nodes=1, seed=seed))
        return step_of(strategy, replies, server_round)[0]

    assert np.array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))
    assert not np.array_equal(run(1), run(1, seed=5))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"rule": foolsgold}, "needs history; bind it"),
        ({"rule": nna, "num_malicious_nodes": 1}, "nna is for a peer among neighbours: input 0 is its own"),
        ({"rule": krum}, "num_malicious_nodes is needed"),
        ({"rule": krum, "num_malicious_nodes": -1}, "at least 0, got -1"),
        ({"rule": krum, "num_malicious_nodes": 1, "on_shortfall": "panic"}, "'keep' or 'raise'"),
        ({"rule": krum, "num_malicious_nodes": 2, "quorum": 6}, r"less than the 7 replies \(n >= 2f \+ 3\)"),
        ({"rule": krum, "num_malicious_nodes": 1, "grace_s": -1.0}, "grace_s"),
        ({"rule": sign_majority, "example_counts": "clip"}, "neither averages what it selects nor has a weighted form"),
        ({"rule": arc >> median, "num_malicious_nodes": 1, "example_counts": "clip"}, "has a weighted form"),
        ({"rule": weighted_median, "num_malicious_nodes": 1}, "needs counts; bind it, or set example_counts='clip'"),
        ({"rule": arc >> weighted_median, "num_malicious_nodes": 1, "example_counts": "clip"}, "counts; bind it"),
        ({"rule": median, "example_counts": "maybe"}, "'ignore' or 'clip'"),
        ({"rule": multi_krum, "num_malicious_nodes": 1, "max_count_ratio": 0.0}, "must be positive"),
    ],
)
def test_a_callers_mistake_raises_at_once(keywords, message):
    with pytest.raises(ValueError, match=message):
        RobustStrategy(**keywords)


def test_the_f_that_a_rule_binds_is_the_strategys():
    assert RobustStrategy(nnm.bind(f=2) >> trimmed_mean.bind(f=2)).num_malicious_nodes == 2


def test_aggregating_before_sending_is_the_callers_mistake():
    with pytest.raises(RuntimeError, match="configure_train must come before"):
        RobustMedian().aggregate_train(1, [honest_reply(1)])


def test_the_summary_reads_like_flowers(caplog):
    with caplog.at_level(logging.INFO, logger="flwr"):
        RobustStrategy(nnm >> krum, num_malicious_nodes=2, quorum=8, server_optimizer=FedAdam()).summary()
    assert "├──> Robust aggregation:" in caplog.text
    assert "Rule: nnm >> krum (nnm: n >= 2f + 1; krum: n >= 2f + 3)" in caplog.text
    assert "Malicious nodes tolerated: 2 (needs 7 replies)" in caplog.text
    assert "Server optimizer: FedAdam" in caplog.text
    assert "├──> Sampling:" in caplog.text


def test_a_step_out_of_the_range_of_the_models_dtype_keeps_the_model(caplog):
    model = ArrayRecord({"w": Array(np.full(3, 6e4, np.float16))})
    strategy = configured(RobustMedian(num_malicious_nodes=1), model)
    replies = [make_reply(n, {"w": np.full(3, 9e4)}, {"loss": 1.0}) for n in range(1, 4)]
    with caplog.at_level(logging.WARNING, logger="flwr"):
        assert strategy.aggregate_train(1, replies)[0] is None
    assert "leaves the range of the model's dtypes: the model is kept" in caplog.text


def test_a_model_that_is_not_finite_is_the_callers_mistake():
    model = ArrayRecord({"w": Array(np.zeros(3, np.float32)), "mask": Array(np.array([0.0, -np.inf]))})
    with pytest.raises(ValueError, match="round 1: array 'mask' of the model to send is not finite"):
        configured(RobustMedian(num_malicious_nodes=1), model)


def test_replies_made_so_that_an_exact_search_runs_over_keep_the_model(caplog):
    strategy = configured(RobustStrategy(mda.bind(budget=1), num_malicious_nodes=2))
    with caplog.at_level(logging.WARNING, logger="flwr"):
        model, _ = step_of(strategy, [honest_reply(n) for n in range(1, 9)])
    assert model is None
    assert "more than budget = 1 branches" in caplog.text
    assert not strategy.rounds[1].bound_met


def test_a_quorum_under_another_strategys_start_is_said_not_to_be_heeded(caplog):
    with caplog.at_level(logging.WARNING, logger="flwr"):
        configured(RobustMedian(num_malicious_nodes=1, quorum=4))
    assert "quorum = 4 is not heeded" in caplog.text
