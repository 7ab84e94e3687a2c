"""What RobustStrategy promises beside robustness."""

import json
import logging

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp.strategy import FedAdam, FedAvgM, Result

from flwr_byzantine.admission import Admitted
from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.rules import (
    RULES,
    bucketing,
    foolsgold,
    krum,
    mda,
    mean,
    median,
    monna,
    multi_krum,
    nna,
    nnm,
    trimmed_mean,
)
from flwr_byzantine.strategies import (
    AdmissionPolicy,
    MultiKrum,
    RobustMedian,
    RobustStrategy,
    TrimmedMean,
    median_metrics,
)
from flwr_byzantine.strategies._tolerance import largest_tolerated, seeded
from flwr_byzantine.testing import HostileReply, InProcessGrid, make_error_reply, make_reply, silent
from tests.strategies.helpers import configured, honest_reply, initial, make_app, step_of, towards_target


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


def test_example_counts_of_zero_are_equal_counts():
    strategy = configured(RobustStrategy(multi_krum, num_malicious_nodes=1, example_counts="clip"))
    model, _ = step_of(strategy, [honest_reply(n, **{"num-examples": 0}) for n in range(1, 6)])
    assert np.isfinite(model).all()


def test_own_metric_functions_see_admitted_replies_only():
    seen = []

    def aggregate(contents, key):
        seen.append(len(contents))
        return MetricRecord({"mine": 1.0})

    strategy = configured(RobustMedian(num_malicious_nodes=1, train_metrics_aggr_fn=aggregate))
    _, metrics = step_of(strategy, [bad(9), *[honest_reply(n) for n in range(1, 4)]])
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


def test_shapes_dtypes_and_buffers_come_back_as_sent():
    strategy = configured(RobustMedian(num_malicious_nodes=1))
    arrays, _ = strategy.aggregate_train(1, [honest_reply(n) for n in range(1, 5)])
    assert list(arrays) == ["w", "steps"]
    assert arrays["w"].numpy().dtype == np.float32
    assert arrays["steps"].numpy() == 1
    assert arrays["steps"].numpy().dtype == np.int64


@pytest.mark.parametrize("optimizer", [FedAdam(eta=0.1), FedAvgM(server_learning_rate=0.5, server_momentum=0.9)])
def test_a_server_optimizer_takes_the_step_from_the_robust_aggregate(optimizer):
    """Equal to Flower's own optimiser on replies that all agree, in the dtypes that were sent."""

    def agreeing(arrays):
        return [honest_reply(n, arrays) for n in [1] * 1] and [
            type(reply)(metadata=reply.metadata, content=honest_reply(1, arrays).content)
            for reply in (honest_reply(n, arrays) for n in range(1, 6))
        ]

    kind, settings = type(optimizer), {k: v for k, v in vars(optimizer).items() if k in ("eta", "server_momentum")}
    if kind is FedAvgM:
        settings["server_learning_rate"] = optimizer.server_learning_rate
    ours, theirs = RobustMedian(num_malicious_nodes=1, server_optimizer=optimizer), kind(**settings)
    ours.fraction_train = theirs.fraction_train = 0.0
    mine = reference = initial()
    for server_round in (1, 2, 3):
        ours.configure_train(server_round, mine, ConfigRecord(), None)
        theirs.configure_train(server_round, reference, ConfigRecord(), None)
        replies = agreeing(mine)
        mine, _ = ours.aggregate_train(server_round, replies)
        floats = [honest_reply(n, reference) for n in (1,)]
        for reply in floats:
            reply.content["arrays"] = ArrayRecord({"w": reply.content["arrays"]["w"], "steps": Array(np.array(0.0))})
        reference, _ = theirs.aggregate_train(server_round, floats)
        reference["steps"] = Array(np.array(server_round))
        np.testing.assert_allclose(mine["w"].numpy(), reference["w"].numpy(), rtol=1e-5, atol=1e-6)
    assert mine["w"].numpy().dtype == np.float32
    assert mine["steps"].numpy() == 3


def test_the_users_optimizer_object_is_not_changed():
    optimizer = FedAdam(eta=0.1)
    RobustMedian(server_optimizer=optimizer)
    assert optimizer.fraction_train == 1.0


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
        ({"rule": median, "example_counts": "clip"}, "does not average what it selects"),
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


def test_a_metrics_function_may_return_nothing():
    strategy = configured(RobustMedian(num_malicious_nodes=1, train_metrics_aggr_fn=lambda contents, key: None))
    assert step_of(strategy, [honest_reply(n) for n in range(1, 4)])[1] == {"num-admitted": 3, "num-rejected": 0}


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


@pytest.mark.parametrize("optimizer", [FedAdam(beta_1=0.9), FedAvgM(server_momentum=0.9)])
def test_a_second_start_begins_with_a_fresh_optimizer_and_the_model_given(optimizer):
    strategy = RobustMedian(num_malicious_nodes=1, server_optimizer=optimizer, fraction_evaluate=0.0)
    with InProcessGrid(make_app(), 5) as grid:
        first, second = (strategy.start(grid, initial(), num_rounds=2).arrays["w"].numpy() for _ in range(2))
    assert np.array_equal(first, second)


def test_an_optimizer_steps_from_the_model_that_was_sent():
    """It need not be the last aggregate: a wrapper such as Flower's differential privacy changes that."""
    strategy = RobustMedian(num_malicious_nodes=1, server_optimizer=FedAvgM(server_learning_rate=0.5))
    for server_round, start in ((1, 0.0), (2, 8.0)):
        configured(strategy, ArrayRecord({"w": Array(np.full(2, start, np.float32))}))
        replies = [make_reply(n, {"w": np.full(2, start + 1.0, np.float32)}, {}) for n in range(1, 4)]
        assert step_of(strategy, replies, server_round)[0].tolist() == [start + 0.5] * 2


def test_an_optimizers_own_metrics_function_is_not_asked():
    def aggregate(contents, key):
        raise AssertionError("it would see no metrics")

    strategy = configured(RobustMedian(server_optimizer=FedAdam(train_metrics_aggr_fn=aggregate)))
    assert step_of(strategy, [honest_reply(n) for n in range(1, 4)])[1]["loss"] == 1.0


def test_replies_made_so_that_an_exact_search_runs_over_keep_the_model(caplog):
    strategy = configured(RobustStrategy(mda.bind(budget=1), num_malicious_nodes=2))
    with caplog.at_level(logging.WARNING, logger="flwr"):
        model, _ = step_of(strategy, [honest_reply(n) for n in range(1, 9)])
    assert model is None
    assert "more than budget = 1 branches" in caplog.text
    assert not strategy.rounds[1].bound_met


def test_a_metrics_function_that_raises_does_not_end_the_run(caplog):
    def fragile(contents, key):
        raise ZeroDivisionError

    strategy = configured(RobustMedian(num_malicious_nodes=1, train_metrics_aggr_fn=fragile))
    with caplog.at_level(logging.ERROR, logger="flwr"):
        model, metrics = step_of(strategy, [honest_reply(n) for n in range(1, 5)])
    assert model is not None
    assert metrics["loss"] == 1.0
    assert "fragile raised; the median per key is taken instead" in caplog.text


def test_a_quorum_under_another_strategys_start_is_said_not_to_be_heeded(caplog):
    with caplog.at_level(logging.WARNING, logger="flwr"):
        configured(RobustMedian(num_malicious_nodes=1, quorum=4))
    assert "quorum = 4 is not heeded" in caplog.text


def test_evaluate_metrics_that_liars_can_own_are_said_to_be(caplog):
    strategy = RobustMedian(num_malicious_nodes=2)
    with caplog.at_level(logging.WARNING, logger="flwr"):
        strategy.aggregate_evaluate(1, [honest_reply(n) for n in range(1, 5)])
        assert "liars can own their metrics" in caplog.text
        caplog.clear()
        strategy.aggregate_evaluate(2, [honest_reply(n) for n in range(1, 6)])
        assert "liars" not in caplog.text
