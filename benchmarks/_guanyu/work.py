"""What is trained in GuanYu's benchmark: models, data, and the worker that computes one gradient per step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from flwr_byzantine.clients import guanyu_mod
from flwr_byzantine.rules import Aggregator, median

__all__ = [
    "BATCH",
    "TIGHT",
    "Task",
    "accuracy",
    "as_record",
    "cifar_cnn",
    "free_app",
    "gradient_of",
    "load",
    "noise",
    "one_thread",
    "perceptron",
    "summed_gradients",
    "worker_app",
]

BATCH = 128
"""The papers' batch."""
TIGHT = {"n": 6, "f": 1, "m": 18, "f_w": 5}
"""The fewest servers for one liar, and the fewest workers for five."""


@dataclass(frozen=True)
class Task:
    """Images ``[n, channels, side, side]`` and labels ``[n]`` to train on and to test with, and a network for them."""

    name: str
    network: Callable[[], nn.Module]
    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def first_model(self, seed: int = 0) -> nn.Module:
        """The untrained network of a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.network()

    def first_record(self, seed: int = 0) -> ArrayRecord:
        """Its parameters, as they are sent: one array, for what is compared is not how many there are."""
        return as_record(parameters_to_vector(self.first_model(seed).parameters()))

    def batch(self, worker: int, step: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """The images and labels of one gradient: the same whatever else is compared."""
        (batch,) = self.batches(worker, step, seed, 1)
        return batch

    def batches(self, worker: int, step: int, seed: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Those of several gradients in a row."""
        draws = torch.Generator().manual_seed((seed * 1_000_003 + step) * 1009 + worker)
        for _ in range(count):
            rows = torch.randint(len(self.labels), (BATCH,), generator=draws)
            yield self.images[rows], self.labels[rows]


def cifar_cnn() -> nn.Module:
    """The CNN for CIFAR-10 of the papers on GuanYu and ByzSGD: 1,756,426 parameters."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(4096, 384), nn.ReLU(), nn.Linear(384, 192), nn.ReLU(), nn.Linear(192, 10)),
    )


def perceptron(side: int) -> nn.Module:
    """One hidden layer: 50,890 parameters for MNIST, 4,810 for digits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(side * side, 64), nn.ReLU(), nn.Linear(64, 10))


def load(path: str = "") -> Task:
    """Scikit-learn's 1,797 digits, a fifth of them to test with; or MNIST from an ``.npz``."""
    if not path:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        parts = train_test_split(digits.images, digits.target, test_size=0.2, random_state=0, stratify=digits.target)
        return _task("digits", parts[::2], parts[1::2])
    with np.load(Path(path), allow_pickle=False) as arrays:
        train, test = ((arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test"))
    return _task(Path(path).stem, train, test)


def _task(name: str, train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> Task:
    """Images of mean 0 and deviation 1 to train on, the others moved alike."""
    mean, deviation = float(train[0].mean()), float(train[0].std())
    images = [torch.from_numpy((x.astype("f4") - mean) / deviation).unsqueeze(1) for x, _ in (train, test)]
    labels = [torch.from_numpy(y.astype("i8")) for _, y in (train, test)]
    side = train[0].shape[-1]
    return Task(name, lambda: perceptron(side), images[0], labels[0], images[1], labels[1])


def noise(network: Callable[[], nn.Module], shape: tuple[int, ...], name: str) -> Task:
    """Random images: for what costs time, and learns nothing."""
    draws = torch.Generator().manual_seed(0)
    images, labels = torch.randn(2 * BATCH, *shape, generator=draws), torch.randint(10, (2 * BATCH,), generator=draws)
    return Task(name, network, images, labels, images[:0], labels[:0])


def gradient_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """``[d]``: the gradient of the mean cross-entropy."""
    loss = cross_entropy(model(images), labels)
    return torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, list(model.parameters()))])


def summed_gradients(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], rate: float) -> Tensor:
    """``[d]``: the sum of gradients along a path of steps, so that a step of ``rate`` along it goes where they led."""
    parameters = list(model.parameters())
    start = parameters_to_vector(parameters).detach()
    total = torch.zeros_like(start)
    for batch in batches:
        total += gradient_of(model, *batch)
        vector_to_parameters(start - rate * total, parameters)
    return total


def worker_app(
    task: Task,
    *,
    model_rule: Aggregator = median,
    mods: Iterable[Mod] = (),
    seed: int = 0,
    momentum: float = 0.0,
    local_steps: int = 1,
    rate: float = 0.0,
) -> ClientApp:
    """A Flower app that replies with the sum of ``local_steps`` gradients, the first at the model that it is given."""
    app, model = ClientApp(mods=[guanyu_mod(model_rule), *mods]), task.first_model()
    before: dict[int, Tensor] = {}

    @app.train()
    def train(message: Message, context: Context) -> Message:
        worker, step = int(context.node_config["partition-id"]), int(message.content["config"]["server-round"])
        vector_to_parameters(message.content["arrays"].to_torch_state_dict()["model"], model.parameters())
        gradient = summed_gradients(model, task.batches(worker, step, seed, local_steps), rate)
        if momentum:
            gradient = before[worker] = torch.lerp(gradient, before.get(worker, gradient), momentum)
        arrays = as_record(gradient)
        content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": BATCH})})
        return Message(content, reply_to=message)

    return app


def free_app(m: int, d: int, *, model_rule: Aggregator = median) -> ClientApp:
    """Workers whose gradients cost nothing: each replies with the same random one at every step."""
    app, gradients = (
        ClientApp(mods=[guanyu_mod(model_rule)]),
        torch.randn(m, d, generator=torch.Generator().manual_seed(0)),
    )
    records = [as_record(row) for row in gradients]

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays = records[int(context.node_config["partition-id"])]
        return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)

    return app


def as_record(row: Tensor) -> ArrayRecord:
    """A model or a gradient ``[d]`` as one array."""
    return ArrayRecord({"model": Array(row.detach().numpy())})


@torch.no_grad()
def accuracy(task: Task, arrays: ArrayRecord) -> float:
    """The share of right answers on the test images; a model of NaNs guesses one class."""
    model = task.first_model()
    vector_to_parameters(arrays.to_torch_state_dict()["model"], model.parameters())
    parts = zip(task.test_images.split(1000), task.test_labels.split(1000), strict=True)
    return sum(int((model(x).argmax(1) == y).sum()) for x, y in parts) / len(task.test_labels)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: what is timed is what one core does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
