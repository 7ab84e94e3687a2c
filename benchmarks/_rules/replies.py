"""A whole ``aggregate_train``: from the replies' bytes to an ArrayRecord, by Flower's strategies and by ours."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg

from _rules.shared import Rows
from flwr_byzantine.rules import mean
from flwr_byzantine.strategies import Bulyan, Krum, MultiKrum, RobustMedian, RobustStrategy, TrimmedMean
from flwr_byzantine.testing import make_reply

SHARES = (0.5, 0.25, 0.1, 0.1, 0.04, 0.008, 0.001, 0.001)
"""How a model's numbers are spread over its arrays here."""

STRATEGIES: dict[str, dict[str, Callable[[int, int], FedAvg]]] = {
    "flwr": {
        "mean": lambda n, f: FedAvg(),
        "median": lambda n, f: flower.FedMedian(),
        "trimmed mean": lambda n, f: flower.FedTrimmedAvg(beta=(f + 0.5) / n),
        "krum": lambda n, f: flower.Krum(num_malicious_nodes=f),
        "multi-krum": lambda n, f: flower.MultiKrum(num_malicious_nodes=f, num_nodes_to_select=n - f - 2),
        "bulyan": lambda n, f: flower.Bulyan(num_malicious_nodes=f),
    },
    "ours": {
        "mean": lambda n, f: RobustStrategy(mean, num_malicious_nodes=0),
        "median": lambda n, f: RobustMedian(num_malicious_nodes=f),
        "trimmed mean": lambda n, f: TrimmedMean(num_malicious_nodes=f),
        "krum": lambda n, f: Krum(num_malicious_nodes=f),
        "multi-krum": lambda n, f: MultiKrum(num_malicious_nodes=f, num_nodes_to_select=n - f - 2),
        "bulyan": lambda n, f: Bulyan(num_malicious_nodes=f),
    },
}
"""From the side and the rule to the strategy for n nodes, f of them Byzantine."""


class Model:
    """An ArrayRecord that becomes one row when asked."""

    def __init__(self, arrays: ArrayRecord) -> None:
        self.arrays = arrays

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """The arrays, one after the other."""
        row = np.concatenate([array.numpy() for array in self.arrays.values()])
        return row if dtype is None else row.astype(dtype)


def split(row: Rows) -> dict[str, Array]:
    """A row as the serialised arrays of a model."""
    ends = np.cumsum(np.array(SHARES) * len(row)).round().astype(int)[:-1]
    return {f"layer{i}.weight": Array(part) for i, part in enumerate(np.split(row, ends))}


def whole(
    side: str, name: str, rows: Rows, f: int, *, seen: bool = False
) -> tuple[Callable[..., Model], Callable[[], tuple[Any, ...]]]:
    """``aggregate_train`` of a strategy, and what makes its arguments: Flower's takes the replies apart as it goes.

    With ``seen`` our strategy has looked at each reply when it came, untimed, as it does while it waits for others.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    strategy = STRATEGIES[side][name](len(rows), f)
    strategy.fraction_train = 0.0  # configure_train keeps the model, and samples nobody
    model, arrived = ArrayRecord(split(np.zeros_like(rows[0]))), [split(row) for row in rows]

    def replies() -> tuple[Any, ...]:
        strategy.configure_train(1, model, ConfigRecord(), None)
        messages = [make_reply(i + 1, ArrayRecord(dict(a)), {"num-examples": 1}) for i, a in enumerate(arrived)]
        for message in messages if seen else ():
            strategy.see(message)
        return 1, messages

    def aggregate(server_round: int, messages: Any) -> Model:
        arrays, _ = strategy.aggregate_train(server_round, messages)
        if arrays is None:
            raise RuntimeError("no model came back")
        return Model(arrays)

    return aggregate, replies
