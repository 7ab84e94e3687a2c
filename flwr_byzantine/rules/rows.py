"""A matrix that is never put together: rows in place, and mixtures of them.

Every rule takes a matrix or a list of rows (see :class:`Rows`); this is what its function gets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from flwr_byzantine.rules._source import Inputs, Source

__all__ = ["Inputs", "Rows"]


class Rows(Tensor):
    """``[n, d]``: the rows of a matrix or of a list, read where they lie, or mixtures ``weights @ rows`` of them.

    It has the shape, dtype and device of the matrix it stands for. The primitives of rules read it in blocks; a row by
    number, some rows, and some columns are views or small; for any other use of torch the matrix is made after all.
    Made by :meth:`of`; it keeps what was computed of its rows, such as distances, so they must not change meanwhile.

    Example:
        >>> rows = Rows.of([torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])])
        >>> rows.shape, rows[1], rows.sum()
        (torch.Size([2, 2]), tensor([3., 4.]), tensor(10.))
    """

    source: Source
    weights: Tensor | None
    """``float64[n, m]`` of a mixture of ``m`` rows, or None for these rows themselves."""
    stand_in: Tensor
    """What answers questions of shape, dtype and device; it holds no numbers."""

    @classmethod
    def of(cls, inputs: Inputs) -> Self:
        """The rows of a matrix, or of a list of rows, each a tensor or a list of tensors (segments, such as layers).

        Args:
            inputs: Floating-point tensors of one dtype and device, alike in size from row to row; of any shape,
                flattened. NumPy arrays and memory maps come by :func:`torch.from_numpy`. Nothing large is copied.

        Raises:
            TypeError: If they are no tensors.
            ValueError: If they do not fit one another.
        """
        return inputs if isinstance(inputs, cls) else cls.over(Source.of(inputs))

    @classmethod
    def over(cls, source: Source, weights: Tensor | None = None, dtype: torch.dtype | None = None) -> Self:
        """The rows of a source, or mixtures of them, given out in ``dtype``."""
        n = source.n if weights is None else weights.shape[0]
        stand_in = source.like.new_full((), torch.nan, dtype=dtype).expand(n, source.d)
        rows = stand_in.as_subclass(cls)
        rows.stand_in, rows.source, rows.weights = stand_in, source, weights
        return rows

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Answer from the stand-in what asks for no numbers, pick rows and columns, and else make the matrix."""
        if func in QUESTIONS:
            return func(*(arg.stand_in if isinstance(arg, Rows) else arg for arg in args), **(kwargs or {}))
        for rows in (arg for arg in args if isinstance(arg, Rows)):
            rows.source.require_finite()
        if func == Tensor.__getitem__ and isinstance(args[0], Rows):
            return args[0].picked(args[1])
        return func(*map(_put_together, args), **{k: _put_together(v) for k, v in (kwargs or {}).items()})

    def picked(self, key: Any) -> Tensor:
        """``self[key]``: a row, some rows, or some columns of all."""
        if isinstance(key, int):
            place = key if key >= 0 else self.shape[0] + key
            if not 0 <= place < self.shape[0]:
                raise IndexError(f"row {key} of {self.shape[0]}")
            return self.source.row(place) if self.weights is None else self._mixed_row(place)
        if isinstance(key, slice):
            return self.some(list(range(self.shape[0]))[key])
        if isinstance(key, Tensor) and key.ndim == 1:
            places: list[int] = (key.nonzero().flatten() if key.dtype == torch.bool else key).tolist()
            return self.some(places)
        if isinstance(key, tuple) and len(key) == 2 and key[0] == slice(None):
            if isinstance(key[1], slice) and key[1].step in (None, 1):
                start, stop, _ = key[1].indices(self.shape[1])
                return self.block(start, stop)
            if isinstance(key[1], Tensor) and key[1].dtype == torch.int64 and key[1].ndim == 1:
                return self._mix(self.source.columns(key[1]))
        return self.matrix()[key]

    def some(self, places: list[int]) -> Rows:
        """Some of the rows."""
        if self.weights is None:
            return Rows.over(self.source.picked(places))
        return Rows.over(self.source, self.weights[places], self.dtype)

    def block(self, start: int, stop: int) -> Tensor:
        """``[n, stop - start]``: some columns; the mixture's in its dtype, or float32 if that is shorter."""
        return self._mix(self.source.block(start, stop))

    def _mix(self, block: Tensor) -> Tensor:
        if self.weights is None:
            return block
        kind = torch.float64 if self.dtype == torch.float64 else torch.float32
        return (self.weights @ block.to(torch.float64)).to(kind)

    def _mixed_row(self, place: int) -> Tensor:
        return self.some([place]).matrix()[0]

    def matrix(self) -> Tensor:
        """The matrix itself: the one it was made of, or one that is made now."""
        if self.weights is None:
            return self.source.block(0, self.shape[1])
        result = self.stand_in.new_empty(self.shape)
        for start, stop, views in self.source.views(1 << 15):
            result[:, start:stop] = self._mix(torch.stack(views))
        return result


QUESTIONS: set[Any] = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "is_cuda", "requires_grad")),
    Tensor.size, Tensor.dim, Tensor.numel, Tensor.__len__, Tensor.is_floating_point, Tensor.element_size,
    Tensor.new_empty, Tensor.new_zeros, Tensor.new_ones, Tensor.new_full,
}  # fmt: skip
"""What torch is asked without a look at the numbers."""


def _put_together(value: Any) -> Any:
    if isinstance(value, Rows):
        return value.matrix()
    return type(value)(map(_put_together, value)) if type(value) in (list, tuple) else value
