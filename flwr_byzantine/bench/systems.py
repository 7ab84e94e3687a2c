"""A cell's training in one process: under a strategy, under GuanYu's servers, or among peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp.strategy import Strategy

from flwr_byzantine.bench._timed import Timed
from flwr_byzantine.bench.cells import Cell, Servers
from flwr_byzantine.bench.names import Staged, attack_named, rule_named
from flwr_byzantine.bench.peers import train_peers
from flwr_byzantine.bench.tasks import Task, load_task
from flwr_byzantine.bench.traces import Trace
from flwr_byzantine.bench.workers import client_app, workers_of
from flwr_byzantine.clients import guanyu_mod
from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.rules import Aggregator
from flwr_byzantine.strategies import Adversary, GuanYu, RobustResult, RobustStrategy
from flwr_byzantine.testing import InProcessGrid

__all__ = ["train"]


def train(cell: Cell, folder: Path) -> dict[str, Any]:
    """Train as the cell says; its trace, for JSON.

    Args:
        cell: What to run.
        folder: Where its data and the user's module are looked for.

    Raises:
        ToleranceError: If a bound does not hold: nothing is trained then.
    """
    rule = rule_named(cell.rule)
    n, needed = cell.training.honest + cell.f, rule.min_inputs(cell.f)
    if n < needed:
        raise ToleranceError(f"{rule} needs n >= {needed} ({rule.bound}) for f = {cell.f}, and there are {n} nodes")
    chosen = cell.task
    task = load_task(chosen.name, data=chosen.data, options=chosen.options, folder=folder)
    staged = attack_named(cell.attack, rule.bind(f=cell.f) if "f" in rule.accepts else rule)
    if cell.system == "peers":
        return train_peers(cell, task, rule, staged).as_dict()
    return _train_in_flower(cell, task, Timed(rule), staged).as_dict()


def _train_in_flower(cell: Cell, task: Task, rule: Timed, staged: Staged) -> Trace:
    """By messages between a strategy and the nodes of a grid."""
    h, f = cell.training.honest, cell.f
    workers = workers_of(
        task, cell.training, f, heterogeneity=cell.heterogeneity, data_attack=staged.data, seed=cell.seed
    )
    if cell.system == "strategy" and staged.updates is not None:
        workers = workers[:h]  # what the others would learn is replaced unread
    numbers: dict[int, int] = {}
    app = client_app(task, workers, numbers, mods=[guanyu_mod()] if cell.system == "guanyu" else [])
    trace, first = Trace(h + f, h), ArrayRecord(task.new_network(cell.seed).state_dict())
    with InProcessGrid(app, h + f, seed=cell.seed) as grid:
        # By ascending id, since GuanYu stages the workers of the highest ids.
        numbers.update({node: number for number, node in enumerate(sorted(grid.get_node_ids()))})
        strategy = _strategy(cell, rule, staged, liars=[node for node, number in numbers.items() if number >= h])
        evaluate = _evaluation(cell, task, trace)
        result = strategy.start(grid, first, num_rounds=cell.training.rounds, evaluate_fn=evaluate)
    trace.rule_seconds = rule.per_call_s
    _note_rounds(trace, cast(RobustResult, result), numbers)
    return trace


def _strategy(cell: Cell, rule: Aggregator, staged: Staged, *, liars: list[int]) -> Strategy:
    """What the server runs, and who attacks it."""
    options: dict[str, Any] = {"seed": cell.seed, "fraction_evaluate": 0.0}
    if cell.system == "guanyu":
        numbers, servers = cell.training.honest + cell.f, cell.servers or Servers()
        settings = GuanYuSettings(
            servers.count, servers.byzantine, numbers, cell.f, gradient_rule=rule, strict=servers.strict
        )
        return GuanYu(settings, server_attack=servers.attack or None, worker_attack=staged.updates, **options)
    strategy = RobustStrategy(rule, num_malicious_nodes=cell.f, **options)
    if staged.updates is None or not liars:
        return strategy
    return Adversary(strategy, staged.updates, len(liars), nodes=liars, seed=cell.seed)


def _evaluation(cell: Cell, task: Task, trace: Trace) -> Callable[[int, ArrayRecord], MetricRecord | None]:
    network = task.new_network(0)

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        if not cell.training.measures(server_round):
            return None
        network.load_state_dict(arrays.to_torch_state_dict())
        trace.accuracies[server_round] = task.accuracy(network)
        return MetricRecord({"accuracy": trace.accuracies[server_round]})

    return evaluate


def _note_rounds(trace: Trace, result: RobustResult, numbers: Mapping[int, int]) -> None:
    for number, report in result.rounds.items():
        if report.selected is not None:
            trace.selected[number] = sorted(numbers[node] for node in report.selected)
        for rejected in report.rejected:
            if rejected.node_id in numbers:
                trace.reject(number, numbers[rejected.node_id], rejected.reason)
        if not report.bound_met:
            trace.kept.append(number)
