"""What a node knows of itself: its key, its own store, and how it reaches others'."""

from __future__ import annotations

import secrets
import sys
import threading
from dataclasses import dataclass
from logging import INFO
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import torch
from flwr.app import ConfigRecord, Context
from flwr.common.logger import log

from flwr_byzantine.errors import StoreError, StoreUnavailableError
from flwr_byzantine.roster import Seat
from flwr_byzantine.signing import PrivateKey
from flwr_byzantine.stores import EmbeddedStore, MemoryStore, RedisAIStore, RedisStore, TensorStore

__all__ = ["Node", "close_store", "node_of", "open_own", "open_reader", "slots"]

SEED, STORE, ADDRESS = "seed", "store", "address"
TLS_FILES = {"tls-ca": "ssl_ca_certs", "tls-cert": "ssl_certfile", "tls-key": "ssl_keyfile"}
OWN = "own-node"
"""The record of a context in which it remembers both."""
PROBE = "probe"

_stores: dict[str, TensorStore] = {}
"""Those that this process started, by URL: they last beyond a message where the process does."""
_lock = threading.Lock()


@dataclass(frozen=True)
class Node:
    """A node that lasts."""

    key: PrivateKey
    store: str
    """The URL of its own store, for itself."""
    address: str
    """The same for others, who may only read."""
    name: str

    @property
    def seat(self) -> Seat:
        """What others are told."""
        return Seat(self.key.public(self.name), self.address)


def node_of(context: Context, *, lasting: bool = True) -> Node:
    """The node as it was when first asked; then it gets a key and a store, and its context remembers both.

    ``node_config`` may have ``key`` (a file; else the key is made for this run), ``store`` (the URL of its own store,
    ``"embedded"`` or ``"memory"``), ``store-address`` (the URL under which others read it, if that is another one) and
    ``name``. ``run_config["store"]`` stands for what has no ``store``, and ``"embedded"`` for that.

    Args:
        context: The node's.
        lasting: Whether this process lasts beyond the message, so that a store can live in it.

    Raises:
        ValueError: If the process does not last, and the node has no store elsewhere.
        StoreError: If the store does not start.
    """
    config = context.node_config
    known = context.state.config_records.get(OWN)
    if known is None:
        seed = secrets.token_bytes(32)
        store, address = _new_store(str(config.get("store", context.run_config.get("store", "embedded"))), lasting)
        address = str(config.get("store-address", address))
        known = ConfigRecord({SEED: seed, STORE: store, ADDRESS: address})
        context.state[OWN] = known
        if "key" not in config:
            log(INFO, "this node's key is for this run only; --node-config \"key='...'\" gives it a lasting one")
    key = PrivateKey.load(str(config["key"])) if "key" in config else PrivateKey.from_seed(_bytes(known[SEED]))
    name = str(config.get("name", f"node-{config['partition-id']}" if "partition-id" in config else ""))
    return Node(key, str(known[STORE]), str(known[ADDRESS]), name)


def open_own(url: str, context: Context) -> TensorStore:
    """The node's own store: in this process, or at a URL; in the database if the server there can compute."""
    with _lock:
        if url in _stores:
            return _stores[url]
    given = with_tls(url, context)
    store: TensorStore = RedisAIStore(given)
    try:
        store.put(PROBE, torch.zeros(1))
        store.delete(PROBE)
    except StoreUnavailableError:
        raise
    except StoreError as error:
        log(INFO, "programs run in this process, not in the database: %s", error)
        store.close()
        store = RedisStore(given)
    return store


def open_reader(url: str, context: Context, *, timeout_s: float) -> TensorStore:
    """Another's store, of which only published bytes are read.

    Raises:
        ValueError: If it is a store in memory, and not in this process.
    """
    if url.startswith("memory:"):
        with _lock:
            if url not in _stores:
                raise ValueError(f"the store {url} is in the memory of another process")
            return _stores[url]
    return RedisStore(with_tls(url, context), timeout_s=timeout_s)


def close_store(url: str) -> bool:
    """End the store at a URL, if this process started it; whether it did."""
    with _lock:
        store = _stores.pop(url, None)
    if store is not None:
        store.close()
    return store is not None


def slots() -> int:
    """How many ClientApps run at once in the simulation that this process is of; 0 where it is of none.

    Nothing is imported and nothing started for it.
    """
    ray: Any = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return 0
    assigned = ray.get_runtime_context().get_assigned_resources()
    needs = {name: amount for name, amount in assigned.items() if name in ("CPU", "GPU") and amount > 0}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fit = sum(int(min((has.get(name, 0) / needs[name] for name in needs), default=0)) for has in machines)
    return max(1, fit)


def with_tls(url: str, context: Context) -> str:
    """The URL, if of a TLS server, with this node's ``tls-ca``, ``tls-cert`` and ``tls-key`` files.

    Example:
        >>> from flwr.app import RecordDict
        >>> context = Context(1, 1, {"tls-ca": "/keys/ca.pem"}, RecordDict(), {})
        >>> with_tls("rediss://10.0.0.7:6379", context), with_tls("redis://10.0.0.7:6379", context)
        ('rediss://10.0.0.7:6379?ssl_ca_certs=%2Fkeys%2Fca.pem', 'redis://10.0.0.7:6379')
    """
    files = {
        option: str(context.node_config[name]) for name, option in TLS_FILES.items() if name in context.node_config
    }
    if not url.startswith("rediss://") or not files:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(files)}"


def _new_store(kind: str, lasting: bool) -> tuple[str, str]:
    """The URLs of a node's store, for itself and for others; one of this process is started."""
    if kind not in ("embedded", "memory"):
        return kind, kind
    if not lasting:
        raise ValueError(
            f"this process ends with the message, and a store that is {kind!r} with it: "
            "start the node with --node-config \"store='redis://...'\" or 'unix://...'"
        )
    store: TensorStore
    if kind == "memory":
        store, url = MemoryStore(), f"memory:{secrets.token_hex(16)}"
        address = url
    else:
        password = secrets.token_urlsafe(24)
        store = EmbeddedStore(port=0, reader_password=password, threads=1)
        url = store.url
        address = f"redis://reader:{quote(password, safe='')}@127.0.0.1:{urlsplit(url).port}/0"
    with _lock:
        _stores[url] = store
    return url, address


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, got {type(value).__name__}")
    return value
