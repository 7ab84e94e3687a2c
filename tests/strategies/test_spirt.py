"""Spirt over a grid in this process: peers with stores in memory, threads, and a server off the data path.

In one file however long: one federation, and one thing after another that may befall it.
"""

import math
import threading

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flwr_byzantine.clients import peer_app
from flwr_byzantine.roster import SPIRT
from flwr_byzantine.signing import PrivateKey
from flwr_byzantine.strategies import Spirt
from flwr_byzantine.testing import InProcessGrid

TARGET = torch.linspace(-1, 1, 12)
SETTINGS = {"learning-rate": 0.5, "beat-s": 0.1, "suspect-after-s": 2.0, "grace-s": 5.0, "deadline-s": 10.0}
MEMORY = {"store": "memory"}


def towards_target(model, context, round):
    """Two batches' gradients of half the squared distance to a target of this node's own, near the common one."""
    own = TARGET + 0.05 * torch.randn(12, generator=torch.Generator().manual_seed(context.node_config["partition-id"]))
    return [model - own, model - own]


def distance(model, context, rounds):
    return {"distance": float((model - TARGET).norm())}


def initial():
    return ArrayRecord({"w": Array(np.zeros((3, 4), np.float32)), "steps": Array(np.array(7))})


def train(strategy, app=None, *, nodes=5, rounds=4, run_config=None, timeout=60, **grid):
    app = peer_app(towards_target, evaluate=distance) if app is None else app
    with InProcessGrid(app, nodes, run_config={**MEMORY, **(run_config or {})}, **grid) as running:
        return strategy.start(running, initial(), num_rounds=rounds, timeout=timeout)


def spirt(rule="trimmed-mean", *, f=1, **options):
    return Spirt(rule, num_malicious_nodes=f, settings=SETTINGS, **options)


def spread(result):
    """The greatest difference between any two models."""
    models = [record["w"].numpy() for record in result.models.values()]
    return max(float(np.abs(a - b).max()) for a in models for b in models)


def error_of(result):
    return float(np.abs(result.arrays["w"].numpy().reshape(-1) - TARGET.numpy()).max())


def test_honest_peers_agree_and_end_where_the_rule_leads():
    result = train(spirt("mean", f=0), rounds=3)
    targets = [model[0] for model in ([0 - g for g in towards_target(torch.zeros(12), c, 1)] for c in contexts(5))]
    assert spread(result) < 1e-6
    expected = torch.stack(targets).mean(0) * (1 - 0.5**3)
    np.testing.assert_allclose(result.arrays["w"].numpy().reshape(-1), expected.numpy(), atol=1e-6)


def contexts(count):
    from types import SimpleNamespace

    return [SimpleNamespace(node_config={"partition-id": i}) for i in range(count)]


def test_the_result_keeps_the_form_of_the_model_and_its_buffers():
    arrays = train(spirt()).arrays
    assert list(arrays) == ["w", "steps"]
    assert arrays["w"].numpy().shape == (3, 4)
    assert arrays["w"].numpy().dtype == np.float32
    assert int(arrays["steps"].numpy()) == 7


def test_every_round_has_the_median_and_the_range_of_what_the_peers_measured():
    result = train(spirt(), rounds=4)
    assert sorted(result.train_metrics_clientapp) == [1, 2, 3, 4]
    distances = [result.train_metrics_clientapp[r]["distance"] for r in (1, 2, 3, 4)]
    assert distances == sorted(distances, reverse=True)
    last = result.train_metrics_clientapp[4]
    assert last["distance-min"] <= last["distance"] <= last["distance-max"]
    assert (last["peers"], last["rows"], last["kept"]) == (5, 5, 0)


def test_the_server_evaluates_the_first_model_and_the_result():
    seen = {}

    def evaluate(round, arrays):
        seen[round] = arrays["w"].numpy()
        return MetricRecord({"mean": float(seen[round].mean())})

    with InProcessGrid(peer_app(towards_target), 4, run_config=MEMORY) as grid:
        result = spirt().start(grid, initial(), num_rounds=2, evaluate_fn=evaluate)
    assert sorted(seen) == [0, 2]
    assert not seen[0].any()
    assert sorted(result.evaluate_metrics_serverapp) == [0, 2]


@pytest.mark.parametrize("attack", ["sign-flip", "alie", "ipm", "dissensus", "huge", "nan"])
def test_a_liar_does_not_lead_robust_peers_astray(attack):
    lies = {"attack": attack, "num-byzantine": 1, "attack-scale": 10.0}
    result = train(spirt(), nodes=6, rounds=6, run_config=lies)
    honest = [report for report in result.peers.values() if report.name != "node-0"]
    assert len(honest) == 5
    assert max(report.distance for report in honest) < 1e-6
    assert error_of(result) < 0.15


@pytest.mark.parametrize("attack", ["sign-flip", "alie", "ipm", "dissensus"])
def test_the_same_liar_leads_plain_means_astray_or_apart(attack):
    lies = {"attack": attack, "num-byzantine": 1, "attack-scale": 100.0}
    result = train(spirt("mean"), nodes=6, rounds=6, run_config=lies)
    assert error_of(result) > 0.3


def test_an_ordinary_client_app_trains_as_a_peer():
    app = ClientApp()

    @app.train()
    def step(message, context):
        w = message.content["arrays"]["w"].numpy()
        arrays = {"w": Array(w + 0.5 * (TARGET.numpy().reshape(3, 4) - w)), "steps": Array(np.array(99))}
        metrics = MetricRecord({"num-examples": 3, "train-loss": float(message.content["config"]["server-round"])})
        return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)

    strategy = Spirt("median", num_malicious_nodes=1, settings={**SETTINGS, "learning-rate": 1.0})
    result = train(strategy, peer_app(app), nodes=4, rounds=3)
    np.testing.assert_allclose(result.arrays["w"].numpy().reshape(-1), (1 - 0.5**3) * TARGET.numpy(), atol=1e-6)
    assert [result.train_metrics_clientapp[r]["loss"] for r in (1, 2, 3)] == [1.0, 2.0, 3.0]


def test_an_attack_on_an_ordinary_client_app_is_made_once():
    from flwr_byzantine.clients import attack_mod

    app = ClientApp(mods=[attack_mod()])

    @app.train()
    def step(message, context):
        w = message.content["arrays"]["w"].numpy()
        arrays = {"w": Array(w + np.float32(1)), "steps": message.content["arrays"]["steps"]}
        return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({})}), reply_to=message)

    strategy = Spirt("mean", num_malicious_nodes=1, settings={**SETTINGS, "learning-rate": 1.0})
    lies = {"attack": "sign-flip", "num-byzantine": 1}
    result = train(strategy, peer_app(app), nodes=4, rounds=1, run_config=lies)
    honest = [node for node, report in result.peers.items() if report.name != "node-0"]
    assert result.models[honest[0]]["w"].numpy().mean() == pytest.approx((3 - 1) / 4)  # twice flipped it would be 1


def test_peers_that_all_fit_at_once_train_in_one_message_each():
    started = []

    def tracked(model, context, round):
        started.append(threading.current_thread().name)
        return towards_target(model, context, round)

    result = train(spirt(resident=False), peer_app(tracked), nodes=4, max_workers=4)
    assert len(result.peers) == 4
    assert spread(result) < 1e-6
    assert not any(thread.name == "spirt-node" for thread in threading.enumerate())


def test_no_thread_and_no_store_is_left_in_the_end():
    from flwr_byzantine.clients._roles import node

    def no_answer(reply, sent):
        return None if sent.metadata.message_type == SPIRT.who else reply

    train(spirt(), nodes=6, faults={1: no_answer})
    assert not node._stores
    assert not [thread.name for thread in threading.enumerate() if thread.name == "spirt-node" and thread.is_alive()]


def test_a_node_that_fails_is_counted_and_the_others_go_on():
    def failing(model, context, round):
        if context.node_config["partition-id"] == 1:
            raise RuntimeError("no data here")
        return towards_target(model, context, round)

    result = train(spirt(), peer_app(failing), nodes=5)
    honest = [report for report in result.peers.values() if report.name != "node-1"]
    assert len(honest) == 4
    assert error_of(result) < 0.2
    assert all(report.metrics["rows"] == [4.0] * 4 for report in honest)


def test_nodes_that_cannot_say_who_they_are_take_no_part():
    def no_answer(reply, sent):
        return None if sent.metadata.message_type == SPIRT.who else reply

    def not_its_own_key(reply, sent):
        if sent.metadata.message_type == SPIRT.who:
            reply.content[SPIRT.name]["peer"] = PrivateKey.from_seed(bytes(32)).peer
        return reply

    result = train(spirt(), nodes=6, faults={1: no_answer, 2: not_its_own_key})
    assert sorted(report.name for report in result.peers.values()) == ["node-0", "node-3", "node-4", "node-5"]
    reasons = " ".join(rejected.reason for rejected in result.rejected)
    assert "did not say who it is" in reasons
    assert "keyring" in reasons


@pytest.mark.parametrize("told", [{}, {"peer": 1}, {"peer": "x", "seat": b"", "slots": 0, "process": ""}])
def test_any_answer_to_who_are_you_is_a_seat_or_a_reason(told):
    def strange(reply, sent):
        if sent.metadata.message_type == SPIRT.who:
            reply.content = RecordDict({SPIRT.name: ConfigRecord(told)} if told else {})
        return reply

    result = train(spirt(), nodes=5, faults={3: strange})
    assert len(result.peers) == 4
    assert len(result.rejected) == 1


def test_a_final_model_of_nans_is_left_out_with_the_reason():
    def poisoned(reply, sent):
        if sent.metadata.message_type == SPIRT.report and "arrays" in reply.content:
            arrays = {"w": Array(np.full((3, 4), np.nan, np.float32)), "steps": Array(np.array(7))}
            reply.content["arrays"] = ArrayRecord(arrays)
        return reply

    result = train(spirt(), faults={2: poisoned})
    assert len(result.peers) == 4
    assert "not finite" in " ".join(rejected.reason for rejected in result.rejected)
    assert error_of(result) < 0.2


def test_a_server_cannot_move_a_peer_to_another_store():
    class Moving(Spirt):
        """A server that sends the first peer's readers to the second's store."""

        def configure_train(self, *args, **keywords):
            messages = list(super().configure_train(*args, **keywords))
            for message in messages:
                seats = message.content[SPIRT.name]["seats"]
                message.content[SPIRT.name]["seats"] = [seats[1], *seats[1:]]
            return messages

    result = train(Moving("median", num_malicious_nodes=1, settings=SETTINGS), nodes=5)
    assert len(result.peers) == 4  # the moved peer finds no seat of its own and says so
    assert all(report.metrics["rows"] == [4.0] * 4 for report in result.peers.values())


def test_a_node_takes_part_with_peers_on_its_own_keyring_only(tmp_path):
    from flwr_byzantine.signing import Keyring

    keys = [PrivateKey.from_seed(bytes([i] * 32)) for i in range(5)]
    Keyring(key.public(f"n{i}") for i, key in enumerate(keys[:4])).save(tmp_path / "ring.toml")
    configs = {}
    for i, key in enumerate(keys):
        key.save(tmp_path / f"{i}.pem")
        configs[i] = {"key": str(tmp_path / f"{i}.pem"), "keyring": str(tmp_path / "ring.toml")}
    result = train(spirt(), nodes=5, node_configs=configs)
    assert len(result.peers) == 4
    assert all(report.metrics["rows"] == [4.0] * 4 for report in result.peers.values())
    assert "has no seat" in " ".join(rejected.reason for rejected in result.rejected)


@pytest.mark.parametrize(
    ("strategy", "nodes", "reason"),
    [
        (Spirt("krumm"), 4, "did you mean"),
        (Spirt("krum", num_malicious_nodes=2), 4, "needs"),
        (Spirt("median", settings={"leaning-rate": 1.0}), 4, "learning-rate"),
    ],
    ids=["no such rule", "too few for the rule", "no such setting"],
)
def test_settings_that_cannot_be_end_the_run_with_their_reason(strategy, nodes, reason):
    with pytest.raises(RuntimeError, match=reason):
        train(strategy, nodes=nodes)


@pytest.mark.parametrize(
    "options", [{"num_malicious_nodes": -1}, {"min_available_nodes": 0}, {"settings": {"rounds": 3}}]
)
def test_what_a_caller_gets_wrong_raises(options):
    with pytest.raises(ValueError, match="Spirt"):
        Spirt(**options)


def test_an_unknown_attack_fails_on_every_node():
    result = train(spirt(), run_config={"attack": "typo"})
    assert not result.peers
    assert not result.arrays
    assert all("attack" in rejected.reason for rejected in result.rejected)
    assert len(result.rejected) == 5


def test_a_peer_whose_numbers_cannot_be_does_not_spoil_the_others():
    def absurd(reply, sent):
        if sent.metadata.message_type == SPIRT.report and "metrics" in reply.content:
            series = reply.content["metrics"]
            reply.content["metrics"] = MetricRecord({name: [math.inf] * len(series[name]) for name in series})
        return reply

    result = train(spirt(), faults={0: absurd})
    assert len(result.peers) == 5
    assert math.isfinite(result.train_metrics_clientapp[4]["distance-max"])


def test_start_messages_carry_no_gradient_and_come_once():
    seen = []

    def watched(reply, sent):
        seen.append(sent.metadata.message_type)
        return reply

    train(spirt(), nodes=4, faults={0: watched})
    assert seen.count(SPIRT.start) == 1
    assert seen.count(SPIRT.who) == 1


def test_nodes_that_do_not_come_are_not_waited_for_for_ever():
    with pytest.raises(RuntimeError, match="only 4 of 9 nodes"):
        train(spirt(min_available_nodes=9), nodes=4, timeout=0.1)


def test_sealed_averages_lead_to_the_same_model():
    open_, sealed = (
        train(Spirt("mean", settings={**SETTINGS, "secret": secret}), nodes=4, rounds=2) for secret in (False, True)
    )
    assert np.array_equal(open_.arrays["w"].numpy(), sealed.arrays["w"].numpy())
    assert spread(sealed) < 1e-6


def test_peers_on_a_sparse_graph_come_together():
    strategy = Spirt("cg-plus", num_malicious_nodes=1, settings={**SETTINGS, "graph": "ring:2"})
    result = train(strategy, nodes=7, rounds=10)
    assert all(report.metrics["rows"] == [5.0] * 10 for report in result.peers.values())
    assert spread(result) < 0.3
    assert error_of(result) < 0.15
