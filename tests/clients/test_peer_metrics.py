"""What Prometheus is told of a peer: parsed as strictly as its text format is defined."""

from __future__ import annotations

import json
import math
import socket
import urllib.error
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.clients.peer_metrics import METRICS_TYPE, MetricsServer, metrics_text
from tests.clients.prometheus_text import parsed, value

ALICE, BOB, EVE = "aa" * 32, "bb" * 32, "ee" * 32
STATUS = {
    "peer": ALICE,
    "name": "alice",
    "round": 7,
    "phase": "catching up",
    "members": {
        BOB: {"standing": "alive", "round": 6, "heartbeat-age-s": 0.25},
        EVE: {"standing": "convicted", "round": 2, "heartbeat-age-s": None},
    },
    "rejected": {EVE: {"refused": 3, "late": 1}},
    "read-bytes": 4_000_000,
    "written-bytes": 12,
    "store-away": True,
    "candidates": [BOB],
    "rounds": [{"round": 6, "seconds": {"computing": 0.5, "gathering": 1.25}, "loss": 2.5}],
}


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("info", {"id": ALICE}, 1),
        ("round", {"peer": "aaaaaaaa", "name": "alice"}, 7),
        ("phase", {"phase": "catching up"}, 1),
        ("members", {"standing": "alive"}, 1),
        ("members", {"standing": "convicted"}, 1),
        ("member_round", {"member": "bbbbbbbb"}, 6),
        ("heartbeat_age_seconds", {"member": "bbbbbbbb"}, 0.25),
        ("rejected_total", {"reason": "refused", "sender": "eeeeeeee"}, 3),
        ("rejected_total", {"reason": "late", "sender": "eeeeeeee"}, 1),
        ("read_bytes_total", {}, 4_000_000),
        ("written_bytes_total", {}, 12),
        ("phase_seconds", {"phase": "gathering"}, 1.25),
        ("loss", {}, 2.5),
        ("store_away", {}, 1),
        ("candidates", {}, 1),
    ],
)
def test_every_number_of_the_status_is_there(name, wanted, expected):
    assert value(metrics_text(STATUS), f"flwr_byzantine_peer_{name}", **wanted) == expected


def test_what_only_grows_is_a_counter_and_nothing_else_is():
    kinds = parsed(metrics_text(STATUS)).kinds
    assert {name for name, kind in kinds.items() if kind == "counter"} == {
        name for name in kinds if name.endswith("_total")
    }


def test_a_member_that_was_never_heard_has_no_age():
    ages = [labels for name, labels in parsed(metrics_text(STATUS)).samples if name.endswith("heartbeat_age_seconds")]
    assert [dict(pairs)["member"] for pairs in ages] == ["bbbbbbbb"]


@given(st.text(), st.text())
def test_no_text_breaks_the_format(name, reason):
    text = metrics_text({**STATUS, "name": name, "rejected": {EVE: {reason: 5}}})
    assert value(text, "flwr_byzantine_peer_rejected_total", name=name, reason=reason) == 5


@given(st.floats())
def test_any_number_is_written_as_it_is_read(number):
    text = metrics_text({**STATUS, "rounds": [{"loss": number}]})
    read = value(text, "flwr_byzantine_peer_loss")
    assert read == number or (math.isnan(read) and math.isnan(number))


def test_a_peer_that_has_just_begun_is_no_error():
    assert parsed(metrics_text({"peer": ALICE})).kinds == {"flwr_byzantine_peer_info": "gauge"}


def test_the_endpoint_gives_text_and_json():
    with MetricsServer(lambda: STATUS) as server:
        assert server.url.startswith("http://127.0.0.1:")
        with urlopen(server.url + "/metrics") as reply:
            assert reply.headers["Content-Type"] == METRICS_TYPE
            assert reply.read().decode() == metrics_text(STATUS)
        with urlopen(server.url + "/status") as reply:
            assert json.load(reply) == STATUS


def test_the_endpoint_has_nothing_else_and_takes_nothing():
    with MetricsServer(lambda: STATUS) as server:
        for path, data, code in (("/", None, 404), ("/../etc/passwd", None, 404), ("/metrics", b"x", 501)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urlopen(server.url + path, data=data)
            assert caught.value.code == code
            caught.value.close()


def test_a_client_that_hangs_up_does_no_harm(capfd):
    with MetricsServer(lambda: STATUS) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        for request in (b"", b"GET /metrics", b"\x00\xff\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"):
            with socket.create_connection(address) as client:
                client.sendall(request)
        with urlopen(server.url + "/metrics") as reply:
            assert reply.status == 200
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_an_error():
    with MetricsServer(lambda: STATUS) as server, pytest.raises(OSError, match="in use"):
        MetricsServer(lambda: STATUS, port=int(server.url.rpartition(":")[2]))
