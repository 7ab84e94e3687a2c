"""The shared objects: the packaged one where it fits, else one compiled here, once."""

from __future__ import annotations

import functools
import hashlib
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path

from ._cache import kept, matching
from ._compiler import BuildError, CompilerMissingError, compile_library, find_compiler
from ._recipe import HERE, Recipe, backend_recipe, kernels_recipe, module_recipe

__all__ = [
    "backend",
    "build_backend",
    "build_kernels",
    "build_module",
    "compile_kernels",
    "compile_module",
    "kernels_library",
    "module",
]

log = logging.getLogger(__name__)

Progress = Callable[[str], None]

PACKAGED = HERE / "_module.so"
"""What setup.py compiles; absent where the package was installed without a compiler."""

PACKAGED_KERNELS = HERE / "_kernels.so"
"""Likewise."""


def module(*, progress: Progress | None = None) -> Path:
    """The server module: the packaged one if it was built from these very sources, else one from the cache.

    Args:
        progress: Told of a build's start and end, a line each; the log if None.

    Raises:
        CompilerMissingError: If it has to be built and there is no C++ compiler.
        BuildError: If the build fails.
    """
    if _is_of(PACKAGED, module_recipe(sanitize=False)):
        return PACKAGED
    return build_module(progress=progress)


def backend(*, progress: Progress | None = None) -> Path:
    """The TorchScript backend for the torch of this environment, built if the cache has none.

    Raises and reports as :func:`module` does.
    """
    return build_backend(progress=progress)


def build_module(*, sanitize: bool = False, progress: Progress | None = None) -> Path:
    """The server module from the cache, compiled first if its sources or the compiler are new.

    Args:
        sanitize: Build with AddressSanitizer and UndefinedBehaviorSanitizer, under another name.
        progress: Told of a build's start and end, a line each; the log if None.

    Raises:
        CompilerMissingError: If there is no C++ compiler.
        BuildError: If the build fails.
    """
    return _built(module_recipe(sanitize=sanitize), "the store's module (about 20 s)", [], progress)


def build_backend(*, sanitize: bool = False, progress: Progress | None = None) -> Path:
    """The TorchScript backend from the cache, compiled first if its sources, torch or the compiler are new.

    Arguments and errors as for :func:`build_module`; an environment without torch is a BuildError.
    """
    try:
        import torch
    except ImportError as error:
        raise BuildError(
            f"the TorchScript backend is compiled against torch, which is not installed: {error}"
        ) from error
    home = Path(torch.__file__).resolve().parent
    version = str(torch.__version__)
    abi = torch.compiled_with_cxx11_abi()
    recipe = backend_recipe(torch=home, version=version, cxx11_abi=abi, sanitize=sanitize)
    # The library's run path names this torch, so another copy of the same version is another backend.
    library = next(path for path in (home / "lib").iterdir() if path.name.startswith("libtorch_cpu."))
    identity = [version, str(library), str(library.stat().st_size), str(library.stat().st_mtime_ns)]
    public = version.partition("+")[0]
    return _built(recipe, f"the TorchScript backend for torch {public} (about 20 s)", identity, progress)


def build_kernels(*, sanitize: bool = False, progress: Progress | None = None) -> Path:
    """The kernels' library from the cache, compiled first if its sources or the compiler are new.

    Arguments and errors as for :func:`build_module`.
    """
    return _built(kernels_recipe(sanitize=sanitize), "the compiled kernels (about 20 s)", [], progress)


def kernels_library(*, build: bool = False, progress: Progress | None = None) -> Path | None:
    """The kernels' library: the packaged one if it was built from these very sources, else one from the cache.

    It is compiled only if that is asked for, or in a checkout whose sources changed since it was installed: a packaged
    library of other sources shows that there was a compiler. None where it is not there and cannot be built.

    Args:
        build: Compile it if it is not there.
        progress: Told of a build's start and end, a line each; the log if None.
    """
    recipe = kernels_recipe(sanitize=False)
    if _is_of(PACKAGED_KERNELS, recipe):
        return PACKAGED_KERNELS
    try:
        if build or PACKAGED_KERNELS.is_file():
            return build_kernels(progress=progress)
        return matching(f"{_name(recipe, [])}-*.so")
    except BuildError as error:
        log.warning("no compiled kernels: %s", error)
        return None


def compile_module(output: Path, *, parts: Path) -> None:
    """Compile the server module into the file ``output``, past the cache: for setup.py.

    Args:
        output: The shared object.
        parts: A directory, in which what it shares with :func:`compile_kernels` is left.

    Raises:
        CompilerMissingError: If there is no C++ compiler.
        BuildError: If the build fails.
    """
    _compile(module_recipe(sanitize=False), output, parts)


def compile_kernels(output: Path, *, parts: Path) -> None:
    """Compile the kernels' library into the file ``output``. Arguments and errors as for :func:`compile_module`."""
    _compile(kernels_recipe(sanitize=False), output, parts)


def _compile(recipe: Recipe, output: Path, directory: Path) -> None:
    compiler = find_compiler()
    parts = []
    for part in recipe.parts:
        built = directory / f"{_name(part, [])}.o"
        if not built.is_file():
            compile_library(compiler, part, built)
        parts.append(built)
    compile_library(compiler, recipe, output, parts)


def _is_of(library: Path, recipe: Recipe) -> bool:
    """Whether the library was built from the sources of ``recipe``."""
    return library.is_file() and recipe.digest.encode() in library.read_bytes()


def _built(recipe: Recipe, what: str, identity: list[str], progress: Progress | None) -> Path:
    """The cache's library of ``recipe``, compiled if it is not there."""
    say = progress or log.info
    name = _name(recipe, identity)
    try:
        compiler = find_compiler()
    except CompilerMissingError:
        if built := matching(f"{name}-*.so"):  # by another compiler, or in an earlier stage of a container's image
            return built
        raise
    by = _key([*compiler.command, compiler.version])[:8]

    def build(output: Path) -> None:
        say(f"building {what} ...")
        begun = time.monotonic()
        parts = [
            kept(f"{_name(part, [])}-{by}.o", functools.partial(compile_library, compiler, part))
            for part in recipe.parts
        ]
        compile_library(compiler, recipe, output, parts)
        say(f"done in {time.monotonic() - begun:.1f} s")

    return kept(f"{name}-{by}.so", build)


def _name(recipe: Recipe, identity: list[str]) -> str:
    return f"{recipe.name}-{_key([*recipe.identity, platform.machine(), *identity])}"


def _key(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
