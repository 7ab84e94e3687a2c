"""What the files of a peer and of a node of GuanYu have in common: key, keyring, store, task, and whom it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr_byzantine.cli._client_files import ClientFiles, store_url
from flwr_byzantine.cli._table import Table, load
from flwr_byzantine.signing import Keyring, PrivateKey
from flwr_byzantine.stores._config import ServerOptions, Tls

__all__ = ["EMBEDDED", "Listed", "NodeFile", "Task", "listed", "tables_of"]

EMBEDDED = "embedded"


@dataclass(frozen=True)
class Listed:
    """Another one, as the file has it."""

    peer: str
    url: str = field(repr=False)
    """Of its store, with the password and the TLS files that it takes to read there."""
    metrics: str | None = None


@dataclass(frozen=True)
class Task:
    """What computes the gradients: a function that makes them, and what it is called with."""

    function: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class NodeFile:
    """What is in the file of any node that has a key and a store of its own."""

    file: Path
    key: PrivateKey
    name: str
    ring: Keyring
    files: ClientFiles
    task: Task | None
    store: str | ServerOptions = field(repr=False)
    metrics: tuple[str, int] | None
    """Host and port at which they are served."""
    status: Path | None

    @classmethod
    def of(cls, own: Table, content: Mapping[str, Any]) -> NodeFile:
        """What a file says.

        Args:
            own: The node's own table, ``[peer]`` say; whoever calls this ends it.
            content: All tables.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If something in it is not as it must be; the message names file, table and key.
        """

        def table(name: str) -> Table:
            return Table(own.file, f"[{name}]", content.get(name, {}))

        key, ring = _key(own), _ring(table("ring"))
        files = ClientFiles.of(own.table("tls"))
        return cls(
            file=own.file,
            key=key,
            name=ring[key.peer].label if key.peer in ring else key.peer[:8],
            ring=ring,
            files=files,
            task=_task(table("task")) if "task" in content else None,
            store=_store(own, table("store"), files),
            metrics=_metrics(table("metrics")) if "metrics" in content else None,
            status=_status(table("status")) if "status" in content else None,
        )


def tables_of(path: Path, kinds: Mapping[str, type]) -> tuple[Path, dict[str, Any]]:
    """Where a file is, and its tables.

    Args:
        path: Of the file.
        kinds: What there may be: by name, ``dict`` for a table and ``list`` for a list of tables.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no TOML, or has something else in it.
    """
    file = path.expanduser().absolute()
    content = load(file)
    whole = Table(file, "the table", content)
    for name, kind in sorted(kinds.items()):
        whole.given(name, kind)
    whole.end()
    return file, content


def listed(node: NodeFile, kind: str, entries: list[Any]) -> Iterator[Listed]:
    """Those that a list of tables, ``[[members]]`` say, has.

    Raises:
        ValueError: If an entry is not as it must be; the message has its number.
    """
    for place, fields in enumerate(entries, start=1):
        name = f"[[{kind}]] number {place}:"
        if not isinstance(fields, dict):
            raise ValueError(f"{node.file}: {name} must be a table, got {fields!r:.80}")
        yield _listed(Table(node.file, name, fields), node.ring, node.files)


def _listed(table: Table, ring: Keyring, files: ClientFiles) -> Listed:
    named = table.needed("peer", str)
    peer = next((known.peer for known in ring.values() if named in (known.peer, known.name)), named)
    if len(peer) != 64 or not set(peer) <= set("0123456789abcdef"):
        raise table.mistake("peer", f"must be a name on the keyring or an id of 64 hexadecimal digits, got {named!r}")
    own = table.table("tls")
    url = store_url(table, "url", files if own is None else ClientFiles.of(own))
    found = Listed(peer, url, table.given("metrics", str))
    table.end()
    return found


def _key(own: Table) -> PrivateKey:
    password = own.secret("password-file")
    return PrivateKey.load(own.existing("key"), None if password is None else password.encode())


def _ring(table: Table) -> Keyring:
    ring = Keyring.load(table.existing("file"))
    table.end()
    return ring


def _task(table: Table) -> Task:
    function = table.needed("gradients", str)
    if function.count(":") != 1 or not all(function.split(":")):
        raise table.mistake("gradients", f"must be 'module:function', got {function!r}")
    task = Task(function, table.given("options", dict) or {})
    table.end()
    return task


def _store(own: Table, table: Table, files: ClientFiles) -> str | ServerOptions:
    if own.given("store", str) not in (None, EMBEDDED):
        if table.content:
            raise own.mistake("store", f"must be {EMBEDDED!r}, or left out, if there is a [store]")
        return store_url(own, "store", files)
    try:
        options = ServerOptions(
            directory=table.path("directory"),
            host=table.given("host", str) or "127.0.0.1",
            port=table.given("port", int),
            persist=table.given("persist", bool) or False,
            server=table.path("server"),
            password=table.secret("password-file"),
            reader_password=table.secret("reader-password-file"),
            acl_file=table.path("aclfile"),
            tls=_tls(table),
        )
    except ValueError as error:
        at = f"{table.file}: {table.name} "
        raise ValueError(f"{at}{str(error).removeprefix(at)}") from error
    table.end()
    return options


def _tls(table: Table) -> Tls | None:
    tls = table.table("tls")
    if tls is None:
        return None
    authority = tls.existing("ca") if "ca" in tls.content else None
    files = Tls(tls.existing("cert"), tls.existing("key"), authority)
    tls.end()
    return files


def _metrics(table: Table) -> tuple[str, int]:
    host, port = table.given("host", str) or "127.0.0.1", table.needed("port", int)
    table.end()
    if not 0 <= port < 65536:
        raise table.mistake("port", f"must be in 0..65535, got {port}")
    return host, port


def _status(table: Table) -> Path | None:
    table.needed("file", str)
    path = table.path("file")
    table.end()
    return path
