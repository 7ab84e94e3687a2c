"""A worker of synchronous ByzSGD: one server's model between exchanges, and another's if that fails the filters."""

from __future__ import annotations

from collections.abc import Callable
from logging import WARNING

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.logger import log
from torch import Tensor

from flwr_byzantine.clients._guanyu_offer import Offer
from flwr_byzantine.protocols.guanyu import Last, Memory, ModelFilters
from flwr_byzantine.protocols.guanyu.wire import RECORD, Choice
from flwr_byzantine.records import Flat, npy_view

__all__ = ["Answer", "judged"]

STATE = "guanyu-filters"
"""Name of the record in which a node keeps what its filters remember."""

Answer = Callable[[Flat, ArrayRecord], Message]
"""From a model, as a row and as a record, to the reply of the train function with its gradient."""


def judged(offer: Offer, state: RecordDict, answer: Answer, *, first_server: int) -> Message:
    """The reply at the first model that passes the filters, with a :class:`Choice` beside it.

    After each exchange, at first, and where every server's model fails, the median of a quorum is taken instead: such
    a worker is as safe as one of the asynchronous version, and its filters find their way back.

    Args:
        offer: The models.
        state: The node's own, in which the filters' memory lies between two steps.
        answer: Runs the train function.
        first_server: The number of the server to ask first of all.

    Raises:
        ValueError: If the median is needed, and fewer than ``q`` models are finite.
    """
    delivery, rejected = offer.delivery, dict[str, str]()
    filters = ModelFilters(delivery.settings, memory=_recall(state, offer) or Memory(asked=first_server))
    for _ in () if filters.gathers_at(delivery.step) else delivery.servers:
        server = delivery.servers[filters.next_server()]
        name = offer.of_server.get(server)
        row = None if name is None else offer.row(name)
        if name is None or row is None:
            rejected[server] = "nothing came in time" if name is None else "not finite, or of another form"
            continue
        reply = answer(row, offer.record(name))
        if not reply.has_content():
            return reply
        model, gradient = torch.from_numpy(row), _gradient(reply, offer)
        verdict = filters.judge(delivery.step, model, gradient, rate=delivery.rate)
        if verdict.accepted:
            return _settled(reply, Choice(server, rejected), filters.memory, offer, state)
        rejected[server] = verdict.reason
    row, record = offer.median()
    reply = answer(row, record)
    if reply.has_content():
        filters.take(delivery.step, torch.from_numpy(row), _gradient(reply, offer), rate=delivery.rate)
        reply = _settled(reply, Choice("", rejected), filters.memory, offer, state)
    return reply


def _gradient(reply: Message, offer: Offer) -> Tensor:
    return torch.from_numpy(offer.layout.flatten(next(iter(reply.content.array_records.values()))))


def _settled(reply: Message, choice: Choice, memory: Memory, offer: Offer, state: RecordDict) -> Message:
    """The reply with what was chosen; the memory is kept."""
    step = offer.delivery.step
    for server, reason in choice.rejected.items():
        log(WARNING, "step %d: model of %s rejected: %s", step, server, reason)
    if memory.last is not None:
        state[STATE] = _kept(memory, memory.last, step)
    reply.content = RecordDict({**reply.content, RECORD: ConfigRecord(choice.as_config())})
    return reply


def _kept(memory: Memory, last: Last, step: int) -> ArrayRecord:
    numbers = np.array([memory.asked, memory.reach, last.rate, step], np.float64)
    arrays = {
        "model": last.model.numpy(),
        "gradient": last.gradient.numpy(),
        "coefficients": np.array(memory.coefficients, np.float64),
        "numbers": numbers,
    }
    return ArrayRecord({name: Array(values) for name, values in arrays.items()})


def _recall(state: RecordDict, offer: Offer) -> Memory | None:
    """What was remembered; None if there is nothing, or it is of a run before: of later steps, or another model."""
    if STATE not in state.array_records:
        return None
    values = {name: npy_view(array) for name, array in state.array_records[STATE].items()}
    asked, reach, rate, step = values["numbers"].tolist()
    if offer.delivery.step == 1 or offer.delivery.step < step or len(values["model"]) != offer.layout.size:
        return None
    model, gradient = (torch.from_numpy(values[name].copy()) for name in ("model", "gradient"))
    memory = Memory(int(asked), reach, last=Last(model, gradient, rate))
    memory.coefficients.extend(values["coefficients"].tolist())
    return memory
