"""GuanYu's servers and workers as processes of this machine, each with a store of its own: steps, time, bytes."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

import torch
from _machine import cpu_seconds
from _processes import run_together
from _signing import crypto_seconds
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from _guanyu.results import markdown
from _guanyu.work import Task, cifar_cnn, gradient_of, noise, perceptron
from flwr_byzantine.clients.guanyu import GuanYuConfig, GuanYuNode
from flwr_byzantine.signing import Keyring, PrivateKey
from flwr_byzantine.stores import EmbeddedStore, RedisStore

__all__ = ["CHOICES", "TASKS", "Cluster", "Taken", "free", "measure", "run", "table"]

PATIENCE = {"idle_s": 120.0, "store_patience_s": 120.0, "stay_s": 3.0, "retain_steps": 8}
TASKS: dict[str, Callable[[], Task]] = {
    "CNN of 1,756,426": lambda: noise(cifar_cnn, (3, 32, 32), "CNN of 1,756,426"),
    "perceptron of 50,890": lambda: noise(lambda: perceptron(28), (1, 28, 28), "perceptron of 50,890"),
}


@dataclass(frozen=True)
class Cluster:
    """Some servers and workers, and what they train."""

    n: int
    f: int
    m: int
    f_w: int
    task: str = ""
    """One of :data:`TASKS`; or nothing, for gradients that cost nothing."""
    d: int = 0
    """How many parameters there are where gradients cost nothing."""
    steps: int = 6
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def config(self) -> GuanYuConfig:
        """What each node is told."""
        return GuanYuConfig(
            run="benchmark", byzantine_servers=self.f, byzantine_workers=self.f_w, steps=self.steps, learning_rate=0.01,
            **PATIENCE, **dict(self.settings),
        )  # fmt: skip


CHOICES: dict[str, dict[str, Any]] = {
    "one server, mean": {"n": 1, "f": 0, "m": 9, "f_w": 0, "settings": (("gradient_rule", "mean"), ("strict", False))},
    "GuanYu": {"n": 6, "f": 1, "m": 9, "f_w": 2},
    "ByzSGD, T = 3": {
        "n": 6, "f": 1, "m": 9, "f_w": 2,
        "settings": (("gradient_rule", "mda"), ("strict", False), ("exchange_every", 3)),
    },
}  # fmt: skip
"""The first has no resilience and no replication."""


@dataclass
class Taken:
    """What one node took per step, the first and the last left out."""

    role: str
    step_s: float
    cpu_s: float
    gradient_s: float
    """Of the processor time, that of the gradient."""
    read: dict[str, float] = field(default_factory=dict)
    """Bytes by kind."""
    written: dict[str, float] = field(default_factory=dict)


def free(d: int, number: int) -> tuple[Callable[[Tensor, int], Tensor], Tensor]:
    """A gradient that costs nothing, and the first model."""
    gradient = torch.randn(d, generator=torch.Generator().manual_seed(number))
    return lambda model, step: gradient, torch.zeros(d)


def trained(task: Task, number: int) -> tuple[Callable[[Tensor, int], Tensor], Tensor]:
    """A task's gradient of one batch per step, and the first model."""
    model = task.first_model()

    def gradient(at: Tensor, step: int) -> Tensor:
        vector_to_parameters(at, model.parameters())
        return gradient_of(model, *task.batch(number, step))

    return gradient, parameters_to_vector(model.parameters()).detach()


def node_process(number: int, cluster: Cluster, seeds: list[bytes], pipe: Connection) -> None:
    """One node: tells where its store is, is told where the others' are, runs, and sends what it took."""
    torch.set_num_threads(1)
    keys = [PrivateKey.from_seed(seed) for seed in seeds]
    ids, spent = [key.peer for key in keys], [0.0]
    function, model = trained(TASKS[cluster.task](), number) if cluster.task else free(cluster.d, number)

    def gradient(at: Tensor, step: int) -> Tensor:
        begun = time.thread_time()
        found = function(at, step)
        spent[0] += time.thread_time() - begun
        return found

    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedStore(threads=1))
        pipe.send(store.url)
        readers = {peer: RedisStore(url) for peer, url in zip(ids, pipe.recv(), strict=True)}
        node = GuanYuNode(
            keys[number], servers=ids[: cluster.n], workers=ids[cluster.n :], store=store,
            ring=Keyring(key.public() for key in keys), readers=readers, config=cluster.config, gradient=gradient,
        )  # fmt: skip
        marks: list[tuple[float, float, float]] = []
        node.on_step = lambda step: marks.append((time.perf_counter(), cpu_seconds(store.pid), spent[0]))
        history = node.run(model)
        if history.status != "all steps done":
            raise RuntimeError(f"{node.name}: {history.status}")
        whole = [record for record in history.steps if 1 < record.step < cluster.steps]
        pipe.send(taken(node.role, marks, [(record.read_bytes, record.written_bytes) for record in whole]))
        pipe.recv()  # the others may still read from this store


def taken(role: str, marks: list[tuple[float, float, float]], counts: list[tuple[dict[str, int], ...]]) -> Taken:
    """What lies between the second step's begin and the last one's; nodes that jumped over steps took fewer."""
    steps = [after[0] - before[0] for before, after in pairwise(marks[1:-1])]
    if not steps or not counts:
        raise RuntimeError(f"a {role} took {len(marks)} steps: too few to measure")
    cpu_s, gradient_s = ((marks[-2][place] - marks[1][place]) / len(steps) for place in (1, 2))
    sums = [Counter[str]() for _ in range(2)]
    for count in counts:
        for total, kinds in zip(sums, count, strict=True):
            total.update(kinds)
    read, written = ({kind: size / len(counts) for kind, size in total.items()} for total in sums)
    return Taken(role, statistics.median(steps), cpu_s, gradient_s, read, written)


def run(cluster: Cluster) -> list[Taken]:
    """Start the nodes; what each took."""
    seeds = [bytes([number + 1]) * 32 for number in range(cluster.n + cluster.m)]
    return run_together(node_process, cluster, seeds, ["_guanyu.nodes"])


def measure(name: str, cluster: Cluster) -> dict[str, Any]:
    """A row: what one server and one worker take per step, and all of them together."""
    nodes = run(cluster)
    by_role = {role: [node for node in nodes if node.role == role] for role in ("server", "worker")}
    size = cluster.d or TASKS[cluster.task]().first_record()["model"].shape[0]
    sign, verify = crypto_seconds(size, 2, secret=False)
    return {
        "choice": name, "task": cluster.task or f"d = {cluster.d}", "n": cluster.n, "m": cluster.m, "d": size,
        "step_s": statistics.median(node.step_s for node in nodes),
        "cpu_s": sum(node.cpu_s for node in nodes),
        "gradient_s": statistics.mean(node.gradient_s for node in by_role["worker"]),
        "sign_s": sign, "verify_s": verify,
        **{f"{role}_cpu_s": statistics.mean(node.cpu_s for node in found) for role, found in by_role.items()},
        **{f"{role}_read": mean_counts(node.read for node in found) for role, found in by_role.items()},
        **{f"{role}_written": mean_counts(node.written for node in found) for role, found in by_role.items()},
    }  # fmt: skip


def mean_counts(counts: Iterable[dict[str, float]]) -> dict[str, float]:
    """By kind."""
    every = list(counts)
    return {kind: sum(each.get(kind, 0.0) for each in every) / len(every) for kind in sorted(set().union(*every))}


def table(rows: Iterable[dict[str, Any]]) -> str:
    """One row per task and choice."""
    lines = []
    for row in rows:
        beyond = row["worker_cpu_s"] - row["gradient_s"]
        times = [row["gradient_s"], beyond, row["server_cpu_s"], row["cpu_s"], row["sign_s"], row["verify_s"]]
        lines.append([f"{row['task']}, {row['choice']}", row["n"], row["m"], f"{1 / row['step_s']:.2f}",
                      *(f"{1000 * time:.1f}" for time in times)])  # fmt: skip
    head = ["", "n", "m", "updates per s", "gradient", "worker, the rest", "a server", "all nodes", "sign one",
            "verify one"]  # fmt: skip
    return markdown(head, lines)
