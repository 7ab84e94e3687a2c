"""What a node is as a peer, and what it tells; runs of several peers are in tests/strategies/test_spirt.py."""

import json
import math

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flwr_byzantine.clients import peer_app
from flwr_byzantine.clients._roles.node import close_store, node_of, open_own, open_reader, slots, with_tls
from flwr_byzantine.clients._roles.outcome import Outcome, load_outcome, load_progress, save_failure, save_progress
from flwr_byzantine.clients._roles.training import Training, app_gradients
from flwr_byzantine.clients.peer import PeerConfig, RoundRecord
from flwr_byzantine.clients.spirt.attack import PEER_ATTACKS, peer_attack
from flwr_byzantine.clients.spirt.report import round_metrics
from flwr_byzantine.records import Layout
from flwr_byzantine.roster import SETTINGS, SPIRT, Seat, read_seat, run_name
from flwr_byzantine.signing import PrivateKey
from flwr_byzantine.stores import MemoryStore
from flwr_byzantine.testing import InProcessGrid


def context(node_config=None, run_config=None):
    return Context(7, 1, dict(node_config or {}), RecordDict(), {"store": "memory", **(run_config or {})})


@pytest.fixture
def own():
    """A node with a store in memory, which is ended with the test."""
    made = context()
    yield made
    close_store(node_of(made).store)


def test_a_node_stays_who_it_is_from_message_to_message(own):
    first, second = node_of(own), node_of(own)
    assert first.key.peer == second.key.peer
    assert first.store == second.store
    assert open_own(first.store, own) is open_own(second.store, own)


def test_two_nodes_of_a_process_are_two_peers(own):
    other = context()
    assert node_of(other).key.peer != node_of(own).key.peer
    assert node_of(other).store != node_of(own).store
    close_store(node_of(other).store)


def test_a_key_file_makes_the_peer_and_is_not_copied_into_the_state(tmp_path):
    key = PrivateKey.generate()
    key.save(tmp_path / "key.pem")
    here = context({"key": str(tmp_path / "key.pem"), "name": "alice", "store": "redis://127.0.0.1:1"})
    assert node_of(here).key.peer == key.peer
    assert node_of(here).seat == Seat(key.public("alice"), "redis://127.0.0.1:1")


def test_others_are_given_the_address_that_the_node_names():
    here = context({"store": "unix:///run/store.sock", "store-address": "rediss://reader:pw@10.0.0.7:6380/0"})
    node = node_of(here)
    assert (node.store, node.seat.store) == ("unix:///run/store.sock", "rediss://reader:pw@10.0.0.7:6380/0")


@pytest.mark.parametrize("kind", ["embedded", "memory"])
def test_a_process_that_ends_with_the_message_needs_a_store_elsewhere(kind):
    with pytest.raises(ValueError, match="--node-config"):
        node_of(context({"store": kind}), lasting=False)


def test_a_store_in_the_memory_of_another_process_is_no_address(own):
    with pytest.raises(ValueError, match="another process"):
        open_reader("memory:0123", own, timeout_s=1)


def test_tls_files_are_the_nodes_own():
    here = context({"tls-ca": "/a/ca.pem", "tls-cert": "/a/me.pem", "tls-key": "/a/me.key"})
    url = with_tls("rediss://h:1/0", here)
    assert url == "rediss://h:1/0?ssl_ca_certs=%2Fa%2Fca.pem&ssl_certfile=%2Fa%2Fme.pem&ssl_keyfile=%2Fa%2Fme.key"


def test_outside_a_simulation_there_are_no_slots():
    assert slots() == 0


def ask(grid, message_type, content):
    return grid.send_and_receive([Message(content, node, message_type) for node in grid.get_node_ids()], timeout=30)


def question(process="another", nodes=4, **settings):
    about = ConfigRecord({"process": process, "nodes": nodes})
    return RecordDict({SPIRT.name: about, SETTINGS: ConfigRecord({"rounds": 2, **settings})})


def test_a_node_answers_with_a_seat_that_it_signed():
    with InProcessGrid(peer_app(lambda *_: []), 1, node_configs={0: {"store": "redis://127.0.0.1:1"}}) as grid:
        told = ask(grid, SPIRT.who, question())[0].content[SPIRT.name]
        seat = read_seat(told["seat"], peer=told["peer"], run=run_name(1))
    assert (seat.store, seat.key.name) == ("redis://127.0.0.1:1", "node-0")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rule": "krumm"}, "did you mean 'krum'"),
        ({"rule": "krum", "byzantine": 1}, "needs 5"),
        ({"leaning-rate": 1.0}, "learning-rate"),
        ({"deadline-s": "soon"}, "deadline_s"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_the_first_answer(settings, reason):
    with InProcessGrid(peer_app(lambda *_: []), 1, run_config={"store": "redis://127.0.0.1:1"}) as grid:
        reply = ask(grid, SPIRT.who, question(**settings))[0]
    assert reply.has_error()
    assert reason in reply.error.reason


def test_without_a_last_round_nothing_starts():
    with InProcessGrid(peer_app(lambda *_: []), 1, run_config={"store": "redis://127.0.0.1:1"}) as grid:
        about = ConfigRecord({"process": "", "nodes": 1})
        content = RecordDict({SPIRT.name: about, SETTINGS: ConfigRecord({"lag": 2})})
        assert "rounds" in ask(grid, SPIRT.who, content)[0].error.reason


def test_a_peer_with_no_seat_of_its_own_does_not_start():
    roster = RecordDict(
        {
            SPIRT.name: ConfigRecord({"peers": [""], "seats": [b""], "resident": True}),
            SETTINGS: ConfigRecord({"rounds": 2}),
            "arrays": ArrayRecord([np.zeros(2, np.float32)]),
        }
    )
    with InProcessGrid(peer_app(lambda *_: []), 1, run_config={"store": "redis://127.0.0.1:1"}) as grid:
        assert "no seat" in ask(grid, SPIRT.start, roster)[0].error.reason


def test_what_is_no_app_and_no_function_is_refused():
    with pytest.raises(TypeError, match="ClientApp"):
        peer_app(3)


def test_a_client_app_keeps_what_it_answers_besides():
    app = ClientApp()

    @app.evaluate()
    def evaluate(message, context):
        return Message(RecordDict({"m": MetricRecord({"x": 1.0})}), reply_to=message)

    with InProcessGrid(peer_app(app), 1) as grid:
        assert ask(grid, "evaluate", RecordDict())[0].content["m"]["x"] == 1.0


class Sent:
    """What app_gradients needs of a start message."""

    def __init__(self, grid):
        self.message = Message(
            RecordDict({"config": ConfigRecord({"lr": 0.5})}), next(iter(grid.get_node_ids())), SPIRT.start
        )


def test_the_update_of_a_client_app_counts_as_its_gradient_and_its_config_comes_along():
    seen = []
    app = ClientApp()

    @app.train()
    def step(message, context):
        seen.append(dict(message.content["config"]))
        arrays = {"w": Array(message.content["arrays"]["w"].numpy() - 2), "n": Array(np.array(5))}
        metrics = MetricRecord({"loss": 0.25, "num-examples": 3})
        return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)

    sent = ArrayRecord({"w": Array(np.zeros(3, np.float32)), "n": Array(np.array(4))})
    with InProcessGrid(app, 1) as grid:
        gradients = app_gradients(app, Layout.of(sent), sent, Sent(grid).message)
        (piece,) = gradients(torch.ones(3), context(), 6)
    assert torch.equal(piece.gradient, torch.full((3,), 2.0))
    assert (piece.loss, piece.examples) == (0.25, 3)
    assert seen == [{"lr": 0.5, "server-round": 6}]


def test_the_model_is_measured_before_each_round_and_belongs_to_the_round_that_made_it():
    training = Training(lambda model, *_: [model], lambda model, context, rounds: {"m": rounds * 10.0}, context())
    for round in (1, 2):
        list(training(torch.zeros(1), round))
    training.measure(torch.zeros(1), 2)
    assert training.measured == {0: {"m": 0.0}, 1: {"m": 10.0}, 2: {"m": 20.0}}


def test_a_round_that_a_peer_missed_has_no_numbers():
    records = [
        RoundRecord(1, rows=["a", "b"], seconds={"computing": 1.0, "gathering": 0.5}, loss=0.5),
        RoundRecord(3, rows=["a"], rejected=[("b", "late")], kept="too few"),
    ]
    metrics = round_metrics(records, {1: {"accuracy": 0.5}, 3: {"accuracy": 0.75}}, rounds=3)
    assert {len(values) for values in metrics.values()} == {3}
    assert metrics["rows"][0::2] == [2.0, 1.0]
    assert metrics["seconds"][0] == 1.5
    assert (metrics["rejected"][2], metrics["kept"][2], metrics["accuracy"][2]) == (1.0, 1.0, 0.75)
    assert all(math.isnan(metrics[name][1]) for name in metrics)


def test_whichever_process_is_asked_finds_progress_and_outcome_in_the_store():
    store = MemoryStore()
    assert (load_outcome(store), load_progress(store)) == (None, 0)
    save_progress(store, 3)
    assert (load_outcome(store), load_progress(store)) == (None, 3)
    Outcome(torch.ones(2), {"loss": [0.5, math.nan]}, {"ended": "all rounds done"}).save(store)
    found = load_outcome(store)
    assert torch.equal(found.model, torch.ones(2))
    assert found.metrics["loss"][0] == 0.5
    assert math.isnan(found.metrics["loss"][1])
    content = found.content(ArrayRecord({"w": Array(np.zeros((1, 2), np.float32))}), SPIRT)
    assert content["arrays"]["w"].numpy().tolist() == [[1.0, 1.0]]
    assert json.loads(content[SPIRT.name]["status"]) == {"ended": "all rounds done"}


def test_a_peer_that_failed_is_an_error_to_whoever_asks():
    store = MemoryStore()
    save_failure(store, ValueError("no data"))
    with pytest.raises(RuntimeError, match="no data"):
        load_outcome(store)


@pytest.mark.parametrize("name", sorted(set(PEER_ATTACKS) - {"rop"}))
def test_every_attack_by_name_makes_one_row(name):
    lies = {"attack": name, "num-byzantine": 1}
    made = peer_attack(context({"partition-id": 0}, lies), PeerConfig())
    row = made(torch.ones(4), [torch.zeros(4), torch.full((4,), 0.5)], round=2)
    assert (row.shape, row.dtype) == ((4,), torch.float32)
    assert peer_attack(context({"partition-id": 1}, lies), PeerConfig()) is None


@pytest.mark.parametrize(("name", "reason"), [("typo", "dissensus"), ("rop", "reference")])
def test_an_attack_that_cannot_be_fails_on_honest_nodes_too(name, reason):
    with pytest.raises(ValueError, match=reason):
        peer_attack(context({"partition-id": 5}, {"attack": name, "num-byzantine": 1}), PeerConfig())


def test_poisoned_data_and_no_attack_leave_the_peer_as_it_is():
    for name in ("none", "label-flip", "backdoor"):
        assert peer_attack(context({"partition-id": 0}, {"attack": name, "num-byzantine": 1}), PeerConfig()) is None
