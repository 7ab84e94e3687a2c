"""GuanYu's nodes: nobody's silence stops them, nobody's lies lead them.

In one file however long: every test starts the same cluster and breaks one thing in it.
"""

from __future__ import annotations

import pytest
import torch

from flwr_byzantine.attacks import ipm, sign_flip
from flwr_byzantine.clients.peer import PeerAttack
from flwr_byzantine.errors import StoreUnavailableError
from flwr_byzantine.signing import STATEMENT_BYTES
from flwr_byzantine.stores import MemoryStore
from tests.clients.guanyu.cluster import START, TARGET, Cluster, cluster

NEAR = {"atol": 0.1, "rtol": 0.0}


def is_message(name: str) -> bool:
    return not name.endswith("-head")


def spread(histories) -> float:
    """The largest distance between two servers' last models."""
    return max(float((a.model - b.model).norm()) for a in histories for b in histories)


def test_three_of_four_servers_go_on_when_one_stops():
    with cluster(4, 3, model_quorum=3) as nodes:
        nodes.start()
        nodes.reach(5, *range(7))
        nodes.nodes[3].stop()
        nodes.stores[3].off = True
        histories = nodes.finish(0, 1, 2, 4, 5, 6)
        assert [history.status for history in histories] == ["all steps done"] * 6
        for history in histories[:3]:
            torch.testing.assert_close(history.model, TARGET, **NEAR)
        assert spread(histories[:3]) < 0.05
        assert nodes.rejected(3, by=0)["unreachable"] >= 1


def reversed_(nodes: Cluster, liar: int):
    return lambda line, name, data: nodes.signed(liar, name, -10 * TARGET)


def random(nodes: Cluster, liar: int):
    generator = torch.Generator().manual_seed(7)
    return lambda line, name, data: nodes.signed(liar, name, 50 * torch.randn(4, generator=generator))


def not_a_number(nodes: Cluster, liar: int):
    return lambda line, name, data: nodes.signed(liar, name, torch.full((4,), torch.nan))


def huge(nodes: Cluster, liar: int):
    return lambda line, name, data: nodes.signed(liar, name, torch.full((4,), 3e38))


def equivocation(nodes: Cluster, liar: int):
    """Another model to each reader."""
    return lambda line, name, data: nodes.signed(liar, name, TARGET + 5.0 * (-1) ** line.reader * (1 + line.reader))


def only_messages(lie):
    """Heads stay as they are."""
    return lambda line, name, data: lie(line, name, data) if is_message(name) and data is not None else data


@pytest.mark.parametrize("how", [reversed_, random, not_a_number, equivocation])
def test_a_lying_server_and_two_lying_workers_lead_nobody_astray(how):
    with cluster(6, 9, byzantine_servers=1, byzantine_workers=2) as nodes:
        nodes.to(0, only_messages(how(nodes, 0)))
        nodes.to(6, only_messages(reversed_(nodes, 6)))
        nodes.to(7, only_messages(huge(nodes, 7)))
        nodes.start()
        histories = nodes.finish(*range(1, 6))
        assert [history.status for history in histories] == ["all steps done"] * 5
        for history in histories:
            torch.testing.assert_close(history.model, TARGET, **NEAR)
        assert spread(histories) < 0.1
        refused = [nodes.rejected(0, by).get("not-finite", 0) for by in (*range(1, 6), *range(8, 15))]
        assert (sum(refused) > 0) == (how is not_a_number)


def test_a_node_that_is_told_to_attack_publishes_the_attack_and_the_others_train():
    with cluster(3, 9, byzantine_workers=2) as nodes:
        nodes.start(*range(3), *range(5, 12))
        nodes.start(3, 4, attack=PeerAttack(sign_flip.bind(scale=10.0)))
        for history in nodes.finish(0, 1, 2):
            torch.testing.assert_close(history.model, TARGET, **NEAR)


def forged(nodes, line, name, data):
    return nodes.signed(1, name, TARGET)


def of_another_run(nodes, line, name, data):
    return nodes.signed(4, name, TARGET, run="another")


def replayed(nodes, line, name, data):
    return nodes.signed(4, name, TARGET, round=int(name.partition(":")[2]) - 1)


def early(nodes, line, name, data):
    return nodes.signed(4, name, TARGET, round=1 << 40)


def of_another_kind(nodes, line, name, data):
    return nodes.signed(4, name, TARGET, kind="model")


def of_another_dtype(nodes, line, name, data):
    return nodes.signed(4, name, TARGET.half())


def of_another_shape(nodes, line, name, data):
    return nodes.signed(4, name, TARGET[:2].double().view(2, 1)[:, 0].float()[:1])


def oversized(nodes, line, name, data):
    return nodes.signed(4, name, torch.zeros(4000))


def tampered(nodes, line, name, data):
    return data[:-1] + bytes([data[-1] ^ 1])


def rubbish(nodes, line, name, data):
    return b"x" * STATEMENT_BYTES


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (forged, "wrong-peer"),
        (of_another_run, "wrong-run"),
        (replayed, "replayed"),
        (early, "from-the-future"),
        (of_another_kind, "wrong-kind"),
        (of_another_dtype, "wrong-dtype"),
        (of_another_shape, "wrong-shape"),
        (oversized, "too-large"),
        (tampered, "digest"),
        (rubbish, "malformed"),
    ],
)
def test_what_is_no_honest_message_is_refused_with_its_reason_and_nobody_waits_for_it(lie, reason, caplog):
    with cluster(3, 4, gradient_quorum=3, steps=10_000) as nodes:
        nodes.to(4, only_messages(lambda line, name, data: lie(nodes, line, name, data)))
        nodes.start()
        nodes.until(lambda: nodes.rejected(4, by=0), "a reason")
        nodes.reach(nodes.step(0) + 5, 0, 1, 2)
        assert nodes.rejected(4, by=0).keys() == {reason}
        assert f"node {nodes.ids[4][:8]}: {reason}: gradient of step" in caplog.text


def test_a_false_head_brings_a_reason_or_nothing_and_nobody_waits_for_it():
    with cluster(3, 5, gradient_quorum=3, steps=10_000) as nodes:
        far = nodes.signed(3, "gradient-head:9", b"", round=(1 << 62) - 1)
        nodes.to(3, lambda line, name, data: far if name == "gradient-head" else None)
        nodes.to(4, lambda line, name, data: b"y" * 40 if name == "gradient-head" else data)
        nodes.start()
        nodes.until(lambda: nodes.rejected(4, by=0), "a reason")
        nodes.reach(nodes.step(0) + 5, 0, 1, 2)
        assert nodes.rejected(4, by=0).keys() == {"malformed"}
        assert not nodes.rejected(3, by=0)


@pytest.mark.parametrize("late", [3, 6])
def test_a_node_that_was_cut_off_jumps_to_where_the_others_are(late):
    with cluster(4, 4, model_quorum=3, gradient_quorum=3, steps=10_000, retain_steps=8) as nodes:
        steps = []
        nodes.cut(late)
        nodes.start()
        nodes.nodes[late].on_step = steps.append
        nodes.reach(30, 0, 1, 2)
        assert nodes.step(late) == 1
        nodes.cut(late, cut=False)
        nodes.reach(31, late)
        assert next(step for step in steps if step > 1) > 20, "it did not walk there"
        at = nodes.step(late)
        nodes.reach(at + 5, late, 0, 1, 2)


@pytest.mark.parametrize("restarted", [3, 6])
def test_a_node_that_lost_everything_and_starts_anew_joins_the_others(restarted):
    with cluster(4, 4, model_quorum=3, gradient_quorum=3, steps=10_000, retain_steps=8) as nodes:
        nodes.start()
        nodes.reach(10, *range(8))
        nodes.nodes[restarted].stop()
        nodes.finish(restarted)
        nodes.stores[restarted].lose_all()
        nodes.start(restarted)
        at = nodes.step(0)
        nodes.reach(at + 10, restarted, 0, 1, 2)


def test_old_steps_are_withdrawn_and_their_tensors_deleted():
    with cluster(3, 3, steps=40, retain_steps=10) as nodes:
        nodes.start()
        nodes.finish(*range(6))
        for store, kinds in zip(nodes.stores, [2] * 3 + [1] * 3, strict=True):
            assert len(store._payloads) <= kinds * (10 + 1 + 1)
            assert len(store._tensors) <= 4 * 6
        assert nodes.stores[0].read("model:5", max_bytes=1 << 20) is None
        assert nodes.stores[0].read("model:41", max_bytes=1 << 20) is not None


def test_a_store_that_is_away_for_a_while_costs_no_node():
    with cluster(3, 3, steps=30) as nodes:
        nodes.start()
        nodes.reach(5, *range(6))
        nodes.stores[1].off = nodes.stores[4].off = True
        nodes.until(lambda: nodes.nodes[1].status()["store-away"], "it was noticed")
        nodes.stores[1].off = nodes.stores[4].off = False
        assert {history.status for history in nodes.finish(*range(6))} == {"all steps done"}


def test_a_store_that_is_lost_ends_the_node_with_the_reason():
    with cluster(3, 3, steps=1000, store_patience_s=0.2) as nodes:
        nodes.start()
        nodes.reach(3, 0)
        nodes.stores[0].off = True
        assert nodes.finish(0)[0].status.startswith("own store unavailable")


def test_a_gradient_that_fails_ends_the_worker_with_the_reason():
    with cluster(3, 4, gradient_quorum=3, steps=6) as nodes:
        nodes.gradients[3] = lambda model, step: torch.full((4,), torch.nan)
        nodes.start()
        assert nodes.finish(3)[0].status.endswith("a gradient holds numbers that are not finite")
        assert {history.status for history in nodes.finish(0, 1, 2)} == {"all steps done"}


def test_a_node_that_nobody_answers_gives_up():
    with cluster(3, 3, idle_s=0.2) as nodes:
        nodes.start(0)
        assert nodes.finish(0)[0].status == "nothing came from anybody for 0.2 s"


def test_every_step_tells_its_bytes_by_kind_and_link():
    with cluster(3, 3, steps=6) as nodes:
        nodes.start()
        server, worker = nodes.finish(0, 3)
        size = len(nodes.signed(0, "model:1", START))
        assert [record.step for record in server.steps] == [1, 2, 3, 4, 5, 6]
        assert server.last["bytes"]["written"]["model"] == 7 * size
        assert worker.last["bytes"]["written"]["gradient"] == 6 * size
        for other in (1, 2):
            assert server.last["links"][nodes.ids[other]]["exchange"] == 6 * size
        assert server.steps[0].read_bytes["gradient"] >= 3 * size
        assert all(record.distance is None for record in worker.steps)
        assert worker.last["messages"] == {"model": sum(worker.last["senders"].values())}


def test_a_server_tells_how_far_it_was_from_the_median():
    with cluster(3, 3, steps=5) as nodes:
        for other in (1, 2):
            lie = only_messages(lambda line, name, data, other=other: nodes.signed(other, name, TARGET + 1.0))
            nodes.to(other, lie)
        nodes.start()
        (server,) = nodes.finish(0)
        # From where the others pull it, it takes half the way back to the target, and is pulled there again.
        assert [record.distance for record in server.steps[1:]] == pytest.approx([1.0] * 4, abs=0.05)


def test_exchanges_can_be_rare():
    with cluster(5, 4, byzantine_servers=1, byzantine_workers=1, strict=False, exchange_every=3,
                 gradient_rule="mda", steps=24) as nodes:  # fmt: skip
        nodes.start()
        histories = nodes.finish(*range(5))
        assert spread(histories) < 0.1
        assert nodes.stores[0].read("exchange:23", max_bytes=1 << 20) is None
        assert nodes.stores[0].read("exchange:24", max_bytes=1 << 20) is not None


def test_what_does_not_fit_is_refused_before_anything_starts():
    nodes = Cluster(3, 3)
    with pytest.raises(ValueError, match="has none of"):
        nodes.make(0, readers={})
    nodes.gradients[4] = None
    with pytest.raises(ValueError, match="needs a gradient function"):
        nodes.make(4)
    with pytest.raises(ValueError, match="wants to see what others say"):
        nodes.make(0, attack=PeerAttack(ipm))
    node = nodes.make(1)
    with pytest.raises(ValueError, match=r"floating-point model \[d\]"):
        node.run(START.long())
    node.stop()
    assert node.run(START).status == "stopped"
    with pytest.raises(RuntimeError, match="was run before"):
        node.run(START)


def test_a_reader_that_raises_anything_is_nobody_elses_trouble():
    class Broken(MemoryStore):
        def _read(self, key, max_bytes):
            raise StoreUnavailableError("no route") if key.endswith("head") else KeyError("bug")

    with cluster(4, 3, model_quorum=3, steps=6) as nodes:
        for reader in range(7):
            nodes.lines[reader][3] = Broken()
        nodes.start(0, 1, 2, 4, 5, 6)
        assert {history.status for history in nodes.finish(0, 1, 2, 4, 5, 6)} == {"all steps done"}
        assert nodes.rejected(3, by=0)["unreachable"] > 0
