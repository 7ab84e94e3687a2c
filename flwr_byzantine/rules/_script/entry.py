"""The text of a rule or chain: its functions, and around them all that a call does in process."""

from __future__ import annotations

import ast
import builtins
import re
from collections import ChainMap
from typing import Any

import torch

from flwr_byzantine.rules._rule import Aggregator, stages_of
from flwr_byzantine.rules._script.library import Library
from flwr_byzantine.rules._script.rounding import exact_assignment, rounded_lines
from flwr_byzantine.rules._script.source import ScriptError, Source
from flwr_byzantine.rules._script.stages import HEAD, NAMES, function_of, selects, stage_lines, tensors_of
from flwr_byzantine.rules.parsing import parsed

__all__ = ["script_givens", "script_text"]


def script_givens(aggregator: Aggregator, *, given: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names of the tensors that a script of ``aggregator`` takes after the rows, in order.

    Args:
        aggregator: A rule or chain.
        given: Names of optional tensors that are to be among them, such as ``center`` of ``centered_clipping``.

    Returns:
        The names of all tensors that it needs and that are not bound, and those asked for.

    Raises:
        TypeError: If a name asked for is not that of an optional tensor.

    Example:
        >>> from flwr_byzantine.rules import fltrust, nnm
        >>> script_givens(nnm.bind(f=1) >> fltrust)
        ('reference',)
    """
    found = [tensor for stage in stages_of(aggregator) for tensor in tensors_of(stage)]
    for name in given:
        if (name, False) not in found:
            raise TypeError(f"{aggregator.name} takes no optional tensor {name}")
    return tuple(dict.fromkeys(name for name, needed in found if needed or name in given))


def script_text(aggregator: Aggregator, *, selected: bool = False, given: tuple[str, ...] = ()) -> str:
    """The self-contained TorchScript of a rule or chain: what :meth:`Aggregator.apply` does, for any store to run.

    The entry point is ``run(tensors: List[Tensor], keys: List[str], args: List[str]) -> List[Tensor]``. Its tensors
    are the inputs, of one shape and dtype, then those that :func:`script_givens` names. ``args`` may hold one number,
    the seed of a rule that draws numbers. The result is the aggregate in the shape of an input (of a pre-aggregator
    ``[n', *shape]``). It is the same text each time, and compiles with libtorch 1.11 and later.

    Args:
        aggregator: A rule or chain with ``f`` and all else that it needs bound, except tensors.
        selected: Whether the int64 rows that it selected are a second result.
        given: As in :func:`script_givens`.

    Returns:
        The text.

    Raises:
        TypeError: If ``f`` or another keyword is missing, nothing is selected where ``selected`` asks for it, or, as
            a :class:`ScriptError`, a rule is written with what the dialect does not have.

    Example:
        >>> from flwr_byzantine.rules import krum
        >>> text = script_text(krum.bind(f=1))
        >>> rows = [torch.tensor([v]) for v in (1.0, 1.1, 0.9, 1.2, 99.0)]
        >>> torch.jit.CompilationUnit(text).run(rows, [], [])
        [tensor([1.])]
    """
    return parsed(lambda: _derived(aggregator, selected, given))


def _derived(aggregator: Aggregator, selected: bool, given: tuple[str, ...]) -> str:
    stages = stages_of(aggregator)
    if selected and not (selects(stages[-1]) and all(stage.keeps_rows for stage in stages[:-1])):
        raise TypeError(f"{aggregator.name} does not tell which inputs it selected")
    givens = script_givens(aggregator, given=given)
    names = dict(NAMES)
    lines = [HEAD.format(rows=f"tensors[:-{len(givens)}]" if givens else "tensors").strip()]
    for number, stage in enumerate(stages):
        names[f"stage_{number}"] = function_of(stage)
        lines += stage_lines(stage, f"stage_{number}", givens, names)
    if selected:
        lines += ["if selected is None:", f"    raise ValueError('{stages[-1].__name__} has selected nothing')"]
    shape = "[rows.shape[0], *tensors[0].shape]" if stages[-1].is_pre_aggregator else "tensors[0].shape"
    lines.append(f"return [rows.reshape({shape}){', keep[selected]' if selected else ''}]")
    return _compiled("\n    ".join(lines), names)


def _compiled(entry: str, names: dict[str, Any]) -> str:
    """The script of an entry point, found to compile."""
    exec(compile(entry, "<run>", "exec"), names)
    (node,) = ast.parse(entry).body
    assert isinstance(node, ast.FunctionDef)
    library = Library(names["run"], Source("run", node, "<run>", ChainMap(names, vars(builtins))))
    unit = _unit(library)
    rounded = [found for name in library.names() for found in rounded_lines(getattr(unit, name).graph)]
    for line, is_assignment in rounded:
        statement, place = library.statement(line)
        if not is_assignment or not isinstance(statement, ast.Assign):
            raise ScriptError(f"{place}: a script's torch.tensor rounds numbers to float32; use torch.full")
        exact_assignment(statement)
    if rounded:
        _unit(library)
    return library.text()


def _unit(library: Library) -> Any:
    """The script, compiled."""
    try:
        return torch.jit.CompilationUnit(library.text())
    except RuntimeError as error:
        where = re.search(r'"<string>", line (\d+)', str(error))
        _, place = library.statement(int(where[1]) if where else 1)
        raise ScriptError(f"{place}: {str(error).strip()}") from None
