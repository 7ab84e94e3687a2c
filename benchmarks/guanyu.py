"""GuanYu measured: what it withstands, how far its servers drift apart, and what it costs.

    python benchmarks/guanyu.py attacks                                     # digits: every pair of attacks
    python benchmarks/guanyu.py attacks --data mnist.npz --cells strongest --steps 300
    python benchmarks/guanyu.py drift --plots docs/img
    python benchmarks/guanyu.py convergence --plots docs/img
    python benchmarks/guanyu.py overhead                                    # in one ServerApp
    python benchmarks/guanyu.py overhead --driver nodes                     # as processes; 5 GB
    python benchmarks/guanyu.py cost --plots docs/img

Tables go to standard output; ``--results FILE`` gets lines of JSON, and an attack that the file already has is not
played again; ``--plots FOLDER`` gets SVG. Servers and workers are those of the tight point, n = 6, f = 1, m = 18,
f_w = 5, unless said. Each worker computes one gradient per step, of 128 images, at the median of its quorum of models.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from _guanyu import attacks, cost, curves, nodes, overhead
from _guanyu.results import append
from _guanyu.work import load
from _machine import machine

Rows = list[dict[str, Any]]


def collected(rows: Iterable[dict[str, Any]], results: Path | None) -> Rows:
    """The rows, each written down as it comes."""
    found = []
    for row in rows:
        append(results, row)
        found.append(row)
    return found


def draw(folder: Path | None, plots: Mapping[str, Callable[[], str]]) -> None:
    """Write each plot in a file of its name, if there is a folder to write in."""
    for name, make in plots.items() if folder is not None else ():
        (folder / f"guanyu-{name}.svg").write_text(make())


def run_attacks(arguments: argparse.Namespace) -> None:
    """Accuracy under attacks by servers and workers."""
    cells = dict.fromkeys(cell for name in arguments.cells for cell in attacks.SETS[name])
    workers = arguments.momentum, arguments.local_steps
    training = attacks.Training(arguments.steps, arguments.rate, arguments.seed, *workers)
    rows = []
    for row in attacks.run(load(arguments.data), cells, training, arguments.results):
        print(row, flush=True)
        rows.append(row)
    print(attacks.table(rows))


def run_drift(arguments: argparse.Namespace) -> None:
    """The largest distance between honest servers against the step size."""
    rows = collected(curves.drift(load(arguments.data), arguments.steps), arguments.results)
    print(curves.drift_table(rows), "", *curves.drift_exponents(rows).items(), sep="\n")
    draw(arguments.plots, {"drift": lambda: curves.drift_plot(rows)})


def run_convergence(arguments: argparse.Namespace) -> None:
    """Accuracy per update without attacks."""
    training = attacks.Training(arguments.steps, arguments.rate, arguments.seed)
    rows = collected(curves.convergence(load(arguments.data), training, arguments.every), arguments.results)
    print(curves.convergence_table(rows))
    draw(arguments.plots, {f"convergence-{rows[0]['data']}": lambda: curves.convergence_plot(rows)})


def run_overhead(arguments: argparse.Namespace) -> None:
    """Updates per second with and without resilience."""
    print(machine(), end="\n\n", flush=True)
    tasks = {name: make for name, make in nodes.TASKS.items() if arguments.task in name}
    if arguments.driver == "nodes":
        clusters = [
            (choice, nodes.Cluster(**numbers, task=task, steps=arguments.steps))
            for task in tasks for choice, numbers in nodes.CHOICES.items()
        ]  # fmt: skip
        print(nodes.table(collected((nodes.measure(*each) for each in clusters), arguments.results)))
        return
    found = (overhead.overhead(make(), arguments.repeats) for make in tasks.values())
    print(overhead.table(collected(found, arguments.results)))


def run_cost(arguments: argparse.Namespace) -> None:
    """How a step's cost grows, and the bytes on each link."""
    rows = collected(cost.cost(), arguments.results)
    print(cost.table(rows), "", *cost.exponents(rows).items(), "", sep="\n", flush=True)
    clusters = ((3, 3, 10_000), (6, 9, 10_000), (6, 9, 100_000))
    print(cost.links_table(collected((cost.links(*each) for each in clusters), arguments.results)))
    draw(arguments.plots, {f"cost-{name}": lambda name=name: cost.plot(rows, name) for name in cost.GRID})


def parser() -> argparse.ArgumentParser:
    """Each part with the arguments that it has."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = made.add_subparsers(required=True)
    runs = {"attacks": run_attacks, "drift": run_drift, "convergence": run_convergence, "overhead": run_overhead,
            "cost": run_cost}  # fmt: skip
    found = {}
    for name, function in runs.items():
        found[name] = part = parts.add_parser(name, help=(function.__doc__ or "").strip())
        part.set_defaults(function=function)
        part.add_argument("--results", type=Path, help="a file for lines of JSON")
        part.add_argument("--plots", type=Path, help="a folder for SVG")
    for name, steps in (("attacks", 100), ("drift", 20), ("convergence", 100)):
        found[name].add_argument("--data", default="", help="an .npz with MNIST; scikit-learn's digits unless given")
        found[name].add_argument("--steps", type=int, default=steps)
        found[name].add_argument("--rate", type=float, default=0.4, help="learning rate")
        found[name].add_argument("--seed", type=int, default=0)
    found["attacks"].add_argument("--cells", choices=sorted(attacks.SETS), nargs="+", default=["every-pair"])
    found["attacks"].add_argument("--momentum", type=float, default=0.0, help="of workers: what they send is a mean")
    found["attacks"].add_argument("--local-steps", type=int, default=1, help="gradients summed in one message")
    found["convergence"].add_argument("--every", type=int, default=5, help="updates between two measurements")
    found["overhead"].add_argument("--driver", choices=("one-app", "nodes"), default="one-app")
    found["overhead"].add_argument("--task", default="", help=f"part of one of {list(nodes.TASKS)}")
    found["overhead"].add_argument("--repeats", type=int, default=3, help="in one app: of two steps each")
    found["overhead"].add_argument("--steps", type=int, default=8, help="of nodes")
    return made


def main() -> None:
    """Run the part that the command line names."""
    arguments = parser().parse_args()
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    arguments.function(arguments)


if __name__ == "__main__":
    main()
