"""Native libraries are built once, never in vain, and with words where they cannot be.

In one file however long: all tests share one workshop, whose compiler only writes down what it was asked.
"""

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import flwr_byzantine.native
from flwr_byzantine.native import build_backend, build_kernels, build_module

PACKAGE = Path(flwr_byzantine.native.__file__).parent
ROOT = PACKAGE.parents[1]
LIBC = {"libc", "libm", "libdl", "libpthread", "ld-linux-x86-64", "ld-linux-aarch64"}

# Writes its arguments to a log and as its output; fails on a source that says so.
FAKE_COMPILER = """#!/bin/sh
if [ "$1" = --version ]; then echo "fake 1.0"; exit 0; fi
echo "$@" >> "{log}"
case "$*" in *-shared*) sleep {seconds};; esac
for word in "$@"; do
  case "$word" in *.cpp) if grep -q BROKEN "$word"; then echo "$word:1:1: error: it is broken" >&2; exit 1; fi;; esac
  [ "$previous" = -o ] && echo "$@" > "$word"
  previous=$word
done
"""

BUILD_IN_ANOTHER_PROCESS = """
import sys
sys.path.insert(0, {folder!r})
import copied_native
print(copied_native.build_module(progress=lambda line: None))
"""


class Workshop:
    """A copy of the package with a source of one line, a cache and a compiler that only pretends."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.package = folder / "copied_native"
        self.cache = folder / "cache"
        self.log = folder / "log"
        for name in ("kernels", "library", "module", "torch_backend"):
            (self.package / name).mkdir(parents=True)
            (self.package / name / "one.cpp").write_text("int one();\n")
        (self.package / "module" / "backend.h").write_text("// interface\n")
        (self.package / "kernels" / "element_type.h").write_text("// types\n")
        for path in PACKAGE.glob("*.py"):
            shutil.copy(path, self.package)
        self.compiler = self.set_compiler()
        monkeypatch.setenv("CXX", str(self.compiler))
        monkeypatch.setenv("FLWR_BYZANTINE_CACHE", str(self.cache))
        self.lines: list[str] = []

    def set_compiler(self, version: str = "1.0", seconds: float = 0) -> Path:
        path = self.folder / "compiler"
        path.write_text(FAKE_COMPILER.format(log=self.log, seconds=seconds).replace("fake 1.0", f"fake {version}"))
        path.chmod(0o755)
        return path

    @property
    def native(self) -> ModuleType:
        """The copy, imported afresh."""
        spec = importlib.util.spec_from_file_location(
            "copied_native", self.package / "__init__.py", submodule_search_locations=[str(self.package)]
        )
        assert spec is not None
        assert spec.loader is not None
        for name in [name for name in sys.modules if name.partition(".")[0] == "copied_native"]:
            del sys.modules[name]
        module = importlib.util.module_from_spec(spec)
        sys.modules["copied_native"] = module
        spec.loader.exec_module(module)
        return module

    def module(self) -> Path:
        return self.native.build_module(progress=self.lines.append)

    def builds(self) -> int:
        return self.log.read_text().count("-shared") if self.log.exists() else 0

    def kept(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir() if path.suffix != ".lock")


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    return Workshop(tmp_path, monkeypatch)


def test_it_is_built_once_and_its_start_and_end_are_told(workshop: Workshop) -> None:
    first = workshop.module()
    assert first == workshop.module()
    assert workshop.builds() == 1
    assert workshop.lines[0].startswith("building the store's module")
    assert workshop.lines[1].startswith("done in ")
    assert len(workshop.lines) == 2


def test_the_cache_is_private_and_holds_nothing_but_the_library_and_its_part(workshop: Workshop) -> None:
    library = workshop.module()
    assert stat.S_IMODE(workshop.cache.stat().st_mode) == 0o700
    part, *rest = workshop.kept()
    assert part.startswith("kernels-object-")
    assert rest == [library.name]


def test_the_kernels_are_compiled_once_for_the_module_and_the_library(workshop: Workshop) -> None:
    workshop.module()
    workshop.native.build_kernels(progress=workshop.lines.append)
    assert workshop.builds() == 2
    assert workshop.log.read_text().count(" -r ") == 1


def test_changed_kernels_are_another_module_and_another_library(workshop: Workshop) -> None:
    module, library = workshop.module(), workshop.native.build_kernels(progress=workshop.lines.append)
    (workshop.package / "kernels" / "one.cpp").write_text("int two();\n")
    assert workshop.module() != module
    assert workshop.native.build_kernels(progress=workshop.lines.append) != library


def test_a_cache_that_others_may_write_to_is_refused(workshop: Workshop) -> None:
    workshop.cache.mkdir()
    workshop.cache.chmod(0o777)
    with pytest.raises(RuntimeError, match="open to other users"):
        workshop.module()


def test_a_changed_source_is_another_library(workshop: Workshop) -> None:
    first = workshop.module()
    (workshop.package / "module" / "one.cpp").write_text("int two();\n")
    assert workshop.module() != first


def test_a_renamed_source_is_another_library(workshop: Workshop) -> None:
    first = workshop.module()
    (workshop.package / "module" / "one.cpp").rename(workshop.package / "module" / "two.cpp")
    assert workshop.module() != first


def test_a_new_compiler_is_another_library(workshop: Workshop) -> None:
    first = workshop.module()
    workshop.set_compiler("2.0")
    assert workshop.module() != first


def test_a_sanitized_build_has_a_name_of_its_own(workshop: Workshop) -> None:
    plain = workshop.module()
    sanitized = workshop.native.build_module(sanitize=True, progress=workshop.lines.append)
    assert sanitized != plain
    assert "-fsanitize=address,undefined" in sanitized.read_text()


def test_warnings_are_errors(workshop: Workshop) -> None:
    assert "-Wall -Wextra -Wpedantic -Werror" in workshop.module().read_text()


def test_the_library_carries_the_digest_of_its_sources(workshop: Workshop) -> None:
    text = workshop.module().read_text()
    digest = text.partition('FB_SOURCE_DIGEST="')[2][:64]
    assert len(bytes.fromhex(digest)) == 32


def test_the_backend_is_bound_to_torch_and_finds_it_where_it_is(workshop: Workshop) -> None:
    import torch

    text = workshop.native.build_backend(progress=workshop.lines.append).read_text()
    libraries = Path(torch.__file__).resolve().parent / "lib"
    assert f'-DFB_TORCH_VERSION="{torch.__version__}"' in text
    assert f"-rpath -Xlinker {libraries}" in text
    assert "for torch " + torch.__version__.partition("+")[0] in workshop.lines[0]


def test_a_backend_of_another_torch_is_another_library(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    first = workshop.native.build_backend(progress=workshop.lines.append)
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    assert workshop.native.build_backend(progress=workshop.lines.append) != first


def test_the_interface_belongs_to_both(workshop: Workshop) -> None:
    module, backend = workshop.module(), workshop.native.build_backend(progress=workshop.lines.append)
    (workshop.package / "module" / "backend.h").write_text("// another interface\n")
    assert workshop.module() != module
    assert workshop.native.build_backend(progress=workshop.lines.append) != backend


def test_two_processes_build_once(workshop: Workshop) -> None:
    workshop.set_compiler(seconds=1)
    command = [sys.executable, "-c", BUILD_IN_ANOTHER_PROCESS.format(folder=str(workshop.folder))]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {process.communicate(timeout=60)[0] for process in both}
    assert len(paths) == 1
    assert workshop.builds() == 1


def test_a_failed_build_says_why_and_leaves_nothing(workshop: Workshop) -> None:
    (workshop.package / "module" / "one.cpp").write_text("BROKEN\n")
    with pytest.raises(RuntimeError, match="it is broken"):
        workshop.module()
    assert not any(name.startswith("module") for name in workshop.kept())


def test_what_a_killed_build_left_is_cleared_away(workshop: Workshop) -> None:
    name = workshop.module().name
    (workshop.cache / name).unlink()
    left = workshop.cache / f"{name}.build-killed"
    left.mkdir()
    (left / name).write_text("half a library")
    assert workshop.module().read_text() != "half a library"
    assert [kept for kept in workshop.kept() if kept.startswith("module")] == [name]


def test_without_a_compiler_one_sentence_says_how_to_get_one(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(workshop.folder / "nowhere"))
    native = workshop.native
    with pytest.raises(native.CompilerMissingError, match=r"no C\+\+ compiler.*Install one with: .*CXX"):
        native.build_module()


def test_a_compiler_that_is_not_there_is_named(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    native = workshop.native
    with pytest.raises(native.CompilerMissingError, match="no-such-compiler"):
        native.build_module()


def test_without_a_compiler_a_library_that_was_built_before_serves(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = workshop.module()
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert workshop.module() == library


def test_the_packaged_module_serves_if_it_is_of_these_sources(workshop: Workshop) -> None:
    packaged = workshop.package / "_module.so"
    shutil.copy(workshop.module(), packaged)
    assert workshop.native.module() == packaged
    assert workshop.builds() == 1


def test_a_packaged_module_of_other_sources_is_passed_over(workshop: Workshop) -> None:
    shutil.copy(workshop.module(), workshop.package / "_module.so")
    (workshop.package / "module" / "one.cpp").write_text("int two();\n")
    assert workshop.native.module().parent == workshop.cache


def test_nothing_is_compiled_unasked_where_nothing_was_packaged(workshop: Workshop) -> None:
    assert workshop.native.kernels_library() is None
    assert workshop.builds() == 0
    built = workshop.native.kernels_library(build=True, progress=workshop.lines.append)
    assert workshop.native.kernels_library() == built


def test_a_packaged_library_of_other_sources_is_compiled_anew(workshop: Workshop) -> None:
    packaged = workshop.package / "_kernels.so"
    shutil.copy(workshop.native.build_kernels(progress=workshop.lines.append), packaged)
    assert workshop.native.kernels_library() == packaged
    (workshop.package / "kernels" / "one.cpp").write_text("int two();\n")
    built = workshop.native.kernels_library()
    assert built is not None
    assert built.parent == workshop.cache


def test_kernels_that_cannot_be_built_are_none(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert workshop.native.kernels_library(build=True) is None


def test_importing_the_package_imports_no_torch() -> None:
    subprocess.run(
        [sys.executable, "-c", "import sys, flwr_byzantine.native; sys.exit('torch' in sys.modules)"], check=True
    )


def exported(library: Path) -> list[str]:
    said = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    names = {line.split()[-1] for line in said.stdout.splitlines() if line.split()[1] in "TDB"}
    return sorted(names - {"__bss_start", "_edata", "_end"})  # the linker's own


def needed(library: Path) -> set[str]:
    said = subprocess.run(["readelf", "-d", str(library)], capture_output=True, text=True, check=True).stdout
    return {line.partition("[")[2].partition(".")[0] for line in said.splitlines() if "(NEEDED)" in line}


@pytest.mark.system
def test_the_module_exports_one_symbol_and_needs_libc_only() -> None:
    library = build_module()
    assert exported(library) == ["RedisModule_OnLoad"]
    assert needed(library) <= LIBC


@pytest.mark.system
def test_the_kernels_export_their_calls_alone_and_need_libc_only() -> None:
    library = build_kernels()
    assert all(name.startswith("fb_") for name in exported(library))
    assert needed(library) <= LIBC


@pytest.mark.system
def test_the_backend_exports_one_symbol() -> None:
    assert exported(build_backend()) == ["fb_backend_open"]


@pytest.mark.system
def test_a_wheel_has_the_libraries_and_their_sources(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(PACKAGE.parent, source / "flwr_byzantine", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([sys.executable, "-m", "pip", "wheel", str(source), *options], check=True, env=environment)
    (wheel,) = tmp_path.glob("*.whl")
    assert "-py3-none-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        module = archive.read("flwr_byzantine/native/_module.so")
        kernels = archive.read("flwr_byzantine/native/_kernels.so")
    assert "flwr_byzantine/native/kernels/sorters.h" in names
    assert "flwr_byzantine/native/module/backend.h" in names
    assert "flwr_byzantine/native/torch_backend/operators.cpp" in names
    recipes = flwr_byzantine.native._recipe
    assert recipes.module_recipe(sanitize=False).digest.encode() in module
    assert recipes.kernels_recipe(sanitize=False).digest.encode() in kernels
