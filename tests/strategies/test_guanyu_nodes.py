"""GuanYuNodes over a grid in this process: servers and workers, and a SuperLink off their path.

In one file however long: one federation, and one thing after another that may befall it.
"""

import json
import math
import threading
from types import SimpleNamespace
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.clientapp import ClientApp
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.clients import guanyu_app
from flwr_byzantine.clients.functions import BatchGradient
from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.roster import GUANYU
from flwr_byzantine.rules import mda, multi_krum, nnm, trimmed_mean
from flwr_byzantine.signing import Keyring, PrivateKey
from flwr_byzantine.stores._locate import free_port
from flwr_byzantine.strategies import GuanYuNodes
from flwr_byzantine.strategies._guanyu_nodes_roles import deal
from flwr_byzantine.strategies._roles_invite import Invited
from flwr_byzantine.testing import InProcessGrid

TARGET = torch.linspace(-1, 1, 12)
FAST = {"poll-s": 0.004, "max-poll-s": 0.05, "idle-s": 120.0, "stay-s": 0.5}
SMALL = GuanYuSettings(n=3, f=0, m=3, f_w=0)
ONE_SERVER_MAY_GO = GuanYuSettings(n=4, f=0, m=3, f_w=0, q=3)
TOLERANT = GuanYuSettings(n=5, f=1, m=4, f_w=1, gradient_rule=mda, strict=False)
MEMORY = {"store": "memory"}


def towards_target(model, context, step):
    """The gradient of half the squared distance to the target, with a loss; data of one's own move it a little."""
    own = 0.02 * torch.randn(12, generator=torch.Generator().manual_seed(context.node_config["partition-id"]))
    return BatchGradient(0, model - TARGET - own, float((model - TARGET).norm()), 1)


def initial():
    return ArrayRecord({"w": Array(np.zeros((3, 4), np.float32)), "steps": Array(np.array(7))})


def train(strategy, app=None, *, steps=8, run_config=None, timeout=60, **grid):
    nodes = grid.pop("nodes", strategy.settings.n + strategy.settings.m)
    app = guanyu_app(towards_target) if app is None else app
    with InProcessGrid(app, nodes, run_config={**MEMORY, **(run_config or {})}, **grid) as running:
        result = strategy.start(running, initial(), num_rounds=steps, timeout=timeout)
        result.partition_of = {node: running.partition_of(node) for node in running.get_node_ids()}
        return result


def nodes_of(settings, **options):
    return GuanYuNodes(settings, learning_rate=0.5, node_settings=FAST, **options)


def of_role(result, role):
    return {node: report for node, report in result.nodes.items() if report.role == role}


def error_of(record):
    return float(np.abs(record["w"].numpy().reshape(-1) - TARGET.numpy()).max())


@pytest.fixture(scope="module")
def unattacked():
    return train(nodes_of(SMALL, min_available_nodes=1), nodes=7)


def test_the_servers_end_where_the_gradients_lead_and_the_rest_have_no_role(unattacked):
    assert sorted(report.role for report in unattacked.nodes.values()) == ["server"] * 3 + ["worker"] * 3
    assert {report.status["ended"] for report in unattacked.nodes.values()} == {"all steps done"}
    assert all(error_of(unattacked.models[node]) < 0.1 for node in of_role(unattacked, "server"))
    assert max(report.distance for report in of_role(unattacked, "server").values()) < 0.05
    (left_out,) = unattacked.rejected
    assert left_out.reason == "there is no role left for it"
    assert sorted(of_role(unattacked, "server")) == sorted(unattacked.partition_of)[:3]


def test_the_result_keeps_the_form_of_the_model_and_its_buffers(unattacked):
    arrays = unattacked.arrays
    assert list(arrays) == ["w", "steps"]
    assert (arrays["w"].numpy().shape, arrays["w"].numpy().dtype) == ((3, 4), np.float32)
    assert int(arrays["steps"].numpy()) == 7
    assert error_of(arrays) < 0.1


def test_every_step_has_the_numbers_of_servers_and_of_workers(unattacked):
    steps = unattacked.train_metrics_clientapp
    assert sorted(steps) == list(range(1, 9))
    losses = [steps[step]["worker-loss"] for step in sorted(steps)]
    assert losses[0] == pytest.approx(float(TARGET.norm()))
    assert losses[4] < losses[2] < losses[0]
    assert (steps[4]["servers"], steps[4]["workers"]) == (3, 3)
    assert 0 <= steps[4]["server-distance-min"] <= steps[4]["server-distance"] <= steps[4]["server-distance-max"] < 0.1
    assert steps[4]["server-written-bytes"] > 2 * 12 * 4
    assert "worker-distance" not in steps[4]


def test_a_lying_server_and_a_lying_worker_lead_nobody_astray():
    lies = {"server-attack": "huge", "worker-attack": "sign-flip"}
    result = train(nodes_of(TOLERANT), steps=10, run_config=lies)
    reports = list(of_role(result, "server").values())
    assert len(reports) == 5
    assert max(report.distance for report in reports) < 0.1, (
        "the liar's lies are in what it publishes, not in its model"
    )
    assert error_of(result.arrays) < 0.15


def test_without_tolerance_the_same_lying_worker_leads_the_mean_astray():
    lies = {"worker-attack": "huge"}
    settings = GuanYuSettings(n=3, f=0, m=4, f_w=1, gradient_rule=trimmed_mean, strict=False)
    assert error_of(train(nodes_of(settings), run_config=lies).arrays) < 0.15

    class Naive(GuanYuNodes):
        """Tells the nodes another rule than the settings'."""

        def _settings(self, num_rounds):
            return ConfigRecord({**super()._settings(num_rounds), "gradient-rule": "mean"})

    naive = Naive(settings, learning_rate=0.5, node_settings={**FAST, "idle-s": 2.0})
    found = train(naive, run_config=lies).arrays
    assert not found or error_of(found) > 1.0


def test_who_does_not_come_counts_among_the_byzantine_ones():
    def no_answer(reply, sent):
        return None if sent.metadata.message_type == GUANYU.who else reply

    result = train(nodes_of(TOLERANT), faults={0: no_answer, 1: no_answer})
    roles = [len(of_role(result, role)) for role in ("server", "worker")]
    assert sorted(roles) in ([3, 4], [2, 5])
    assert [rejected.reason for rejected in result.rejected] == ["it did not say who it is"] * 2
    assert error_of(result.arrays) < 0.15


def test_without_a_quorum_of_servers_nothing_starts_and_the_reason_is_told():
    def no_answer(reply, sent):
        return None if sent.metadata.message_type == GUANYU.who else reply

    with pytest.raises(RuntimeError, match=r"needs 3 of 3 servers and 3 of 3 workers, got 3 and 2; .*did not say who"):
        train(nodes_of(SMALL), faults={2: no_answer})


def test_nodes_have_the_role_that_their_configuration_says():
    wanted = {0: {"role": "worker"}, 1: {"role": "worker"}, 4: {"role": "server"}}
    result = train(nodes_of(SMALL), node_configs=wanted)
    roles = {result.partition_of[node]: report.role for node, report in result.nodes.items()}
    assert (roles[0], roles[1], roles[4]) == ("worker", "worker", "server")
    assert sorted(roles.values()) == ["server"] * 3 + ["worker"] * 3


def test_a_role_that_is_none_leaves_the_node_out_with_the_reason():
    result = train(nodes_of(ONE_SERVER_MAY_GO), node_configs={3: {"role": "boss"}}, nodes=8)
    assert len(result.nodes) == 7
    assert "must be one of server, worker, got 'boss'" in result.rejected[0].reason


def test_a_worker_that_fails_is_told_and_the_others_go_on():
    def failing(model, context, step):
        if context.node_config["role"] == "worker" and context.node_config["partition-id"] == 8 and step == 3:
            raise OSError("the disk is gone")
        return towards_target(model, context, step)

    wanted = {i: {"role": "server" if i < 5 else "worker"} for i in range(9)}
    result = train(nodes_of(TOLERANT), guanyu_app(failing), node_configs=wanted)
    ended = {result.partition_of[node]: report.status["ended"] for node, report in result.nodes.items()}
    assert "the disk is gone" in ended.pop(8)
    assert set(ended.values()) == {"all steps done"}
    assert error_of(result.arrays) < 0.15


def test_an_ordinary_client_app_works():
    app, seen = ClientApp(), set()

    @app.train()
    def step(message, context):
        seen.add(message.content["config"]["server-round"])
        w = message.content["arrays"]["w"].numpy()
        arrays = {"w": Array(w + 0.5 * (TARGET.numpy().reshape(3, 4) - w)), "steps": Array(np.array(99))}
        metrics = MetricRecord({"num-examples": 3, "train-loss": 0.25})
        return FlowerMessage(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)

    strategy = GuanYuNodes(SMALL, learning_rate=1.0, node_settings=FAST)
    result = train(strategy, guanyu_app(app), steps=3)
    np.testing.assert_allclose(result.arrays["w"].numpy().reshape(-1), (1 - 0.5**3) * TARGET.numpy(), atol=1e-6)
    assert seen == {1, 2, 3}
    assert result.train_metrics_clientapp[2]["worker-loss"] == 0.25


def test_models_are_measured_at_workers_before_each_step_and_at_servers_in_the_end():
    def distance(model, context, steps):
        return {"error": float((model - TARGET).norm())}

    result = train(nodes_of(SMALL), guanyu_app(towards_target, evaluate=distance), steps=4)
    steps = result.train_metrics_clientapp
    assert steps[1]["worker-error"] == pytest.approx(0.5 * float(TARGET.norm()), abs=0.05)
    assert "server-error" not in steps[3]
    assert steps[4]["server-error"] < steps[1]["worker-error"]


def test_nodes_that_all_fit_at_once_serve_and_work_in_one_message_each():
    result = train(nodes_of(SMALL, resident=False), max_workers=6, steps=4)
    assert len(result.nodes) == 6
    assert not any(thread.name == "guanyu-node" for thread in threading.enumerate())


def test_a_node_serves_its_numbers_where_its_configuration_says():
    port, seen = free_port("127.0.0.1"), []

    def looking(model, context, step):
        if step == 3:
            with urlopen(f"http://127.0.0.1:{port}/status") as reply:
                seen.append(json.load(reply))
        return towards_target(model, context, step)

    configs = {0: {"metrics-port": port, "role": "server"}}
    train(nodes_of(SMALL), guanyu_app(looking), steps=4, node_configs=configs)
    assert [(status["name"], status["role"]) for status in seen] == [("node-0", "server")] * 3
    assert all(status["step"] >= 3 and status["messages"]["gradient"] >= 6 for status in seen)


def test_no_thread_and_no_store_is_left_in_the_end():
    from flwr_byzantine.clients._roles import node

    train(nodes_of(SMALL), steps=2)
    assert not node._stores
    assert not [thread.name for thread in threading.enumerate() if thread.name == "guanyu-node" and thread.is_alive()]


def test_a_node_that_believes_one_server_nothing_goes_on_with_the_others(tmp_path):
    keys = [PrivateKey.from_seed(bytes([i + 1] * 32)) for i in range(7)]
    Keyring(key.public(f"n{i}") for i, key in enumerate(keys) if i != 3).save(tmp_path / "ring.toml")
    configs = {}
    for i, key in enumerate(keys):
        key.save(tmp_path / f"{i}.pem")
        configs[i] = {"key": str(tmp_path / f"{i}.pem"), "role": "server" if i < 4 else "worker"}
        if i != 3:
            configs[i]["keyring"] = str(tmp_path / "ring.toml")
    result = train(nodes_of(ONE_SERVER_MAY_GO), node_configs=configs)
    assert len(result.nodes) == 7
    believed = [report for node, report in result.nodes.items() if result.partition_of[node] != 3]
    assert all(report.status["senders"].get(keys[3].peer, 0) == 0 for report in believed)
    assert error_of(result.arrays) < 0.1


def test_a_server_that_replies_nans_in_the_end_is_left_out_with_the_reason():
    def poisoned(reply, sent):
        if sent.metadata.message_type == GUANYU.report and "arrays" in reply.content:
            arrays = {"w": Array(np.full((3, 4), np.nan, np.float32)), "steps": Array(np.array(7))}
            reply.content["arrays"] = ArrayRecord(arrays)
        return reply

    wanted = {i: {"role": "server" if i < 4 else "worker"} for i in range(7)}
    result = train(nodes_of(ONE_SERVER_MAY_GO), faults={1: poisoned}, node_configs=wanted)
    assert len(result.nodes) == 6
    assert "not finite" in " ".join(rejected.reason for rejected in result.rejected)
    assert error_of(result.arrays) < 0.1


@pytest.mark.parametrize(
    ("node_settings", "reason"),
    [({"leaning-rate": 1.0}, "there is no setting"), ({"poll-s": 9.0}, "poll_s"), ({"idle-s": "long"}, "idle_s")],
)
def test_settings_that_cannot_be_end_the_run_with_their_reason(node_settings, reason):
    with pytest.raises(RuntimeError, match=reason):
        train(GuanYuNodes(SMALL, node_settings=node_settings))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"min_available_nodes": 0}, "min_available_nodes must be >= 1"),
        ({"node_settings": {"strict": False}}, "strict cannot be among"),
        ({"node_settings": {"run": "x"}}, "run cannot be among"),
    ],
)
def test_what_a_caller_gets_wrong_raises(options, reason):
    with pytest.raises(ValueError, match=reason):
        GuanYuNodes(SMALL, **options)


def test_rules_are_sent_by_name_and_nothing_that_a_name_does_not_say_is_lost():
    piped = GuanYuSettings(n=6, f=1, m=18, f_w=5, gradient_rule=(nnm >> multi_krum).bind(f=5))
    assert GuanYuNodes(piped)._settings(1)["gradient-rule"] == "nnm >> multi_krum"
    with pytest.raises(ValueError, match="sent by name"):
        GuanYuNodes(GuanYuSettings(n=3, f=0, m=9, f_w=2, gradient_rule=multi_krum.bind(m=2)))


def test_the_synchronous_version_is_refused():
    with pytest.raises(ValueError, match="no synchronous version"):
        GuanYuNodes(GuanYuSettings.byzsgd(5, 1, 4, 1, exchange_every=3, synchronous=True))


def test_an_attack_that_cannot_be_fails_on_honest_nodes_too():
    result = train(nodes_of(SMALL), run_config={"server-attack": "ipm"})
    assert not result.nodes
    assert len(result.rejected) == 6
    assert all("server-attack" in rejected.reason for rejected in result.rejected)


def test_numbers_that_are_none_do_not_spoil_the_others():
    def absurd(reply, sent):
        if sent.metadata.message_type == GUANYU.report and "metrics" in reply.content:
            series = reply.content["metrics"]
            reply.content["metrics"] = MetricRecord({name: [math.inf] * len(series[name]) for name in series})
        return reply

    result = train(nodes_of(SMALL), faults={0: absurd}, steps=3)
    assert len(result.nodes) == 6
    assert all(math.isfinite(value) for value in result.train_metrics_clientapp[3].values())


WISHES = st.lists(st.sampled_from(["", "server", "worker"]), min_size=0, max_size=30)


@given(WISHES, st.integers(0, 2), st.integers(0, 2), st.integers(0, 3), st.integers(0, 3))
def test_roles_are_as_wished_and_what_is_missing_is_taken_off_the_tolerance(wishes, f, f_w, more, more_w):
    settings = GuanYuSettings(n=3 * f + 3 + more, f=f, m=3 * f_w + 3 + more_w, f_w=f_w)
    invited = Invited()
    for node, wish in enumerate(wishes):
        invited.seats[node], invited.signed[node], invited.roles[node] = SimpleNamespace(), b"", wish
    servers, workers, others = (wishes.count(role) for role in ("server", "worker", ""))
    lack = max(0, settings.q - servers) + max(0, settings.q_w - workers)
    if lack > others:
        with pytest.raises(RuntimeError, match=r"GuanYuNodes needs \d+ of \d+ servers and"):
            deal(settings, invited)
        return
    roles = deal(settings, invited)
    assert len(roles.servers) == roles.settings.n <= settings.n
    assert len(roles.workers) == roles.settings.m <= settings.m
    assert (roles.settings.q, roles.settings.q_w) == (settings.q, settings.q_w)
    assert settings.f - roles.settings.f == settings.n - roles.settings.n
    assert settings.f_w - roles.settings.f_w == settings.m - roles.settings.m
    assert {wishes[node] for node in roles.servers} <= {"", "server"}
    assert {wishes[node] for node in roles.workers} <= {"", "worker"}
    left = {rejected.node_id for rejected in invited.rejected}
    assert left | {*roles.servers, *roles.workers} == set(range(len(wishes)))
    assert set(invited.seats) == {*roles.servers, *roles.workers}
