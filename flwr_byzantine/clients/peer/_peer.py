"""A SPIRT peer: a store of one's own, a machine that decides, and the threads that do what it asks for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from flwr_byzantine.clients.functions import BatchFailed, BatchGradient
from flwr_byzantine.clients.peer._bench import Bench
from flwr_byzantine.clients.peer._journal import Journal
from flwr_byzantine.clients.peer._mail import Mail
from flwr_byzantine.clients.peer._notices import Notices
from flwr_byzantine.clients.peer._own_board import OwnBoard
from flwr_byzantine.clients.peer._reading import Readers
from flwr_byzantine.clients.peer._roster import Roster, standings
from flwr_byzantine.clients.peer._shell import OUTSIDE, Shell
from flwr_byzantine.clients.peer._start import Start, begin
from flwr_byzantine.clients.peer._threads import OwnStore
from flwr_byzantine.clients.peer._work import Work
from flwr_byzantine.clients.peer.attack import PeerAttack
from flwr_byzantine.clients.peer.config import PeerConfig
from flwr_byzantine.clients.peer.history import PeerHistory, RoundRecord
from flwr_byzantine.protocols import Approve, Event, JoinAsked, Leave, Membership, PeerRound, Tick
from flwr_byzantine.signing import Keyring, PrivateKey
from flwr_byzantine.stores import TensorStore

__all__ = ["Peer"]

WAIT_S = 0.5
"""The longest wait without a look at whether to stop."""
FLUSH_S = 5.0
"""How long to wait at the end for what is still to be published."""


class Peer:
    """Trains with other peers: trusts nobody's bytes, and never waits for ever.

    Args:
        key: Its own.
        ring: The peers whose signatures count.
        store: Its own, in which it computes and publishes; nobody else writes there.
        readers: By peer, its store as others may read it; of each only ``read`` is used.
        config: Rule, steps, patience.
        gradients: ``(model [d], round) -> mini-batch gradients``: tensors, or what
            :func:`~flwr_byzantine.clients.functions.gradients` yields.
        members: Ids of those who take part from the start; all on the keyring if not given.
        newcomer: Whether to ask to join, and to begin with the median of the others' models.
        attack: Makes it lie, for experiments.
        address: Where others find its store, for its request to join.
        connect: ``(peer, address) -> store``: how to read the store of a candidate that was admitted. The address is
            the candidate's text; nothing is to be waited for.
        clock: Gives ``now`` in seconds; must not go back.

    Raises:
        ToleranceError: If rule, f, number of peers, graph and quorum do not go together; the message names the bound.

    Example:
        >>> from flwr_byzantine.stores import MemoryStore
        >>> import torch
        >>> key = PrivateKey.generate()
        >>> peer = Peer(key, ring=Keyring([key.public("alone")]), store=MemoryStore(), readers={},
        ...             config=PeerConfig(rounds=2, learning_rate=0.5), gradients=lambda model, round: [model])
        >>> history = peer.run(torch.tensor([8.0]))
        >>> history.status, history.model
        ('all rounds done', tensor([2.]))
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        ring: Keyring,
        store: TensorStore,
        readers: Mapping[str, TensorStore],
        config: PeerConfig,
        gradients: Callable[[Tensor, int], Iterable[Tensor | BatchGradient | BatchFailed]],
        members: Iterable[str] | None = None,
        newcomer: bool = False,
        attack: PeerAttack | None = None,
        address: str = "",
        connect: Callable[[str, str], TensorStore] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id, self.config, self._clock = key.peer, config, clock
        self.on_round: Callable[[RoundRecord], None] | None = None
        """Called after each round, between two pieces of work."""
        self._roster = Roster.of(key.peer, ring if members is None else members, config)
        self._newcomer, self._gradients, self._attack = newcomer, gradients, attack
        self._address, self._connect = address, connect
        known = {**ring, key.peer: ring.get(key.peer, key.public())}
        self.name = known[key.peer].label
        self._journal = Journal(self.name)
        self._own = OwnStore(config.store_patience_s, self._journal.warn)
        self._mail = Mail(key, config, known, counted=lambda count: self._journal.add_bytes(read=count))
        self._notices = Notices(config.run, known, frozenset(ring), key.peer)
        self._readers = Readers(self._mail, {peer: reader for peer, reader in readers.items() if peer != key.peer})
        self._bench = Bench(store, config, key.peer, self._roster)
        self._events: queue.SimpleQueue[Callable[[], Event | list[Event] | None]] = queue.SimpleQueue()
        self._members: dict[str, dict[str, Any]] = {}
        self._machine: PeerRound | None = None
        self._shell: Shell | None = None
        self._started = threading.Lock()

    def run(self, model: Tensor | None = None) -> PeerHistory:
        """Take part until the last round, until :meth:`leave` or :meth:`stop`, or until the own store is lost.

        Args:
            model: ``[d]``, the start common to all; None for a newcomer. A store that was in this run before decides
                by what it holds.

        Returns:
            All rounds, the last model, and why it ended.

        Raises:
            RuntimeError: If it ran before.
            ValueError: If there is no model, and the peer is no newcomer.
        """
        if model is None and not self._newcomer:
            raise ValueError("run() needs the model to begin with, unless the peer is a newcomer")
        if model is not None and (model.dim() != 1 or not model.is_floating_point()):
            raise ValueError(f"run() needs a floating-point model [d], got {model.dtype}{list(model.shape)}")
        if not self._started.acquire(blocking=False):
            raise RuntimeError(f"peer {self.name} was run before: make another")
        self._mail.form = None if model is None else (model.dtype, tuple(model.shape))
        found: list[Start] = []
        self._own.insist(lambda: found.append(begin(self._bench, self._mail, model)))
        if not found:
            self._readers.close()
            return PeerHistory(self.id, self._own.lost or "stopped")
        if self.config.rounds is not None and found[0].round > self.config.rounds:
            self._readers.close()
            return PeerHistory(self.id, "all rounds done", model=self._last_model())
        shell, machine = self._build(found[0])
        try:
            status = self._drive(shell, machine, found[0])
        finally:
            self._end(shell)
        return PeerHistory(self.id, status, list(self._journal.records), self._last_model())

    def stop(self) -> None:
        """Make :meth:`run` return, within a second or so. Others see a crash."""
        self._own.stopping.set()
        self._events.put(lambda: None)

    def leave(self) -> None:
        """Take part to the end of this round, say so to the others, and end."""
        self._events.put(Leave)

    def approve(self, candidate: str) -> None:
        """Vote to admit a candidate whose key is not on the keyring."""
        self._events.put(lambda: Approve(candidate))

    def sponsor(self, candidate: str) -> None:
        """Show a candidate's request to join to the others; its store must have been introduced."""
        self._events.put(lambda: self._sponsored(candidate))

    def introduce(self, peer: str, reader: TensorStore) -> None:
        """Know the store of one more peer, member or candidate; or another store of a known one."""
        self._readers.introduce(peer, reader)

    def status(self) -> dict[str, Any]:
        """What it is doing, of JSON's types."""
        machine, now = self._machine, self._clock()
        heard = dict(self._shell.heard) if self._shell else {}
        members = {
            peer: {**entry, "heartbeat-age-s": round(now - heard[peer], 3) if peer in heard else None}
            for peer, entry in self._members.items()
        }
        asked = set(self._notices.requests)
        return {
            "peer": self.id,
            "name": self.name,
            "round": machine.round if machine else 0,
            "phase": str(machine.phase) if machine else "starting",
            "members": members,
            "candidates": sorted(asked - {peer for peer, entry in members.items() if entry["standing"] not in OUTSIDE}),
            "store-away": self._own.is_away,
            **self._journal.status(),
        }

    def _build(self, start: Start) -> tuple[Shell, PeerRound]:
        membership = Membership(
            self.id,
            peers=self._roster.neighbours,
            quorum=self._roster.quorum,
            policy=self.config.membership_policy,
            first_sequence=start.board.sequence,
        )
        stale = self._newcomer or start.round not in self._bench.models
        machine = PeerRound(membership, policy=self.config.round_policy, first_round=start.round, newcomer=stale)
        work = Work(
            self._bench, self._mail, self._readers, self._journal, self._own, self._gradients, self._attack,
            self._events.put,
        )  # fmt: skip
        if start.average is not None:
            work.envelopes[start.round] = start.average
        board = OwnBoard(
            self._mail, self._bench.store, own=self._own, board=start.board,
            written=lambda count: self._journal.add_bytes(written=count),
        )  # fmt: skip
        shell = Shell(
            work, board, self._notices, self._readers, self._journal, membership, self._events.put, self._clock,
            self._address, self._connect, lambda record: self.on_round(record) if self.on_round else None,
            forgotten=max(1, start.round - 2 * self.config.retain_rounds),
        )  # fmt: skip
        self._machine, self._shell = machine, shell
        return shell, machine

    def _drive(self, shell: Shell, machine: PeerRound, start: Start) -> str:
        """The loop; how it ended."""
        if start.resumed:
            self._journal.say("its store was here before: goes on at round %d", start.round)
        now = self._clock()
        actions = list(machine.start(now))
        for proof in start.proofs:
            actions += [
                action for event in self._notices.proved(self.id, proof) for action in machine.handle(event, now)
            ]
        ends_at: float | None = None
        while True:
            for action in actions:
                shell.do(action)
            now = self._clock()
            self._journal.phase(str(machine.phase), now)
            self._members = standings(
                machine.membership, self._mail.ring, {*self._roster.neighbours, *self._readers.peers}
            )
            if self._own.stopping.is_set() or self._own.lost:
                return self._own.lost or "stopped"
            if shell.finished is not None:
                ends_at = now + self.config.stay_s if ends_at is None else ends_at
                if now >= ends_at:
                    return shell.finished.reason
            wait_s = min(WAIT_S, machine.wake_at - now, WAIT_S if ends_at is None else ends_at - now)
            actions = [action for event in self._next(wait_s) for action in machine.handle(event, self._clock())]

    def _next(self, wait_s: float) -> list[Event]:
        try:
            found = self._events.get(timeout=max(0.0, wait_s))()
        except queue.Empty:
            return [Tick()]
        if found is None:
            return []
        return found if isinstance(found, list) else [found]

    def _sponsored(self, candidate: str) -> Event | None:
        request, envelope = self._notices.requests.get(candidate, (None, b""))
        if request is None or self._shell is None:
            self._journal.warn("cannot sponsor %s: no request of it was read yet", candidate[:8])
            return None
        self._shell.board.request(envelope)
        return JoinAsked(candidate, self.id, False)

    def _end(self, shell: Shell) -> None:
        patience_s = 1.0 if self._own.stopping.is_set() or self._own.lost else FLUSH_S
        shell.work.lane.close(patience_s)
        shell.board.close(patience_s)
        self._own.stopping.set()
        self._readers.close()
        self._journal.note(kept="the peer ended in the middle of the round")  # if one is open
        self._journal.end(1 << 62, self._clock())

    def _last_model(self) -> Tensor | None:
        models = self._bench.models
        try:
            return self._bench.store.get(models[max(models)]) if models else None
        except Exception as error:  # the store may be what was lost
            self._journal.warn("its last model cannot be read: %s", error)
            return None
