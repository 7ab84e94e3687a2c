"""Builds the kernels and the store's module into the wheel, if there is a compiler; all else is in pyproject.toml."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

KERNELS, MODULE = "flwr_byzantine.native._kernels", "flwr_byzantine.native._module"
NATIVE = Path(__file__).resolve().parent / "flwr_byzantine" / "native"


def builder() -> ModuleType:
    """The package ``flwr_byzantine.native`` under a name of its own: the package around it is not installed yet."""
    name = "_flwr_byzantine_native"
    spec = importlib.util.spec_from_file_location(
        name, NATIVE / "__init__.py", submodule_search_locations=[str(NATIVE)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class BuildLibraries(build_ext):
    """Compiles with the package's own builder. The results are no Python modules, so nor are their names."""

    def get_ext_filename(self, fullname: str) -> str:
        """Such as ``flwr_byzantine/native/_module.so``."""
        return f"{fullname.replace('.', '/')}.so"

    def build_extension(self, ext: Extension) -> None:
        """Compile one; without a compiler the package installs all the same, and setuptools says so: it is optional."""
        native = builder()
        compile_library = {KERNELS: native.compile_kernels, MODULE: native.compile_module}[ext.name]
        output, parts = Path(self.get_ext_fullpath(ext.name)), Path(self.build_temp)
        output.parent.mkdir(parents=True, exist_ok=True)
        parts.mkdir(parents=True, exist_ok=True)
        try:
            compile_library(output, parts=parts)
        except native.BuildError as error:
            raise CompileError(str(error)) from error


class AnyPython(bdist_wheel):
    """A wheel with these libraries is bound to a platform, not to a Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Such as ``py3-none-linux_x86_64``."""
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension(name, sources=[], optional=True) for name in (KERNELS, MODULE)],
    cmdclass={"build_ext": BuildLibraries, "bdist_wheel": AnyPython},
)
