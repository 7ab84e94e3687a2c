"""The n servers of GuanYu as values of one process: their machines, their models, and the messages between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from logging import WARNING

import numpy as np
import torch
from flwr.common.logger import log
from numpy.typing import NDArray
from torch import Tensor

from flwr_byzantine.errors import BudgetError, ToleranceError
from flwr_byzantine.protocols import guanyu
from flwr_byzantine.records import buffer_median
from flwr_byzantine.strategies._guanyu_staging import Schedule, StagedServers, ordered

__all__ = ["Gradients", "Replica", "Replicas", "spread"]

Buffers = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Replica:
    """One server's model."""

    row: Tensor
    """``[d]``."""
    buffers: Buffers
    """The arrays that are not floating-point."""


@dataclass(frozen=True)
class Gradients:
    """What the workers sent in one round and admission let in."""

    by_worker: Mapping[str, Replica]
    """In the order of the workers' ids, with the arrays that are not floating-point."""
    arrival: tuple[str, ...]
    """The workers in the order in which their gradients arrived."""
    liars: frozenset[str] = frozenset()
    """Workers known to be staged, whom a scheduler may favour."""


@dataclass
class Replicas:
    """Drives the honest servers' machines; the Byzantine ones are staged.

    Args:
        settings: The numbers.
        workers: The workers' names.
        staged: The Byzantine servers.
        rate: From the step to the learning rate.
        schedule: The order of messages.
        seed: For orders that are drawn.
    """

    settings: guanyu.GuanYuSettings
    workers: Sequence[str]
    staged: StagedServers
    rate: Callable[[int], float]
    schedule: Schedule = "seeded"
    seed: int = 0
    models: dict[str, Replica] = field(default_factory=dict, init=False)
    """By name, each honest server's model."""
    refused: list[guanyu.Refused] = field(default_factory=list, init=False)
    """What the machines left out in the last step; late messages apart, which are those beyond a quorum."""

    def __post_init__(self) -> None:
        self.names = tuple(f"server-{number}" for number in range(self.settings.n))
        self._machines: dict[str, guanyu.GuanYuServer] = {}
        self._aggregated: dict[tuple[int, ...], Tensor | None] = {}
        self._made: dict[tuple[int, ...], Replica] = {}
        self._place = {worker: place for place, worker in enumerate(self.workers)}

    def start(self, model: Replica) -> None:
        """Give all servers the same first model."""
        for name in self.names:
            if name not in self.staged.names:
                self._machines[name] = guanyu.GuanYuServer(name, self.names, self.workers, self.settings)
                self.models[name] = model
                self._do(name, self._machines[name].start(model))
        self.staged.remember(self.rows)

    @property
    def rows(self) -> Tensor:
        """``[h, d]``, the honest servers' models."""
        return torch.stack([replica.row for replica in self.models.values()])

    @property
    def apart(self) -> float:
        """The largest distance between two honest servers' models."""
        distinct = {id(replica): replica.row for replica in self.models.values()}
        return spread(list(distinct.values()))

    @property
    def step_now(self) -> int:
        """The step that the honest servers gather gradients for."""
        return min(machine.step for machine in self._machines.values())

    def models_for(self, receiver: int) -> list[tuple[str, Replica]]:
        """The models of this step that reach a worker, by its number, in the order of their arrival."""
        return self._delivered("model", receiver)

    def take_step(self, gradients: Gradients) -> float:
        """Hand every server the gradients, and let the servers exchange their models.

        Returns:
            How far the honest servers were apart before they exchanged.
        """
        step, self.refused = self.step_now, []
        self._aggregated, self._made = {}, {}
        for number, (name, machine) in enumerate(self._machines.items()):
            for worker, gradient in self._gradient_order(gradients, step, number):
                if machine.step != step or machine.phase is not guanyu.Phase.GATHERING:
                    break
                self._arrive(name, guanyu.Message(guanyu.Kind.GRADIENT, worker, step, gradient))
        apart = self.apart
        if self.settings.exchanges_at(step):
            self._exchange(step)
        self.staged.remember(self.rows)
        return apart

    def _exchange(self, step: int) -> None:
        shown = {number: self._delivered("exchange", len(self.workers) + number) for number in range(len(self.names))}
        for number, (name, machine) in enumerate(self._machines.items()):
            for sender, replica in shown[number]:
                if machine.phase is not guanyu.Phase.EXCHANGING:
                    break
                if sender != name and np.isfinite(replica.row.numpy()).all():
                    self._arrive(name, guanyu.Message(guanyu.Kind.EXCHANGE, sender, step, replica))

    def _arrive(self, name: str, message: guanyu.Message) -> None:
        self._do(name, self._machines[name].handle(guanyu.Arrived(message)))

    def _do(self, name: str, actions: Sequence[guanyu.Action]) -> None:
        """What the machine asks: sending needs no work here, since every model lies in this process."""
        machine = self._machines[name]
        for action in actions:
            if isinstance(action, guanyu.Aggregate):
                self.models[name] = self._stepped(self.models[name], action)
                self._do(name, machine.handle(guanyu.Aggregated(action.step, self.models[name])))
            elif isinstance(action, guanyu.Contract):
                self.models[name] = self._middle([message.value for message in action.inputs])
                self._do(name, machine.handle(guanyu.Contracted(action.step, self.models[name])))
            elif isinstance(action, guanyu.Refused):
                self.refused.append(action)

    def _stepped(self, own: Replica, action: guanyu.Aggregate) -> Replica:
        """The model after the step, or the same one if the gradients allow none."""
        inputs = sorted(action.inputs, key=lambda message: self._place[message.sender])
        chosen: list[Replica] = [message.value for message in inputs]  # some may be of an earlier round of this step
        key = tuple(id(gradient) for gradient in chosen)
        if key not in self._aggregated:
            self._aggregated[key] = self._aggregate(action.step, chosen)
        if (id(own), *key) not in self._made:
            self._made[id(own), *key] = self._moved(own, self._aggregated[key], action.step, chosen)
        return self._made[id(own), *key]

    def _moved(self, own: Replica, gradient: Tensor | None, step: int, chosen: list[Replica]) -> Replica:
        row = own.row if gradient is None else own.row - self.rate(step) * gradient
        if gradient is None or not np.isfinite(row.numpy()).all():
            log(WARNING, "step %d: no finite step from these gradients: the model is kept", step)
            return own
        return Replica(row, _middle_buffers(chosen))

    def _aggregate(self, step: int, chosen: list[Replica]) -> Tensor | None:
        rows = [gradient.row for gradient in chosen]  # where they lie: a copy would cost more than the rule
        try:
            return self.settings.gradient_rule(rows, f=self.settings.f_w)
        except (ToleranceError, BudgetError) as error:  # gradients can be made so that an exact search runs over
            log(WARNING, "step %d: no gradient to step by: %s", step, error)
            return None

    def _middle(self, replicas: list[Replica]) -> Replica:
        """The median of a quorum of models; equal servers that saw equal quorums share one."""
        distinct = {id(replica): replica for replica in replicas}
        if len(distinct) == 1:
            return replicas[0]
        key = tuple(sorted(id(replica) for replica in replicas))
        if key not in self._made:
            row = self.settings.model_rule([replica.row for replica in replicas], f=self.settings.f)
            self._made[key] = Replica(row, _middle_buffers(replicas))
        return self._made[key]

    def _delivered(self, kind: str, receiver: int) -> list[tuple[str, Replica]]:
        """What reaches one receiver, workers counted before servers."""
        step, buffers = self.step_now, next(iter(self.models.values())).buffers
        lies = self.staged.sent(self.rows, step=step, receiver=receiver) if self.staged.attack else []
        every = [*self.models.items(), *((name, Replica(row, buffers)) for name, row in lies)]
        draw = f"{self.seed} {kind} {step} {receiver}"
        return ordered(sorted(every, key=lambda item: item[0]), draw=draw, **self.staged.places(self.schedule))

    def _gradient_order(self, gradients: Gradients, step: int, number: int) -> list[tuple[str, Replica]]:
        first = gradients.liars if self.schedule == "byzantine-first" else ()
        draw = "" if self.schedule == "arrival" else f"{self.seed} gradient {step} {number}"
        workers = gradients.arrival if self.schedule == "arrival" else gradients.by_worker
        return ordered([(worker, gradients.by_worker[worker]) for worker in workers], first=first, draw=draw)


def _middle_buffers(replicas: Sequence[Replica]) -> Buffers:
    return {name: buffer_median([each.buffers[name] for each in replicas]) for name in replicas[0].buffers}


def spread(rows: Sequence[Tensor]) -> float:
    """The largest Euclidean distance between two rows; 0 if there is only one.

    Example:
        >>> spread(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
        5.0
    """
    return max((float((rows[i] - rows[j]).norm()) for i in range(len(rows)) for j in range(i)), default=0.0)
