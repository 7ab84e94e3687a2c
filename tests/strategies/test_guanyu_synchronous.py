"""Synchronous ByzSGD in one ServerApp: workers take one server's model each, and leave it where it fails a filter."""

import logging
import re
from collections import Counter

import pytest
import torch
from flwr.app import ConfigRecord
from flwr.clientapp import ClientApp

from flwr_byzantine.attacks import ATTACKS, SERVER_ATTACKS, ServerAttack
from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.protocols.guanyu.wire import RECORD
from tests.strategies.test_guanyu import app, farthest, run

SETTINGS = GuanYuSettings.byzsgd(6, 1, 9, 2, exchange_every=3, synchronous=True)
HONEST, LIAR = [f"server-{number}" for number in range(5)], "server-5"


def counted(result):
    """By server, how many of its models were taken and how many were left."""
    taken, left = Counter(), Counter()
    for step in result.steps.values():
        taken.update(step.taken_models)
        left.update(model.server for model in step.rejected_models)
    return taken, left


def reasons(result, server):
    """How often each filter left this server's model."""
    left = [model for step in result.steps.values() for model in step.rejected_models]
    return Counter(model.reason.partition(":")[0] for model in left if model.server == server)


def assert_honest_are_believed(taken, left):
    """Most of the honest servers' models are taken, and none of them is left wholesale."""
    assert sum(taken[server] for server in HONEST) > 2 * sum(left[server] for server in HONEST)
    assert all(2 * taken[server] >= left[server] for server in HONEST)


@pytest.mark.parametrize("attack", sorted(SERVER_ATTACKS))
def test_honest_servers_stay_together_and_are_believed(attack):
    result = run(SETTINGS, rounds=12, server_attack=attack)
    assert farthest(result) < 0.15
    assert result.steps[12].drift < 0.2
    assert_honest_are_believed(*counted(result))


@pytest.mark.parametrize("attack", ["equivocation", "nan", "random", "reversed", "silent", "zero"])
def test_a_server_that_sends_nonsense_is_left_almost_always(attack):
    taken, left = counted(run(SETTINGS, rounds=12, server_attack=attack))
    assert left[LIAR] > 10 * taken[LIAR]


def test_the_lipschitz_filter_catches_a_server_that_jumps_within_the_outliers_reach():
    def jump(view):
        """Six of the last steps ahead, sideways: not far enough for an outlier."""
        centre = view.honest.mean(0)
        length = (centre - view.past[-2]).norm() if len(view.past) > 1 else torch.tensor(0.0)
        return centre + 6 * length * torch.nn.functional.normalize(torch.ones_like(centre).cumsum(0), dim=0)

    result = run(SETTINGS, rounds=12, server_attack=ServerAttack("jump", "this test", jump))
    taken, left = counted(result)
    why = reasons(result, LIAR)
    assert why["Lipschitz filter"] > 3 * (why["outliers filter"] + taken[LIAR])
    assert_honest_are_believed(taken, left)
    assert farthest(result) < 0.15


@pytest.mark.parametrize("worker", ["sign-flip", "alie", "nan"])
def test_lying_servers_and_lying_workers_together_lead_nobody_astray(worker):
    result = run(SETTINGS, rounds=12, server_attack="equivocation", worker_attack=ATTACKS[worker], seed=3)
    assert farthest(result) < 0.2


def test_a_guess_follows_the_learning_rate_of_gradients():
    options = {"client": app("gradient"), "workers_return": "gradient"}
    result = run(SETTINGS, rounds=12, server_attack="zero", learning_rate=lambda step: 0.5 / step**0.5, **options)
    taken, left = counted(result)
    assert farthest(result) < 0.15
    assert left[LIAR] > 10 * taken[LIAR]
    assert sum(taken[server] for server in HONEST) > sum(left[server] for server in HONEST)


def test_the_median_is_taken_at_first_and_after_each_exchange():
    result = run(SETTINGS, rounds=4, server_attack="random")
    assert [result.steps[n].taken_models.get("", 0) for n in (1, 2, 4)] == [9, 9, 9]  # 4 is the one after an exchange
    assert all(sum(step.taken_models.values()) == 9 for step in result.steps.values())
    assert result.steps[3].taken_models.get("", 0) < 9
    assert result.steps[1].as_metrics()["guanyu-models-rejected"] == 0


def test_what_is_left_is_logged_and_shown_in_the_metrics(caplog):
    logging.getLogger("flwr").propagate = True
    caplog.set_level(logging.INFO, "flwr")
    result = run(SETTINGS, rounds=8, server_attack="nan")
    assert "Workers take one server's model between exchanges" in caplog.text
    assert re.search(r"model of server-5 rejected by \d workers: not finite", caplog.text)
    metrics = result.train_metrics_clientapp[8]
    assert metrics["guanyu-models-rejected"] == len(result.steps[8].rejected_models)


def test_the_asynchronous_version_has_no_such_reports():
    assert run(rounds=2).steps[2].taken_models == {}


@pytest.mark.parametrize("nonsense", [None, {}, {"server": 7}, {"server": "server-9", "rejected": [], "reasons": []}])
def test_a_worker_that_says_nonsense_of_the_models_is_believed_its_gradient_only(nonsense, caplog):
    logging.getLogger("flwr").propagate = True
    honest = app()

    def lies(message, context, call_next):
        reply = call_next(message, context)
        if context.node_config["partition-id"] == 0:
            del reply.content[RECORD]
            if nonsense is not None:
                reply.content[RECORD] = ConfigRecord(nonsense)
        return reply

    outer = ClientApp(mods=[lies])
    outer.train()(lambda message, context: honest(message, context))
    result = run(SETTINGS, rounds=2, client=outer)
    assert len(result.rounds[2].admitted) == 9
    assert sum(result.steps[2].taken_models.values()) == 8
    assert "does not say which models it left" in caplog.text
