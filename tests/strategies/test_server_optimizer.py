"""A Flower optimiser on the server takes the step from the robust aggregate."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import FedAdam, FedAvgM

from flwr_byzantine.strategies import RobustMedian
from flwr_byzantine.testing import InProcessGrid, make_reply
from tests.strategies.helpers import configured, honest_reply, initial, make_app, step_of, towards_target


@pytest.mark.parametrize("optimizer", [FedAdam(eta=0.1), FedAvgM(server_learning_rate=0.5, server_momentum=0.9)])
def test_a_server_optimizer_takes_the_step_from_the_robust_aggregate(optimizer):
    """Equal to Flower's own optimiser on replies that all agree, in the dtypes that were sent."""
    kind, settings = type(optimizer), {k: v for k, v in vars(optimizer).items() if k in ("eta", "server_momentum")}
    if kind is FedAvgM:
        settings["server_learning_rate"] = optimizer.server_learning_rate
    ours, theirs = RobustMedian(num_malicious_nodes=1, server_optimizer=optimizer), kind(**settings)
    ours.fraction_train = theirs.fraction_train = 0.0
    mine = reference = initial()
    for server_round in (1, 2, 3):
        ours.configure_train(server_round, mine, ConfigRecord(), None)
        theirs.configure_train(server_round, reference, ConfigRecord(), None)
        agreeing = [make_reply(n, towards_target(1, mine), {"num-examples": 10}) for n in range(1, 6)]
        mine, _ = ours.aggregate_train(server_round, agreeing)
        one = honest_reply(1, reference)
        one.content["arrays"] = ArrayRecord({"w": one.content["arrays"]["w"], "steps": Array(np.array(0.0))})
        reference, _ = theirs.aggregate_train(server_round, [one])
        reference["steps"] = Array(np.array(server_round))
        np.testing.assert_allclose(mine["w"].numpy(), reference["w"].numpy(), rtol=1e-5, atol=1e-6)
    assert mine["w"].numpy().dtype == np.float32
    assert mine["steps"].numpy() == 3


def test_the_users_optimizer_object_is_not_changed():
    optimizer = FedAdam(eta=0.1)
    RobustMedian(server_optimizer=optimizer)
    assert optimizer.fraction_train == 1.0


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
