"""What a node's machine wants done, done: publishing, computing; and what came of it, as events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flwr_byzantine.clients.guanyu._bench import Bench, GradientOf
from flwr_byzantine.clients.guanyu._journal import Journal
from flwr_byzantine.clients.guanyu._post import Post
from flwr_byzantine.clients.peer._threads import Lane, OwnStore
from flwr_byzantine.clients.peer.attack import PeerAttack
from flwr_byzantine.protocols.guanyu import (
    Action,
    Aggregate,
    Aggregated,
    CatchUp,
    Compute,
    Computed,
    Contract,
    Contracted,
    Event,
    Kind,
    Message,
    Reason,
    Refused,
    Send,
)

__all__ = ["Hands"]

USUAL = (Reason.LATE, Reason.OVERTAKEN, Reason.SECOND)
"""What befalls honest nodes that are slow."""


@dataclass
class Hands:
    """The actions of one node's machine, in order, on one thread; :meth:`do` does not wait.

    Args:
        bench: Computes in the node's own store.
        post: Signs and publishes.
        own: Says when to try again.
        journal: Counts and logs.
        answer: Takes what came of an action.
        function: A worker's gradient.
        attack: What makes it lie.
    """

    bench: Bench
    post: Post
    own: OwnStore
    journal: Journal
    answer: Callable[[Event], None]
    function: GradientOf | None = None
    attack: PeerAttack | None = None
    apart: Callable[[int, float], None] = lambda step, distance: None
    """Told how far the node's own model was from the median that replaced it at a step."""
    failed: str | None = None
    """What went wrong with its own work."""
    lane: Lane = field(default_factory=lambda: Lane("guanyu-work"))
    _begun: int = 0
    _done: int = 0
    _exchanged: tuple[int, Tensor] | None = None

    @property
    def busy(self) -> bool:
        """Whether it is at work."""
        return self._begun != self._done

    def begin(self, model: Tensor) -> None:
        """Keep the first model."""
        key = self.bench.model = self.bench.key("model", 1)
        self._submit("keeping the first model", lambda: self.bench.store.put(key, model))

    def do(self, action: Action, *, over: bool) -> None:
        """Begin what an action asks for; after the last step nothing new is computed."""
        if isinstance(action, Refused):
            said, reason = action.message, action.reason
            text = f"{reason.name.lower().replace('_', '-')}: {said.kind.value} of step {said.step}"
            self.journal.reject(said.sender, text, quiet=reason in USUAL)
        elif isinstance(action, Send):
            self._send(action.message)
        elif not over:
            self._submit(f"{type(action).__name__} of step {action.step}", lambda: self._compute(action))

    def tidy(self, step: int) -> None:
        """Forget what was before a step."""
        self._submit("tidying up", lambda: self.bench.tidy(step))

    def ask(self) -> None:
        """See whether one's own store is there: others may wait for what lies in it."""
        self._submit("asking its own store", lambda: self.bench.store.exists(self.bench.model or "model"))

    def _send(self, message: Message) -> None:
        if message.kind is Kind.MODEL:
            self.bench.model = message.value
        self._submit(f"publishing {message.kind.value} of step {message.step}", lambda: self._publish(message))

    def _publish(self, message: Message) -> None:
        value = self.bench.store.get(message.value)
        self._measure(message, value)
        if self.attack is not None:
            value = self.attack(value, [], round=message.step)
        self.post.publish(self.bench.store, value, message.kind, message.step)

    def _measure(self, message: Message, value: Tensor) -> None:
        """Compare a server's model before and after an exchange: both pass here, and none is fetched for it."""
        if message.kind is Kind.EXCHANGE:
            self._exchanged = message.step, value
        elif self._exchanged is not None:
            (step, before), self._exchanged = self._exchanged, None
            if step == message.step - 1:
                self.apart(step, float(torch.linalg.vector_norm(value - before)))

    def _compute(self, action: Aggregate | CatchUp | Compute | Contract) -> None:
        step = action.step
        if isinstance(action, Aggregate):
            self.answer(Aggregated(step, self.bench.stepped(step, action.inputs)))
        elif isinstance(action, Contract):
            self.answer(Contracted(step, self.bench.median(step, action.inputs)))
        elif isinstance(action, CatchUp):
            self.journal.say("fell behind, joins the others at step %d", step)
            self.answer(Aggregated(step, self.bench.median(step, action.inputs)))
        elif self.function is not None:
            self.bench.model = self.bench.median(step, action.inputs)
            self.answer(Computed(step, self.bench.gradient(step, self.bench.model, self.function)))

    def _submit(self, what: str, job: Callable[[], object]) -> None:
        """Do it in turn; again if the store was away, and never if something else is wrong."""

        def safely() -> None:
            try:
                self.own.insist(job, lambda: self.failed is None)
            except Exception as error:  # the user's function, or the store refuses
                self.failed = f"{what}: {type(error).__name__}: {error}"[:400]
                self.journal.warn("ends: %s", self.failed)
            self._done += 1

        self._begun += 1
        self.lane.submit(safely)
