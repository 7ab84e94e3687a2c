"""What is compiled, from which sources, with which flags. Imports nothing outside this folder, for setup.py's sake."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import _networks

__all__ = ["Recipe", "backend_recipe", "kernels_recipe", "module_recipe"]

HERE = Path(__file__).resolve().parent
STRICT = ("-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread")
# -g1 suffices for line numbers; -g takes twice as long over the sorting networks.
SANITIZED = ("-O1", "-g1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@dataclass(frozen=True)
class Recipe:
    """One shared object to be."""

    name: str
    directory: Path
    digest: str
    """Of its sources: SHA-256, in hex."""
    compile_flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    jobs: int
    """How many translation units may be compiled at once."""
    written: Callable[[], dict[str, str]] = dict
    """Writes more translation units, by the names of their files; the digest covers what writes them."""
    parts: tuple[Recipe, ...] = ()
    """Objects that are linked into it."""

    @property
    def identity(self) -> list[str]:
        """All that its result depends on, the compiler and the libraries aside."""
        within = [word for part in self.parts for word in part.identity]
        return [self.digest, *self.compile_flags, *self.link_flags, *within]

    @property
    def sources(self) -> list[Path]:
        """Its translation units, in order of name."""
        return sorted(self.directory.glob("*.cpp"))


def module_recipe(*, sanitize: bool) -> Recipe:
    """The server module: links nothing but libc, so that one binary serves every server of a platform."""
    return _with_kernels("module", HERE / "module", sanitize=sanitize)


def kernels_recipe(*, sanitize: bool) -> Recipe:
    """The kernels as a plain C library, which links nothing but libc either."""
    return _with_kernels("kernels", HERE / "library", sanitize=sanitize)


def _with_kernels(name: str, directory: Path, *, sanitize: bool) -> Recipe:
    digest = _digest(directory, HERE / "kernels", HERE / "_networks.py")
    # libstdc++ within, and unseen from without: the backend, and torch, bring another one into the same process.
    own = ("-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL")
    static = () if sanitize or sys.platform == "darwin" else own
    flags = (*_plain(sanitize=sanitize), f'-DFB_SOURCE_DIGEST="{digest}"')
    link = (*_shared(), *static, "-ldl")
    return Recipe(name, directory, digest, flags, link, _jobs(), parts=(_kernels_part(sanitize=sanitize),))


def _kernels_part(*, sanitize: bool) -> Recipe:
    """The kernels as one object, for the module and for the library."""
    directory = HERE / "kernels"
    digest = _digest(directory, HERE / "_networks.py")
    flags, link = _plain(sanitize=sanitize), ("-r", "-nostdlib")
    return Recipe("kernels-object", directory, digest, flags, link, _jobs(), written=_networks.sources)


def _plain(*, sanitize: bool) -> tuple[str, ...]:
    return ("-std=c++17", *STRICT, *_optimisation("-O3", sanitize=sanitize))


def _jobs() -> int:
    return min(8, os.cpu_count() or 1)


def backend_recipe(*, torch: Path, version: str, cxx11_abi: bool, sanitize: bool) -> Recipe:
    """The TorchScript backend, against the torch installed in the directory ``torch``."""
    directory = HERE / "torch_backend"
    digest = _digest(directory, HERE / "module" / "backend.h", HERE / "kernels" / "element_type.h")
    library = torch / "lib"
    flags = (
        "-std=c++20",  # for torch's headers, which need it from 2.15 on and take it from 2.6 on
        *STRICT,
        *_optimisation("-O2", sanitize=sanitize),
        f'-DFB_TORCH_VERSION="{version}"',
        f"-D_GLIBCXX_USE_CXX11_ABI={int(cxx11_abi)}",
        "-isystem",
        str(torch / "include"),
        "-isystem",
        str(torch / "include" / "torch" / "csrc" / "api" / "include"),
    )
    gigabyte_jobs = 2  # what a translation unit that includes torch takes
    # libtorch itself is left out: with CUDA it pulls in libraries that a CPU backend has no use for.
    return Recipe(
        "backend",
        directory,
        digest,
        flags,
        (*_shared(), f"-L{library}", "-ltorch_cpu", "-lc10", "-Xlinker", "-rpath", "-Xlinker", str(library)),
        gigabyte_jobs,
    )


def _optimisation(level: str, *, sanitize: bool) -> tuple[str, ...]:
    return SANITIZED if sanitize else (level,)


def _shared() -> tuple[str, ...]:
    return ("-shared", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)


def _digest(*paths: Path) -> str:
    """Of the names and the text of files, and of every source in directories."""
    digest = hashlib.sha256()
    for path in paths:
        inside = sorted(file for file in path.iterdir() if file.suffix in {".cpp", ".h"}) if path.is_dir() else [path]
        for file in inside:
            text = file.read_bytes()
            digest.update(f"{file.name} {len(text)}\n".encode())
            digest.update(text)
    return digest.hexdigest()
