"""Starts the nodes in their roles, and waits until each is done or cannot say."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from logging import INFO, WARNING
from typing import Any

from flwr.app import Message, RecordDict
from flwr.common.logger import log

from flwr_byzantine.roster import Talk
from flwr_byzantine.strategies._gathering import GatheringGrid

__all__ = ["POLL_S", "Drive", "end_nodes"]

POLL_S = 1.0
"""Between two questions to nodes, in seconds of the machine's time."""
ANSWER_S = 60.0
"""How long a node may take to say how far it is."""


@dataclass
class Drive:
    """One training of nodes that go on by themselves.

    Args:
        grid: To send over.
        talk: The message types.
    """

    grid: GatheringGrid
    talk: Talk
    addressees: dict[str, int] = field(default_factory=dict)
    """The node by the id of each message that was sent: an error in its stead may come from the server."""

    def train(self, messages: list[Message], *, deadline: float) -> list[Message]:
        """Send the messages that start the nodes; the final reply, or the error, of each that has one by the deadline.

        Args:
            messages: One per node.
            deadline: By ``time.monotonic()``.
        """
        replies = self._send(messages, max(0.0, deadline - time.monotonic()))
        final = [reply for reply in replies if not self._trains_on(reply)]
        training = {reply.metadata.src_node_id for reply in replies if self._trains_on(reply)}
        while training and time.monotonic() < deadline:
            time.sleep(POLL_S)  # they train in the machine's time, whatever clock the grid has
            final += self._ask(training)
        for node in sorted(training):
            log(WARNING, "\t> node %d was not done in time", node)
        return final

    def _send(self, messages: list[Message], timeout_s: float) -> list[Message]:
        replies = list(self.grid.send_and_receive(messages, timeout=timeout_s))
        self.addressees |= self.grid.addressees
        return replies

    def _ask(self, training: set[int]) -> list[Message]:
        """Ask the nodes that train; the replies of those that are done, or cannot say, which are taken out."""
        replies = self._send([Message(RecordDict(), node, self.talk.report) for node in sorted(training)], ANSWER_S)
        done = [reply for reply in replies if not self._trains_on(reply)]
        training -= {self.addressees[reply.metadata.reply_to_message_id] for reply in done}
        rounds = sorted(self._round_of(reply) for reply in replies if self._trains_on(reply))
        if rounds:
            log(INFO, "%d nodes train; rounds behind them: %d to %d", len(rounds), rounds[0], rounds[-1])
        return done

    def _trains_on(self, reply: Message) -> bool:
        """Whether a reply says that the node is not done."""
        return not reply.has_error() and self._told(reply).get("done") is False

    def _round_of(self, reply: Message) -> int:
        round = self._told(reply).get("round")
        return round if isinstance(round, int) else 0

    def _told(self, reply: Message) -> Mapping[str, Any]:
        told: Mapping[str, Any] | None = reply.content.config_records.get(self.talk.name)
        return told or {}


def end_nodes(grid: GatheringGrid, nodes: Sequence[int], talk: Talk) -> None:
    """Tell the nodes that it is over, so that processes that last let go of what they hold."""
    grid.send_and_receive([Message(RecordDict(), node, talk.end) for node in nodes], timeout=ANSWER_S)
