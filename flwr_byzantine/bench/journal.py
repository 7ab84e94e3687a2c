"""The file of a sweep's results: JSON lines that are only ever added, each on the disk before the next one begins."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

try:
    import fcntl
except ImportError:  # Windows: two sweeps on one file are not told apart there
    fcntl = None  # type: ignore[assignment]

__all__ = ["Journal", "read_lines"]

BEGINNING = b'{"kind":'
"""Of every line that is added here; what begins otherwise is somebody else's, and is not cut."""


class Journal(AbstractContextManager["Journal"]):
    """Adds lines to a file, which nobody else adds to meanwhile.

    A last line that was torn, since its writer was killed, is cut off: what it told was never told.

    Args:
        path: The file; it is made if it is not there.

    Raises:
        OSError: If it cannot be written.
        ValueError: If another process writes it, or a line in it is none of JSON.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "results.jsonl"
        >>> _ = path.write_text('{"kind": "a"}' + chr(10) + '{"kind": "to')
        >>> with Journal(path) as journal:
        ...     journal.add({"kind": "b"})
        >>> [line["kind"] for line in read_lines(path)]
        ['a', 'b']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = open(path, "a+b")  # noqa: SIM115  (closed by __exit__)
        try:
            self._lock()
            self.lines: list[dict[str, Any]] = list(read_lines(path))
            """Those that were there."""
            self._cut_torn_line()
        except BaseException:
            self._file.close()
            raise

    def add(self, line: dict[str, Any]) -> None:
        """Write a line, whose first key is "kind", and wait until the disk has it."""
        data = json.dumps(line, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{self.path}: another sweep is writing it") from None

    def _cut_torn_line(self) -> None:
        self._file.seek(0)
        whole, last = 0, b""
        for line in self._file:
            whole, last = (whole + len(line), b"") if line.endswith(b"\n") else (whole, line)
        if last[: len(BEGINNING)] != BEGINNING[: len(last)]:
            raise ValueError(f"{self.path}: its last line is none of a sweep's: is this a file of results?")
        self._file.truncate(whole)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file; a last one that is torn is left out.

    Raises:
        OSError: If it cannot be read.
        ValueError: If another line is none; the message says which.
    """
    with open(path, "rb") as file:
        for number, data in enumerate(file, start=1):
            if not data.endswith(b"\n"):
                return
            try:
                line = json.loads(data)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}: line {number} is no JSON: {error}") from error
            if not isinstance(line, dict):
                raise ValueError(f"{path}: line {number} must be an object, got {type(line).__name__}")
            yield line
