"""MNIST under attack, in the setting of ByzFL's published heat map: 10 honest nodes that differ, f liars.

    python benchmarks/mnist_heterogeneous.py --data mnist.npz --byzantine 3 --attack sign-flip

Each round every honest node takes one mini-batch gradient (25 images) into a momentum (0.9) and sends the
step that it would take; clipping (2.0 in units of the momentum), nearest-neighbour mixing and the trimmed mean
aggregate; 800 rounds, learning rate 0.1, weight decay 1e-4. A share gamma of the images is dealt out at random,
the rest sorted by label. The network has 431,080 parameters. All of it runs through Flower's Message API.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor
from torch.nn.functional import cross_entropy

from flwr_byzantine.attacks import Attack, alie, ipm, optimal, sign_flip
from flwr_byzantine.bench.partition import gamma
from flwr_byzantine.bench.tasks import Task, mnist, mnist_network
from flwr_byzantine.rules import Aggregator, clipping, geometric_median, mean, nnm, trimmed_mean
from flwr_byzantine.strategies import Adversary, RobustStrategy
from flwr_byzantine.testing import InProcessGrid

HONEST, BATCH, RATE, MOMENTUM, DECAY, RADIUS = 10, 25, 0.1, 0.9, 1e-4, 2.0

ROBUST = clipping.bind(radius=RADIUS * RATE) >> nnm
RULES: dict[str, Aggregator] = {
    "trimmed-mean": ROBUST >> trimmed_mean,
    "geometric-median": ROBUST >> geometric_median,
    "mean": mean,
}


def attack_named(name: str, rule: Aggregator) -> Attack[...]:
    """The three attacks of the published table; the optimised ones know the rule."""
    return {"sign-flip": sign_flip, "ipm": optimal(ipm, rule), "alie": optimal(alie, rule)}[name]


def client_app(task: Task, alike: float, seed: int) -> ClientApp:
    """One momentum step per message; the nodes after the first ten only echo, for the adversary to replace."""
    app, model, data = ClientApp(), mnist_network(), task.train
    mine = gamma(data.labels, HONEST, alike=alike, seed=seed)
    momenta: dict[int, list[Tensor]] = {}
    draws = [torch.Generator().manual_seed(1000 * seed + node) for node in range(HONEST)]

    @app.train()
    def train(message: Message, context: Context) -> Message:
        node = int(context.node_config["partition-id"])
        if node >= HONEST:
            return _reply(message, message.content["arrays"])
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        rows = mine[node][torch.randint(len(mine[node]), (BATCH,), generator=draws[node])]
        model.zero_grad()
        cross_entropy(model(data.inputs[rows]), data.labels[rows]).backward()
        momentum = momenta.setdefault(node, [torch.zeros_like(p) for p in model.parameters()])
        with torch.no_grad():
            for p, m in zip(model.parameters(), momentum, strict=True):
                m.mul_(MOMENTUM).add_(p.grad + DECAY * p, alpha=1 - MOMENTUM)
                p.sub_(m, alpha=RATE)
        return _reply(message, ArrayRecord(model.state_dict()))

    return app


def _reply(message: Message, arrays: ArrayRecord) -> Message:
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": BATCH})}), reply_to=message)


def run(arguments: argparse.Namespace, rule_name: str, attack: str, f: int) -> dict[str, object]:
    """One cell of the table."""
    torch.manual_seed(arguments.seed)
    task, rule, start, seen = mnist(arguments.data), RULES[rule_name], time.monotonic(), {}

    def evaluate(server_round: int, arrays: ArrayRecord) -> None:
        if server_round and server_round % arguments.every == 0:
            model = mnist_network()
            model.load_state_dict(arrays.to_torch_state_dict())
            seen[server_round] = task.accuracy(model)
            print(f"  round {server_round}: accuracy {seen[server_round]:.4f}", flush=True)

    with InProcessGrid(client_app(task, arguments.gamma, arguments.seed), HONEST + f, seed=arguments.seed) as grid:
        liars = list(grid.get_node_ids())[HONEST:]
        strategy = RobustStrategy(rule, num_malicious_nodes=f, fraction_evaluate=0.0, seed=arguments.seed)
        attacked = Adversary(strategy, attack_named(attack, rule.bind(f=f)), f, nodes=liars, seed=arguments.seed)
        attacked.start(grid, ArrayRecord(mnist_network().state_dict()), arguments.rounds, evaluate_fn=evaluate)
    return {
        "rule": str(rule), "attack": attack, "f": f, "gamma": arguments.gamma, "seed": arguments.seed,
        "rounds": arguments.rounds, "accuracy": seen, "seconds": round(time.monotonic() - start, 1),
    }  # fmt: skip


def main() -> None:
    """Run the cells that the command line names, and print one line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="an .npz with x_train, y_train, x_test, y_test")
    parser.add_argument("--rule", choices=RULES, nargs="+", default=["trimmed-mean"])
    parser.add_argument("--attack", choices=["sign-flip", "ipm", "alie"], nargs="+", default=["sign-flip"])
    parser.add_argument("--byzantine", type=int, nargs="+", default=[3], metavar="F")
    parser.add_argument("--gamma", type=float, default=0.33)
    parser.add_argument("--rounds", type=int, default=800)
    parser.add_argument("--every", type=int, default=100, help="rounds between two measurements")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for rule in arguments.rule:
        for attack in arguments.attack:
            for f in arguments.byzantine:
                print(json.dumps(run(arguments, rule, attack, f)), flush=True)


if __name__ == "__main__":
    import logging

    logging.getLogger("flwr").setLevel(logging.ERROR)
    main()
