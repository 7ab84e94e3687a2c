"""The words of GuanYu's machines: what comes in, and what is to be done.

Values are never looked at here: they may be tensors, keys of a store, or numbers of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

__all__ = [
    "Action",
    "Aggregate",
    "Aggregated",
    "Arrived",
    "CatchUp",
    "Compute",
    "Computed",
    "Contract",
    "Contracted",
    "Event",
    "Kind",
    "Message",
    "Reason",
    "Refused",
    "Role",
    "Send",
]


class Role(Enum):
    """The two sides."""

    SERVERS = "servers"
    WORKERS = "workers"


class Kind(Enum):
    """What a message brings. One of each sender, step and kind counts."""

    MODEL = "model"
    """From a server to a worker: where to compute the step's gradient."""
    GRADIENT = "gradient"
    """From a worker to a server."""
    EXCHANGE = "exchange"
    """From a server to another: its model after the step."""


class Reason(Enum):
    """Why a message does not count."""

    NOT_FOR_US = "of a kind that is not sent to this role"
    STRANGER = "its sender is not one of those who send this kind"
    SECOND = "a second message of this sender, step and kind"
    LATE = "its step is over here"
    OVERTAKEN = "its sender has sent too many later ones"
    NO_STEP = "its step is not a whole number >= 1"


@dataclass(frozen=True)
class Message:
    """What one node sent. The sender is proven before it comes here: by a signature, or by the simulation.

    Args:
        kind: What it is.
        sender: Who sent it.
        step: Of which step, from 1.
        value: The model or gradient, or where it lies; checked for shape and finiteness before it comes here.
    """

    kind: Kind
    sender: str
    step: int
    value: Any


@dataclass(frozen=True)
class Arrived:
    """A message came, from anybody."""

    message: Message


@dataclass(frozen=True)
class Computed:
    """The answer to :class:`Compute`: the gradient."""

    step: int
    value: Any


@dataclass(frozen=True)
class Aggregated:
    """The answer to :class:`Aggregate` and :class:`CatchUp`: the server's model after the step."""

    step: int
    value: Any


@dataclass(frozen=True)
class Contracted:
    """The answer to :class:`Contract`: the server's model after the exchange."""

    step: int
    value: Any


Event: TypeAlias = Arrived | Computed | Aggregated | Contracted
"""What a driver tells a machine."""


@dataclass(frozen=True)
class Send:
    """Send a value to all of a role, oneself excepted; a receiver that lost it may be sent it again."""

    to: Role
    message: Message


@dataclass(frozen=True)
class Compute:
    """Take the models' median and compute one gradient there."""

    step: int
    inputs: tuple[Message, ...]


@dataclass(frozen=True)
class Aggregate:
    """Aggregate these gradients and take a step from one's own model."""

    step: int
    inputs: tuple[Message, ...]


@dataclass(frozen=True)
class Contract:
    """Take the median of these models, one's own first."""

    step: int
    inputs: tuple[Message, ...]


@dataclass(frozen=True)
class CatchUp:
    """Take the median of these ``2f + 1`` models of others for one's own: one fell behind."""

    step: int
    inputs: tuple[Message, ...]


@dataclass(frozen=True)
class Refused:
    """A message was left out; for logs and counts."""

    message: Message
    reason: Reason

    def __str__(self) -> str:
        said = self.message
        return f"step {said.step!r}: {said.kind.value} of {said.sender[:8]} left out: {self.reason.value}"


Action: TypeAlias = Send | Compute | Aggregate | Contract | CatchUp | Refused
"""What a machine wants done."""
