"""What Prometheus is told of a GuanYu node."""

from __future__ import annotations

import json
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.clients.guanyu.metrics import metrics_text
from flwr_byzantine.clients.prometheus import StatusServer
from tests.clients.guanyu.cluster import cluster
from tests.clients.prometheus_text import parsed, value

S1, S2, W1 = "aa" * 32, "bb" * 32, "cc" * 32
STATUS = {
    "node": S1,
    "name": "s1",
    "role": "server",
    "step": 7,
    "phase": "waits for gradients",
    "store-away": False,
    "rejected": {W1: {"not-finite": 3, "late": 1}},
    "bytes": {"read": {"gradient": 400, "exchange": 90}, "written": {"model": 50}},
    "links": {S2: {"exchange": 90}, W1: {"gradient": 400}},
    "messages": {"gradient": 6, "exchange": 5},
    "senders": {S2: 6, W1: 5},
    "last-step": {"step": 6, "seconds": 0.25, "missing": [W1], "distance": 0.125},
}


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("info", {"id": S1, "role": "server"}, 1),
        ("step", {"node": "aaaaaaaa", "name": "s1"}, 7),
        ("phase", {"phase": "waits for gradients"}, 1),
        ("step_seconds", {}, 0.25),
        ("model_distance", {}, 0.125),
        ("missing_senders", {}, 1),
        ("sender_step", {"sender": "bbbbbbbb"}, 6),
        ("messages_total", {"kind": "gradient"}, 6),
        ("rejected_total", {"reason": "not-finite", "sender": "cccccccc"}, 3),
        ("read_bytes_total", {"sender": "cccccccc", "kind": "gradient"}, 400),
        ("written_bytes_total", {"kind": "model"}, 50),
        ("store_away", {}, 0),
    ],
)
def test_every_number_of_the_status_is_there(name, wanted, expected):
    assert value(metrics_text(STATUS), f"flwr_byzantine_guanyu_{name}", **wanted) == expected


def test_what_only_grows_is_a_counter_and_nothing_else_is():
    kinds = parsed(metrics_text(STATUS)).kinds
    assert len(kinds) == 12
    assert {name for name, kind in kinds.items() if kind == "counter"} == {
        name for name in kinds if name.endswith("_total")
    }


@given(st.text(), st.text())
def test_no_text_breaks_the_format(name, reason):
    text = metrics_text({**STATUS, "name": name, "rejected": {W1: {reason: 5}}})
    assert value(text, "flwr_byzantine_guanyu_rejected_total", name=name, reason=reason) == 5


def test_a_node_that_runs_tells_what_it_does_and_what_it_left_out():
    with cluster(3, 5, gradient_quorum=3, steps=10_000) as nodes:
        nodes.to(3, lambda line, name, data: b"y" * 40 if name == "gradient-head" else data)
        before = parsed(metrics_text(nodes.make(0).status()))
        nodes.start()
        nodes.until(lambda: nodes.rejected(3, by=0), "a reason")
        nodes.reach(5, *range(3))
        with StatusServer(nodes.nodes[0].status, metrics_text, host="127.0.0.1", port=0) as server:
            with urlopen(server.url + "/metrics") as reply:
                text = reply.read().decode()
            with urlopen(server.url + "/status") as reply:
                status = json.load(reply)
    assert before.samples.keys() & parsed(text).samples.keys()
    assert value(text, "flwr_byzantine_guanyu_step") >= 5
    malformed = {"sender": nodes.ids[3][:8], "reason": "malformed"}
    assert value(text, "flwr_byzantine_guanyu_rejected_total", **malformed) >= 1
    assert value(text, "flwr_byzantine_guanyu_sender_step", sender=nodes.ids[3][:8]) == 0
    assert status["role"] == "server"
    assert status["messages"]["gradient"] >= 4 * 3
