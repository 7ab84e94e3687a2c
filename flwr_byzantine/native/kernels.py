"""The compiled kernels beneath the rules, on tensors read where they lie. The rules' torch code is their reference.

Rows are tensors on the CPU of one dtype, float32, float64, float16 or bfloat16, at any address: a matrix ``[n, d]``
or a list of ``n`` tensors ``[d]``, of which each row has its numbers side by side. An output ``out`` is a tensor of one
of these dtypes, its numbers side by side. The calls use as many threads as torch does and let other Python threads
run meanwhile; what they return does not depend on the number of threads.

The library is plain C, found by :func:`flwr_byzantine.native.kernels_library` when it is first needed. Without it, or
with ``FLWR_BYZANTINE_KERNELS=off`` in the environment, :func:`available` is false and every other call an error; with
``FLWR_BYZANTINE_KERNELS=build`` it is compiled if it is not there, which takes a C++ compiler and about half a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._foreign import Mixture, Source, destination, library

__all__ = [
    "Rows",
    "available",
    "distances_to",
    "finite_rows",
    "gram_about",
    "large_pages",
    "mean_nearest",
    "mean_of_order_statistics",
    "serves",
    "squared_distances",
    "weighted_sum",
]

Rows = Tensor | Sequence[Tensor]
"""``[n, d]``, or ``n`` tensors ``[d]``."""


def available() -> bool:
    """Whether the compiled kernels are there. The first call looks for them, and logs it once if they are not.

    Example:
        >>> available() in (True, False)
        True
    """
    return library() is not None


def serves(rows: Rows) -> bool:
    """Whether the kernels are there and take these rows: on the CPU, of a dtype they know, numbers side by side.

    Example:
        >>> serves(torch.zeros(3, 4, dtype=torch.int64))
        False
    """
    return available() and Source.takes(rows)


def finite_rows(rows: Rows) -> Tensor:
    """``bool[n]``: whether every number of a row is finite.

    Args:
        rows: ``n`` rows of ``d`` numbers.

    Raises:
        TypeError: If the kernels do not take the rows, see :func:`serves`.
        RuntimeError: If the kernels are not :func:`available`.

    Example:
        >>> available() and finite_rows(torch.tensor([[1.0], [float("nan")]])).tolist() or [True, False]
        [True, False]
    """
    source = Source(rows)
    finite = torch.empty(source.n, dtype=torch.bool)
    source.call("fb_finite_rows", finite.data_ptr())
    return finite


def mean_of_order_statistics(rows: Rows, low: int, high: int, *, out: Tensor, weights: Tensor | None = None) -> bool:
    """``out[j]``: the mean of the values at places ``low`` to ``high - 1`` in ascending order of coordinate ``j``.

    Args:
        rows: ``n`` rows of ``d`` numbers. NaN counts as the largest number.
        low: The first place, ``0 <= low < high``.
        high: The place after the last, at most ``n``, or ``k`` with ``weights``.
        out: ``[d]``, written.
        weights: ``float64[k, n]``: the values are those of ``weights @ rows``, mixed a block at a time.

    Returns:
        Whether all that was read is finite. If not, ``out`` is the mean of the places all the same.

    Raises:
        ValueError: If the places, the output or the weights do not fit the rows.
        TypeError: If the kernels do not take the rows, see :func:`serves`.
        RuntimeError: If the kernels are not :func:`available`.

    Example:
        >>> out = torch.full((1,), 2.0)
        >>> available() and mean_of_order_statistics(torch.tensor([[1.0], [9.0], [2.0]]), 1, 2, out=out) or True
        True
        >>> out
        tensor([2.])
    """
    mixture = Mixture(source := Source(rows), weights)
    mixture.check_places(low, high)
    return source.call("fb_mean_of_places", mixture, low, high, destination(out[None], 1, source.d))


def mean_nearest(rows: Rows, places: tuple[int, int], k: int, *, out: Tensor, weights: Tensor | None = None) -> bool:
    """``out[j]``: the mean of the ``k`` values nearest to the mean of the values at some sorted places.

    Args:
        rows: ``n`` rows of ``d`` numbers. NaN counts as the largest number.
        places: From the first up to but not including the second, in ascending order.
        k: How many values, at least 1. Where two are equally near to be the last, that of the lowest row is taken.
        out: ``[d]``, written.
        weights: ``float64[m, n]``: the values are those of ``weights @ rows``, mixed a block at a time.

    Returns:
        Whether all that was read is finite. If not, ``out`` is of no use.

    Raises:
        ValueError: If the places, ``k``, the output or the weights do not fit the rows.
        TypeError: If the kernels do not take the rows, see :func:`serves`.
        RuntimeError: If the kernels are not :func:`available`.

    Example:
        >>> out = torch.full((1,), 1.5)
        >>> available() and mean_nearest(torch.tensor([[1.0], [9.0], [2.0]]), (1, 2), 2, out=out) or True
        True
        >>> out
        tensor([1.5000])
    """
    mixture = Mixture(source := Source(rows), weights)
    mixture.check_places(*places)
    mixture.check_places(0, k)
    return source.call("fb_mean_nearest", mixture, *places, k, destination(out[None], 1, source.d))


def weighted_sum(rows: Rows, weights: Tensor, *, out: Tensor, centre: Tensor | None = None) -> bool:
    """``out = weights @ rows``, summed in float64; with a ``centre`` what the weights lack to 1 goes to it.

    With weights ``[n]`` a row whose weight is zero is not read.

    Args:
        rows: ``n`` rows of ``d`` numbers.
        weights: ``float64[n]`` or ``float64[k, n]``.
        out: ``[d]`` or ``[k, d]`` as the weights are, each of its rows side by side, written.
        centre: ``[d]``, of any dtype that rows may have.

    Returns:
        Whether all of the result is finite.

    Raises:
        ValueError: If the weights, the centre or the output do not fit the rows.
        TypeError: If the kernels do not take the rows, see :func:`serves`.
        RuntimeError: If the kernels are not :func:`available`.

    Example:
        >>> out = torch.full((1,), 2.5)
        >>> half = torch.full((2,), 0.5, dtype=torch.float64)
        >>> available() and weighted_sum(torch.tensor([[1.0], [4.0]]), half, out=out) or True
        True
        >>> out
        tensor([2.5000])
    """
    mixture = Mixture(source := Source(rows), weights if weights.ndim == 2 else weights[None])
    about = None if centre is None else Source([centre], d=source.d).pointed
    to = destination(out if weights.ndim == 2 else out[None], mixture.k, source.d)
    return source.call("fb_weighted_sum", mixture, about, to)


def squared_distances(rows: Rows) -> Tensor:
    """``float64[n, n]``: squared Euclidean distances of all pairs, by differences.

    Within 1e-6 of those computed in float64. As in the rules, those among float64 rows of extreme size are in another
    unit, and those to a row out of reach too short. A row that is not finite has no finite distance to any other.

    Args:
        rows: ``n`` rows of ``d`` numbers.

    Raises:
        TypeError: If the kernels do not take the rows, see :func:`serves`.
        RuntimeError: If the kernels are not :func:`available`.

    Example:
        >>> available() and squared_distances(torch.tensor([[0.0], [3.0]])).tolist() or [[0.0, 9.0], [9.0, 0.0]]
        [[0.0, 9.0], [9.0, 0.0]]
    """
    source = Source(rows)
    distances = torch.empty(source.n, source.n, dtype=torch.float64)
    source.call("fb_squared_distances", distances.data_ptr())
    return distances


def distances_to(rows: Rows, point: Tensor) -> Tensor:
    """``float64[n]``: Euclidean distance of each row to ``point`` ``[d]``, by differences in float64.

    Distances of float64 rows whose square overflows or vanishes are exact all the same. That of a row that is not
    finite is not finite.

    Args:
        rows: ``n`` rows of ``d`` numbers.
        point: ``[d]``, of any dtype that rows may have.

    Raises:
        ValueError: If the point does not fit the rows.
        TypeError: If the kernels do not take the rows, see :func:`serves`.
        RuntimeError: If the kernels are not :func:`available`.

    Example:
        >>> available() and distances_to(torch.tensor([[0.0], [3.0]]), torch.tensor([1.0])).tolist() or [1.0, 2.0]
        [1.0, 2.0]
    """
    source = Source(rows)
    distances = torch.empty(source.n, dtype=torch.float64)
    source.call("fb_distances_to", Source([point], d=source.d).pointed, distances.data_ptr())
    return distances


def gram_about(rows: Rows, centre: Tensor) -> Tensor:
    """``float64[n, n]``: inner products of ``rows - centre``, by differences.

    Nothing is scaled: products of float64 numbers beyond 1e150 overflow, those below 1e-150 vanish.

    Args:
        rows: ``n`` rows of ``d`` numbers.
        centre: ``[d]``, of any dtype that rows may have.

    Raises:
        ValueError: If the centre does not fit the rows.
        TypeError: If the kernels do not take the rows, see :func:`serves`.
        RuntimeError: If the kernels are not :func:`available`.

    Example:
        >>> one = torch.tensor([1.0])
        >>> available() and gram_about(torch.tensor([[0.0], [3.0]]), one).tolist() or [[1.0, -2.0], [-2.0, 4.0]]
        [[1.0, -2.0], [-2.0, 4.0]]
    """
    source = Source(rows)
    gram = torch.empty(source.n, source.n, dtype=torch.float64)
    source.call("fb_gram_about", Source([centre], d=source.d).pointed, gram.data_ptr())
    return gram


def large_pages(out: Tensor) -> None:
    """Ask the system for large pages beneath an output that was just allocated.

    Small ones take longer to get than to fill, at 40 MB a third of what a mean of 20 rows takes. Where the system gives
    out none, nothing happens.

    Args:
        out: ``[d]`` or ``[k, d]``, each of its rows side by side.

    Raises:
        TypeError: If a kernel cannot write there.
        RuntimeError: If the kernels are not :func:`available`.

    Example:
        >>> large_pages(torch.empty(1 << 20)) if available() else None
    """
    Source(out if out.ndim == 2 else out[None]).call("fb_large_pages")
