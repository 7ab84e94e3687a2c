"""A cell's training among peers: signed averages, read from stores in memory, with nobody above them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from flwr_byzantine.bench.cells import Cell
from flwr_byzantine.bench.names import Staged
from flwr_byzantine.bench.tasks import Task
from flwr_byzantine.bench.traces import Trace
from flwr_byzantine.bench.workers import Worker, workers_of
from flwr_byzantine.clients.peer import PeerAttack, PeerConfig, PeerStep, RoundRecord
from flwr_byzantine.rules import Aggregator
from flwr_byzantine.signing import Keyring, PrivateKey
from flwr_byzantine.stores import MemoryStore

__all__ = ["train_peers"]


def train_peers(cell: Cell, task: Task, rule: Aggregator, staged: Staged) -> Trace:
    """Train by rounds in which all publish before anybody reads; liars publish last, having read the honest.

    The accuracy of a round is that of the worst honest peer; a peer is rejected if an honest one left its average out.
    """
    mesh = Mesh(cell, task, rule, staged)
    trace = Trace(mesh.n, mesh.honest)
    mesh.each(lambda peer: peer.begin(parameters_to_vector(task.new_network(cell.seed).parameters()).detach()))
    for round in range(1, cell.training.rounds + 1):
        mesh.each(lambda peer, round=round: peer.publish(round), liars_read_honest=True)  # type: ignore[misc]
        records: list[RoundRecord] = mesh.each(lambda peer, round=round: peer.finish(round))  # type: ignore[misc]
        mesh.note(trace, records[: mesh.honest])
        if cell.training.measures(round):
            trace.accuracies[round] = min(mesh.accuracies())
    trace.rule_seconds = mesh.updating_s / (mesh.honest * cell.training.rounds)
    return trace


class Mesh:
    """The peers of a cell, each built anew for each call from its store and its state."""

    def __init__(self, cell: Cell, task: Task, rule: Aggregator, staged: Staged) -> None:
        self.honest, self.n = cell.training.honest, cell.training.honest + cell.f
        self._task, self._network = task, task.new_network(0)
        self._config = PeerConfig(rule=rule, byzantine=cell.f, learning_rate=1.0, exchange="gradients")
        self._attack = staged.updates
        self._seed = cell.seed
        self._keys = [PrivateKey.from_seed(sha256(f"{cell.seed}:{i}".encode()).digest()) for i in range(self.n)]
        self._ring = Keyring(key.public() for key in self._keys)
        self._stores = {key.peer: MemoryStore() for key in self._keys}
        self._states: dict[int, dict[str, Any]] = {}
        self._workers = workers_of(
            task, cell.training, cell.f, heterogeneity=cell.heterogeneity, data_attack=staged.data, seed=cell.seed
        )
        self.updating_s = 0.0

    def each(self, call: Callable[[PeerStep], Any], *, liars_read_honest: bool = False) -> list[Any]:
        """What a call gives for each peer, in order; liars may be shown the honest peers' stores only."""
        results = []
        for number, key in enumerate(self._keys):
            lies = number >= self.honest
            shown = self._keys[: self.honest] if lies and liars_read_honest else self._keys
            readers = {other.peer: self._stores[other.peer] for other in shown if other is not key}
            attack = PeerAttack(self._attack, seed=self._seed + number) if lies and self._attack is not None else None
            with PeerStep(
                key, ring=self._ring, store=self._stores[key.peer], readers=readers, config=self._config,
                gradients=self._gradients(self._workers[number]), attack=attack, state=self._states.get(number),
            ) as peer:  # fmt: skip
                results.append(call(peer))
                self._states[number] = peer.state
        return results

    def note(self, trace: Trace, records: list[RoundRecord]) -> None:
        """Write down whom honest peers left out in a round, once each."""
        numbers = {key.peer: number for number, key in enumerate(self._keys)}
        reasons = {numbers[peer]: reason for record in records for peer, reason in record.rejected}
        for node, reason in sorted(reasons.items()):
            trace.reject(records[0].round, node, reason)
        if any(record.kept is not None for record in records):
            trace.kept.append(records[0].round)
        self.updating_s += sum(record.seconds["updating"] for record in records)

    def accuracies(self) -> list[float]:
        """Of each honest peer's model."""
        models = self.each(lambda peer: peer.model())[: self.honest]
        distinct = {sha256(model.numpy().tobytes()).digest(): model for model in models}
        return [self._task.accuracy(self._loaded(model)) for model in distinct.values()]

    def _gradients(self, worker: Worker) -> Callable[[Tensor, int], Iterator[Tensor]]:
        def gradients(model: Tensor, round: int) -> Iterator[Tensor]:
            network = self._loaded(model)
            worker.train(network)
            yield model - parameters_to_vector(network.parameters()).detach()

        return gradients

    def _loaded(self, model: Tensor) -> nn.Module:
        vector_to_parameters(model.clone(), self._network.parameters())
        return self._network
