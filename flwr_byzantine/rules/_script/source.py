"""Where a function is written, and what the names in it mean."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from flwr_byzantine.rules.parsing import parsed

__all__ = ["ScriptError", "Source", "source_of", "stored_names"]


class ScriptError(TypeError):
    """A rule uses what a script cannot say; the message names the file, the line and the construct."""


@dataclass(frozen=True)
class Source:
    """The definition of a function."""

    name: str
    node: ast.FunctionDef | ast.Lambda
    path: str
    names: Mapping[str, Any]
    """What its free names mean: its closure's, its module's and Python's own."""

    def error(self, node: ast.AST, problem: str) -> ScriptError:
        """What is wrong with a part of the function, and where."""
        written = ast.unparse(node).splitlines()[0]
        return ScriptError(f"{self.path}:{getattr(node, 'lineno', '?')}: {problem}, in {self.name}: {written}")


def source_of(function: FunctionType) -> Source:
    """The definition of a function or lambda, as its file has it.

    Raises:
        ScriptError: If the file cannot be read.
    """
    code = function.__code__
    try:
        lines, _ = inspect.findsource(function)
        node = _node_of(code, "".join(lines))
    except (OSError, TypeError, ValueError):
        raise ScriptError(f"{code.co_filename}:{code.co_firstlineno}: no source of {function.__name__}") from None
    cells = (cell.cell_contents for cell in function.__closure__ or ())
    closure = dict(zip(code.co_freevars, cells, strict=True))
    names = ChainMap(closure, function.__globals__, vars(builtins))
    return Source(function.__name__, node, code.co_filename, names)


@functools.lru_cache(maxsize=1024)
def _node_of(code: CodeType, text: str) -> ast.FunctionDef | ast.Lambda:
    """The definition in the text of a file that some code stems from; a ValueError if there is none."""
    if code.co_name == "<lambda>":
        candidates = [node for node in ast.walk(_tree_of(text)) if isinstance(node, ast.Lambda)]
        return min((node for node in candidates if _encloses(node, code)), key=_extent)
    (found,) = [node for node in ast.walk(_tree_of(text)) if isinstance(node, ast.FunctionDef) and _is_at(node, code)]
    return found


def _is_at(node: ast.FunctionDef, code: CodeType) -> bool:
    first = node.decorator_list[0] if node.decorator_list else node
    return node.name == code.co_name and first.lineno == code.co_firstlineno


@functools.lru_cache(maxsize=64)
def _tree_of(text: str) -> ast.Module:
    return parsed(lambda: ast.parse(text))


def _encloses(node: ast.Lambda, code: CodeType) -> bool:
    """Whether all instructions of a lambda stem from within ``node``."""
    for line, end_line, column, end_column in code.co_positions():
        if line is None or end_line is None or column is None or end_column is None or end_column == 0:
            continue  # an instruction of no place in the text
        if (line, column) < (node.lineno, node.col_offset):
            return False
        if (end_line, end_column) > (node.end_lineno or 0, node.end_col_offset or 0):
            return False
    return True


def _extent(node: ast.Lambda) -> tuple[int, int]:
    return (node.end_lineno or 0) - node.lineno, (node.end_col_offset or 0) - node.col_offset


def stored_names(*nodes: ast.AST) -> set[str]:
    """The names that some code gives a value."""
    names = (node for root in nodes for node in ast.walk(root) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Store)}
