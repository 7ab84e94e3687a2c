"""What Spirt and GuanYuNodes do alike: bring nodes together, leave them alone, and hear in the end how it went."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from logging import INFO
from typing import Any, ClassVar, Generic, TypeVar

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from flwr_byzantine.records import Layout
from flwr_byzantine.roster import ARRAYS, SETTINGS, Talk, run_name
from flwr_byzantine.strategies._gathering import GatheringGrid
from flwr_byzantine.strategies._roles_drive import POLL_S, Drive, end_nodes
from flwr_byzantine.strategies._roles_invite import Invited, Question, invite
from flwr_byzantine.strategies._roles_report import RolesResult

__all__ = ["NUMBERS_PER_ROUND", "RolesStrategy", "Setting"]

NUMBERS_PER_ROUND = 32
ANSWER_S = 600.0
"""How long a node may take to say who it is: a SuperNode may start a process for it."""

Setting = str | int | float | bool
R = TypeVar("R", bound=RolesResult)


class RolesStrategy(Strategy, Generic[R]):
    """Starts nodes in roles that last for the whole run, and stays off the path of their data.

    Args:
        min_available_nodes: How many nodes to wait for before it starts with all that are there.
        resident: Whether nodes train in threads that outlive the message; None for where that is needed.
    """

    talk: ClassVar[Talk]

    def __init__(self, *, min_available_nodes: int, resident: bool | None) -> None:
        self.min_available_nodes, self.resident = min_available_nodes, resident
        self._deadline = math.inf
        self._nodes: list[int] = []
        self._invited = Invited()
        self._addressees: Mapping[str, int] = {}
        self._layout, self._model = Layout(()), torch.empty(0).numpy()

    @abstractmethod
    def _new_result(self) -> R:
        """An empty result."""

    @abstractmethod
    def _settings(self, num_rounds: int) -> ConfigRecord:
        """Those of every node."""

    @abstractmethod
    def _tell(self, result: R, num_rounds: int) -> None:
        """Write what the nodes told into the result."""

    def _about(self) -> Mapping[str, Any]:
        """What nodes need besides to check the settings."""
        return {}

    def _roster(self, settings: ConfigRecord) -> ConfigRecord:
        """What every node is told about all; who takes no part after all is left out here.

        Raises:
            RuntimeError: If too few are left.
        """
        return self._invited.roster

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> R:
        """Bring the nodes together, wait until they are done, and pick the result.

        Args:
            grid: The nodes.
            initial_arrays: The first model, the same for all nodes.
            num_rounds: How many rounds they train, ``>= 1``.
            timeout: Seconds for all of it.
            train_config: Shown to a ClientApp in each round; a function has no use for it.
            evaluate_config: Not used: no node is asked to evaluate.
            evaluate_fn: Called with the first model, as round 0, and with the result.

        Raises:
            RuntimeError: If too few nodes come, or too few take part; the message has the first one's reason.
        """
        log(INFO, "Starting %s strategy:", type(self).__name__)
        self.summary()
        drive, self._deadline = Drive(GatheringGrid(grid), self.talk), time.monotonic() + timeout
        result = self._new_result()
        _evaluate(result, evaluate_fn, 0, initial_arrays)
        config = ConfigRecord({**(train_config or {}), "rounds": num_rounds})
        self._invited = Invited()
        try:
            messages = list(self.configure_train(1, initial_arrays, config, drive.grid))
            replies = drive.train(messages, deadline=self._deadline)
        finally:
            if self._invited.lasts:  # over another grid, for this one sends nothing to nodes that owe a reply
                end_nodes(GatheringGrid(grid), self._nodes, self.talk)
        self._addressees = drive.addressees
        arrays, _ = self.aggregate_train(num_rounds, replies)
        if arrays is not None:
            result.arrays = arrays
            _evaluate(result, evaluate_fn, num_rounds, arrays)
        self._tell(result, num_rounds)
        return result

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the nodes who they are; the messages that start them in their roles."""
        self._layout = Layout.of(arrays)
        self._model = self._layout.flatten(arrays)
        gathering = grid if isinstance(grid, GatheringGrid) else GatheringGrid(grid)
        self._nodes = self._await_nodes(gathering)
        settings = self._settings(int(str(config["rounds"])))
        question = Question(self.talk, run_name(gathering.run.run_id), settings, self._about())
        timeout_s = min(ANSWER_S, self._deadline - time.monotonic())
        self._invited = invite(gathering, self._nodes, question, timeout_s=timeout_s)
        if not self._invited.seats:
            raise RuntimeError(f"no node takes part; {next(iter(self._invited.rejected), 'there is none')}")
        roster = self._roster(settings)
        resident = not self._invited.fit if self.resident is None else self.resident
        self._log_residence(resident)
        roster["resident"] = resident
        content = RecordDict({ARRAYS: arrays, self.talk.name: roster, SETTINGS: settings, "config": config})
        return [Message(content, node, self.talk.start) for node in self._invited.seats]

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: nodes measure their own models, and ``evaluate_fn`` the result."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing."""
        return None

    def _await_nodes(self, grid: Grid) -> list[int]:
        """The nodes, once there are enough."""
        while len(nodes := sorted(grid.get_node_ids())) < self.min_available_nodes:
            if time.monotonic() > self._deadline:
                raise RuntimeError(f"only {len(nodes)} of {self.min_available_nodes} nodes came in time")
            log(INFO, "%d of %d nodes are there; waiting", len(nodes), self.min_available_nodes)
            time.sleep(POLL_S)
        return nodes

    def _log_residence(self, resident: bool) -> None:
        slots = self._invited.slots
        where = "in this process" if self._invited.here else f"{slots} processes" if slots else "a process per node"
        how = "in threads that outlive the message that starts them" if resident else "in one long message each"
        log(INFO, "%d nodes, %s: they train %s", len(self._invited.seats), where, how)


def _evaluate(
    result: RolesResult,
    evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None,
    server_round: int,
    arrays: ArrayRecord,
) -> None:
    metrics = evaluate_fn(server_round, arrays) if evaluate_fn is not None else None
    if metrics is not None:
        result.evaluate_metrics_serverapp[server_round] = metrics
