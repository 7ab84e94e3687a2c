"""The task of a node without Flower: a function of the user's own that gives gradients and the first model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from torch import Tensor

from flwr_byzantine.cli._node_file import NodeFile

__all__ = ["made"]

Gradients = Callable[[Tensor, int], Iterable[Any]]


def made(file: NodeFile) -> tuple[Gradients, Tensor]:
    """What the function named under ``[task] gradients`` returns; modules beside the file are found.

    Raises:
        ValueError: If there is no such function, it fails, or it returns something else; the message names the file.
    """
    if file.task is None:
        raise ValueError(f"{file.file}: [task] gradients is missing: it must be 'module:function'")
    at = f"{file.file}: [task] gradients {file.task.function!r}"
    module, function = file.task.function.split(":")
    sys.path.insert(0, str(file.file.parent))
    try:
        factory = getattr(import_module(module), function)
        result = factory(**file.task.options)
    except Exception as error:  # the user's own code: any kind
        raise ValueError(f"{at}: {type(error).__name__}: {error}") from error
    match result:
        case (gradients, Tensor() as model) if callable(gradients):
            return gradients, model
    raise ValueError(f"{at} must return (gradients, model): a function and a tensor, got {type(result).__name__}")
