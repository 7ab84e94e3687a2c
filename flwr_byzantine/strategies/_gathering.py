"""A grid that waits no longer than it must for replies, and that no reply can break."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from logging import INFO, WARNING
from typing import Any

from flwr.app import Error, Message
from flwr.common.logger import log
from flwr.serverapp import Grid

__all__ = ["GatheringGrid"]

FIRST_POLL_S, LAST_POLL_S = 0.05, 1.0
"""Seconds between two looks for replies, at first and after a while. Flower's own grids take 0.1 and 3."""

UNREADABLE = 0
"""Error code of a reply that Flower could not read; 0 is Flower's "unknown"."""


class GatheringGrid(Grid):
    """Wraps a grid: stops waiting at a quorum and a grace time after it, and outlives replies that cannot be read.

    A node that has not answered is not sent another message, since a SuperNode would only queue it; once its
    late reply comes it is left out, and the node takes part again. A reply on which the grid itself raises
    becomes an error reply of its node.

    At most ``f`` error replies count towards the quorum: each is a fault found, but that of more than ``f``
    nodes must not end a round that the others could still fill.

    Args:
        grid: The grid to send over. If it has a ``clock`` with ``now()`` and ``sleep(seconds)``, as
            :class:`~flwr_byzantine.testing.InProcessGrid` does, time is taken from that.
        quorum: How many replies suffice, or None to wait for all or for the timeout.
        grace_s: Seconds that others still have once the quorum is there.
        f: Error replies that count towards the quorum.
        on_reply: Called with each reply when it has come, while others are waited for.
    """

    def __init__(
        self,
        grid: Grid,
        quorum: int | None = None,
        grace_s: float = 0.0,
        *,
        f: int = 0,
        on_reply: Callable[[Message], None] = lambda reply: None,
    ) -> None:
        self._grid = grid
        self._quorum = quorum
        self._grace_s = grace_s
        self._f = f
        self._on_reply = on_reply
        clock = getattr(grid, "clock", None)
        self._now: Callable[[], float] = clock.now if clock else time.monotonic
        self._sleep: Callable[[float], None] = clock.sleep if clock else time.sleep
        self._sent: dict[str, Message] = {}
        self._unanswered: dict[str, Message] = {}

    @property
    def addressees(self) -> dict[str, int]:
        """Node by the id of the message last sent to it."""
        return {message_id: message.metadata.dst_node_id for message_id, message in self._sent.items()}

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send the messages; give back the replies once all, or the quorum and the grace time, have come."""
        self._sent = self._push_to_idle(messages)
        waiting = dict(self._sent)
        deadline = math.inf if timeout is None else self._now() + timeout
        replies: list[Message] = []
        in_grace, pause = False, FIRST_POLL_S
        while waiting:
            came = self._pull(waiting)
            replies += came
            for reply in came:
                self._on_reply(reply)
            if waiting and not in_grace and self._suffice(replies):
                in_grace, deadline = True, min(deadline, self._now() + self._grace_s)
                enough, missing = len(replies), len(waiting)
                log(INFO, "\t> %d replies make the quorum; %d more have %g s", enough, missing, self._grace_s)
            left = deadline - self._now()
            if not waiting or left <= 0:
                break
            self._sleep(min(pause, left))
            pause = min(2 * pause, LAST_POLL_S)
        self._unanswered |= waiting
        return replies

    def _push_to_idle(self, messages: Iterable[Message]) -> dict[str, Message]:
        """Send to the nodes that owe no reply; messages by id."""
        for reply in self._pull(self._unanswered) if self._unanswered else []:
            log(INFO, "\t> late reply of node %s left out: its round is over", reply.metadata.src_node_id)
        busy = {message.metadata.dst_node_id for message in self._unanswered.values()}
        if busy:
            log(INFO, "\t> not sent to nodes that still owe a reply: %s", sorted(busy))
        sent = {}
        for message in messages:
            if message.metadata.dst_node_id in busy:
                continue
            # One at a time, since a grid leaves out ids of messages that it could not send.
            for message_id in self._grid.push_messages([message]):
                if message_id:  # Flower's HttpGrid has None there for a message that the SuperLink refused
                    sent[message_id] = message
        return sent

    def _pull(self, waiting: dict[str, Message]) -> list[Message]:
        """The replies that have come, which are taken from ``waiting``."""
        try:
            replies = list(self._grid.pull_messages(list(waiting)))
        except Exception as error:  # one stranger's reply may be such that the grid raises on it
            replies = self._pull_one_by_one(waiting, error)
        for reply in replies:
            waiting.pop(reply.metadata.reply_to_message_id, None)
        return replies

    def _pull_one_by_one(self, waiting: dict[str, Message], error: Exception) -> list[Message]:
        """The same, with an error reply for each that cannot be read. If none can, the grid itself has failed."""
        replies: list[Message] = []
        unreadable: list[str] = []
        for message_id in waiting:
            try:
                replies += self._grid.pull_messages([message_id])
            except Exception:
                unreadable.append(message_id)
        if len(unreadable) == len(waiting):
            raise error
        for message_id in unreadable:
            sent = waiting[message_id]
            log(WARNING, "\t> the reply of node %d cannot be read", sent.metadata.dst_node_id)
            replies.append(Message(Error(UNREADABLE, "the reply cannot be read"), reply_to=sent))
            waiting.pop(message_id)
        return replies

    def _suffice(self, replies: list[Message]) -> bool:
        errors = sum(reply.has_error() for reply in replies)
        return self._quorum is not None and len(replies) - max(0, errors - self._f) >= self._quorum

    # The rest is the wrapped grid's.

    def set_run(self, run: Any) -> None:
        """As the wrapped grid does."""
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        """As the wrapped grid's."""
        return self._grid.run

    def create_message(self, *args: Any, **keywords: Any) -> Message:
        """As the wrapped grid does."""
        return self._grid.create_message(*args, **keywords)

    def get_node_ids(self) -> Iterable[int]:
        """As the wrapped grid does."""
        return self._grid.get_node_ids()

    def get_nodes(self) -> Iterable[Any]:
        """As the wrapped grid does."""
        return self._grid.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """As the wrapped grid does."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As the wrapped grid does."""
        return self._grid.pull_messages(message_ids)
