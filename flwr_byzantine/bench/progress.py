"""How far a sweep is, for people: a bar in a terminal, a line for each job elsewhere."""

from __future__ import annotations

import shutil
from typing import TextIO

from flwr_byzantine.bench.runner import Progress

__all__ = ["ProgressLine", "duration"]

BAR = 24
CLEAR = "\r\x1b[K"


class ProgressLine:
    """Shows each :class:`~flwr_byzantine.bench.Progress`; to be called with it, and closed in the end.

    Args:
        stream: Where to; a terminal gets one line that changes, anything else a line each.

    Example:
        >>> import sys
        >>> line = {"status": "done", "final": 0.875, "seconds": 45.0}
        >>> ProgressLine(sys.stdout)(Progress(1, 3, 0, 90.0, line, "krum"))
        1 of 3, 1:30 left: krum: accuracy 0.875 in 0:45
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._live = stream, stream.isatty()

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        if not self._live:
            self._stream.write(_said(progress) + "\n")
        else:
            if progress.line is not None and progress.line["status"] != "done":
                self._stream.write(f"{CLEAR}{_outcome(progress)}\n")
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(CLEAR + _bar(progress)[:width])
        self._stream.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._live:
            self._stream.write("\n")
            self._stream.flush()


def duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    Example:
        >>> duration(59.6), duration(3661)
        ('1:00', '1:01:01')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _counts(progress: Progress) -> str:
    failed = f", {progress.failed} failed" if progress.failed else ""
    left = f", {duration(progress.left_s)} left" if progress.left_s is not None else ""
    return f"{progress.finished} of {progress.total}{failed}{left}"


def _outcome(progress: Progress) -> str:
    """What came of the job that has just ended."""
    line = progress.line or {}
    if line.get("status") != "done":
        return f"{progress.label}: {line.get('status')}: {line.get('error')}"
    final, found = line.get("final"), line.get("found")
    said = "done" if final is None else f"accuracy {final:.3f}"
    said = said if found is None else f"{found:.3g} found"
    return f"{progress.label}: {said} in {duration(float(line.get('seconds', 0)))}"


def _said(progress: Progress) -> str:
    return _counts(progress) if progress.line is None else f"{_counts(progress)}: {_outcome(progress)}"


def _bar(progress: Progress) -> str:
    full = round(BAR * progress.finished / progress.total) if progress.total else BAR
    text = f"[{'#' * full}{'.' * (BAR - full)}] {_counts(progress)}"
    return text if progress.line is None else f"{text}; {_outcome(progress)}"
