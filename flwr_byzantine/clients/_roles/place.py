"""A node's place in a run: who takes part, its own store and the others', and the model at the start."""

from __future__ import annotations

from collections.abc import Mapping
from logging import WARNING

import torch
from flwr.app import Context, Message
from flwr.common.logger import log

from flwr_byzantine.clients._roles.node import Node, open_own, open_reader
from flwr_byzantine.records import Layout
from flwr_byzantine.roster import ARRAYS, Seat, Talk, read_seat, run_name
from flwr_byzantine.signing import Keyring
from flwr_byzantine.stores import RedisStore, TensorStore

__all__ = ["Place"]


class Place:
    """What the message that starts a training says, as far as the node believes it.

    Args:
        node: The node.
        message: The one that starts the training: seats and model.
        context: The node's.
        talk: In which record the seats are.
        answer_s: How long another's store may take to answer.

    Raises:
        TypeError: If the roster is no two lists.
        ValueError: If they do not fit each other, or the node has no seat.
        StoreError: If the node's own store cannot be used.
    """

    def __init__(self, node: Node, message: Message, context: Context, *, talk: Talk, answer_s: float) -> None:
        self.node = node
        self.sent = message.content.array_records[ARRAYS]
        self.seats = _seats(message, context, talk)
        if node.key.peer not in self.seats:
            raise ValueError(f"this node, {node.key.peer[:8]}, has no seat among the {len(self.seats)} of the run")
        self.ring = Keyring(seat.key for seat in self.seats.values())
        self.store = open_own(node.store, context)
        self.readers = _readers(self.seats, node.key.peer, context, answer_s)
        self.layout = Layout.of(self.sent)
        self.model = torch.from_numpy(self.layout.flatten(self.sent))

    def close(self) -> None:
        """Let go of the connections to the others' stores; what others or this process keep stays."""
        for reader in self.readers.values():
            if isinstance(reader, RedisStore):
                reader.close()


def _seats(message: Message, context: Context, talk: Talk) -> dict[str, Seat]:
    """By peer id, the seats that are signed, and whose peers are on the node's own keyring if it has one."""
    record = message.content.config_records[talk.name]
    peers, signed = record["peers"], record["seats"]
    if not isinstance(peers, list) or not isinstance(signed, list):
        raise TypeError("the roster must be two lists, of peers and of their seats")
    known = Keyring.load(str(context.node_config["keyring"])) if "keyring" in context.node_config else None
    seats = {}
    for peer, data in zip(peers, signed, strict=True):
        seat = read_seat(data if isinstance(data, bytes) else b"", peer=str(peer), run=run_name(context.run_id))
        if not isinstance(seat, Seat):
            log(WARNING, "no seat: %s", seat)
        elif known is not None and seat.key.peer not in known:
            log(WARNING, "peer %s left out: it is not on this node's keyring", seat.key.peer[:8])
        else:
            seats[seat.key.peer] = seat if known is None else Seat(known[seat.key.peer], seat.store)
    return seats


def _readers(seats: Mapping[str, Seat], own: str, context: Context, timeout_s: float) -> dict[str, TensorStore]:
    readers = {}
    for peer, seat in seats.items():
        if peer != own:
            readers[peer] = open_reader(seat.store, context, timeout_s=timeout_s)
    return readers
