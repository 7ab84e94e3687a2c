"""What may happen to a reply on its way: nothing, silence, delay, or something hostile.

A fault is a function of the honest reply and of the message that it answers. It returns what arrives::

    def sleepy(reply: Message, sent: Message) -> Arrivals:
        return None if sent.metadata.group_id == "3" else reply  # silent in round 3

``InProcessGrid(app, faults={0: sleepy, 1: silent, 2: late(5.0), 3: HostileReply.ALL_NAN})``
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from flwr.app import Message

__all__ = ["Arrivals", "Fault", "Late", "arrivals", "late", "silent"]


@dataclass(frozen=True)
class Late:
    """A reply that arrives ``delay_s`` seconds after its node was done."""

    message: Message
    delay_s: float

    def __post_init__(self) -> None:
        if not self.delay_s >= 0:
            raise ValueError(f"Late needs delay_s >= 0, got {self.delay_s}.")


Arrivals: TypeAlias = Message | Late | Iterable[Message | Late] | None
"""One reply, a late one, several, or None for silence."""
Fault: TypeAlias = Callable[[Message, Message], Arrivals]
"""``fault(reply, sent)``: the honest reply and the message that it answers, to what arrives."""


def silent(_reply: Message, _sent: Message) -> None:
    """The fault of a node that never answers.

    Example:
        >>> from flwr_byzantine.testing import make_reply
        >>> reply = make_reply(7, {}, {"num-examples": 10})
        >>> print(silent(reply, reply))
        None
    """


def late(delay_s: float, then: Fault | None = None) -> Fault:
    """The fault of a node whose replies, or what the fault ``then`` makes of them, arrive ``delay_s`` later.

    Args:
        delay_s: Delay in seconds, ``>= 0``.
        then: Another fault, such as a ``HostileReply``; delays add up.

    Returns:
        A fault.

    Raises:
        ValueError: If ``delay_s`` is negative or not a number.

    Example:
        >>> from flwr_byzantine.testing import make_reply
        >>> reply = make_reply(7, {}, {})
        >>> late(1.5)(reply, reply)[0].delay_s
        1.5
    """
    if not delay_s >= 0:
        raise ValueError(f"late needs delay_s >= 0, got {delay_s}.")

    def delayed(reply: Message, sent: Message) -> list[Message | Late]:
        outcome = reply if then is None else then(reply, sent)
        return [Late(arrival.message, arrival.delay_s + delay_s) for arrival in arrivals(outcome)]

    return delayed


def arrivals(outcome: Arrivals) -> list[Late]:
    """What a fault returned, as a list of replies with their delays.

    Args:
        outcome: What a fault returned.

    Returns:
        One entry per reply, in the order given; empty for silence.

    Example:
        >>> arrivals(None)
        []
    """
    if outcome is None:
        return []
    several = [outcome] if isinstance(outcome, Message | Late) else outcome
    return [entry if isinstance(entry, Late) else Late(entry, 0.0) for entry in several]
