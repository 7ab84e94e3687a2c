"""Makes an ordinary train function a worker of GuanYu: it sees one model, the median of those that servers sent."""

from __future__ import annotations

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod

from flwr_byzantine.clients._guanyu_judge import judged
from flwr_byzantine.clients._guanyu_offer import Offer
from flwr_byzantine.protocols.guanyu.wire import RECORD, Delivery
from flwr_byzantine.records import Flat, Layout, replace_arrays
from flwr_byzantine.rules import Aggregator, median

__all__ = ["guanyu_mod"]

ARRAYS = "arrays"
"""Under which name the function finds the model, as with Flower's own strategies."""


def guanyu_mod(model_rule: Aggregator = median) -> Mod:
    """A Flower mod for the workers of :class:`~flwr_byzantine.strategies.GuanYu`.

    Of the models in a message it takes the first ``q`` that are finite, and hands their coordinate-wise median to the
    train function, as ``message.content["arrays"]``. The function replies as to any strategy, with the trained model
    or, if the strategy says ``workers_return="gradient"``, with a gradient in the model's names, order and shapes. A
    trained model leaves as a gradient, too: the median less the trained model.

    Where the strategy's settings are ``synchronous``, the function sees one server's model instead, and is called again
    with another's while that fails the filters; what they remember lies in the node's ``context.state``.

    Other messages pass untouched, so the same app runs under other strategies.

    Put it before :func:`~flwr_byzantine.clients.attack_mod`, which then lies about the trained model. That mod knows
    nothing of gradients: with functions that return them, stage attacks by the strategy's ``worker_attack``.

    Args:
        model_rule: What becomes of the models; the strategy's settings should have the same.

    Returns:
        A mod for ``ClientApp(mods=[...])`` or ``@app.train(mods=[...])``. If fewer than ``q`` finite models came, the
        node fails: more servers are faulty than the settings tolerate.

    Example:
        >>> from flwr.clientapp import ClientApp
        >>> app = ClientApp(mods=[guanyu_mod()])
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if RECORD not in message.content.config_records:
            return call_next(message, context)
        content = message.content
        models = content.array_records  # a copy, made anew at each look
        offer = Offer(Delivery.of(content.config_records[RECORD], model_rule), models)
        others = {name: kept for name, kept in content.items() if isinstance(kept, ConfigRecord) and name != RECORD}

        def answer(row: Flat, record: ArrayRecord) -> Message:
            message.content = RecordDict({ARRAYS: record, **others})
            reply = call_next(message, context)
            if reply.has_content() and offer.delivery.answer == "model":
                reply.content = _as_gradient(reply.content, offer.layout, row)
            return reply

        if offer.delivery.settings.synchronous:
            first = context.node_id % offer.delivery.settings.n
            return judged(offer, context.state, answer, first_server=first)
        return answer(*offer.median())

    return mod


def _as_gradient(content: RecordDict, layout: Layout, model: Flat) -> RecordDict:
    """The reply with the model less what was trained of it in place of what was trained."""
    trained = layout.flatten(next(iter(content.array_records.values())))
    return replace_arrays(content, layout, np.zeros_like(model), model - trained)
