"""Strategies whose rule is handed a state each round: the last aggregate, or the server's own update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from torch import Tensor

from flwr_byzantine.admission import Admitted
from flwr_byzantine.records import Buffers, Flat, Layout
from flwr_byzantine.rules import Outcome, centered_clipping, fltrust
from flwr_byzantine.strategies.robust import RobustStrategy

__all__ = ["CenteredClipping", "FLTrust"]


class CenteredClipping(RobustStrategy):
    """Centered clipping of the updates around the last round's aggregate.

    Args:
        num_malicious_nodes: Byzantine nodes to tolerate, f; the rule needs 2f + 1 replies and itself does not depend
            on f.
        tau: Clipping radius, in the unit of the updates.
        steps: Clipping steps per round.
        **options: As in :class:`RobustStrategy`.

    Example:
        >>> CenteredClipping(num_malicious_nodes=2, tau=1.0).rule
        centered_clipping(tau=1.0, steps=1)
    """

    provides = RobustStrategy.provides | {"center"}

    def __init__(self, *, num_malicious_nodes: int = 0, tau: float = 10.0, steps: int = 1, **options: Any) -> None:
        rule = centered_clipping.bind(tau=tau, steps=steps)
        super().__init__(rule, num_malicious_nodes=num_malicious_nodes, **options)
        self.center: Tensor | None = None
        """``[d]``, the last aggregate: all the state there is. Set it to continue a run; None forgets it."""

    def rule_keywords(self, server_round: int, admitted: Admitted, f: int) -> dict[str, Any]:
        """The centre to clip around."""
        fits = self.center is not None and self.center.shape == admitted.model.shape
        return {"center": self.center if fits else None}

    def _aggregate(self, server_round: int, admitted: Admitted, f: int) -> Outcome:
        update, selected = self.rule.apply(admitted.rows, f=f, **self.rule_keywords(server_round, admitted, f))
        self.center = update
        return Outcome(admitted.model + update, selected)


class FLTrust(RobustStrategy):
    """The updates rescaled to the length of the server's own update and weighed by their angle to it.

    Args:
        root_train_fn: Trains the model on the server's small clean data set: gets the round and the arrays that are
            sent to the nodes, and returns the trained arrays under the same names.
        num_malicious_nodes: Rejected replies that may be left out; trust alone guards against the others. Arrays that
            are not floating-point, which trust cannot weigh, are taken from ``root_train_fn``.
        **options: As in :class:`RobustStrategy`.

    Example:
        >>> FLTrust(lambda server_round, arrays: arrays, num_malicious_nodes=6).num_malicious_nodes
        6
    """

    provides = RobustStrategy.provides | {"reference"}

    def __init__(
        self,
        root_train_fn: Callable[[int, ArrayRecord], ArrayRecord],
        *,
        num_malicious_nodes: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(fltrust, num_malicious_nodes=num_malicious_nodes, **options)
        self.root_train_fn = root_train_fn
        self._sent: ArrayRecord | None = None
        self._trained: ArrayRecord | None = None

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Any:
        """Configure the next round of training, and keep what the server trains from."""
        messages: list[Message] = list(super().configure_train(server_round, arrays, config, grid))
        self._sent = arrays
        return messages

    def rule_keywords(self, server_round: int, admitted: Admitted, f: int) -> dict[str, Any]:
        """The server's own update, computed anew."""
        layout, model = cast(Layout, self._layout), cast(Flat, self._model)
        self._trained = self.root_train_fn(server_round, cast(ArrayRecord, self._sent))
        return {"reference": torch.from_numpy(layout.flatten(self._trained) - model)}

    def _buffers(self, admitted: Admitted) -> Buffers:
        return cast(Layout, self._layout).read_buffers(cast(ArrayRecord, self._trained))
