"""An honest node of the benchmark: its parameters lie in one array, as they travel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from flwr_byzantine.bench.tasks import Examples

__all__ = ["FlatNetwork", "Worker"]


class FlatNetwork:
    """A network whose parameters and gradients are views of two vectors.

    Convolutions see theirs with the channels last, which takes two thirds of the time; to rules the order of numbers in
    an update is all one.

    Args:
        network: Its parameters are replaced.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        parameters = [*network.parameters()]
        self.values = torch.empty(sum(p.numel() for p in parameters))
        self.gradients = torch.zeros_like(self.values)
        begin = 0
        for p in parameters:
            end = begin + p.numel()
            first = p.detach().clone()
            p.data, p.grad = (_view(flat[begin:end], p) for flat in (self.values, self.gradients))
            p.data.copy_(first)
            begin = end


def _view(flat: Tensor, like: Tensor) -> Tensor:
    if like.ndim != 4:
        return flat.view(like.shape)
    out, channels, height, width = like.shape
    return flat.view(out, height, width, channels).permute(0, 3, 1, 2)


class Worker:
    """Keeps a momentum of its mini-batch gradients.

    Args:
        examples: Its own.
        batch: Examples per gradient.
        momentum: Weight of the past, 0 to 1.
        decay: Of weights.
        seed: Of its batches.
    """

    def __init__(self, examples: Examples, *, batch: int, momentum: float, decay: float, seed: int) -> None:
        self._examples, self._batch, self._weight, self._decay = examples, batch, momentum, decay
        self._draws = torch.Generator().manual_seed(seed)
        self._momentum: Tensor | None = None

    def momentum_at(self, model: FlatNetwork) -> Tensor:
        """The momentum after one more gradient, taken at the model."""
        rows = torch.randint(len(self._examples), (self._batch,), generator=self._draws)
        batch = self._examples[rows]
        model.gradients.zero_()
        cross_entropy(model.network(batch.inputs), batch.labels).backward()
        gradient = model.gradients.add_(model.values, alpha=self._decay)
        if self._momentum is None:
            self._momentum = torch.zeros_like(gradient)
        return self._momentum.mul_(self._weight).add_(gradient, alpha=1 - self._weight)
