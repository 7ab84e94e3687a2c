"""The peer's round under any events in any order."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flwr_byzantine import protocols as p
from tests.protocols.driver import OWN, PEERS, Driver


class AnyEvents(RuleBasedStateMachine):
    """Whatever comes, in whatever order, whoever says it: one row per peer, first-hand, and it never stands still."""

    NAMES = st.sampled_from([OWN, *PEERS, "x"])
    ROUNDS = st.integers(0, 3) | st.just(10**18)

    def __init__(self):
        super().__init__()
        self.driver = Driver(membership_policy=p.MembershipPolicy(), newcomer=False)
        self.driver.tell(p.Tick())
        self.received, self.published = {}, set()

    def tell(self, event):
        before = self.driver.machine.round
        for action in self.driver.tell(event):
            if isinstance(action, p.Aggregate):
                self.check_rows(action)
            if isinstance(action, p.Publish):
                assert action.round not in self.published
                self.published.add(action.round)
        assert self.driver.machine.round >= before

    def near(self, offset):
        return offset if offset > 3 else max(0, self.driver.machine.round + offset - 2)

    @rule(by_s=st.sampled_from([0.05, 0.5, 2.0, 6.0, 20.0]))
    def time_passes(self, by_s):
        self.driver.now += by_s
        self.tell(p.Tick())

    @precondition(lambda self: self.driver.machine.phase is not p.Phase.DONE)
    @rule(ok=st.booleans())
    def work_is_done(self, ok):
        machine = self.driver.machine
        round = self.driver.asked(p.CatchUp)[-1].round if machine.phase is p.Phase.CATCHING_UP else machine.round
        answers = {
            p.Phase.COMPUTING: p.Computed(round, f"a{round}".encode(), "own"),
            p.Phase.AGGREGATING: p.Aggregated(round),
            p.Phase.UPDATING: p.Updated(round),
            p.Phase.CATCHING_UP: p.CaughtUp(round),
        }
        self.tell(answers.get(machine.phase, p.Tick()) if ok else p.Failed(round, "no"))

    @rule(peer=NAMES.filter(lambda n: n != OWN), offset=ROUNDS, value=st.sampled_from([b"1", b"1", b"2"]))
    def receive(self, peer, offset, value):
        round = self.near(offset)
        if round <= self.driver.machine.round:  # an early one counts for nothing
            self.received.setdefault((peer, round), set()).add(value)
        self.tell(p.Received(peer, round, value, "ref"))

    @rule(round=ROUNDS)
    def everybody_is_there(self, round):
        for peer in PEERS:
            self.receive(peer, round, b"1")

    @rule(peer=NAMES, holder=NAMES, offset=ROUNDS, value=st.sampled_from([b"1", b"2"]))
    def gossip(self, peer, holder, offset, value):
        self.tell(p.SeenDigests(holder, self.near(offset), {peer: value, "y": value}))
        for ask in [a for a in self.driver.last if isinstance(a, p.FetchStatement)]:
            assert (ask.holder, ask.round) == (holder, self.near(offset))

    @rule(peer=st.sampled_from(PEERS), offset=ROUNDS)
    def answer_nothing(self, peer, offset):
        self.tell(p.Absent(peer, self.near(offset)))
        self.tell(p.Refused(peer, self.near(offset), "bad"))
        self.tell(p.Unreachable(peer))

    @rule(peer=st.sampled_from([*PEERS, "x"]), sequence=st.integers(0, 1000), offset=ROUNDS)
    def beat(self, peer, sequence, offset):
        self.tell(p.Beat(peer, sequence, self.near(offset)))

    @rule(peer=st.sampled_from([*PEERS, "x"]))
    def convict(self, peer):
        self.tell(p.Convicted(peer))

    @invariant()
    def it_is_never_due_already_and_never_rests_for_ever(self):
        assert self.driver.now < self.driver.machine.wake_at < math.inf

    def check_rows(self, action):
        peers = [row.peer for row in action.rows]
        assert peers == sorted(set(peers))
        assert len(peers) >= 5
        for row in action.rows:
            if row.peer != OWN:
                assert self.received[row.peer, action.round] == {row.digest}


TestAnyEvents = AnyEvents.TestCase
TestAnyEvents.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
