"""The models of one message to a worker of GuanYu: which can be used, and their median."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from logging import WARNING

import numpy as np
import torch
from flwr.app import ArrayRecord
from flwr.common.logger import log

from flwr_byzantine.protocols import guanyu
from flwr_byzantine.protocols.guanyu.wire import Delivery
from flwr_byzantine.records import Flat, Layout, buffer_median

__all__ = ["Offer"]


class Offer:
    """What reached one worker in one step.

    Args:
        delivery: Whose the models are.
        records: Each model under the name that the delivery has for it.
    """

    def __init__(self, delivery: Delivery, records: Mapping[str, ArrayRecord]) -> None:
        self.delivery, self._records = delivery, records
        self.layout = Layout.of(records[delivery.models[0]] if delivery.models else ArrayRecord())
        self._rows: dict[str, Flat | None] = {}

    @cached_property
    def of_server(self) -> Mapping[str, str]:
        """By server, the name of its model; of two the first."""
        pairs = zip(self.delivery.senders, self.delivery.models, strict=True)
        return dict(reversed(list(pairs)))

    def row(self, name: str) -> Flat | None:
        """The row of a model, or None if it is of another layout or not finite."""
        if name not in self._rows:
            record = self._records[name]
            row = self.layout.flatten(record) if Layout.of(record) == self.layout else None
            self._rows[name] = row if row is not None and np.isfinite(row).all() else None
        return self._rows[name]

    def record(self, name: str) -> ArrayRecord:
        """A model as it came, in the layout's own form."""
        return self._records[name]

    def median(self) -> tuple[Flat, ArrayRecord]:
        """The row and the record of what the rule makes of the first ``q`` finite models.

        Raises:
            ValueError: If there are fewer.
        """
        names, settings = self._quorum(), self.delivery.settings
        chosen = [row for name in names if (row := self.row(name)) is not None]
        if len(set(names)) == 1:
            row = chosen[0]
        else:
            row = settings.model_rule([torch.from_numpy(row) for row in chosen], f=settings.f).numpy()
        buffers = [self.layout.read_buffers(self._records[name]) for name in names]
        middle = {spec.name: buffer_median([each[spec.name] for each in buffers]) for spec in self.layout.buffers}
        return row, self.layout.record(row, middle)

    def _quorum(self) -> list[str]:
        """The names of the quorum's models."""
        delivery = self.delivery
        worker = guanyu.GuanYuWorker("worker", delivery.servers, delivery.settings, first_step=delivery.step)
        for sender, name in zip(delivery.senders, delivery.models, strict=True):
            if self.row(name) is None:
                log(WARNING, "step %d: model of %s left out: not finite, or of another form", delivery.step, sender)
                continue
            message = guanyu.Message(guanyu.Kind.MODEL, sender, delivery.step, name)
            for action in worker.handle(guanyu.Arrived(message)):
                if isinstance(action, guanyu.Compute):
                    return [message.value for message in action.inputs]
                log(WARNING, "not read: %s", action)
        raise ValueError(f"GuanYu: step {delivery.step}: fewer than q = {delivery.settings.q} finite models came")
