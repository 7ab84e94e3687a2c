"""A process that runs one contender's rules when told to over a pipe, and times them from within.

One JSON object a line comes in, one goes out. Started by :class:`_rules.driver.Worker`, under the interpreter of the
environment that the contender lives in; a library's own prints go to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from _rules.contenders import CONTENDERS
from _rules.memory import forget_peak, held_bytes, is_told, peak_bytes
from _rules.methods import Contender, Method
from _rules.shared import attach


class Service:
    """The contender, the inputs, and the rule that was called last."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.rows: Any = None
        self.made: tuple[str, int] | None = None
        self.method: Method | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What to reply; an exception of the contender's is data here."""
        try:
            return getattr(self, request.pop("do"))(**request) or {}
        except Exception as error:  # whatever a peer raises is its result
            lines = str(error).strip().splitlines() or [""]
            return {"failed": f"{type(error).__name__}: {lines[0]}"[:200]}

    def hello(self) -> dict[str, Any]:
        """Versions, and which rules there are."""
        return {"versions": self.contender.versions(), "rules": sorted(self.contender.methods)}

    def open(self, path: str, n: int, d: int) -> None:
        """Take these inputs from now on."""
        self.made = self.method = None
        self.rows = attach(Path(path), n, d)

    def call(self, rule: str, f: int, repeat: int = 1, out: str | None = None) -> dict[str, Any]:
        """Run a rule some times, and tell the CPU and wall time of one."""
        method = self._method(rule, f)
        cpu = wall = 0.0
        for _ in range(repeat):
            prepared = method.prepare()
            start, begun = time.perf_counter(), time.process_time()
            result = method.call(*prepared)
            cpu, wall = cpu + time.process_time() - begun, wall + time.perf_counter() - start
        if out is not None:
            np.save(out, np.asarray(result))
        return {"cpu_s": cpu / repeat, "wall_s": wall / repeat}

    def peak(self, rule: str, f: int, out: str | None = None) -> dict[str, Any]:
        """Run a rule once, and tell what it took and by how much the memory held grew meanwhile at most."""
        method = self._method(rule, f)
        prepared = method.prepare()
        if not is_told():
            return self.call(rule, f, out=out)
        forget_peak()
        before, start, begun = held_bytes(), time.perf_counter(), time.process_time()
        result = method.call(*prepared)
        took = {"cpu_s": time.process_time() - begun, "wall_s": time.perf_counter() - start}
        took["extra_bytes"] = max(0, peak_bytes() - before)
        if out is not None:
            np.save(out, np.asarray(result))
        return took

    def _method(self, rule: str, f: int) -> Method:
        if self.method is None or self.made != (rule, f):
            self.made, self.method = None, None
            # Once on a few columns, so that neither time nor memory of loading code is counted.
            small = self.contender.methods[rule](self.rows[:, :1000], f)
            small.call(*small.prepare())
            self.made, self.method = (rule, f), self.contender.methods[rule](self.rows, f)
        return self.method


def main() -> None:
    """Answer requests until the pipe closes."""
    requests, replies = sys.stdin, os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name, threads, limit = sys.argv[1], int(sys.argv[2]), int(float(sys.argv[3]))
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.redirect_stdout(sys.stderr):
        service = Service(CONTENDERS[name](threads))
        for line in requests:
            print(json.dumps(service.answer(json.loads(line))), file=replies)


if __name__ == "__main__":
    main()
