"""A peer's own work, done in its own store: average, aggregate, update, catch up.

Every result lies under a key that nothing else is ever written to, so that what comes late, or is done twice because
the store was away in between, touches no model.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from torch import Tensor

from flwr_byzantine.clients._scratch import Scratch, checked_gradient
from flwr_byzantine.clients.functions import BatchFailed, BatchGradient
from flwr_byzantine.clients.peer._roster import Roster
from flwr_byzantine.clients.peer.config import PeerConfig
from flwr_byzantine.protocols.actions import Row
from flwr_byzantine.rules import median
from flwr_byzantine.stores import TensorStore, momentum_step, running_mean, script, sgd_step

__all__ = ["Averaged", "Bench", "Going", "Step"]

KINDS = "a tensor, a BatchGradient or a BatchFailed"
OWN_ROW = {"pivot", "reference"}
"""Keywords of rules for which one's own average stands."""
Going = Callable[[], None]
"""Raises if the work is not wanted any more."""


class Step(NamedTuple):
    """The keys of a model, and of the velocity with which it was reached."""

    model: str
    velocity: str | None


class Averaged(NamedTuple):
    """One's own average of a round."""

    key: str
    value: Tensor
    loss: float | None
    left_out: int
    velocity: str | None


@dataclass
class Bench(Scratch):
    """The tensors of one peer.

    Args:
        store: The peer's own.
        config: Rule, steps, and what is exchanged.
        own: The peer's id.
        roster: Who gossips with whom.
    """

    store: TensorStore
    config: PeerConfig
    own: str
    roster: Roster
    models: dict[int, str] = field(default_factory=dict)
    """By round, the key of its model."""
    velocity: str | None = None
    kept: dict[str, int] = field(default_factory=dict)
    """By key, the round until whose end it is needed."""
    number: int = 0
    """Of the next key."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def average(
        self, model: str, round: int, gradients: Callable[[Tensor, int], Iterable[object]], going: Going
    ) -> Averaged:
        """The mean of the mini-batch gradients at a model, folded in the database as they come.

        Raises:
            ValueError: If no gradient came, or one that is none.
        """
        start = self.store.get(model)
        mean, batch = self.key("average", round), self.key("batch", round)
        count = left_out = examples = 0
        loss = 0.0
        for item in gradients(start, round):
            going()
            if isinstance(item, BatchFailed):
                left_out += 1
                continue
            value = item.gradient if isinstance(item, BatchGradient) else item
            self.store.put(batch, checked_gradient(value, start, kinds=KINDS))
            self.store.run(running_mean(count), [mean if count else batch, batch], to=mean)
            count += 1
            if isinstance(item, BatchGradient):
                loss, examples = loss + item.loss * item.examples, examples + item.examples
        if not count:
            raise ValueError(f"there is no gradient to average, {left_out} batches were left out")
        reached = Step(mean, None)
        if self.config.gossips_models:
            reached = self.step(Step(model, self.velocity), mean, round)
        value = self.store.get(reached.model)
        return Averaged(reached.model, value, loss / examples if examples else None, left_out, reached.velocity)

    def aggregate(self, round: int, rows: Sequence[Row]) -> str:
        """Run the rule over rows, in the database; the key of what it gives.

        Raises:
            ValueError: If the rule needs one's own row and it is missing.
        """
        rule, nodes = self.config.aggregator, {peer: node for node, peer in enumerate(self.roster.nodes)}
        own = next((row.ref for row in rows if row.peer == self.own), None)
        given = dict.fromkeys(sorted(OWN_ROW & rule.accepts), own or "")
        if own is None and (self.config.own_first or given):
            raise ValueError(f"{rule} needs one's own average, and there is none")
        if self.config.own_first:
            rows = sorted(rows, key=lambda row: (row.peer != self.own, nodes.get(row.peer, len(nodes)), row.peer))
            given |= self._weights(round, [nodes.get(row.peer) for row in rows])
        to = self.key("aggregate", round)
        optional, seed = tuple(given.keys() - rule.needs), _seed(rows) if "generator" in rule.accepts else None
        self.store.run(script(rule, given=optional, seed=seed), [row.ref for row in rows], to=to, given=given)
        return to

    def _weights(self, round: int, nodes: Sequence[int | None]) -> dict[str, str]:
        """Where the weights of these nodes lie, the own one first; nothing if all weigh the same."""
        graph, known = self.roster.graph, [node for node in nodes if node is not None]
        even = graph.min_degree == graph.n - 1 or len(known) < len(nodes)
        if even or "weights" not in self.config.aggregator.accepts:
            return {}
        return {"weights": self.put("weights", round, graph.weights(known[0], among=known[1:]))}

    def update(self, round: int, aggregate: str) -> Step:
        """The model of the next round: the aggregate itself if models were gossiped, else one step along it."""
        if self.config.gossips_models:
            return Step(aggregate, self.velocity)
        return self.step(Step(self.models[round], self.velocity), aggregate, round + 1)

    def step(self, at: Step, gradient: str, round: int) -> Step:
        """One step along a gradient, in the database. The first one with momentum is a plain one."""
        lr, momentum = self.config.learning_rate, self.config.momentum
        to = self.key("model", round)
        if momentum and at.velocity is not None and self.store.exists(at.velocity):
            velocity = self.key("velocity", round)
            self.store.run(momentum_step(lr, momentum), [at.model, gradient, at.velocity], to=[to, velocity])
            return Step(to, velocity)
        self.store.run(sgd_step(lr), [at.model, gradient], to=to)
        return Step(to, gradient if momentum else None)

    def median_of(self, round: int, models: Sequence[Tensor], needed: int) -> tuple[str, bool]:
        """The key of the median of others' models, and whether one's own was counted in: if they are one short.

        Raises:
            ValueError: If there are too few of one form.
        """
        form = Counter((model.dtype, tuple(model.shape)) for model in models).most_common(1)
        alike = [model for model in models if form and (model.dtype, tuple(model.shape)) == form[0][0]]
        keys = [self.put("peer-model", round, model) for model in alike]
        own = self.models.get(round)
        with_own = own is not None and 0 < len(keys) == needed - 1
        if own is not None and with_own:
            keys.append(own)
        if len(keys) < needed:
            raise ValueError(f"{len(alike)} models of round {round}, and {needed} are needed")
        to = self.key("model", round)
        self.store.run(script(median.bind(f=0)), keys, to=to)
        self.store.delete(*(key for key in keys if key != own))
        return to, with_own

    def retire(self, round: int) -> frozenset[str]:
        """Drop the models before a round; the keys that are still in use."""
        for old in [old for old in self.models if old < round]:
            del self.models[old]
        return frozenset({*self.models.values(), self.velocity or ""})


def _seed(rows: Sequence[Row]) -> int:
    """For rules that draw: the same for all who have the same rows, and known to nobody before these are there."""
    digests = sorted((row.peer, row.digest) for row in rows)
    return int.from_bytes(sha256(b"".join(digest for _, digest in digests)).digest()[:7], "little")
