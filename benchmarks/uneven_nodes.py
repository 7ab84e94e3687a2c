"""What ignoring example counts costs where nodes are uneven, and what clipped ones win back; in one process.

    python benchmarks/uneven_nodes.py

Ten nodes share scikit-learn's digits at random, the largest with 16 times as many as the smallest. Accuracy in per cent
after the last round, the mean over the seeds and the largest distance from it: of honest nodes alone, and with two more
that turn their update around and claim a billion examples.
"""

from __future__ import annotations

import argparse
import logging
from statistics import mean

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg, Strategy
from torch import Tensor
from torch.nn.functional import cross_entropy

from flwr_byzantine.bench import Task, load_task
from flwr_byzantine.strategies import GeometricMedian, RobustMedian, TrimmedMean
from flwr_byzantine.testing import InProcessGrid

PARTS = (1, 1, 2, 2, 4, 4, 8, 8, 16, 16)
LIARS, CLAIMED = 2, 10**9
EPOCHS, BATCH, RATE = 2, 16, 0.1
ROBUST = {"RobustMedian": RobustMedian, "TrimmedMean": TrimmedMean, "GeometricMedian": GeometricMedian}


def shares(task: Task, seed: int) -> list[Tensor]:
    """The rows of each node, in the proportions of ``PARTS``."""
    rows = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(seed))
    ends = torch.tensor(PARTS).cumsum(0) * len(rows) // sum(PARTS)
    return list(rows.tensor_split(ends[:-1].tolist()))


def client_app(task: Task, seed: int) -> ClientApp:
    """Some epochs on the node's share; nodes after the first ten lie."""
    app, network, mine = ClientApp(), task.new_network(0), shares(task, seed)
    draws = [torch.Generator().manual_seed(1000 * seed + node) for node in range(len(PARTS) + LIARS)]

    @app.train()
    def train(message: Message, context: Context) -> Message:
        node = int(context.node_config["partition-id"])
        sent = message.content.array_records["arrays"].to_torch_state_dict()
        rows = mine[node % len(PARTS)]
        network.load_state_dict(sent)
        step = torch.optim.SGD(network.parameters(), lr=RATE)
        for _ in range(EPOCHS):
            for batch in rows[torch.randperm(len(rows), generator=draws[node])].split(BATCH):
                step.zero_grad()
                cross_entropy(network(task.train.inputs[batch]), task.train.labels[batch]).backward()
                step.step()
        trained, count = network.state_dict(), len(rows)
        if node >= len(PARTS):
            trained, count = {name: 2 * sent[name] - value for name, value in trained.items()}, CLAIMED
        content = {"arrays": ArrayRecord(trained), "metrics": MetricRecord({"num-examples": count})}
        return Message(RecordDict(content), reply_to=message)

    return app


def accuracy(task: Task, strategy: Strategy, liars: int, rounds: int, seed: int) -> float:
    """In per cent, after the last round."""
    with InProcessGrid(client_app(task, seed), len(PARTS) + liars, seed=seed) as grid:
        result = strategy.start(grid, ArrayRecord(task.new_network(seed).state_dict()), num_rounds=rounds)
    network = task.new_network(seed)
    network.load_state_dict(result.arrays.to_torch_state_dict())
    return 100 * task.accuracy(network)


def strategies(ratio: float) -> dict[str, list[Strategy]]:
    """By the line of the table: without counts, and with them."""
    lines: dict[str, list[Strategy]] = {}
    for name, make in ROBUST.items():
        plain = make(num_malicious_nodes=LIARS, fraction_evaluate=0.0)
        clipped = {"example_counts": "clip", "max_count_ratio": ratio}
        lines[name] = [plain, make(num_malicious_nodes=LIARS, fraction_evaluate=0.0, **clipped)]
    return lines


def cell(task: Task, strategy: Strategy, liars: int, arguments: argparse.Namespace) -> str:
    """Mean and spread over the seeds."""
    found = [accuracy(task, strategy, liars, arguments.rounds, seed) for seed in range(arguments.seeds)]
    middle = mean(found)
    return f"{middle:.1f} ± {max(abs(each - middle) for each in found):.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ratio", type=float, default=2.0, help="max_count_ratio")
    arguments, task = parser.parse_args(), load_task("digits")
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    print("| strategy | honest, counts ignored | honest, clipped | 2 liars, ignored | 2 liars, clipped |")
    print("| --- | --- | --- | --- | --- |")
    fedavg = [cell(task, FedAvg(fraction_evaluate=0.0), liars, arguments) for liars in (0, LIARS)]
    print(f"| Flower's `FedAvg`, counts believed | | {fedavg[0]} | | {fedavg[1]} |", flush=True)
    for name, (plain, clipped) in strategies(arguments.ratio).items():
        cells = [cell(task, each, liars, arguments) for liars in (0, LIARS) for each in (plain, clipped)]
        print(f"| `{name}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
