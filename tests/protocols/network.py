"""Peers on a network in virtual time, which loses, delays, reorders, repeats and cuts; and peers that lie.

Every honest peer runs the real machine over a store that others read. Its model is one number: the rule is the median,
and an honest average pulls towards 1. Liars write what they like into their own stores, signed by their own keys alone:
what the envelope would reject arrives as ``Refused``. Safety is checked at every action.

In one file however long: the clock, the peers and the liars know one another.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from statistics import median

from flwr_byzantine import protocols as p

BEAT = p.MembershipPolicy(beat_s=1.0, suspect_after_s=4.0, evict_after_s=15.0, candidate_s=100.0)
ROUND = p.RoundPolicy(
    deadline_s=10.0, grace_s=1.0, work_s=8.0, poll_s=0.1, max_poll_s=1.0, answer_s=3.0, settle_every=5
)
LONGEST_ROUND_S = 1.0 + ROUND.deadline_s + 0.06 + ROUND.catch_up_tries * (0.3 + ROUND.max_poll_s) + 0.5
"""Computing, gathering, aggregating and updating, every attempt to catch up, each as late as can be; and a margin."""


def peer_id(number: int) -> str:
    return f"{number:064x}"


class Lie(Enum):
    """What a Byzantine peer does."""

    SILENT = "its store never answers"
    ZOMBIE = "beats, and brings nothing"
    GARBAGE = "what it publishes is refused"
    POISON = "publishes huge averages and huge models"
    EQUIVOCATE = "shows another average to every reader"
    SLANDER = "says that others showed it other digests"
    AHEAD = "says that it is in round 10**18, and poisons its model"
    BEHIND = "says that it is in round 0 for ever"
    REPLAY = "repeats its first heartbeat"
    SYBIL = "brings up fresh keys and votes for them"
    FLAP = "is there for six seconds of every twelve"


@dataclass
class Chaos:
    """What the network does to a message, and when whom it cuts off."""

    loss: float = 0.0
    repeat: float = 0.0
    delay_s: tuple[float, float] = (0.01, 0.2)
    cuts: list[tuple[float, float, frozenset[int]]] = field(default_factory=list)
    """From, until, and who is on the one side."""
    crashes: list[tuple[float, float, int]] = field(default_factory=list)
    """From, until (restart with a store that survived), and who."""


@dataclass
class Store:
    """What a peer has published."""

    rows: dict[int, bytes] = field(default_factory=dict)
    models: dict[int, float] = field(default_factory=dict)
    digests: dict[int, dict[str, bytes]] = field(default_factory=dict)
    proofs: set[str] = field(default_factory=set)
    votes: set[str] = field(default_factory=set)
    beat: tuple[int, int] = (-1, 0)
    leaving: int | None = None
    wants_to_join: bool = False


class Peer:
    """An honest peer: the machine, its store, and the shell's work in virtual time."""

    def __init__(self, net: Network, number: int, peers: list[int], *, newcomer: bool = False) -> None:
        self.net, self.number, self.id, self.store = net, number, peer_id(number), Store()
        self.peers, self.newcomer = peers, newcomer
        self.model, self.up, self.life, self.compute_s = 0.0, False, 0, 1.0
        self.said: Counter[p.Reason] = Counter()
        self.history: list[tuple[float, int]] = []
        self.aggregated: list[int] = []
        self.finished = ""

    def start(self) -> None:
        membership = p.Membership(
            self.id,
            peers=[peer_id(n) for n in self.peers],
            quorum=self.net.quorum,
            policy=BEAT,
            first_sequence=self.store.beat[0] + 1,
        )
        first = max(self.store.rows, default=0) + 1
        policy = self.net.policy
        self.machine = p.PeerRound(membership, policy=policy, first_round=first, newcomer=self.newcomer or first > 1)
        self.up, self.life = True, self.life + 1
        self.do(self.machine.start(self.net.now))

    def tell(self, event: p.Event, life: int) -> None:
        if self.up and self.life == life:
            self.do(self.machine.handle(event, self.net.now))

    def do(self, actions: tuple[p.Action, ...]) -> None:
        for action in actions:
            getattr(self, "_" + type(action).__name__)(action)
        life = self.life
        self.net.at(max(self.machine.wake_at - self.net.now, 0.0), lambda: self._wake(life))

    def _wake(self, life: int) -> None:
        if self.up and self.life == life and self.net.now >= self.machine.wake_at:
            self.do(self.machine.handle(p.Tick(), self.net.now))

    def _later(self, delay_s: float, event: p.Event) -> None:
        life = self.life
        self.net.at(delay_s, lambda: self.tell(event, life))

    # Actions

    def _PublishModel(self, a: p.PublishModel) -> None:  # noqa: N802
        self.store.models[a.round] = self.model
        self.history.append((self.net.now, a.round))

    def _Compute(self, a: p.Compute) -> None:  # noqa: N802
        row = 1.0 - self.model + self.net.rng.uniform(-0.05, 0.05)
        self.draft = self.net.digest(self.id, a.round, row)
        self._later(self.compute_s, p.Computed(a.round, self.draft, "own"))

    def _Publish(self, a: p.Publish) -> None:  # noqa: N802
        assert a.round not in self.store.rows, "an honest peer published two averages for one round"
        self.store.rows[a.round] = self.draft

    def _Fetch(self, a: p.Fetch) -> None:  # noqa: N802
        self.net.ask(self, a.peer, lambda store: [store.read_row(self, a.round)])

    def _ReadNotices(self, a: p.ReadNotices) -> None:  # noqa: N802
        self.net.ask(self, a.peer, lambda store: store.read_notices(self))

    def _FetchStatement(self, a: p.FetchStatement) -> None:  # noqa: N802
        self.net.ask(self, a.holder, lambda store: store.read_statement(a.peer, a.round))

    def _Aggregate(self, a: p.Aggregate) -> None:  # noqa: N802
        peers = [row.peer for row in a.rows]
        assert peers == sorted(set(peers)), "two rows of one peer, or not in order"
        assert len(peers) >= self.net.quorum.least
        for row in a.rows:
            assert self.machine.membership.standing(row.peer) is not p.Standing.CONVICTED
            assert row.peer == self.id or row.peer in self.machine.membership.members
            assert self.net.signed[row.digest][:2] == (row.peer, a.round), "a row of another peer or round"
        self.step = median(self.net.signed[row.digest][2] for row in a.rows)
        self.aggregated.append(a.round)
        self._later(0.05, p.Aggregated(a.round))

    def _Update(self, a: p.Update) -> None:  # noqa: N802
        self.model += 0.5 * self.step
        self._later(0.01, p.Updated(a.round))

    def _CatchUp(self, a: p.CatchUp) -> None:  # noqa: N802
        got = [self.net.model_of(self, peer, a.round) for peer in a.peers]
        models = [model for model in got if model is not None]
        one_short = len(models) == a.needed - 1 and bool(models)
        if one_short:
            models.append(self.model)
        if len(models) < a.needed:
            self._later(0.3, p.Failed(a.round, f"{len(models)} models, needs {a.needed}"))
        else:
            self.model = median(models)
            self._later(0.3, p.CaughtUp(a.round, with_own=one_short))

    def _Forget(self, a: p.Forget) -> None:  # noqa: N802
        for kept in (self.store.models, self.store.digests):
            for round in [round for round in kept if round < a.before_round]:
                del kept[round]

    def _PublishBeat(self, a: p.PublishBeat) -> None:  # noqa: N802
        assert a.sequence > self.store.beat[0]
        self.store.beat = (a.sequence, a.round)

    def _PublishDigests(self, a: p.PublishDigests) -> None:  # noqa: N802
        self.store.digests[a.round] = dict(a.digests)

    def _Accuse(self, a: p.Accuse) -> None:  # noqa: N802
        first, second = (self.net.signed[row.digest] for row in (a.first, a.second))
        assert first[:2] == second[:2] == (a.peer, a.round), "a proof that proves nothing"
        assert a.first.digest != a.second.digest
        assert a.peer in self.net.liars, "an honest peer was convicted"
        self.store.proofs.add(a.peer)

    def _RequestJoin(self, a: p.RequestJoin) -> None:  # noqa: N802
        self.store.wants_to_join = True

    def _PublishVote(self, a: p.PublishVote) -> None:  # noqa: N802
        self.store.votes.add(a.candidate)

    def _PublishLeave(self, a: p.PublishLeave) -> None:  # noqa: N802
        self.store.leaving = a.round

    def _KeepModel(self, a: p.KeepModel) -> None:  # noqa: N802
        assert a.reason

    def _Finished(self, a: p.Finished) -> None:  # noqa: N802
        self.finished = a.reason

    def _Report(self, a: p.Report) -> None:  # noqa: N802
        self.said[a.reason] += 1

    # What others read

    def read_row(self, reader: Peer, round: int) -> p.Event:
        if round in self.store.rows:
            return p.Received(self.id, round, self.store.rows[round], f"{self.id}:{round}")
        return p.Absent(self.id, round)

    def read_notices(self, reader: Peer) -> list[p.Event]:
        store, notices = self.store, [p.Beat(self.id, *self.store.beat)] if self.store.beat[0] >= 0 else []
        notices += [p.SeenDigests(self.id, round, seen) for round, seen in [*store.digests.items()][-2:]]
        notices += [p.Convicted(peer) for peer in store.proofs] + [p.Voted(self.id, peer) for peer in store.votes]
        notices += [p.Leaving(self.id, store.leaving)] if store.leaving is not None else []
        return notices

    def read_statement(self, peer: str, round: int) -> list[p.Event]:
        held = self.store.digests.get(round, {}).get(peer)
        return [p.Stated(peer, round, held, "stated")] if held else []


class Liar(Peer):
    """A Byzantine peer: no machine, but a store that says what its lie says."""

    def __init__(self, net: Network, number: int, lie: Lie) -> None:
        super().__init__(net, number, [])
        self.lie = lie

    def start(self) -> None:
        self.up = True

    def answers(self) -> bool:
        return self.lie is not Lie.SILENT and not (self.lie is Lie.FLAP and self.net.now % 12 > 6)

    def read_row(self, reader: Peer, round: int) -> p.Event:
        if self.lie in (Lie.ZOMBIE, Lie.AHEAD):
            return p.Absent(self.id, round)
        if self.lie is Lie.GARBAGE:
            return p.Refused(self.id, round, "signed for another round")
        value = {Lie.POISON: -1e9, Lie.EQUIVOCATE: -1e6 * (1 + reader.number)}.get(self.lie, 0.5)
        digest = self.net.digest(self.id, round, value)
        return p.Received(self.id, round, digest, f"{self.id}:{round}:{value}")

    def read_notices(self, reader: Peer) -> list[p.Event]:
        round, sequence = max(peer.machine.round for peer in self.net.honest if peer.life), int(self.net.now * 1000)
        said = {Lie.AHEAD: 10**18, Lie.BEHIND: 0}.get(self.lie, round)
        notices: list[p.Event] = [p.Beat(self.id, 0 if self.lie is Lie.REPLAY and self.net.now > 6 else sequence, said)]
        if self.lie is Lie.SLANDER:
            seen = {peer_id(n): self.net.rng.randbytes(32) for n in range(40)}
            notices += [p.SeenDigests(self.id, r, seen) for r in (round - 1, round, 10**18)]
            notices += [p.Leaving(peer_id(99), round)]
        if self.lie is Lie.SYBIL:
            for fresh in range(6):
                key = f"{self.net.rng.getrandbits(256):064x}"
                notices += [p.JoinAsked(key, self.id, on_ring=False), p.Voted(self.id, key), p.Voted(key, key)]
                notices += [p.Beat(key, fresh, round), p.Received(key, round, b"?" * 32, "sybil")]
        return notices

    def read_statement(self, peer: str, round: int) -> list[p.Event]:
        """It holds nothing that anybody else signed; another's statement it can only repeat."""
        known = [d for d, (who, r, _) in self.net.signed.items() if (who, r) == (peer, round)]
        return [p.Stated(peer, round, digest, "repeated") for digest in known]


class Network:
    """Everything there is: peers, messages under way, and the time.

    Args:
        n: Peers at the start.
        lies: One for each Byzantine peer; those are the last ones.
        f: As the honest ones believe.
        chaos: What the network does.
        seed: Of every draw.
    """

    def __init__(self, n: int, lies: list[Lie], *, f: int, chaos: Chaos | None = None, seed: int = 0) -> None:
        self.rng, self.now, self.chaos = random.Random(seed), 0.0, chaos or Chaos()
        self.quorum, self.policy = p.Quorum.of(n, f=f, least=2 * f + 1), ROUND
        self.signed: dict[bytes, tuple[str, int, float]] = {}
        self._queue: list[tuple[float, int, object]] = []
        self._order = itertools.count()
        everybody = list(range(n))
        self.honest = [Peer(self, i, [k for k in everybody if k != i]) for i in everybody[: n - len(lies)]]
        liars = [Liar(self, n - len(lies) + i, lie) for i, lie in enumerate(lies)]
        self.liars = {liar.id for liar in liars}
        self.peers = {peer.id: peer for peer in [*self.honest, *liars]}
        for peer in self.peers.values():
            self.at(self.rng.uniform(0, 0.5), peer.start)
        for begin, end, number in self.chaos.crashes:
            self.at(begin, lambda peer=self.honest[number]: setattr(peer, "up", False))
            self.at(end, self.honest[number].start)

    def add(self, number: int) -> Peer:
        peer = Peer(self, number, [other.number for other in self.peers.values()], newcomer=True)
        self.peers[peer.id] = peer
        self.honest.append(peer)
        peer.start()
        return peer

    def digest(self, peer: str, round: int, value: float) -> bytes:
        digest = f"{peer[-4:]}:{round}:{value}".encode().ljust(32)[:32]
        self.signed[digest] = (peer, round, value)
        return digest

    def at(self, delay_s: float, call: object) -> None:
        if delay_s < 1e6:
            heapq.heappush(self._queue, (self.now + delay_s, next(self._order), call))

    def run(self, until_s: float) -> None:
        steps = 0
        while self._queue and self._queue[0][0] <= until_s:
            self.now, _, call = heapq.heappop(self._queue)
            call()
            steps += 1
            assert steps < 2_000_000, "the machines never rest"
        self.now = until_s

    def connected(self, a: int, b: int) -> bool:
        return all(not begin <= self.now < end or (a in side) == (b in side) for begin, end, side in self.chaos.cuts)

    def answers(self, reader: Peer, peer: str) -> bool:
        owner = self.peers.get(peer)
        if owner is None or not owner.up or not self.connected(reader.number, owner.number):
            return False
        return not isinstance(owner, Liar) or owner.answers()

    def ask(self, reader: Peer, peer: str, read: object) -> None:
        """A request and its answer, each delayed or lost; the answer perhaps twice."""
        life, there, back = reader.life, self.rng.uniform(*self.chaos.delay_s), self.rng.uniform(*self.chaos.delay_s)

        def arrive() -> None:
            if not self.answers(reader, peer):
                self.at(back, lambda: reader.tell(p.Unreachable(peer), life))
                return
            times = 2 if self.rng.random() < self.chaos.repeat else 1
            for event in read(self.peers[peer]) * times:
                if self.rng.random() >= self.chaos.loss:
                    self.at(self.rng.uniform(*self.chaos.delay_s), lambda event=event: reader.tell(event, life))

        if self.rng.random() >= self.chaos.loss:
            self.at(there, arrive)

    def model_of(self, reader: Peer, peer: str, round: int) -> float | None:
        if not self.answers(reader, peer):
            return None
        owner = self.peers[peer]
        return -1e9 if isinstance(owner, Liar) else owner.store.models.get(round)

    def rounds(self) -> list[int]:
        return [peer.machine.round for peer in self.honest if peer.up]
