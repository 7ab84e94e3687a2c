"""The parts of GuanYu's nodes: configuration, pace, post, journal."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.clients._node_journal import MAX_KINDS
from flwr_byzantine.clients.guanyu import GuanYuConfig
from flwr_byzantine.clients.guanyu._journal import Journal
from flwr_byzantine.clients.guanyu._meter import MAX_RECORDS, Meter
from flwr_byzantine.clients.guanyu._post import Post
from flwr_byzantine.clients.guanyu._watch import Pace, Watch
from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.protocols.guanyu import Kind
from flwr_byzantine.signing import PrivateKey, Reason, Rejected, Verified
from flwr_byzantine.stores import MemoryStore


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be > 0"),
        ({"decay": -1.0}, "decay >= 0"),
        ({"steps": 0}, "steps must be >= 1"),
        ({"retain_steps": 7}, "retain_steps must be >= 4 lag = 8"),
        ({"poll_s": 1.0}, "at most max_poll_s"),
        ({"idle_s": 0.0}, "must be > 0"),
        ({"run": "a b"}, "run"),
        ({"gradient_rule": "multy-krum"}, "there is no rule"),
    ],
)
def test_a_configuration_out_of_range_is_told(settings, said):
    with pytest.raises(ValueError, match=said):
        GuanYuConfig(**settings)


def test_a_configuration_of_another_type_is_told():
    with pytest.raises(TypeError, match="byzantine_servers must be int, got True"):
        GuanYuConfig(byzantine_servers=True)


def test_the_bounds_are_those_of_the_protocol_and_weaker_ones_on_request():
    with pytest.raises(ToleranceError, match=r"n >= 3f \+ 3 = 6"):
        GuanYuConfig(byzantine_servers=1).settings(5, 3)
    assert GuanYuConfig(byzantine_servers=1, strict=False, gradient_rule="mda").settings(5, 3).q == 4


@given(
    f=st.integers(0, 3),
    honest=st.lists(st.integers(1, 60), min_size=1, max_size=9),
    lies=st.lists(st.integers(1, 1 << 61), max_size=3),
    step=st.integers(1, 60),
)
def test_liars_make_no_one_jump_to_where_no_honest_node_is(f, honest, lies, step):
    pace = Pace(2 * f + 1, 2)
    pace.enter(step)
    for number, head in enumerate([*honest, *lies[:f]]):
        pace.heard(str(number), head)
    wanted = pace.wanted()
    assert wanted[0] == step
    assert all(step + 2 <= target <= max(honest) for target in wanted[1:])


def test_a_target_stays_until_it_is_too_old_and_is_a_step_that_has_messages():
    pace = Pace(1, 2, every=5, skip=True)
    seen = []
    for head in (12, 13, 14, 16, 21):
        pace.heard("a", head)
        seen += pace.wanted()
    assert seen == [10, 10, 10, 15, 20]
    pace.enter(19)
    assert pace.wanted() == (19,)


def test_what_comes_after_a_quorum_is_not_read_but_known_to_be_there():
    key, store, read, came = PrivateKey.from_seed(b"a" * 32), MemoryStore(), [], []
    post = Post(
        key, {key.peer: key.public()}, run="test", form=(torch.float32, (2,)), retain_steps=8,
        counted=lambda owner, kind, size_bytes: read.append(kind),
    )  # fmt: skip
    post.publish(store, torch.ones(2), Kind.MODEL, 1)
    read.clear()
    pace = Pace()
    pace.enough(1)
    watch = Watch(post, store, pace, lambda *each: came.append(each) or True, lambda *why: None)
    assert not watch.look(key.peer, Kind.MODEL)
    assert (read, came, pace.unread(key.peer)) == (["model-head"], [], 1)
    pace.enter(2)
    post.publish(store, torch.ones(2), Kind.MODEL, 2)
    assert watch.look(key.peer, Kind.MODEL)
    assert [step for _, _, step, _ in came] == [2]
    assert pace.unread(key.peer) == 1


class TestPost:
    key, other = PrivateKey.from_seed(b"a" * 32), PrivateKey.from_seed(b"b" * 32)

    def post(self, key=key, **about):
        ring = {each.peer: each.public() for each in (self.key, self.other)}
        given = {"run": "test", "form": (torch.float32, (2,)), "retain_steps": 8, **about}
        return Post(key, ring, **given)

    def test_what_is_published_is_read_with_its_head(self):
        store, post = MemoryStore(), self.post()
        post.publish(store, torch.tensor([1.0, 2.0]), Kind.MODEL, 3)
        found = self.post(self.other).read(store, self.key.peer, Kind.MODEL, 3)
        assert isinstance(found, Verified)
        assert found.tensor.tolist() == [1.0, 2.0]
        data, step = post.head(store, self.key.peer, Kind.MODEL, b"")
        assert step == 3
        assert post.head(store, self.key.peer, Kind.MODEL, data) == (data, 0)
        assert post.read(store, self.key.peer, Kind.MODEL, 4) is None
        assert post.head(store, self.key.peer, Kind.GRADIENT, b"") is None

    def test_what_is_published_twice_says_the_same(self):
        store, post = MemoryStore(), self.post()
        post.publish(store, torch.ones(2), Kind.MODEL, 3)
        before = dict(store._payloads)
        post.publish(store, torch.ones(2), Kind.MODEL, 3)
        assert store._payloads == before

    @pytest.mark.parametrize("size", [320, 321, 4000])
    def test_a_head_is_small_and_signed_by_its_owner(self, size):
        store, post = MemoryStore(), self.post()
        store.publish("model-head", b"x" * size)
        found = post.head(store, self.key.peer, Kind.MODEL, b"")
        assert isinstance(found, Rejected)
        assert found.reason is (Reason.MALFORMED if size == 320 else Reason.TOO_LARGE)

    def test_another_nodes_head_counts_for_nothing(self):
        store, post = MemoryStore(), self.post(self.other)
        post.publish(store, torch.ones(2), Kind.MODEL, 3)
        found = post.head(store, self.key.peer, Kind.MODEL, b"")
        assert isinstance(found, Rejected)
        assert found.reason is Reason.WRONG_PEER


def test_a_journal_is_bounded_whatever_strangers_send(caplog):
    journal = Journal("s1")
    for number in range(3 * MAX_KINDS):
        journal.reject(f"{number:064x}", "malformed: x")
    rejected = journal.status()["rejected"]
    assert len(rejected) <= MAX_KINDS + 1
    assert sum(reasons["malformed"] for reasons in rejected.values()) == 3 * MAX_KINDS


def test_a_reason_that_repeats_is_logged_less_and_less_often(caplog):
    journal = Journal("s1")
    for _ in range(150):
        journal.reject("ab" * 32, "not-finite: model of step 3")
        journal.reject("cd" * 32, "late: model of step 3", quiet=True)
    assert len(caplog.records) == 3
    assert caplog.messages[-1] == "s1: node abababab: not-finite: model of step 3 (100 times by now)"


class TestMeter:
    sources = (("s1", Kind.EXCHANGE), ("s2", Kind.EXCHANGE), ("w1", Kind.GRADIENT), ("w2", Kind.GRADIENT))

    def test_bytes_belong_to_the_step_in_which_they_went_and_to_their_link(self):
        meter = Meter("s1", self.sources)
        meter.enter(1, now=1.0)
        for owner, kind, size in (("w1", "gradient", 40), ("w2", "gradient", 40), ("s1", "model", 50)):
            meter.count(owner, kind, size)
        meter.enter(2, now=1.5)
        meter.count("w1", "gradient", 40)
        meter.enter(3, now=3.5)
        first, second = meter.records
        assert (first.step, first.seconds, first.read_bytes, first.written_bytes) == (
            1, 0.5, {"gradient": 80}, {"model": 50},
        )  # fmt: skip
        assert (second.seconds, second.read_bytes, second.written_bytes) == (2.0, {"gradient": 40}, {})
        status = meter.status()
        assert status["bytes"] == {"read": {"gradient": 120}, "written": {"model": 50}}
        assert status["links"] == {"w1": {"gradient": 80}, "w2": {"gradient": 40}}
        assert (status["read-bytes"], status["written-bytes"]) == (120, 50)

    def test_who_is_late_for_a_step_is_missing_in_it_and_exchanges_are_due_only_when_there_are_some(self):
        meter = Meter("s1", self.sources, exchange_every=2)
        for step in (1, 2, 3):
            meter.enter(step, now=0.0)
            meter.came("w1", Kind.GRADIENT, step)
        meter.came("s2", Kind.EXCHANGE, 2)
        meter.enter(4, now=0.0)
        assert [record.missing for record in meter.records] == [["w2"], ["s2", "w2"], ["w2"]]
        assert meter.status()["senders"] == {"s2": 2, "w1": 3, "w2": 0}

    def test_a_distance_finds_its_step_before_and_after_that_ends(self):
        meter = Meter("s1", self.sources)
        meter.enter(1, now=0.0)
        meter.note_distance(1, 0.25)
        meter.enter(2, now=0.0)
        meter.enter(3, now=0.0)
        meter.note_distance(2, 0.5)
        assert [record.distance for record in meter.records] == [0.25, 0.5]

    def test_no_more_than_the_last_steps_are_kept(self):
        meter = Meter("s1", self.sources)
        for step in range(1, MAX_RECORDS + 6):
            meter.enter(step, now=0.0)
        assert (len(meter.records), meter.records[0].step) == (MAX_RECORDS, 5)
