"""The seam between what a rule is written with and what runs it: a primitive, and its faster form on rows in place.

A primitive is a pure torch function of a matrix: the reference, and what scripts are derived from (its decorator is
unwrapped there). Called with :class:`Rows`, it runs its faster form if there is one that takes them.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from flwr_byzantine.rules.rows import Rows

__all__ = ["faster", "is_plain", "plain", "primitive", "pure"]

P = ParamSpec("P")
T = TypeVar("T")

_faster: dict[str, Callable[..., Any]] = {}
_plain: ContextVar[bool] = ContextVar("plain", default=False)


def primitive(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function of a matrix a primitive: given :class:`Rows`, its faster form is tried before itself."""
    name = function.__name__

    @functools.wraps(function)
    def call(*args: P.args, **keywords: P.kwargs) -> T:
        if args and isinstance(args[0], Rows) and name in _faster:
            found: T | None = _faster[name](*args, **keywords)
            if found is not None:
                return found
        return function(*args, **keywords)

    return call


def faster(function: Callable[P, T | None]) -> Callable[P, T | None]:
    """Register the faster form of the primitive of that name; it returns None for rows that it does not take."""
    _faster[function.__name__] = function
    return function


def pure(function: Callable[P, T]) -> Callable[P, T]:
    """A primitive as it is written; those that it calls still run their faster forms."""
    written: Callable[P, T] = inspect.unwrap(function)
    return written


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Run rules as their scripts do: on matrices, by pure torch, each stage's result rounded to the inputs' dtype."""
    before = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(before)


def is_plain() -> bool:
    """Whether rules run as their scripts do."""
    return _plain.get()
