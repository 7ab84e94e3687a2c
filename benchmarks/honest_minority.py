"""What rules do to honest nodes whose data nobody else has: digits, no liars, two nodes of ten apart.

    python benchmarks/honest_minority.py

Eight nodes share the digits 0 to 7. Of the other two, one has every 8 and one every 9. All are honest; each rule
tolerates Byzantine nodes (``--tolerated``) that are not there. The accuracy on 8 and 9 is what robustness costs those
two.
"""

from __future__ import annotations

import argparse
import json

import torch
from flwr.app import ArrayRecord

from flwr_byzantine.bench import Task, Training, load_task
from flwr_byzantine.bench.names import rule_named
from flwr_byzantine.bench.workers import Worker, client_app
from flwr_byzantine.strategies import RobustStrategy
from flwr_byzantine.testing import InProcessGrid

RULES = (
    "mean",
    "median",
    "trimmed_mean",
    "meamed",
    "krum",
    "multi_krum",
    "mda",
    "geometric_median",
    "centered_clipping(tau=0.1)",
    "caf",
    "nnm >> trimmed_mean",
    "nnm >> geometric_median",
    "bucketing >> median",
)
NODES, FIRST_OF_MINORITY = 10, 8


def shares(labels: torch.Tensor) -> list[torch.Tensor]:
    """Row numbers by node: the common digits dealt in turn to eight, then a digit each."""
    common = (labels < FIRST_OF_MINORITY).nonzero().flatten()
    rare = [(labels == digit).nonzero().flatten() for digit in range(FIRST_OF_MINORITY, NODES)]
    return [*(common[node::FIRST_OF_MINORITY] for node in range(FIRST_OF_MINORITY)), *rare]


def accuracies(task: Task, rule: str, *, tolerated: int, rounds: int, seed: int) -> dict[str, float]:
    """On the common digits and on the minority's, after training."""
    how = Training(honest=NODES, rounds=rounds, learning_rate=0.5)
    dealt = enumerate(shares(task.train.labels))
    workers = [Worker(task, task.train[rows], how, seed=1000 * seed + node) for node, rows in dealt]
    numbers: dict[int, int] = {}
    strategy = RobustStrategy(rule_named(rule), num_malicious_nodes=tolerated, fraction_evaluate=0.0, seed=seed)
    with InProcessGrid(client_app(task, workers, numbers), NODES, seed=seed) as grid:
        numbers.update({node: number for number, node in enumerate(sorted(grid.get_node_ids()))})
        result = strategy.start(grid, ArrayRecord(task.new_network(seed).state_dict()), num_rounds=rounds)
    network = task.new_network(0)
    network.load_state_dict(result.arrays.to_torch_state_dict())
    rare = task.test.labels >= FIRST_OF_MINORITY
    parts = {"common": task.test[~rare], "minority": task.test[rare]}
    return {name: Task(task.network, task.train, part).accuracy(network) for name, part in parts.items()}


def main() -> None:
    """Print one line of JSON per rule: accuracies, averaged over the seeds, and their least and greatest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rule", nargs="+", default=RULES, metavar="RULE")
    parser.add_argument("--tolerated", type=int, default=2, metavar="F", help="Byzantine nodes that rules expect")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    task = load_task("digits")
    for rule in arguments.rule:
        how = {"tolerated": arguments.tolerated, "rounds": arguments.rounds}
        runs = [accuracies(task, rule, **how, seed=seed) for seed in arguments.seeds]
        line: dict[str, object] = {"rule": rule, "f": arguments.tolerated}
        for part in ("common", "minority"):
            values = [run[part] for run in runs]
            line[part] = [round(value, 3) for value in (sum(values) / len(values), min(values), max(values))]
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    import logging

    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    main()
