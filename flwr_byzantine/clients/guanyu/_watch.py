"""Looking into others' stores: one thread for each of them, so that one that hangs holds up nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable

from torch import Tensor

from flwr_byzantine.clients.guanyu._post import Post
from flwr_byzantine.protocols.guanyu import Action, Aggregate, Compute, Contract, Kind
from flwr_byzantine.signing import Rejected
from flwr_byzantine.stores import TensorStore

__all__ = ["Pace", "Watch", "read_no_more"]

GROWTH = 1.25
"""Of the pause, while nothing comes: one waits at most a quarter longer than one had to."""


class Pace:
    """Which steps of one kind are wanted: one's own until a quorum is in, and, if enough others are far ahead, theirs.

    Where the others are is what ``quorum`` of them claim to have reached: of more honest senders than liars at least
    one has. It stays for a while, so that a whole quorum of that step comes in before it is withdrawn.

    Args:
        quorum: How many must be ahead; 0 if one never jumps.
        lag: From how many steps on they are far ahead.
        every: Only multiples of this have messages.
        skip: Whether one's own step is left out then.

    Example:
        >>> pace = Pace(quorum=2, lag=2, skip=True)
        >>> pace.enter(3), pace.heard("a", 9), pace.heard("b", 7), pace.heard("liar", 1 << 60)
        (None, None, None, None)
        >>> pace.wanted()
        (9,)
        >>> pace.enter(9), pace.wanted(), pace.enough(9), pace.wanted()
        (None, (9,), None, ())
    """

    def __init__(self, quorum: int = 0, lag: int = 2, *, every: int = 1, skip: bool = False) -> None:
        self._quorum, self._lag, self._every, self._skip = quorum, lag, every, skip
        self._changed = threading.Condition()
        self._step, self._target, self._enough = 1, 0, 0
        self._heads: dict[str, int] = {}
        self._closed = False

    def enter(self, step: int) -> None:
        """One is at this step now."""
        with self._changed:
            if step != self._step:
                self._step = step
                self._changed.notify_all()

    def enough(self, step: int) -> None:
        """A quorum of this step is in: what else there is of it would be read for nothing."""
        with self._changed:
            self._enough = max(step, self._enough)

    def heard(self, sender: str, head: int) -> None:
        """A sender claims to have reached a step."""
        with self._changed:
            self._heads[sender] = head

    def unread(self, sender: str) -> int:
        """The newest step of which a sender claims to have a message and none is wanted any more."""
        with self._changed:
            return min(self._heads.get(sender, 0), self._enough)

    def wanted(self) -> tuple[int, ...]:
        """The steps to ask for."""
        with self._changed:
            reached = sorted(self._heads.values(), reverse=True)
            ahead = reached[self._quorum - 1] if 0 < self._quorum <= len(reached) else 0
            ahead -= ahead % self._every
            if self._target < self._step or ahead >= self._target + 2 * self._lag:
                self._target = ahead
            own = (self._step,) if self._enough < self._step else ()
            if self._target < self._step + self._lag:
                return own
            return (self._target,) if self._skip else (*own, self._target)

    def wait(self, step: int, timeout_s: float) -> int | None:
        """Wait until one is at another step, or so long; the step then, None after :meth:`close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._step != step, timeout_s)
            return None if self._closed else self._step

    def close(self) -> None:
        """Let all go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def read_no_more(action: Action, models: Pace, gradients: Pace) -> None:
    """Of what a quorum is in, as an action shows, nothing else is taken.

    Example:
        >>> models, gradients = Pace(), Pace()
        >>> read_no_more(Aggregate(1, ()), models, gradients)
        >>> models.wanted(), gradients.wanted()
        ((1,), ())
    """
    if isinstance(action, Aggregate):
        gradients.enough(action.step)
    elif isinstance(action, Compute | Contract):
        models.enough(action.step)


class Watch:
    """One thread that takes from one node's store what is wanted, less and less often while nothing comes.

    Args:
        post: Opens what is found.
        reader: The store; whatever it raises counts as no answer.
        pace: Says what is wanted.
        arrived: Keeps ``(sender, kind, step, tensor)``; False if that cannot be kept now.
        refused: Told ``(sender, reason)``.
    """

    def __init__(
        self,
        post: Post,
        reader: TensorStore,
        pace: Pace,
        arrived: Callable[[str, Kind, int, Tensor], bool],
        refused: Callable[[str, str], None],
    ) -> None:
        self._post, self._reader, self._pace = post, reader, pace
        self._arrived, self._refused = arrived, refused
        self._head, self._reached = b"", 0
        self._taken: set[int] = set()

    def start(self, sender: str, kind: Kind, poll_s: float, max_poll_s: float) -> threading.Thread:
        """Begin to watch for a sender's messages of a kind, until the pace is closed."""
        arguments = (sender, kind, poll_s, max_poll_s)
        thread = threading.Thread(target=self._watch, args=arguments, name=f"watch-{sender[:8]}", daemon=True)
        thread.start()
        return thread

    def _watch(self, sender: str, kind: Kind, poll_s: float, max_poll_s: float) -> None:
        pause_s, step = poll_s, 1
        while True:
            try:
                came = self.look(sender, kind)
            except Exception as error:  # a reader may be anything; none may end a node
                came = False
                self._refused(sender, f"unreachable: {type(error).__name__}: {error}"[:200])
            pause_s = poll_s if came else min(GROWTH * pause_s, max_poll_s)
            pause_s = max_poll_s if self._sated() else pause_s
            now = self._pace.wait(step, pause_s)
            if now is None:
                return
            if now != step:
                pause_s, step = poll_s, now

    def look(self, sender: str, kind: Kind) -> bool:
        """Look once; whether something came that was wanted.

        Raises:
            Exception: Whatever the reader raises if the store does not answer.
        """
        head = self._post.head(self._reader, sender, kind, self._head)
        if isinstance(head, Rejected):
            self._refused(sender, f"{head.reason.value}: {kind.value}-head: {head.detail}")
        elif head is not None and head[1]:
            self._head, self._reached = head
            self._pace.heard(sender, self._reached)
        wanted = self._pace.wanted()
        self._taken = {step for step in self._taken if step >= min(wanted, default=0)}
        asked = [step for step in wanted if step <= self._reached and step not in self._taken]
        return sum(self._take(sender, kind, step) for step in asked) > 0

    def _sated(self) -> bool:
        """Whether all that is wanted now was taken."""
        return self._taken.issuperset(self._pace.wanted())

    def _take(self, sender: str, kind: Kind, step: int) -> bool:
        found = self._post.read(self._reader, sender, kind, step)
        if isinstance(found, Rejected):
            self._refused(sender, f"{found.reason.value}: {kind.value} of step {step}: {found.detail}")
        if found is None or isinstance(found, Rejected) or found.tensor is None:
            return False
        if self._arrived(sender, kind, step, found.tensor):
            self._taken.add(step)
            return True
        return False
