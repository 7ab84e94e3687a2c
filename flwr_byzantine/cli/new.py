"""``flwr-byzantine new``: write a Flower app that ``flwr run`` runs at once."""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

__all__ = ["TEMPLATES", "Template", "add_to", "app_files"]

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME_LENGTH = 50
TAKEN = {"flwr", "flwr_byzantine", "numpy", "sklearn", "torch"}
"""Packages that an app imports, and that one of its own would hide."""
MODULES = ("__init__.py", "client_app.py", "server_app.py", "task.py")


@dataclass(frozen=True)
class Template:
    """One kind of app."""

    nodes: int
    """How many its defaults are made for."""
    about: str
    """What it shows, for its README."""


TEMPLATES: dict[str, Template] = {
    "multi-krum": Template(
        10, "Ten nodes learn handwritten digits with `MultiKrum`, which two liars among them cannot break."
    ),
    "guanyu": Template(
        18,
        "Eighteen workers, five of which lie, and six parameter servers, one of which lies, learn handwritten digits "
        "by GuanYu. All servers live in the one ServerApp: a simulation of faulty servers.",
    ),
    "spirt": Template(
        6,
        "Six peers learn handwritten digits without a server between them, although one lies: each has a store of its "
        "own, and Flower only brings them together.",
    ),
}
"""By the name of the strategy. The code of each is that of an example: tests compare them."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``new``."""
    command = commands.add_parser("new", help="write a Flower app that `flwr run` runs at once")
    command.add_argument("name", metavar="NAME", help="of the app and its folder: letters, digits, '-'")
    command.add_argument(
        "--strategy", choices=sorted(TEMPLATES), default="multi-krum", help="what makes it robust; default: multi-krum"
    )
    command.add_argument("--into", type=Path, default=Path(), metavar="FOLDER", help="where its folder is made")
    command.set_defaults(run=_new)


def app_files(name: str, strategy: str) -> dict[str, str]:
    """The app's files: from the path in its folder to the text.

    Args:
        name: The app's name, such as ``my-app``; its package is ``my_app``.
        strategy: A key of :data:`TEMPLATES`.

    Raises:
        ValueError: If the name is none, or would hide a package that the app needs.

    Example:
        >>> sorted(app_files("my-app", "guanyu"))[:3]
        ['README.md', 'my_app/__init__.py', 'my_app/client_app.py']
    """
    package = _package(name)
    template = TEMPLATES[strategy]
    words = {"name": name, "package": package, "about": template.about, "nodes": str(template.nodes)}
    files = {f"{package}/{module}": _filled(f"{strategy}/{module}", words) for module in MODULES}
    return {
        "README.md": _filled("README.md", words),
        "pyproject.toml": _filled(f"{strategy}/pyproject.toml", words),
        **files,
    }


def _package(name: str) -> str:
    package = name.replace("-", "_")
    if not NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise ValueError(
            f"an app's name has at most {MAX_NAME_LENGTH} lower-case letters, digits and single '-', and begins with a "
            f"letter; got {name!r}"
        )
    if keyword.iskeyword(package) or package in TAKEN or package in sys.stdlib_module_names:
        raise ValueError(f"an app cannot be called {name!r}: its package would hide Python's or one that it needs")
    return package


def _filled(path: str, words: Mapping[str, str]) -> str:
    text = resources.files("flwr_byzantine.cli").joinpath(f"templates/{path}.txt").read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _new(options: argparse.Namespace) -> int:
    files = app_files(options.name, options.strategy)
    folder = options.into.expanduser() / options.name
    if folder.exists():
        raise ValueError(f"{folder} is there already; choose another name or place")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    nodes = TEMPLATES[options.strategy].nodes
    print(f"{folder} is a Flower app. To run it:\n")
    print("  export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1")
    print(f'  flwr run {folder} --stream --federation-config "num-supernodes={nodes} client-resources-num-cpus=1"')
    return 0
