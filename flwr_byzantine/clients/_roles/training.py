"""A node's own training: the user's function, called once a round, and what it is measured by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.clientapp import ClientApp
from torch import Tensor

from flwr_byzantine.attacks import DATA_ATTACKS
from flwr_byzantine.clients.functions import BatchFailed, BatchGradient
from flwr_byzantine.records import Flat, Layout
from flwr_byzantine.roster import ARRAYS

__all__ = ["Evaluate", "GradientsOf", "Training", "app_gradients"]

Piece = Tensor | BatchGradient | BatchFailed
GradientsOf = Callable[[Tensor, Context, int], Iterable[Piece]]
"""From the model ``[d]``, the node's context and the round to the gradients of the mini-batches."""
Evaluate = Callable[[Tensor, Context, int], Mapping[str, float]]
"""From the model ``[d]``, the node's context and the number of rounds behind it to metrics by name."""

LOSS_KEYS = ("train-loss", "train_loss", "loss")
MAX_METRICS = 16


class Training:
    """What a node calls for its gradients; notes on the way how good the model of each round is.

    Args:
        gradients: The user's function.
        evaluate: Of the model after each round, or None.
        context: The node's.

    Example:
        >>> training = Training(lambda model, context, round: [2 * model], lambda model, *_: {"x": float(model)}, None)
        >>> list(training(torch.ones(1), 1)), list(training(torch.zeros(1), 2)), training.measured
        ([tensor([2.])], [tensor([0.])], {0: {'x': 1.0}, 1: {'x': 0.0}})
    """

    def __init__(self, gradients: GradientsOf, evaluate: Evaluate | None, context: Context) -> None:
        self._gradients, self._evaluate, self._context = gradients, evaluate, context
        self.measured: dict[int, dict[str, float]] = {}
        """By round, the metrics of the model that it left; round 0 is the model at the start."""

    def __call__(self, model: Tensor, round: int) -> Iterator[Piece]:
        """The gradients of a round, at its model."""
        self.measure(model, round - 1)
        yield from self._gradients(model, self._context, round)

    def measure(self, model: Tensor, round: int) -> None:
        """Note how good a model is that came out of a round."""
        if self._evaluate is not None:
            found = self._evaluate(model, self._context, round)
            self.measured[round] = {name: float(value) for name, value in list(found.items())[:MAX_METRICS]}


def app_gradients(app: ClientApp, layout: Layout, sent: ArrayRecord, message: Message) -> GradientsOf:
    """The gradients that an ordinary ClientApp stands for: the model that it was sent minus the one it replies with.

    With a learning rate of 1 a node thus takes the robust aggregate of the peers' updates; the app trains as it likes.

    Args:
        app: With a function registered by ``@app.train()``.
        layout: That of the model.
        sent: The model at the start, whose arrays that are not floating-point stay as they are.
        message: The one that started the training; its other records are shown to the app in each round, with
            ``"server-round"`` in the record ``"config"``.
    """

    def gradients(model: Tensor, context: Context, round: int) -> Iterator[Piece]:
        flat: Flat = model.numpy()
        config = ConfigRecord({**message.content.config_records.get("config", {}), "server-round": round})
        arrays = layout.record(flat, layout.read_buffers(sent))
        content = RecordDict({ARRAYS: arrays, "config": config})
        reply = app(_train_message(message, content), _unarmed(context))
        if not reply.has_content():
            yield BatchFailed(0, f"the ClientApp replied with an error: {reply.error.reason}", 1)
            return
        trained = next(iter(reply.content.array_records.values()))
        change = torch.empty_like(model)
        layout.subtract(trained, flat, out=change.numpy())
        metrics = next(iter(reply.content.metric_records.values()), MetricRecord())
        yield BatchGradient(0, change.neg_(), _loss(metrics), _examples(metrics))

    return gradients


def _unarmed(context: Context) -> Context:
    """The context without an attack on updates: the node makes that itself, and twice flipped would be honest."""
    config = dict(context.run_config)
    if config.get("attack", "none") not in DATA_ATTACKS:
        config["attack"] = "none"
    node, state = dict(context.node_config), context.state
    return Context(context.run_id, context.node_id, node, state, config, series_id=context.series_id)


def _train_message(started_by: Message, content: RecordDict) -> Message:
    """An ordinary train message to this node, such as a server would send."""
    sent = started_by.metadata
    about = Metadata(
        run_id=sent.run_id,
        message_id=sent.message_id,
        src_node_id=sent.src_node_id,
        dst_node_id=sent.dst_node_id,
        reply_to_message_id="",
        group_id=sent.group_id,
        created_at=sent.created_at,
        ttl=sent.ttl,
        message_type="train",
    )
    return make_message(metadata=about, content=content)


def _loss(metrics: MetricRecord) -> float:
    value = next((metrics[key] for key in LOSS_KEYS if key in metrics), math.nan)
    return math.nan if isinstance(value, list) else float(value)


def _examples(metrics: MetricRecord) -> int:
    value = metrics.get("num-examples", 1)
    return 1 if isinstance(value, list) else int(value)
