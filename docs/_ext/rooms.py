"""A page for each room's public names, from the package itself."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
import typing
from types import ModuleType

import tables
from sphinx.pycode import ModuleAnalyzer

from flwr_byzantine.attacks import Attack
from flwr_byzantine.rules import Rule

ROOMS = (
    "strategies",
    "clients",
    "clients.functions",
    "clients.guanyu",
    "clients.peer",
    "rules",
    "rules.recommend",
    "rules.running",
    "rules.mapped",
    "rules.streaming",
    "attacks",
    "stores",
    "signing",
    "protocols.events",
    "protocols.actions",
    "protocols",
    "protocols.guanyu",
    "admission",
    "records",
    "roster",
    "native",
    "native.kernels",
    "testing",
    "bench",
    "errors",
)
"""In the order of the index. A name that two rooms export is described in the first."""


def pages() -> dict[str, str]:
    """The pages below ``api/``."""
    made, seen = {}, set[int]()
    for room in ROOMS:
        module = importlib.import_module(f"flwr_byzantine.{room}")
        made[f"api/{room}.rst"] = room_page(room, module, seen)
    entries = "\n".join(f"   {room}" for room in ROOMS)
    heading = "\n".join(tables.title("API reference"))
    made["api/index.rst"] = f"{heading}\n{API_TEXT}\n\n.. toctree::\n   :maxdepth: 1\n\n{entries}\n"
    return made


API_TEXT = "Every public name, room by room. What is not here may change without notice."


def room_page(room: str, module: ModuleType, seen: set[int]) -> str:
    """What a module says of itself, then each of its names that no page before has described."""
    lines = [*tables.title(room), f".. automodule:: flwr_byzantine.{room}", "   :no-members:", ""]
    lines += [f".. py:currentmodule:: flwr_byzantine.{room}", ""]
    elsewhere: list[str] = []
    for name in sorted(module.__all__, key=lambda each: (each.islower(), each.lower())):
        value = getattr(module, name)
        if isinstance(value, Rule | Attack):
            continue  # has a page of its own
        if id(value) in seen:
            elsewhere.append(name)
            continue
        if not isinstance(value, int | str):  # equal numbers are one object
            seen.add(id(value))
        lines += described(f"flwr_byzantine.{room}.{name}", value)
    return "\n".join([*lines, *_also(elsewhere), *_pages_of(room), ""])


def _also(names: list[str]) -> list[str]:
    """The names that are described on the page of another room."""
    return ["Also here: " + ", ".join(f"``{name}``" for name in names) + ".", ""] if names else []


def _pages_of(room: str) -> list[str]:
    if room not in ("rules", "attacks"):
        return []
    return [f"Each single {room[:-1]} has a page of its own: :doc:`../{room}/index`.", ""]


def described(path: str, value: object) -> list[str]:
    """The directive that lets autodoc describe one object."""
    if inspect.isclass(value):
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        members = [] if issubclass(value, BaseException) else ["   :members:"]
        hidden = ["   :no-index-entry:"] if typing.is_typeddict(value) else []
        return [f".. {kind}:: {path}", *members, *hidden, *_fields(value), ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {path}", ""]
    words = [f"   {line}" for line in words_about(path.rpartition(".")[2], value).splitlines()]
    return [f".. py:data:: {path.rpartition('.')[2]}", "", *words, ""]


def words_about(name: str, value: object) -> str:
    """The text below an assignment, in whichever of our modules it stands; re-exported data have it nowhere else."""
    for module in [each for each in sys.modules if each.startswith("flwr_byzantine")]:
        if getattr(sys.modules[module], name, None) is value:
            docs = ModuleAnalyzer.for_module(module).find_attr_docs()
            if ("", name) in docs:
                return "\n".join(docs["", name])
    return ""


def _fields(value: type) -> list[str]:
    """Fields that the class's own docstring explains under Args are not listed once more."""
    if not dataclasses.is_dataclass(value) or "Args:" not in (value.__doc__ or ""):
        return []
    return ["   :exclude-members: " + ", ".join(field.name for field in dataclasses.fields(value))]
