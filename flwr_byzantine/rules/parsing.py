"""One thread at a time parses Python."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["parsed"]

T = TypeVar("T")

PARSING = threading.RLock()

ATTEMPTS = 8
"""Threads of others, such as a user's that loads arrays, do not wait for the lock, and may disturb an attempt."""


def parsed(parse: Callable[[], T]) -> T:
    """What a function that parses source text or one of NumPy's array headers returns, wherever threads are at work.

    CPython before 3.11.8 and 3.12.2 counts the depth of all threads' syntax trees in one place, and raises a
    SystemError where two meet (python/cpython#106905).

    Example:
        >>> import ast
        >>> parsed(lambda: ast.literal_eval("[1, 2]"))
        [1, 2]
    """
    with PARSING:
        for _ in range(ATTEMPTS - 1):
            try:
                return parse()
            except SystemError:
                continue
        return parse()
