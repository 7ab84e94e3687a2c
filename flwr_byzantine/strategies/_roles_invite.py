"""The first question to every node: who are you, and where do others read what you publish?"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from logging import INFO, WARNING
from typing import Any

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.logger import log

from flwr_byzantine.admission import Rejected, printable
from flwr_byzantine.roster import SETTINGS, Seat, Talk, read_seat
from flwr_byzantine.strategies._gathering import GatheringGrid

__all__ = ["Invited", "Question", "invite"]

MAX_ROLE = 16


@dataclass(frozen=True)
class Question:
    """What every node is asked at first."""

    talk: Talk
    run: str
    """The run that seats are signed for."""
    settings: ConfigRecord
    """Of a node; each checks them, and says so if they cannot be."""
    about: Mapping[str, Any]
    """How many take part, for the same check."""


@dataclass
class Invited:
    """Who answered, and how."""

    seats: dict[int, Seat] = field(default_factory=dict)
    """By node id."""
    signed: dict[int, bytes] = field(default_factory=dict)
    """The same as signed by the peers."""
    roles: dict[int, str] = field(default_factory=dict)
    """By node id, the role that it wants; "" for any."""
    rejected: list[Rejected] = field(default_factory=list)
    slots: int = 0
    """How many of them run at once in a simulation; 0 if it is none."""
    here: bool = False
    """Whether they run in this very process."""

    @property
    def lasts(self) -> bool:
        """Whether the nodes' processes outlive a message."""
        return self.here or self.slots > 0

    @property
    def fit(self) -> bool:
        """Whether every node can be in a message of its own at the same time, as far as is known."""
        return not self.here and (self.slots == 0 or self.slots >= len(self.seats))

    @property
    def roster(self) -> ConfigRecord:
        """What every node is told about all."""
        peers = [seat.key.peer for seat in self.seats.values()]
        return ConfigRecord({"peers": peers, "seats": list(self.signed.values())})

    def leave_out(self, node: int, reason: str) -> None:
        """A node takes no part after all."""
        for found in (self.seats, self.signed, self.roles):
            found.pop(node, None)
        log(WARNING, "\t> node %d takes no part: %s", node, reason)
        self.rejected.append(Rejected(node, reason))


def invite(grid: GatheringGrid, nodes: Sequence[int], question: Question, *, timeout_s: float) -> Invited:
    """Ask the nodes; those that do not answer as they should are left out, with the reason.

    Args:
        grid: To send over.
        nodes: Whom to ask.
        question: What to ask.
        timeout_s: How long to wait for answers.
    """
    here = f"{socket.gethostname()}:{os.getpid()}"
    about = ConfigRecord({"process": here, "nodes": len(nodes), **question.about})
    content = RecordDict({question.talk.name: about, SETTINGS: question.settings})
    replies = grid.send_and_receive([Message(content, node, question.talk.who) for node in nodes], timeout=timeout_s)
    invited, addressees = Invited(), grid.addressees
    for reply in replies:
        node = addressees.get(reply.metadata.reply_to_message_id, reply.metadata.src_node_id)
        fault = _error_of(reply) or _note(reply.content, node, question, invited)
        if fault is not None:
            invited.leave_out(node, fault)
    answered = {*invited.seats, *(rejected.node_id for rejected in invited.rejected)}
    for node in nodes:
        if node not in answered:
            invited.leave_out(node, "it did not say who it is")
    log(INFO, "%d of %d nodes take part", len(invited.seats), len(nodes))
    return invited


def _error_of(reply: Message) -> str | None:
    return f"error {reply.error.code}: {printable(str(reply.error.reason), 400)}" if reply.has_error() else None


def _note(content: RecordDict, node: int, question: Question, invited: Invited) -> str | None:
    """Take down what a node said of itself; or what is wrong with it."""
    try:
        told: Mapping[str, object] = content.config_records[question.talk.name]
        peer, signed, slots, process = (told[name] for name in ("peer", "seat", "slots", "process"))
        role = told.get("role", "")
    except Exception as error:  # whatever a stranger's record does when it is read
        return f"its answer cannot be read ({type(error).__name__})"
    if not isinstance(peer, str) or not isinstance(signed, bytes) or not isinstance(slots, int):
        return "its answer has other types than it should"
    if not isinstance(role, str) or len(role) > MAX_ROLE:
        return "the role that it wants is no short text"
    seat = read_seat(signed, peer=peer, run=question.run)
    if not isinstance(seat, Seat):
        return printable(str(seat))
    if any(seat.key.peer == other.key.peer for other in invited.seats.values()):
        return f"peer {seat.key.peer[:8]} is another node already"
    invited.seats[node], invited.signed[node], invited.roles[node] = seat, signed, role
    if slots > 0:
        invited.slots = min(slots, invited.slots or slots)
    invited.here = invited.here or process == f"{socket.gethostname()}:{os.getpid()}"
    return None
