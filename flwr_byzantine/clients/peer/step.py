"""A peer that is driven round by round from outside: for simulations in which not all peers fit in at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from flwr_byzantine.clients.functions import BatchFailed, BatchGradient
from flwr_byzantine.clients.peer._bench import Bench
from flwr_byzantine.clients.peer._mail import AVERAGE, MODEL, Mail, name_of
from flwr_byzantine.clients.peer._reading import Readers
from flwr_byzantine.clients.peer._roster import Roster
from flwr_byzantine.clients.peer._work import hostile
from flwr_byzantine.clients.peer.attack import PeerAttack
from flwr_byzantine.clients.peer.board import Said
from flwr_byzantine.clients.peer.config import PeerConfig
from flwr_byzantine.clients.peer.history import RoundRecord
from flwr_byzantine.protocols.actions import Row
from flwr_byzantine.signing import Keyring, PrivateKey, Rejected, Verified
from flwr_byzantine.stores import TensorStore

__all__ = ["PeerStep"]


class PeerStep:
    """One peer, two calls a round: :meth:`publish`, then, when all have published, :meth:`finish`.

    What it needs from call to call is in its store and in :attr:`state`, so it can be built anew for each. The rows
    are verified as by :class:`Peer`, but nobody beats, joins or is convicted, and nobody is waited for: the caller
    says who is there.

    Args:
        key: Its own.
        ring: The peers whose signatures count.
        store: Its own.
        readers: By peer, its store as others may read it.
        config: Rule and steps.
        gradients: As for :class:`Peer`.
        members: Ids of those who take part; all on the keyring if not given.
        attack: Makes it lie, for experiments.
        state: That of the one before; None to begin.

    Raises:
        ToleranceError: If rule, f, number of peers, graph and quorum do not go together; the message names the bound.

    Example:
        >>> import torch
        >>> from flwr_byzantine.stores import MemoryStore
        >>> key, store, config = PrivateKey.generate(), MemoryStore(), PeerConfig(learning_rate=0.5)
        >>> common = {"ring": Keyring([key.public()]), "store": store, "readers": {}, "config": config}
        >>> with PeerStep(key, gradients=lambda model, round: [model], **common) as peer:
        ...     peer.begin(torch.tensor([8.0]))
        ...     peer.publish(1)
        >>> with PeerStep(key, gradients=lambda model, round: [model], state=peer.state, **common) as peer:
        ...     rows = peer.finish(1).rows
        ...     peer.model()
        tensor([4.])
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
        attack: PeerAttack | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.id, self.config, self._gradients, self._attack = key.peer, config, gradients, attack
        self._roster = Roster.of(key.peer, ring if members is None else members, config)
        self._record = RoundRecord(0)
        self._mail = Mail(key, config, {**ring, key.peer: ring.get(key.peer, key.public())}, counted=self._count)
        self._readers = Readers(
            self._mail, {peer: readers[peer] for peer in self._roster.neighbours if peer in readers}
        )
        state = state or {}
        self._bench = Bench(
            store, config, key.peer, self._roster,
            velocity=state.get("velocity"), kept=dict(state.get("kept", {})), number=state.get("number", 0),
        )  # fmt: skip
        self.round: int = state.get("round", 0)
        """The round that it is in; 0 before :meth:`begin`."""
        self._average: str | None = state.get("average")
        self._digest = bytes.fromhex(state.get("digest", ""))
        self._loss: float | None = state.get("loss")
        self._seconds: dict[str, float] = dict(state.get("seconds", {}))
        self._written_bytes: int = state.get("written-bytes", 0)
        if self.round:
            self._bench.models[self.round] = state["model"]

    @property
    def state(self) -> dict[str, Any]:
        """What the next one needs to know, of JSON's types."""
        return {
            "round": self.round,
            "model": self._bench.models.get(self.round),
            "velocity": self._bench.velocity,
            "average": self._average,
            "digest": self._digest.hex(),
            "loss": self._loss,
            "seconds": self._seconds,
            "written-bytes": self._written_bytes,
            "kept": self._bench.kept,
            "number": self._bench.number,
        }

    def begin(self, model: Tensor) -> None:
        """Put the model ``[d]`` that all begin with."""
        self.round = 1
        self._bench.models[1] = self._bench.put("model", 1, model)
        self._publish(MODEL, self._mail.sign(model, MODEL, 1))

    def publish(self, round: int) -> None:
        """Compute, sign and publish the average of a round; nothing if that was done.

        Raises:
            ValueError: If it is not the round that the peer is in, or there is no gradient.
        """
        self._check(round)
        if self._average is not None:
            return
        begun = time.monotonic()
        averaged = self._bench.average(self._bench.models[round], round, self._gradients, lambda: None)
        value = averaged.value
        if self._attack is not None:
            value = hostile(self._attack, value, round, readers=self._readers, going=lambda: None)
        envelope = self._mail.sign(value, AVERAGE, round)
        self._publish(AVERAGE, envelope)
        self._average, self._digest, self._loss = averaged.key, Said.of(envelope).digest, averaged.loss
        self._bench.velocity = averaged.velocity or self._bench.velocity
        self._seconds["computing"] = time.monotonic() - begun

    def finish(self, round: int) -> RoundRecord:
        """Read and verify what the others published, aggregate, update: the next round.

        With too few averages the model is kept, and the record says so.

        Raises:
            ValueError: If it is not the round that the peer is in.
            StoreError: If the own store fails.
        """
        self._check(round)
        model = self._bench.store.get(self._bench.models[round])
        self._mail.form = (model.dtype, tuple(model.shape))
        self._record = RoundRecord(round, loss=self._loss, seconds=self._seconds, written_bytes=self._written_bytes)
        with self._timed("gathering"):
            rows = self._gathered(round)
        with self._timed("updating"):
            self._update(round, rows)
        self.round, self._average, self._loss, self._seconds, self._written_bytes = round + 1, None, None, {}, 0
        self._bench.delete_before(self.round, self._bench.retire(self.round))
        old = round - self.config.retain_rounds
        self._bench.store.withdraw(*([name_of(kind, old) for kind in (AVERAGE, MODEL)] if old > 0 else []))
        return self._record

    def model(self) -> Tensor:
        """``[d]``, the model of the round that the peer is in."""
        return self._bench.store.get(self._bench.models[self.round])

    def close(self) -> None:
        """Let go of the threads that read."""
        self._readers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _gathered(self, round: int) -> list[Row]:
        rows = [] if self._average is None else [Row(self.id, self._digest, self._average)]
        timeout_s = self.config.deadline_s
        found = self._readers.read_all(self._readers.peers, AVERAGE, round, timeout_s)
        for peer in sorted(self._roster.neighbours):
            answer = found.get(peer, TimeoutError(f"no answer in {timeout_s:g} s"))
            if isinstance(answer, Verified) and answer.tensor is not None:
                rows.append(Row(peer, Said.of(answer.statement).digest, self._bench.put("row", round, answer.tensor)))
            elif isinstance(answer, Rejected):
                self._record.rejected.append((peer, f"refused: {answer.reason}: {answer.detail}"))
            else:
                why = "absent" if answer is None else f"unreachable: {type(answer).__name__}: {answer}"
                self._record.rejected.append((peer, why[:200]))
        return sorted(rows, key=lambda row: row.peer)

    def _update(self, round: int, rows: list[Row]) -> None:
        least, models = self._roster.quorum.least, self._bench.models
        if len(rows) < least:
            self._record.kept = f"{len(rows)} averages, and the rule needs {least} (f = {self._roster.quorum.f})"
            models[round + 1] = models[round]
            return
        self._record.rows = [row.peer for row in rows]
        step = self._bench.update(round, self._bench.aggregate(round, rows))
        models[round + 1], self._bench.velocity = step.model, step.velocity

    def _publish(self, kind: str, envelope: bytes) -> None:
        self._bench.store.publish(name_of(kind, self.round), envelope)
        self._written_bytes += len(envelope)

    def _check(self, round: int) -> None:
        if round != self.round or not self.round:
            raise ValueError(f"the peer is in round {self.round}, got round {round}")

    def _count(self, size: int) -> None:
        self._record.read_bytes += size

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._record.seconds[phase] = time.monotonic() - begun
