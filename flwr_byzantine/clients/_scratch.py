"""Tensors in a node's own store that are needed for a while, each under a key that nothing else is written to."""

from __future__ import annotations

import threading
from collections.abc import Collection

import torch
from torch import Tensor

from flwr_byzantine.stores import TensorStore

__all__ = ["Scratch", "checked_gradient"]


class Scratch:
    """What the bench of a peer and that of a GuanYu node have in common. Any number of threads may use it."""

    store: TensorStore
    kept: dict[str, int]
    """By key, the round until whose end it is needed."""
    number: int
    """Of the next key."""
    _lock: threading.Lock

    def key(self, what: str, round: int) -> str:
        """A key of its own for a tensor that is needed until the end of a round."""
        with self._lock:
            name, self.number = f"{what}:{round}:{self.number}", self.number + 1
            self.kept[name] = round
        return name

    def put(self, what: str, round: int, value: Tensor) -> str:
        """Keep a tensor until the end of a round; its key."""
        key = self.key(what, round)
        self.store.put(key, value)
        return key

    def delete_before(self, round: int, in_use: Collection[str]) -> None:
        """Delete what was needed before a round, but not what is still in use."""
        with self._lock:
            gone = [key for key, until in self.kept.items() if until < round and key not in in_use]
            for key in gone:
                del self.kept[key]
        self.store.delete(*gone)


def checked_gradient(value: object, like: Tensor, *, kinds: str) -> Tensor:
    """The value, if it is a gradient of a model ``like`` this.

    Args:
        value: What the user's function gave.
        like: The model.
        kinds: What the function may give, in words.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If it does not fit the model, or is not finite.

    Example:
        >>> checked_gradient(torch.zeros(2), torch.ones(3), kinds="a tensor")
        Traceback (most recent call last):
        ...
        ValueError: a gradient must be torch.float32[3] as the model is, got torch.float32[2]
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"a gradient is {kinds}, got {type(value).__name__}")
    if value.shape != like.shape or value.dtype != like.dtype:
        raise ValueError(
            f"a gradient must be {like.dtype}{list(like.shape)} as the model is, got {value.dtype}{list(value.shape)}"
        )
    if not bool(torch.isfinite(value).all()):
        raise ValueError("a gradient holds numbers that are not finite")
    return value
