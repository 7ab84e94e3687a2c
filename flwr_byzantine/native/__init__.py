"""The C++ in this package, compiled: the kernels, the module that a server loads, and its TorchScript backend.

None is a Python extension. The kernels are a plain C library, which :mod:`flwr_byzantine.native.kernels` calls; the
others are shared objects for a Valkey or Redis server. The kernels and the module, which holds them too, need no torch
and come with an installation from a wheel; the backend belongs to one exact torch, so it is compiled where it is first
needed. Importing this package imports no torch.
"""

from ._build import (
    backend,
    build_backend,
    build_kernels,
    build_module,
    compile_kernels,
    compile_module,
    kernels_library,
    module,
)
from ._compiler import BuildError, CompilerMissingError

__all__ = [
    "BuildError",
    "CompilerMissingError",
    "backend",
    "build_backend",
    "build_kernels",
    "build_module",
    "compile_kernels",
    "compile_module",
    "kernels_library",
    "module",
]
