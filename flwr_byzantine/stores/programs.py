"""The programs: any rule, and the steps of training around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from flwr_byzantine.rules import RULES, Aggregator, Rule, script_givens, script_text
from flwr_byzantine.rules._rows import as_row, as_rows, stacked
from flwr_byzantine.rules._rule import stages_of
from flwr_byzantine.stores import _steps
from flwr_byzantine.stores._program import Kernel, Program

__all__ = ["mean_sgd_step", "momentum_step", "running_mean", "script", "sgd_step"]


def script(
    aggregator: Aggregator, *, selected: bool = False, given: Sequence[str] = (), seed: int | None = None
) -> Program:
    """Any rule, pre-aggregator or chain as a program; its inputs are the rows, tensors of one shape and dtype.

    Args:
        aggregator: With ``f`` and its other keywords bound; tensors that it needs become the program's ``givens``.
        selected: Whether a second output holds the rows that it selected, int64, in the order of selection.
        given: Names of optional tensors that are to be among the ``givens``.
        seed: For rules that draw numbers: an attacker must not know it. None for their default.

    Raises:
        TypeError: If the aggregator lacks a keyword, or selects nothing where ``selected`` asks for it.

    Example:
        >>> from flwr_byzantine.rules import nnm, trimmed_mean
        >>> script(nnm.bind(f=1) >> trimmed_mean.bind(f=1)).name
        'nnm(f=1) >> trimmed_mean(f=1)'
    """
    givens = script_givens(aggregator, given=tuple(given))
    return Program(
        name=aggregator.name,
        source=_text(aggregator, selected, tuple(given)),
        compute=partial(_aggregate, _seeded(aggregator, seed), givens, selected),
        args=() if seed is None else (str(seed),),
        outputs=2 if selected else 1,
        givens=givens,
        kernel=_kernel(aggregator, selected=selected),
    )


_texts: dict[object, str] = {}
MOST_TEXTS = 256


def _text(aggregator: Aggregator, selected: bool, given: tuple[str, ...]) -> str:
    """The script's text, derived once: that takes a hundred times as long as a small program's run."""
    stages = [(stage.__wrapped__, stage.keywords) for stage in stages_of(aggregator)]
    values = [value for _, keywords in stages for value in keywords.values()]
    if not all(isinstance(value, str | int | float | None) for value in values):
        return script_text(aggregator, selected=selected, given=given)
    # repr, since True, 1 and 1.0 are equal but not alike
    key = (tuple((function, repr(sorted(keywords.items()))) for function, keywords in stages), selected, given)
    if key not in _texts:
        if len(_texts) >= MOST_TEXTS:
            _texts.clear()
        _texts[key] = script_text(aggregator, selected=selected, given=given)
    return _texts[key]


def _seeded(aggregator: Aggregator, seed: int | None) -> Aggregator:
    return aggregator.bind(generator=seed) if seed is not None and "generator" in aggregator.accepts else aggregator


def _aggregate(
    aggregator: Aggregator, givens: tuple[str, ...], selected: bool, tensors: Sequence[Tensor]
) -> list[Tensor]:
    """What the text of :func:`script` does."""
    count = len(tensors) - len(givens)
    rows = stacked(list(tensors[:count]))
    aligned = {name for stage in stages_of(aggregator) for name in stage.aligned}
    keywords = {
        name: as_rows(tensor, tensors[0]) if name in aligned else as_row(tensor, tensors[0])
        for name, tensor in zip(givens, tensors[count:], strict=True)
    }
    value, chosen = aggregator.apply(rows, **keywords)
    result = value.reshape(tensors[0].shape if value.ndim == 1 else (value.shape[0], *tensors[0].shape))
    return [result, chosen] if selected and chosen is not None else [result]


def sgd_step(lr: float) -> Program:
    r"""One step of gradient descent. Inputs: the parameters, a gradient. Output: the parameters after it.

    .. math:: p' = p - \eta g

    Args:
        lr: The learning rate, finite.

    Example:
        >>> import torch
        >>> from flwr_byzantine.stores import MemoryStore
        >>> with MemoryStore() as store:
        ...     store.put("params", torch.ones(2))
        ...     store.put("gradient", torch.tensor([2.0, 4.0]))
        ...     store.run(sgd_step(lr=0.5), ["params", "gradient"], to="params")
        ...     store.get("params")
        tensor([ 0., -1.])
    """
    return _step("sgd_step", _steps.sgd, lr=lr)


def momentum_step(lr: float, momentum: float) -> Program:
    r"""One step with momentum. Inputs: the parameters, a gradient, the velocity. Outputs: parameters and velocity.

    .. math:: v' = \mu v + g, \qquad p' = p - \eta v'

    Args:
        lr: The learning rate, finite.
        momentum: The share of the velocity that stays, finite.

    Example:
        >>> import torch
        >>> step, ones = momentum_step(lr=0.5, momentum=0.9), torch.ones(2)
        >>> step.compute([ones, ones, torch.zeros(2)])
        [tensor([0.5000, 0.5000]), tensor([1., 1.])]
    """
    return _step("momentum_step", _steps.momentum, outputs=2, lr=lr, momentum=momentum)


def mean_sgd_step(lr: float) -> Program:
    r"""Average and step in one pass. Inputs: the parameters, then the gradients. Output: the parameters after it.

    .. math:: p' = p - \frac{\eta}{K} \sum_k g_k

    Args:
        lr: The learning rate, finite.

    Example:
        >>> import torch
        >>> mean_sgd_step(lr=0.5).compute([torch.ones(1), torch.tensor([1.0]), torch.tensor([3.0])])
        [tensor([0.])]
    """
    return _step("mean_sgd_step", _steps.mean_sgd, lr=lr)


def running_mean(count: int) -> Program:
    r"""Fold one input into a mean as it arrives. Inputs: the mean so far, the input. Output: the mean with it.

    .. math:: y' = \frac{c y + x}{c + 1}

    Args:
        count: How many inputs the mean holds already, ``>= 0``. With 0 the result is the input, whatever the mean is:
            the first input may be given as both.

    Example:
        >>> import torch
        >>> running_mean(3).compute([torch.tensor([2.0]), torch.tensor([6.0])])
        [tensor([3.])]
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError(f"count must be an integer >= 0, got {count!r}")
    return _step("running_mean", _steps.running_mean, count=count)


def _step(name: str, function: _steps.Step, *, outputs: int = 1, **numbers: float) -> Program:
    """A program whose text is the same for all its numbers."""
    for what, number in numbers.items():
        if not math.isfinite(number):
            raise ValueError(f"{name}: {what} must be finite, got {number}")
    args = tuple(repr(number) for number in numbers.values())
    return Program(
        name=f"{name}({', '.join(f'{what}={number!r}' for what, number in numbers.items())})",
        source=_steps.text_of(function),
        compute=lambda tensors: function(list(tensors), [], list(args)),
        args=args,
        outputs=outputs,
        kernel=Kernel(name, args),
    )


def _kernel(aggregator: Aggregator, *, selected: bool) -> Kernel | None:
    """The module's kernel for a rule whose keywords are those that the kernel takes."""
    if not isinstance(aggregator, Rule):
        return None
    name, ours = aggregator.__name__, RULES.get(aggregator.__name__)
    if ours is None or aggregator.__wrapped__ is not ours.__wrapped__:  # another's rule, perhaps of that name
        return None
    match name, aggregator.keywords:
        case "mean" | "median", {**keywords} if not selected and keywords in ({}, {"f": 0}):
            return Kernel(name)
        case "trimmed_mean" | "meamed", {"f": int(f), **others} if not selected and not others:
            return Kernel(name, (str(f),))
        case "krum" | "multi_krum", {"f": int(f), **others} if not others:
            return Kernel(name, (str(f),))
        case "multi_krum", {"f": int(f), "m": int(m), **others} if not others:
            return Kernel(name, (str(f), str(m)))
    return None
