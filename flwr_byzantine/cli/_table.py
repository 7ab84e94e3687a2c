"""A table of a TOML file, read key by key; a mistake is a sentence with the file, the table and the key."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Table", "load"]

MAX_FILE_BYTES = 4 << 20
T = TypeVar("T")


class Table:
    """One table: what was asked for is known, and :meth:`end` refuses the rest.

    Args:
        file: Whose table it is, for messages and for relative paths.
        name: As in the file, ``[peer]``.
        content: Its keys and values.

    Example:
        >>> table = Table(Path("peer.toml"), "[metrics]", {"port": "9464"})
        >>> table.needed("port", int)
        Traceback (most recent call last):
        ...
        ValueError: peer.toml: [metrics] port must be a whole number, got '9464'
    """

    def __init__(self, file: Path, name: str, content: Mapping[str, Any]) -> None:
        self.file, self.name = file, name
        self.content = dict(content)
        self._known: list[str] = []

    def needed(self, key: str, kind: type[T]) -> T:
        """The value under a key."""
        value = self.given(key, kind)
        if value is None:
            raise self.mistake(key, f"is missing: it must be {NAMES[kind]}")
        return value

    def given(self, key: str, kind: type[T]) -> T | None:
        """The value under a key; None if there is none."""
        self._known.append(key)
        value = self.content.get(key)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise self.mistake(key, f"must be {NAMES[kind]}, got {value!r:.80}")
        return value

    def path(self, key: str) -> Path | None:
        """A path, relative to the file's own folder; None if there is none."""
        text = self.given(key, str)
        return None if text is None else (self.file.parent / Path(text).expanduser()).absolute()

    def existing(self, key: str) -> Path:
        """A path at which there is a file."""
        path = self.path(key)
        if path is None or not path.is_file():
            raise self.mistake(key, f"must name a file that is there, got {self.content.get(key)!r}")
        return path

    def secret(self, key: str) -> str | None:
        """The first line of the file that a key names; None if there is no key."""
        path = self.path(key)
        if path is None:
            return None
        with open(self.existing(key), encoding="utf-8") as file:
            line = file.readline(1024).rstrip("\r\n")
        if not line:
            raise self.mistake(key, f"{path}: its first line, the password, is empty")
        return line

    def table(self, key: str) -> Table | None:
        """A table within this one; None if there is none."""
        content = self.given(key, dict)
        return None if content is None else Table(self.file, f"{self.name} {key}", content)

    def end(self) -> None:
        """Refuse keys that nothing asked for."""
        for key in self.content:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(self._known)}"
                raise self.mistake(key, f"is no setting{hint}")

    def mistake(self, key: str, said: str) -> ValueError:
        """What is wrong with a key's value."""
        return ValueError(f"{self.file}: {self.name} {key} {said}")


NAMES: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


def load(file: Path) -> dict[str, Any]:
    """What is in a TOML file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is none; the message names it.
    """
    with open(file, "rb") as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{file}: more than {MAX_FILE_BYTES} bytes, which is no configuration")
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: {error}") from error
