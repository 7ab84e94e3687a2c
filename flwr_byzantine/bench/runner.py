"""Runs what is left of a sweep: in this process, in others, or on Ray; every result is kept as soon as it is there."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from flwr_byzantine.bench.cells import Job, identity
from flwr_byzantine.bench.journal import Journal
from flwr_byzantine.bench.machine import machine, versions
from flwr_byzantine.clients.functions import InProcessExecutor
from flwr_byzantine.errors import ToleranceError

__all__ = ["Progress", "run_sweep"]

MAX_ERROR = 1000
RECENT = 30
"""By so many of the last jobs the end is estimated, since jobs of a kind come together."""
DONE, FAILED, REFUSED = "done", "failed", "refused"
"""Of a job: it has a result; it raised; a bound does not hold, so that there is nothing to compute."""


@dataclass(frozen=True)
class Progress:
    """How far a sweep is, each time that a job has ended."""

    finished: int
    """Jobs that are done with, also those of earlier runs."""
    total: int
    failed: int
    left_s: float | None
    """Estimated seconds to the end; None if nothing tells."""
    line: Mapping[str, Any] | None = None
    """What was written of the job that has just ended; None at the start."""
    label: str = ""
    """Of that job."""


def run_sweep(
    jobs: Iterable[Job],
    results: Path,
    *,
    executor: Executor | None = None,
    folder: Path = Path(),
    command: str = "",
    tell: Callable[[Progress], object] = lambda progress: None,
) -> int:
    """Run the jobs that ``results`` has no result of yet, and add theirs.

    A kill loses only what runs at that moment; the same call then goes on. A job that fails is written down with its
    error, and the others run; the next call tries it again.

    Args:
        jobs: Such as :meth:`Sweep.jobs` gives.
        results: The file of JSON lines.
        executor: Where they run, such as :func:`~flwr_byzantine.clients.functions.executor` makes; None for this
            process, one after the other.
        folder: Where data and the user's modules are looked for.
        command: What was called, to be kept.
        tell: Called at the start and after each job.

    Returns:
        How many jobs failed.

    Raises:
        ValueError: If the file is no file of results, or is being written by another sweep.
        OSError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> from flwr_byzantine.bench import KappaSearch
        >>> path, jobs = Path(tempfile.mkdtemp()) / "results.jsonl", [KappaSearch("median", 5, 1, evaluations=16)]
        >>> ended = []
        >>> for _ in range(2):
        ...     failed = run_sweep(jobs, path, tell=lambda progress: ended.append(progress.label))
        >>> ended
        ['', 'kappa: median, n = 5, f = 1', '']
    """
    jobs = list(jobs)
    with Journal(results) as journal:
        before = {line["id"] for line in journal.lines if line.get("status") in (DONE, REFUSED)}
        left = [job for job in jobs if identity(job) not in before]
        sweep = _Running(len(jobs), finished=len(jobs) - len(left), tell=tell)
        sweep.report()
        if not left:
            return 0
        session = _session(command)
        journal.add(session)
        places = {identity(job): place for place, job in enumerate(jobs)}
        for job, outcome in _outcomes(left, executor or InProcessExecutor(), folder.absolute()):
            name = identity(job)
            about = {"kind": job.kind, "id": name, "place": places[name], "session": session["id"]}
            about["settings"] = job.settings
            line = {**about, **outcome}
            journal.add(line)
            sweep.ended(job, line)
        return sweep.failed


def _session(command: str) -> dict[str, Any]:
    """What holds for all results until the next such line."""
    started = datetime.now(UTC).isoformat(timespec="microseconds")
    about = {"command": command, "started": started, "versions": versions(), "machine": machine()}
    return {"kind": "session", "id": started, **about}


class _Running:
    """Counts, and guesses when it is over."""

    def __init__(self, total: int, finished: int, tell: Callable[[Progress], object]) -> None:
        self.total, self.finished, self.tell, self.failed = total, finished, tell, 0
        self.ends = deque([time.monotonic()], maxlen=RECENT + 1)

    def report(self, line: Mapping[str, Any] | None = None, label: str = "") -> None:
        ended = len(self.ends) - 1
        left_s = (self.ends[-1] - self.ends[0]) / ended * (self.total - self.finished) if ended else None
        self.tell(Progress(self.finished, self.total, self.failed, left_s, line, label))

    def ended(self, job: Job, line: Mapping[str, Any]) -> None:
        self.finished += 1
        self.failed += line["status"] == FAILED
        self.ends.append(time.monotonic())
        self.report(line, job.label)


def _outcomes(jobs: list[Job], executor: Executor, folder: Path) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Each job with what came of it, as they end; no more are under way than the executor runs at a time."""
    at_once = int(getattr(executor, "in_flight", 1))
    waiting = iter(jobs)
    running: dict[Future[dict[str, Any]], Job] = {}
    try:
        while True:
            while len(running) < at_once and (job := next(waiting, None)) is not None:
                running[executor.submit(outcome_of, job, folder)] = job
            if not running:
                return
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                yield running.pop(future), _result(future)
    finally:
        for future in running:  # an interrupted sweep does not wait for what it will not write down
            getattr(executor, "abandon", Future.cancel)(future)


def _result(future: Future[dict[str, Any]]) -> dict[str, Any]:
    try:
        return future.result()
    except Exception as error:  # its worker died, or what it sent cannot be read
        return {"status": FAILED, "error": _said(error)}


def outcome_of(job: Job, folder: Path) -> dict[str, Any]:
    """What came of a job, also if it failed; runs where the executor runs it."""
    begun = time.monotonic()
    try:
        with _quiet():
            result = {"status": DONE, **job.run(folder)}
        json.dumps(result, allow_nan=False)
    except ToleranceError as error:
        result = {"status": REFUSED, "error": _said(error)}
    except Exception as error:  # whatever a rule, a task or the user's own code raises
        result = {"status": FAILED, "error": _said(error)}
    return {**result, "seconds": round(time.monotonic() - begun, 3)}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_ERROR]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Flower's and our lines per round, and with one thread: cells are many, and none is to take another's."""
    logger, threads = logging.getLogger("flwr"), torch.get_num_threads()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        logger.setLevel(level)
        torch.set_num_threads(threads)
