"""The stores of a node without Flower: its own, and the others' as it may read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from flwr_byzantine import native
from flwr_byzantine.cli._client_files import ClientFiles
from flwr_byzantine.cli._node_file import Listed, NodeFile
from flwr_byzantine.stores import RedisAIStore, RedisStore, TensorStore
from flwr_byzantine.stores._module import module_arguments
from flwr_byzantine.stores._server import Server

__all__ = ["connector", "own_store", "reader"]


@contextmanager
def own_store(file: NodeFile, say: Callable[[str], None]) -> Iterator[TensorStore]:
    """The node's own store: on a server at a URL, or on one that runs for as long as this."""
    if isinstance(file.store, str):
        with RedisAIStore(file.store) as store:
            yield store
        return
    try:
        module = module_arguments(say, build_backend=False)
    except native.BuildError as error:
        say(f"programs run in this process, not in the database: {error}")
        module = []
    server = Server(file.store, module)
    try:
        where = "a Unix socket" if server.options.port is None else f"{server.options.host}:{server.options.port}"
        say(f"the store runs as process {server.pid}, on {where}")
        yield (RedisAIStore if module else RedisStore)(server.client)
    finally:
        server.stop()


def reader(listed: Listed, *, timeout_s: float) -> TensorStore:
    """Another node's store, to read from; it is connected to when it is asked first."""
    return RedisStore(listed.url, timeout_s=timeout_s)


def connector(files: ClientFiles, *, timeout_s: float) -> Callable[[str, str], TensorStore]:
    """What makes a reader of the address that a peer which joins has signed.

    An address is a stranger's text: it names a server, a user and a password, and no file of this machine. With TLS
    files of one's own, it must be a server behind TLS.
    """

    def connect(peer: str, address: str) -> TensorStore:
        parts = urlsplit(address)
        needed = "rediss" if files.authority is not None else "redis"
        if parts.scheme != needed or parts.query or parts.fragment or not parts.hostname:
            raise ValueError(f"peer {peer[:8]} has the address {address!r:.200}; it must be {needed}://host:port alone")
        return RedisStore(files.added_to(address), timeout_s=timeout_s)

    return connect
