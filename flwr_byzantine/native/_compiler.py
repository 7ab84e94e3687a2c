"""The C++ compiler of this machine: found, named, run. Imports nothing outside this folder, for setup.py's sake."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ._recipe import Recipe

__all__ = ["BuildError", "Compiler", "CompilerMissingError", "compile_library", "find_compiler"]

CANDIDATES = ("c++", "g++", "clang++")
SHOWN_LINES = 20


class BuildError(RuntimeError):
    """A shared object could not be compiled, or its cache could not be used; the message says why."""


class CompilerMissingError(BuildError):
    """This machine has no C++ compiler; the message says how to get one."""


@dataclass(frozen=True)
class Compiler:
    """A compiler, as it is called and as it names itself."""

    command: tuple[str, ...]
    version: str


def find_compiler() -> Compiler:
    """``$CXX`` if it is set, else the first of c++, g++ and clang++ on the path.

    Raises:
        CompilerMissingError: If there is none, or what ``$CXX`` names does not run.
    """
    chosen = os.environ.get("CXX", "").strip()
    commands = [tuple(shlex.split(chosen))] if chosen else [(name,) for name in CANDIDATES]
    for command in commands:
        if shutil.which(command[0]) and (version := _version(command)):
            return Compiler(command, version)
    tried = f"CXX={chosen} does not run" if chosen else f"none of {', '.join(CANDIDATES)} is there"
    remedy = "xcode-select --install" if sys.platform == "darwin" else "apt install g++ (Debian, Ubuntu)"
    raise CompilerMissingError(f"no C++ compiler: {tried}. Install one with: {remedy}; or name one in CXX.")


def _version(command: tuple[str, ...]) -> str:
    """The first line of what the compiler says about itself, empty if it does not run."""
    try:
        asked = subprocess.run([*command, "--version"], capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return ""
    return asked.stdout.splitlines()[0] if asked.returncode == 0 and asked.stdout else ""


def compile_library(compiler: Compiler, recipe: Recipe, output: Path, parts: Sequence[Path] = ()) -> None:
    """Compile the sources of ``recipe``, several at a time, and link them and its compiled parts into ``output``.

    Raises:
        BuildError: With the first lines of what the compiler said.
    """
    if not recipe.sources:
        raise BuildError(f"{recipe.name}: no C++ sources in {recipe.directory}")
    with (
        tempfile.TemporaryDirectory(prefix="objects-", dir=output.parent) as directory,
        ThreadPoolExecutor(recipe.jobs) as pool,
    ):
        sources = [*_written(recipe, Path(directory)), *recipe.sources]  # what is written takes longest
        objects = [str(Path(directory, f"{number}.o")) for number in range(len(sources))]
        including = ["-I", str(recipe.directory)]  # for what is written elsewhere
        commands = [
            [*compiler.command, *recipe.compile_flags, *including, "-c", str(source), "-o", compiled]
            for source, compiled in zip(sources, objects, strict=True)
        ]
        for _ in pool.map(_run, commands):
            pass
        linked = [*objects, *map(str, parts)]
        _run([*compiler.command, *recipe.compile_flags, *linked, *recipe.link_flags, "-o", str(output)])


def _written(recipe: Recipe, directory: Path) -> list[Path]:
    """The recipe's sources that are written rather than kept."""
    written = []
    for name, text in recipe.written().items():
        path = directory / name
        path.write_text(text)
        written.append(path)
    return written


def _run(command: list[str]) -> None:
    """Run one compiler command; what it says of an error is the error."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        first = next((at for at, line in enumerate(said) if "error" in line), 0)
        shown = "\n".join(said[first : first + SHOWN_LINES]) or f"exit status {done.returncode}"
        raise BuildError(f"{command[0]} failed:\n{shown}")
