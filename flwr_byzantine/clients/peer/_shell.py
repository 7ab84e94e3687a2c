"""What a peer's machine wants done, done: signing, publishing, reading, verifying; and what came of it, as events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flwr_byzantine import protocols as p
from flwr_byzantine.clients.peer._join import sign_request
from flwr_byzantine.clients.peer._journal import Journal
from flwr_byzantine.clients.peer._mail import AVERAGE, BOARD, MODEL, name_of
from flwr_byzantine.clients.peer._notices import Notices
from flwr_byzantine.clients.peer._own_board import OwnBoard
from flwr_byzantine.clients.peer._reading import Found, Readers
from flwr_byzantine.clients.peer._work import Work
from flwr_byzantine.clients.peer.history import RoundRecord
from flwr_byzantine.protocols import Action, Event, Standing
from flwr_byzantine.signing import STATEMENT_BYTES, Rejected, Verified, prove
from flwr_byzantine.stores import TensorStore

__all__ = ["OUTSIDE", "Shell"]

Post = Callable[[Callable[[], "Event | list[Event] | None"]], None]
OUTSIDE = (Standing.STRANGER, Standing.LEFT)


@dataclass
class Shell:
    """The actions of one peer's machine. All methods run on the thread that decides, and none of them waits."""

    work: Work
    board: OwnBoard
    notices: Notices
    readers: Readers
    journal: Journal
    membership: p.Membership
    post: Post
    clock: Callable[[], float]
    address: str = ""
    connect: Callable[[str, str], TensorStore] | None = None
    on_round: Callable[[RoundRecord], None] = lambda _: None
    finished: p.Finished | None = None
    heard: dict[str, float] = field(default_factory=dict)
    """By peer, when its last heartbeat came."""
    forgotten: int = 1
    _statements: dict[tuple[str, int], dict[bytes, bytes]] = field(default_factory=dict)

    def do(self, action: Action) -> None:
        """Begin what an action asks for."""
        doer: Callable[[Any], None] = getattr(self, f"_do_{type(action).__name__}")
        doer(action)

    # One's own work

    def _do_PublishModel(self, action: p.PublishModel) -> None:  # noqa: N802 the name of the action
        record, bench, mail = self.journal.end(action.round, self.clock()), self.work.bench, self.work.mail
        if record is not None:
            self.work.chore("on_round", lambda: self.on_round(record))
        self.notices.enter(action.round)
        key = bench.models.get(action.round)
        if key is not None:
            self._publish(MODEL, action.round, lambda: mail.sign(bench.store.get(key), MODEL, action.round))
        in_use = bench.retire(action.round)
        self.work.chore("tidying up", lambda: bench.delete_before(action.round, in_use))

    def _do_Compute(self, action: p.Compute) -> None:  # noqa: N802
        self.journal.begin(action.round)
        self.work.spoken = self.notices.spoken
        self.work.compute(action.round)

    def _do_Publish(self, action: p.Publish) -> None:  # noqa: N802
        envelope = self.work.envelopes[action.round]
        self._state(self.membership.own, action.round, envelope[:STATEMENT_BYTES])
        self._publish(AVERAGE, action.round, lambda: envelope)

    def _do_Aggregate(self, action: p.Aggregate) -> None:  # noqa: N802
        self.journal.note(rows=[row.peer for row in action.rows])
        self.work.aggregate(action)

    def _do_Update(self, action: p.Update) -> None:  # noqa: N802
        self.work.update(action.round)

    def _do_KeepModel(self, action: p.KeepModel) -> None:  # noqa: N802
        models = self.work.bench.models
        if action.round in models:
            models[action.next_round] = models[action.round]
        self.journal.note(kept=action.reason)

    def _do_CatchUp(self, action: p.CatchUp) -> None:  # noqa: N802
        self.journal.note(kept=f"fell behind, takes the model of round {action.round}")
        self.work.catch_up(action, self.work.mail.config.answer_s)

    def _do_Forget(self, action: p.Forget) -> None:  # noqa: N802
        rounds, self.forgotten = range(self.forgotten, action.before_round), action.before_round
        names = [name_of(kind, round) for round in rounds for kind in (AVERAGE, MODEL)]
        self._statements = {key: said for key, said in self._statements.items() if key[1] >= action.before_round}
        for round in rounds:
            self.work.envelopes.pop(round, None)
        self.work.chore("forgetting", lambda: self.work.bench.store.withdraw(*names))

    def _do_Finished(self, action: p.Finished) -> None:  # noqa: N802
        self.finished = action

    # Other peers' stores

    def _do_Fetch(self, action: p.Fetch) -> None:  # noqa: N802
        peer, round = action.peer, action.round

        def answer(found: Found) -> None:
            ref = None
            if isinstance(found, Verified) and found.tensor is not None:
                try:
                    ref = self.work.bench.put("row", round, found.tensor)
                except Exception as error:  # one's own store; its work on the round will find out too
                    found = error
            self.post(lambda: self._fetched(peer, round, found, ref))

        if not self.readers.ask(peer, AVERAGE, round, answer):
            self.post(lambda: p.Unreachable(peer))

    def _fetched(self, peer: str, round: int, found: Found, ref: str | None) -> Event:
        if isinstance(found, Verified) and ref is not None:
            self._state(peer, round, found.statement)
            return p.Received(peer, round, found.digest, ref)
        if isinstance(found, Rejected):
            return p.Refused(peer, round, f"{found.reason}: {found.detail}")
        return p.Absent(peer, round) if found is None else p.Unreachable(peer)

    def _do_ReadNotices(self, action: p.ReadNotices) -> None:  # noqa: N802
        self.readers.ask(action.peer, BOARD, 0, lambda found: self.post(lambda: self._noticed(action.peer, found)))

    def _noticed(self, peer: str, found: Found) -> list[Event]:
        if isinstance(found, Rejected):
            return [p.Refused(peer, 0, f"board: {found.reason}: {found.detail}")]
        if not isinstance(found, Verified) or found.payload is None:
            if found is not None and self.membership.standing(peer) not in OUTSIDE:
                self.journal.reject(peer, f"unreachable: {type(found).__name__}: {found}"[:200])
            return []
        if self.membership.standing(peer) in OUTSIDE:
            return self.notices.candidate(peer, found.payload)
        events = self.notices.read(peer, found.payload)
        for event in events:
            if isinstance(event, p.Beat):
                self.heard[peer] = self.clock()
            elif isinstance(event, p.Convicted):
                self.board.accuse(self.notices.proofs[event.peer])
            elif isinstance(event, p.JoinAsked) and self.membership.standing(event.peer) not in OUTSIDE:
                self._admitted(event.peer)  # voted in before its request was read
        return events

    def _do_FetchStatement(self, action: p.FetchStatement) -> None:  # noqa: N802
        mine = next(iter(self._statements.get((action.peer, action.round), {}).values()), b"")
        theirs = self.notices.statement(action.holder, action.peer, action.round, mine)
        if theirs is not None:
            digest = self._state(action.peer, action.round, theirs)
            self.post(lambda: p.Stated(action.peer, action.round, digest, ""))

    # The own board

    def _do_PublishBeat(self, action: p.PublishBeat) -> None:  # noqa: N802
        self.board.beat(action.sequence, action.round)
        for peer in self.readers.peers:
            if peer != self.membership.own and self.membership.standing(peer) in OUTSIDE:
                self._do_ReadNotices(p.ReadNotices(peer))

    def _do_PublishDigests(self, action: p.PublishDigests) -> None:  # noqa: N802
        held = [(self._statements.get((peer, action.round), {}), digest) for peer, digest in action.digests.items()]
        self.board.show(action.round, [said[digest] for said, digest in held if digest in said])

    def _do_Accuse(self, action: p.Accuse) -> None:  # noqa: N802
        said = self._statements.get((action.peer, action.round), {})
        first, second = said.get(action.first.digest), said.get(action.second.digest)
        proof = prove(first, second, self.work.mail.ring) if first and second else None
        if proof is not None:
            self.notices.proofs.setdefault(action.peer, proof.encode())
            self.board.accuse(proof.encode())

    def _do_PublishVote(self, action: p.PublishVote) -> None:  # noqa: N802
        self.board.vote(action.candidate)

    def _do_PublishLeave(self, action: p.PublishLeave) -> None:  # noqa: N802
        self.board.leave(action.round)

    def _do_RequestJoin(self, action: p.RequestJoin) -> None:  # noqa: N802
        mail = self.work.mail
        self.board.request(sign_request(mail.key, run=mail.config.run, address=self.address))

    def _do_Report(self, action: p.Report) -> None:  # noqa: N802
        self.journal.report(action)
        if action.reason is p.Reason.ADMITTED:
            self._admitted(action.peer)
        elif action.reason in (p.Reason.LEFT, p.Reason.EVICTED, p.Reason.CONVICTED):
            self.board.settled(action.peer, self.notices.dismiss(action.peer))

    def _admitted(self, peer: str) -> None:
        """Trust a candidate's key, know its store, show its request. The vote stays up: others may not have read it."""
        request, envelope = self.notices.requests.get(peer, (None, b""))
        if request is None or peer in self.work.mail.ring:
            return
        self.work.mail.trust(request.key)
        self.board.request(envelope)
        if self.connect is not None and peer not in self.readers.peers:
            try:
                self.readers.introduce(peer, self.connect(peer, request.address))
            except Exception as error:  # the address is a stranger's text
                self.journal.reject(peer, f"unreachable: {type(error).__name__}: {error}"[:200])

    def _publish(self, kind: str, round: int, envelope: Callable[[], bytes]) -> None:
        def job() -> None:
            data = envelope()
            self.work.bench.store.publish(name_of(kind, round), data)
            self.journal.add_bytes(written=len(data))

        self.work.chore(f"publishing {name_of(kind, round)}", job)

    def _state(self, peer: str, round: int, statement: bytes) -> bytes:
        digest = statement[64:96]
        self._statements.setdefault((peer, round), {}).setdefault(digest, statement)
        return digest
