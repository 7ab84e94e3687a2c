"""A quorum and a grace time instead of the whole timeout."""

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

from flwr_byzantine.strategies import RobustMedian
from flwr_byzantine.strategies._gathering import LAST_POLL_S, GatheringGrid
from flwr_byzantine.testing import HostileReply, InProcessGrid, VirtualClock, late, silent
from tests.strategies.helpers import initial, make_app


@pytest.fixture
def clock():
    return VirtualClock()


def echo():
    app = ClientApp()

    @app.train()
    def train(message, context):
        return Message(RecordDict(), reply_to=message)

    return app


def gathered(grid, clock, quorum, grace_s, timeout=100.0, wrapped=None):
    wrapped = wrapped or GatheringGrid(grid, quorum, grace_s)
    sent = [Message(RecordDict(), node, "train") for node in wrapped.get_node_ids()]
    replies = wrapped.send_and_receive(sent, timeout=timeout)
    return wrapped, sorted(grid.partition_of(reply.metadata.src_node_id) for reply in replies)


def test_a_quorum_ends_the_wait_after_the_grace_time(clock):
    with InProcessGrid(echo(), 5, faults={1: late(2.0), 3: late(50.0), 4: silent}, clock=clock) as grid:
        _, who = gathered(grid, clock, quorum=3, grace_s=1.0)
    assert who == [0, 1, 2]
    assert 3.0 <= clock.now() <= 3.0 + LAST_POLL_S


def test_those_who_come_within_the_grace_time_count(clock):
    with InProcessGrid(echo(), 5, faults={1: late(2.0), 3: late(2.5), 4: silent}, clock=clock) as grid:
        _, who = gathered(grid, clock, quorum=3, grace_s=1.0)
    assert who == [0, 1, 2, 3]


def test_all_replies_end_the_wait_at_once(clock):
    with InProcessGrid(echo(), 4, clock=clock) as grid:
        _, who = gathered(grid, clock, quorum=3, grace_s=60.0)
    assert who == [0, 1, 2, 3]
    assert clock.now() == 0.0


def test_each_reply_is_shown_when_it_comes_and_not_when_the_last_has(clock):
    shown = []
    with InProcessGrid(echo(), 3, faults={1: late(2.0), 2: late(30.0)}, clock=clock) as grid:
        wrapped = GatheringGrid(grid, on_reply=lambda reply: shown.append((clock.now(), reply)))
        _, who = gathered(grid, clock, None, 0.0, wrapped=wrapped)
    assert [grid.partition_of(reply.metadata.src_node_id) for _, reply in shown] == who == [0, 1, 2]
    assert [now for now, _ in shown] == pytest.approx([0.0, 2.0, 30.0], abs=LAST_POLL_S)


def test_less_than_a_quorum_waits_for_the_timeout(clock):
    with InProcessGrid(echo(), 4, faults={2: silent, 3: silent}, clock=clock) as grid:
        _, who = gathered(grid, clock, quorum=3, grace_s=1.0, timeout=20.0)
    assert who == [0, 1]
    assert clock.now() == pytest.approx(20.0, abs=0.3)


def test_a_node_that_owes_a_reply_gets_no_further_message_until_it_came(clock):
    with InProcessGrid(echo(), 4, faults={3: late(5.0)}, clock=clock) as grid:
        wrapped, who = gathered(grid, clock, quorum=3, grace_s=0.0)
        assert who == [0, 1, 2]
        _, who = gathered(grid, clock, 3, 0.0, wrapped=wrapped)
        assert who == [0, 1, 2]
        assert len(wrapped.addressees) == 3
        clock.sleep(10.0)
        grid.faults.clear()
        _, who = gathered(grid, clock, 3, 0.0, wrapped=wrapped)
    assert who == [0, 1, 2, 3]


def test_without_a_quorum_all_are_waited_for_and_senders_are_known(clock):
    with InProcessGrid(echo(), 4, faults={3: late(5.0)}, clock=clock) as grid:
        wrapped, who = gathered(grid, clock, quorum=None, grace_s=0.0)
        assert who == [0, 1, 2, 3]
        assert sorted(wrapped.addressees.values()) == sorted(grid.get_node_ids())


def test_a_run_with_a_quorum_does_not_wait_for_the_silent():
    faults = {4: silent, 5: HostileReply.ALL_NAN}
    with InProcessGrid(make_app(), 8, faults=faults) as grid:
        strategy = RobustMedian(num_malicious_nodes=2, quorum=6, grace_s=0.0, fraction_evaluate=0.0)
        result = strategy.start(grid, initial(), num_rounds=3, timeout=3600)
    assert result.arrays["steps"].numpy() == 3
    assert np.isfinite(result.arrays["w"].numpy()).all()


def test_a_run_looks_at_replies_while_others_are_waited_for():
    clock, looks = VirtualClock(), []

    class Watched(RobustMedian):
        def see(self, reply):
            looks.append(clock.now())
            super().see(reply)

    strategy = Watched(num_malicious_nodes=1, fraction_evaluate=0.0)
    with InProcessGrid(make_app(), 5, faults={4: late(20.0)}, clock=clock) as grid:
        strategy.start(grid, initial(), num_rounds=1)
    assert looks == pytest.approx([0.0] * 4 + [20.0], abs=LAST_POLL_S)
    assert len(strategy.rounds[1].admitted) == 5


def test_everything_else_is_the_wrapped_grids(clock):
    with InProcessGrid(echo(), 3, clock=clock) as grid:
        wrapped = GatheringGrid(grid, None, 0.0)
        assert list(wrapped.get_node_ids()) == list(grid.get_node_ids())
        assert [n.node_id for n in wrapped.get_nodes()] == [n.node_id for n in grid.get_nodes()]
        assert wrapped.run.run_id == grid.run.run_id
        ids = wrapped.push_messages([Message(RecordDict(), next(iter(grid.get_node_ids())), "train")])
        assert len(list(wrapped.pull_messages(ids))) == 1


def test_errors_of_more_than_f_nodes_do_not_end_the_wait_for_the_others(clock):
    faults = {**dict.fromkeys((0, 1, 2), HostileReply.CLIENT_RAISES), **dict.fromkeys((3, 4, 5), late(2.0))}
    with InProcessGrid(make_app(), 6, faults=faults, clock=clock) as grid:
        wrapped = GatheringGrid(grid, 3, 0.0, f=1)
        content = RecordDict({"arrays": initial()})
        sent = [Message(content, node, "train") for node in wrapped.get_node_ids()]
        replies = wrapped.send_and_receive(sent, timeout=100.0)
    assert sum(reply.has_content() for reply in replies) == 3


def test_errors_of_f_nodes_count_towards_the_quorum(clock):
    faults = {0: HostileReply.CLIENT_RAISES, 3: silent}
    with InProcessGrid(make_app(), 4, faults=faults, clock=clock) as grid:
        wrapped = GatheringGrid(grid, 3, 0.0, f=1)
        content = RecordDict({"arrays": initial()})
        sent = [Message(content, node, "train") for node in wrapped.get_node_ids()]
        assert len(wrapped.send_and_receive(sent, timeout=100.0)) == 3
    assert clock.now() < 1.0


def test_a_message_that_the_superlink_refused_is_not_waited_for(clock):
    class Refusing(GatheringGrid):
        """Gives None for the id of a refused message, as Flower's HttpGrid does."""

        def push_messages(self, messages):
            [message] = messages
            refused = message.metadata.dst_node_id == min(self.get_node_ids())
            return [None] if refused else super().push_messages(messages)

    with InProcessGrid(echo(), 4, clock=clock) as grid:
        _, who = gathered(grid, clock, 3, 0.0, wrapped=GatheringGrid(Refusing(grid, None, 0.0), 3, 0.0))
    assert len(who) == 3
    assert clock.now() == 0.0


class TornGrid(InProcessGrid):
    """A grid that raises on the replies of some nodes, as Flower's does on objects that it cannot inflate."""

    torn = frozenset()

    def pull_messages(self, message_ids):
        ids = list(message_ids)
        if any(self.partition_of(self.receiver[i]) in self.torn for i in ids):
            raise ValueError("cannot inflate")
        return super().pull_messages(ids)

    def push_messages(self, messages):
        messages = list(messages)
        ids = super().push_messages(messages)
        self.receiver = getattr(self, "receiver", {}) | {
            i: m.metadata.dst_node_id for i, m in zip(ids, messages, strict=True)
        }
        return ids


def test_a_reply_on_which_the_grid_raises_is_a_fault_of_its_node_and_the_run_goes_on():
    with TornGrid(make_app(), 7) as grid:
        grid.torn = {2}
        strategy = RobustMedian(num_malicious_nodes=2, fraction_evaluate=0.0)
        result = strategy.start(grid, initial(), num_rounds=2)
        torn = list(grid.get_node_ids())[2]
    assert [(r.node_id, r.reason) for r in result.rounds[2].rejected] == [(torn, "error 0: the reply cannot be read")]
    assert result.arrays["steps"].numpy() == 2


def test_a_grid_that_fails_altogether_ends_the_run():
    with TornGrid(make_app(), 4) as grid:
        grid.torn = set(range(4))
        with pytest.raises(ValueError, match="cannot inflate"):
            RobustMedian(num_malicious_nodes=1).start(grid, initial(), num_rounds=1)
