"""MNIST under attack, in the setting of ByzFL's published heat map: 10 honest nodes that differ, f liars.

    python benchmarks/mnist_heterogeneous.py --data mnist.npz --byzantine 3 --attack sign-flip

Each round every honest node takes one mini-batch gradient (25 images) into a momentum (0.9) and sends the
step that it would take; clipping (2.0 in units of the momentum), nearest-neighbour mixing and the trimmed mean
aggregate; 800 rounds, learning rate 0.1, weight decay 1e-4. A share gamma of the images is dealt out at random,
the rest sorted by label. The network has 431,080 parameters. All of it runs through Flower's Message API, with the
parameters as one array.

ByzFL's table holds, for each rule, the least over the attacks of the best accuracy that was measured in a training
(every 50 rounds). ``--stop-above`` ends a training once it is better than that, since it can no longer be the worst.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import suppress
from pathlib import Path

import torch
from _mnist.span import searched
from _mnist.worker import FlatNetwork, Worker
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from flwr_byzantine.attacks import Attack, alie, ipm, sign_flip
from flwr_byzantine.bench.names import rule_named
from flwr_byzantine.bench.partition import gamma
from flwr_byzantine.bench.tasks import Task, mnist
from flwr_byzantine.rules import Aggregator
from flwr_byzantine.strategies import Adversary, RobustStrategy
from flwr_byzantine.testing import InProcessGrid

HONEST, BATCH, DECAY = 10, 25, 1e-4
RULES = {
    "trimmed-mean": "clipping(radius=0.2) >> nnm >> trimmed_mean",
    "geometric-median": "clipping(radius=0.2) >> nnm >> geometric_median",
}
"""The radius is 2.0 in units of the momentum; updates are the rate, 0.1, times it."""
ATTACKS = ("sign-flip", "ipm", "alie", "alie-upwards")


class EnoughError(Exception):
    """The training is as good as was asked."""


def _attack_named(name: str, rule: Aggregator, *, forward: bool) -> Attack[...]:
    """The three attacks of the published table; the optimised ones know the rule.

    ByzFL adds deviations to gradients; an update is minus a gradient, so there they are subtracted.
    """
    if name == "sign-flip":
        return sign_flip
    base = {"ipm": ipm, "alie": alie.bind(sign=-1.0), "alie-upwards": alie}[name]
    return searched(base, rule, forward=forward)


def _client_app(task: Task, arguments: argparse.Namespace) -> ClientApp:
    """One momentum step per message; the nodes after the first ten only echo, for the adversary to replace."""
    app, model, data = ClientApp(), FlatNetwork(task.new_network(0)), task.train
    shares = gamma(data.labels, HONEST, alike=arguments.gamma, seed=arguments.seed)
    how = {"batch": BATCH, "momentum": arguments.momentum, "decay": DECAY}
    workers = [Worker(data[rows], **how, seed=1000 * arguments.seed + node) for node, rows in enumerate(shares)]

    @app.train()
    def train(message: Message, context: Context) -> Message:
        node = int(context.node_config["partition-id"])
        if node >= HONEST:
            return _reply(message, message.content["arrays"])
        model.values.copy_(_flat(message.content["arrays"]))
        step = workers[node].momentum_at(model)
        return _reply(message, _record(model.values.sub(step, alpha=arguments.rate)))

    return app


def _reply(message: Message, arrays: ArrayRecord) -> Message:
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": BATCH})}), reply_to=message)


def _record(flat: Tensor) -> ArrayRecord:
    return ArrayRecord({"parameters": Array(flat.numpy())})


def _flat(arrays: ArrayRecord) -> Tensor:
    return torch.from_numpy(arrays["parameters"].numpy())


class _Measured:
    """The accuracies of a training, which ends once one is above ``enough``."""

    def __init__(self, task: Task, *, every: int, enough: float) -> None:
        self._task, self._every, self._enough = task, every, enough
        self._model = FlatNetwork(task.new_network(0))
        self.by_round: dict[int, float] = {}

    def __call__(self, server_round: int, arrays: ArrayRecord) -> None:
        if not server_round or server_round % self._every:
            return
        self._model.values.copy_(_flat(arrays))
        self.by_round[server_round] = self._task.accuracy(self._model.network)
        print(f"  round {server_round}: accuracy {self.by_round[server_round]:.4f}", flush=True)
        if self.by_round[server_round] > self._enough:
            raise EnoughError


def run(arguments: argparse.Namespace, rule_name: str, attack: str, f: int) -> dict[str, object]:
    """One cell of the table."""
    task, rule, start = mnist(arguments.data), rule_named(RULES.get(rule_name, rule_name)), time.process_time()
    measured = _Measured(task, every=arguments.every, enough=arguments.stop_above)
    first = _record(FlatNetwork(task.new_network(arguments.seed)).values)
    with InProcessGrid(_client_app(task, arguments), HONEST + f, seed=arguments.seed) as grid:
        liars = list(grid.get_node_ids())[HONEST:]
        strategy = RobustStrategy(rule, num_malicious_nodes=f, fraction_evaluate=0.0, seed=arguments.seed)
        hostile = _attack_named(attack, rule, forward=arguments.search == "byzfl")
        attacked = Adversary(strategy, hostile, f, nodes=liars, seed=arguments.seed)
        with suppress(EnoughError):
            attacked.start(grid, first, arguments.rounds, evaluate_fn=measured)
    seen = measured.by_round
    return {
        "rule": str(rule), "attack": attack, "f": f, "gamma": arguments.gamma, "seed": arguments.seed,
        "search": arguments.search, "rate": arguments.rate, "momentum": arguments.momentum, "rounds": max(seen),
        "best": max(seen.values()), "last": seen[max(seen)], "accuracy": seen,
        "cpu_s": round(time.process_time() - start, 1),
    }  # fmt: skip


def main() -> None:
    """Run the cells that the command line names, and print one line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="an .npz with x_train, y_train, x_test, y_test")
    parser.add_argument("--rule", nargs="+", default=["trimmed-mean"], help=f"{', '.join(RULES)}, or as in a sweep")
    parser.add_argument("--attack", choices=ATTACKS, nargs="+", default=["sign-flip"])
    parser.add_argument("--byzantine", type=int, nargs="+", default=[3], metavar="F")
    parser.add_argument("--gamma", type=float, default=0.33)
    parser.add_argument("--rounds", type=int, default=800)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--every", type=int, default=50, help="rounds between two measurements")
    parser.add_argument("--stop-above", type=float, default=1.0, help="end a training that is better than this")
    parser.add_argument("--search", choices=["byzfl", "line"], default="byzfl", help="of the optimised attacks")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for rule in arguments.rule:
        for f in arguments.byzantine:
            for attack in arguments.attack:
                print(json.dumps(run(arguments, rule, attack, f)), flush=True)


if __name__ == "__main__":
    import logging

    logging.getLogger("flwr").setLevel(logging.ERROR)
    main()
