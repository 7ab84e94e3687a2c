"""The arithmetic of training steps, written once: Python here, and TorchScript text in a database.

The dialect is what libtorch 1.11 compiles: no f-string, no keyword-only argument, no dtype by name; a ``raise``
becomes an ``assert``. Inputs are never written to. Sums go through float64, in blocks that stay in a cache, and are
rounded once.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from flwr_byzantine.rules.parsing import parsed
from flwr_byzantine.stores._program import ENTRY_POINT

__all__ = ["Step", "mean_sgd", "momentum", "running_mean", "sgd", "text_of"]

Step = Callable[[list[Tensor], list[str], list[str]], list[Tensor]]


def sgd(tensors: list[Tensor], keys: list[str], args: list[str]) -> list[Tensor]:
    """Parameters and gradient to parameters: ``p - lr * g``."""
    if len(tensors) != 2:
        raise ValueError("sgd_step takes the parameters and a gradient")
    if tensors[0].shape != tensors[1].shape:
        raise ValueError("sgd_step: the gradient has another shape than the parameters")
    return [torch.sub(tensors[0], tensors[1], alpha=float(args[0]))]


def momentum(tensors: list[Tensor], keys: list[str], args: list[str]) -> list[Tensor]:
    """Parameters, gradient and velocity to parameters and velocity: ``v' = momentum * v + g``, ``p - lr * v'``."""
    if len(tensors) != 3:
        raise ValueError("momentum_step takes the parameters, a gradient and the velocity")
    if tensors[0].shape != tensors[1].shape:
        raise ValueError("momentum_step: the gradient has another shape than the parameters")
    if tensors[0].shape != tensors[2].shape:
        raise ValueError("momentum_step: the velocity has another shape than the parameters")
    velocity = torch.add(tensors[1], tensors[2], alpha=float(args[1]))
    return [torch.sub(tensors[0], velocity, alpha=float(args[0])), velocity]


def mean_sgd(tensors: list[Tensor], keys: list[str], args: list[str]) -> list[Tensor]:
    """Parameters and gradients to parameters: ``p - lr * mean(g)``."""
    if len(tensors) < 2:
        raise ValueError("mean_sgd_step takes the parameters and one gradient or more")
    for gradient in tensors:
        if gradient.shape != tensors[0].shape:
            raise ValueError("mean_sgd_step: a gradient has another shape than the parameters")
    result = tensors[0].reshape(-1).clone()
    for start in range(0, result.numel(), 65536):
        block = result[start : start + 65536]
        total = torch.zeros_like(block).double()
        for gradient in tensors[1:]:
            total += gradient.reshape(-1)[start : start + 65536]
        block.copy_(block.double() - float(args[0]) * (total / (len(tensors) - 1)))
    return [result.reshape(tensors[0].shape)]


def running_mean(tensors: list[Tensor], keys: list[str], args: list[str]) -> list[Tensor]:
    """The mean of ``count`` inputs, and one more input, to the mean of them all."""
    if len(tensors) != 2:
        raise ValueError("running_mean takes the mean and an input")
    count, last = int(args[0]), tensors[1]
    if tensors[0].shape != last.shape:
        raise ValueError("running_mean: the input has another shape than the mean")
    if count == 0:
        return [last.clone()]
    result = tensors[0].reshape(-1).clone()
    for start in range(0, result.numel(), 65536):
        block = result[start : start + 65536]
        total = block.double() * count + last.reshape(-1)[start : start + 65536]
        block.copy_(total / (count + 1))
    return [result.reshape(last.shape)]


@cache
def text_of(step: Step) -> str:
    """The TorchScript text whose entry point is ``step``."""
    function = parsed(lambda: ast.parse(textwrap.dedent(inspect.getsource(step)))).body[0]
    if not isinstance(function, ast.FunctionDef):
        raise TypeError(f"{step!r} is no function")
    function.name = ENTRY_POINT
    function.body = function.body[1:]  # without the docstring
    return ast.unparse(_Dialect().visit(function)) + "\n"


class _Dialect(ast.NodeTransformer):
    """What differs between Python and the dialect."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "list":
            node.value.id = "List"
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        match node.body:
            case [ast.Raise(exc=ast.Call(args=[message]))]:
                return ast.Assert(test=ast.UnaryOp(op=ast.Not(), operand=node.test), msg=message)
        return self.generic_visit(node)
