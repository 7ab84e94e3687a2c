"""What an attack is: a pure function from the honest rows to the hostile ones, with what it knows beside it.

A function becomes an :class:`Attack` by the decorator :func:`attack`. It computes in float64 and may return
one vector for all attackers; the :class:`Attack` checks the call, casts and copies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Generic, Literal, ParamSpec

import torch
from torch import Tensor

from flwr_byzantine.rules._keywords import KeywordFunction, as_count

__all__ = ["Attack", "attack"]

P = ParamSpec("P")

Knowledge = Literal["own", "honest", "rule"]


class Attack(KeywordFunction, Generic[P]):
    """An attack made of one function: ``attack(honest, f=...) -> [f, d]``. Made by :func:`attack`."""

    source: str
    """The publication that defines it."""
    knows: Knowledge
    """What it must see: ``"own"`` makes sense on the single row of one client, ``"honest"`` needs the rows of
    all honest clients, ``"rule"`` the rule of the server too."""
    factor: str | None
    """Name of the keyword that sets its strength, in which 0 is allowed, or None if it has none."""
    affine: bool
    """Whether all its rows are alike and lie on a line, at places proportional to its factor."""

    def __init__(
        self,
        function: Callable[Concatenate[Tensor, P], Tensor],
        metadata: Mapping[str, Any],
        keywords: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(function, metadata, keywords)
        self.source = metadata["source"]
        self.knows = metadata["knows"]
        self.factor = metadata["factor"]
        self.affine = metadata.get("affine", False)

    def bind(self, **keywords: Any) -> Attack[...]:
        """The same attack with these keywords given; a call may still override them."""
        return self.with_keywords(keywords)

    def __call__(self, honest: Tensor, /, *args: P.args, **keywords: P.kwargs) -> Tensor:
        """Make of the honest rows ``[h, d]`` the hostile rows ``[f, d]``, of the same dtype and device."""
        if args:
            raise TypeError(f"{self.__name__} takes one positional argument, the honest rows; give the rest by name")
        self.refuse_unknown(keywords)
        given = {**self.keywords, **keywords}
        missing = sorted((self.needs | {"f"}) - given.keys())
        if missing:
            raise TypeError(f"{self.name} needs {', '.join(missing)}")
        f = as_count("f", given["f"])
        self._refuse_bad_rows(honest)
        if f == 0:
            return honest.new_empty(0, honest.shape[1])
        hostile = self.__wrapped__(honest.detach(), **{**given, "f": f})
        return _saturate(hostile, honest.dtype).expand(f, -1).clone()

    def line(self, honest: Tensor, *, f: int) -> Callable[[float], Tensor]:
        """The hostile row ``[d]`` by strength, for :attr:`affine` attacks: the honest rows are looked at once."""
        self._refuse_bad_rows(honest)
        given: dict[str, Any] = {**self.keywords, "f": f}
        at_0, at_1 = (self.__wrapped__(honest.detach(), **{**given, str(self.factor): t}) for t in (0.0, 1.0))
        slope = at_1 - at_0
        return lambda t: _saturate(at_0 + t * slope, honest.dtype)

    def _refuse_bad_rows(self, honest: Tensor) -> None:
        if honest.ndim != 2 or not honest.is_floating_point() or honest.shape[0] == 0:
            raise ValueError(
                f"{self.name} needs honest rows as a floating-point matrix [h, d] with h >= 1, "
                f"got {honest.dtype} {list(honest.shape)}"
            )


def attack(
    *, source: str, knows: Knowledge, factor: str | None = None, affine: bool = False
) -> Callable[[Callable[Concatenate[Tensor, P], Tensor]], Attack[P]]:
    """Make a function ``(honest, *, f, ...)`` an :class:`Attack`.

    Args:
        source: The defining publication.
        knows: What the attacker must see, as in :attr:`Attack.knows`.
        factor: Name of the keyword that sets the strength, which :func:`optimal` may search.
        affine: Whether the hostile row is ``v + factor * w``, with ``v`` and ``w`` of the honest rows alone.

    Returns:
        A decorator for a function of ``[h, d]`` with ``h >= 1`` and ``f >= 1`` that returns ``[d]``, the same
        for all attackers, or ``[f, d]``, in any floating dtype.

    Example:
        >>> @attack(source="an example", knows="own", factor="scale")
        ... def shrunk(honest, *, f, scale=0.1):
        ...     return scale * honest[0]
        >>> shrunk(torch.ones(3, 2), f=1)
        tensor([[0.1000, 0.1000]])
    """
    metadata = {"source": source, "knows": knows, "factor": factor, "affine": affine}
    return lambda function: Attack(function, metadata)


def mean_row(honest: Tensor) -> Tensor:
    """``float64[d]``: the mean of the rows, added row by row so that no float64 copy of them is made."""
    total = honest.new_zeros(honest.shape[1], dtype=torch.float64)
    for row in honest:
        total += row
    return total / honest.shape[0]


def std_row(honest: Tensor, ddof: int = 1) -> Tensor:
    """``float64[d]``: the standard deviation per coordinate; 0 where ``h <= ddof`` leaves it undefined."""
    centre = mean_row(honest)
    total = torch.zeros_like(centre)
    for row in honest:
        total += (row - centre).square_()
    return (total / max(honest.shape[0] - ddof, 1)).sqrt_()


def unit(vector: Tensor) -> Tensor:
    """``vector`` at length 1, or 0 if it is 0; no magnitude overflows or underflows on the way."""
    if not bool(vector.any()):
        return torch.zeros_like(vector)
    return torch.nn.functional.normalize(vector / vector.abs().max(), dim=0)


def _saturate(hostile: Tensor, dtype: torch.dtype) -> Tensor:
    """``hostile`` in ``dtype``; what is finite but too large becomes the largest finite number."""
    limits = torch.finfo(dtype)
    return torch.where(hostile.isinf(), hostile, hostile.clamp(limits.min, limits.max)).to(dtype)
