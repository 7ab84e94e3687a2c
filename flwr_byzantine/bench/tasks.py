"""What is learnt in a sweep: scikit-learn's digits, MNIST from a file, or a user's own task."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

__all__ = ["Examples", "Task", "digits", "load_task", "mnist"]

MNIST_MEAN, MNIST_DEVIATION = 0.1307, 0.3081  # of MNIST's pixels in 0..1
BATCH = 200
"""Of a measurement; larger ones leave the processor's cache and take longer."""
HELD_OUT = 5
"""Every so many-th digit is for the test."""


@dataclass(frozen=True)
class Examples:
    """Inputs ``[n, ...]`` and labels ``int64[n]``."""

    inputs: Tensor
    labels: Tensor

    def __getitem__(self, rows: Tensor) -> Examples:
        return Examples(self.inputs[rows], self.labels[rows])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Task:
    """A classification to learn.

    Args:
        network: Makes an untrained network ``[n, ...] -> [n, classes]``; torch's generator is seeded before.
        train: Dealt out to the honest nodes.
        test: Held out from all.
        loss: ``(logits, labels) -> scalar``.
    """

    network: Callable[[], nn.Module]
    train: Examples
    test: Examples
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy

    @property
    def classes(self) -> int:
        """How many labels there are, from 0 on."""
        return int(self.train.labels.max()) + 1

    def new_network(self, seed: int) -> nn.Module:
        """The untrained network of a seed; torch's generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.network()

    @torch.no_grad()
    def accuracy(self, network: nn.Module) -> float:
        """Share of right answers on the test, 0 to 1."""
        network.eval()
        right = 0
        for start in range(0, len(self.test), BATCH):
            rows = slice(start, start + BATCH)
            right += int((network(self.test.inputs[rows]).argmax(1) == self.test.labels[rows]).sum())
        network.train()
        return right / len(self.test)


def load_task(name: str, *, data: str = "", options: Mapping[str, Any] = {}, folder: Path = Path()) -> Task:
    """A task by its name; kept, so that the cells of one process share it.

    Args:
        name: ``digits``, ``mnist``, or ``module:function`` of one's own, which returns a :class:`Task`.
        data: For ``mnist``, an ``.npz`` with ``x_train, y_train, x_test, y_test``.
        options: Keywords of one's own function.
        folder: Where the data and one's own module are looked for.

    Raises:
        ValueError: If there is no such task, or it cannot be made; the message says why.

    Example:
        >>> len(load_task("digits").train)
        1437
    """
    return _load(name, data, json.dumps(dict(options), sort_keys=True), str(folder))


@lru_cache(maxsize=4)
def _load(name: str, data: str, options: str, folder: str) -> Task:
    if name == "digits":
        return digits()
    if name == "mnist":
        return mnist(Path(folder) / Path(data).expanduser())
    return _own(name, json.loads(options), folder)


def _own(name: str, options: dict[str, Any], folder: str) -> Task:
    module, _, function = name.partition(":")
    if not module or not function:
        raise ValueError(f"task {name!r}: it is digits, mnist, or module:function")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        made = getattr(import_module(module), function)(**options)
    except Exception as error:  # the user's own code: any kind
        raise ValueError(f"task {name!r}: {type(error).__name__}: {error}") from error
    if not isinstance(made, Task):
        raise ValueError(f"task {name!r} must return a flwr_byzantine.bench.Task, got {type(made).__name__}")
    return made


def digits() -> Task:
    """Scikit-learn's 1,797 digits of 8x8 pixels, every fifth held out, and a network of 2,410 parameters.

    Raises:
        ValueError: If scikit-learn is not installed.

    Example:
        >>> sum(p.numel() for p in digits().new_network(0).parameters())
        2410
    """
    try:
        load_digits = import_module("sklearn.datasets").load_digits
    except ImportError:
        raise ValueError("the task digits needs scikit-learn: pip install 'flwr-byzantine[examples]'") from None
    images, labels = load_digits(return_X_y=True)
    inputs = torch.from_numpy(images).float().div_(16).view(-1, 1, 8, 8)
    whole = Examples(inputs, torch.from_numpy(labels).long())
    held_out = torch.arange(len(whole)) % HELD_OUT == 0
    return Task(_digits_network, whole[~held_out], whole[held_out])


def _digits_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def mnist(path: Path) -> Task:
    """MNIST from an ``.npz``, normalised, and ByzFL's network of 431,080 parameters.

    Raises:
        ValueError: If the file is not there, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            train, test = (_mnist_part(arrays, part) for part in ("train", "test"))
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"the task mnist needs data, an .npz with x_train, y_train, x_test, y_test: {error}") from None
    return Task(mnist_network, train, test)


def _mnist_part(arrays: Any, part: str) -> Examples:
    images = torch.from_numpy(arrays[f"x_{part}"]).float().div_(255).sub_(MNIST_MEAN).div_(MNIST_DEVIATION)
    return Examples(images.unsqueeze(1), torch.from_numpy(arrays[f"y_{part}"]).long())


def mnist_network() -> nn.Module:
    """ByzFL's CNN for MNIST: 431,080 parameters; channels last, which trains in two thirds of the time."""
    network = nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)),
    )
    for p in network.parameters():
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)
    return network
