"""The other end of the pipe: contenders' processes, their environment, and the order in which they take turns."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from _rules.contenders import ELSEWHERE, VARIABLES

PEER_PACKAGES = ("byzfl==0.0.11", "byzpy==0.1.4")
ALSO = {"cloudpickle": "cloudpickle", "scipy": "scipy"}  # what they import on the way to their rules
STARTING_S = 120.0


class LostError(RuntimeError):
    """A contender whose process is gone, or was ended."""


def peers_environment(folder: Path) -> Path:
    """The Python of an environment that holds the peers and sees everything of this one, torch above all.

    Made once with pip. The peers come without their requirements, which would bring another torch.
    """
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = " ".join([*PEER_PACKAGES, sys.prefix])
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    venv.EnvBuilder(clear=True, symlinks=True).create(folder)
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    there = subprocess.run([python, "-c", show], capture_output=True, text=True, check=True).stdout.strip()
    Path(there, "first-environment.pth").write_text(sysconfig.get_path("purelib") + "\n")
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    missing = [package for name, package in ALSO.items() if subprocess.run([python, "-c", probe, name]).returncode]
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    done = subprocess.run([*install, *PEER_PACKAGES, *missing], capture_output=True, text=True)
    if done.returncode:
        raise LostError(f"pip could not install the peers: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    stamp.write_text(wanted)
    return python


@dataclass(frozen=True)
class Limits:
    """What one call of a contender may take."""

    seconds: float = 60.0
    bytes: float = 6e9


class Worker:
    """A contender's process; started when it is first asked, and anew when it was lost."""

    def __init__(self, name: str, python: Path, *, threads: int, limits: Limits) -> None:
        self.name, self.python, self.threads, self.limits = name, python, threads, limits
        self.process: subprocess.Popen[str] | None = None
        self.said: IO[str] | None = None
        self.opened: dict[str, Any] | None = None

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The reply to a request; ``{"failed": reason}`` if the process is lost over it."""
        try:
            if self.process is None:
                self._start()
            return self._exchange({"do": do, **arguments}, self.limits.seconds)
        except LostError as lost:
            self.close()
            return {"failed": str(lost)}

    def open(self, path: Path, n: int, d: int) -> None:
        """From now on the inputs are these, also for a process that is started later."""
        self.opened = {"path": str(path), "n": n, "d": d}
        if self.process is not None:
            self.ask("open", **self.opened)

    def _start(self) -> None:
        cores = {name: str(self.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        command = [self.python, str(Path(__file__).with_name("worker.py")), self.name]
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        try:
            self.process = subprocess.Popen(
                [*command, str(self.threads), str(self.limits.bytes)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True, bufsize=1,
                env={**os.environ, **cores, **VARIABLES.get(self.name, {})},
            )  # fmt: skip
        except OSError as error:
            raise LostError(str(error)) from None
        self._exchange({"do": "hello"}, STARTING_S)
        if self.opened is not None:
            self._exchange({"do": "open", **self.opened}, STARTING_S)

    def _exchange(self, request: dict[str, Any], patience_s: float) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(request), file=self.process.stdin)
        except BrokenPipeError:
            raise LostError("its process ended") from None
        if not select.select([self.process.stdout], [], [], patience_s)[0]:
            raise LostError(f"more than {patience_s:g} s")
        line = self.process.stdout.readline()
        if not line:
            raise LostError(f"its process ended with status {self.process.wait()}: {self._last_words()}")
        return json.loads(line)

    def _last_words(self) -> str:
        self._said().seek(0)
        return (self._said().read().strip().splitlines() or ["no reason"])[-1][:200]

    def _said(self) -> IO[str]:
        assert self.said is not None
        return self.said

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        if self.said is not None:
            self.said.close()
        self.process = self.said = None


class Team:
    """All contenders, with the same inputs and as many threads."""

    def __init__(self, names: list[str], *, threads: int, limits: Limits, peers: Path | None) -> None:
        pythons = {name: peers if name in ELSEWHERE else Path(sys.executable) for name in names}
        self.workers = {
            name: Worker(name, python, threads=threads, limits=limits) for name, python in pythons.items() if python
        }
        self.hellos = {name: worker.ask("hello") for name, worker in self.workers.items()}

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.close()

    def open(self, path: Path, n: int, d: int) -> None:
        """Give all of them these inputs."""
        for worker in self.workers.values():
            worker.open(path, n, d)

    def having(self, rule: str) -> list[str]:
        """Who has a rule."""
        return [name for name, hello in self.hellos.items() if rule in hello.get("rules", [])]
