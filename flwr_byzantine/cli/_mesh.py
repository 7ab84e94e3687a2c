"""A look at every peer of a mesh: its status where it gives one, its signed board, and what the others say of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from flwr_byzantine.cli._mesh_row import MeshRow, hearsay, of_status
from flwr_byzantine.clients.peer.board import MAX_BOARD_BYTES, Board
from flwr_byzantine.errors import StoreError, StoreUnavailableError
from flwr_byzantine.signing import STATEMENT_BYTES, Expected, Keyring, Rejected, open_envelope
from flwr_byzantine.stores import RedisStore

if TYPE_CHECKING:
    from flwr_byzantine.cli._peer_file import PeerFile

__all__ = ["Mesh", "Shown"]

WAIT_S = 2.0
MAX_STATUS_BYTES = 4 << 20
THREADS = 16
STALE_S = 10.0
"""The age at which a status file, written every second, tells of a peer that ended or hangs."""
SIGHT = {"kind": "board", "rounds": range(1 << 62), "max_bytes": STATEMENT_BYTES + MAX_BOARD_BYTES, "dtype": bytes}


@dataclass(frozen=True)
class Shown:
    """Where to look for one peer: any of the three will do."""

    peer: str = ""
    """Its id; empty where its status will say it."""
    name: str = ""
    url: str = field(default="", repr=False)
    """Of its store."""
    status: str = ""
    """The URL of its metrics, or the path of its status file."""


class Mesh:
    """Peers to look at, again and again.

    Args:
        peers: Where to look.
        ring: Whose signatures count; empty if there is no store to read.
        run: The run that boards must be of.
    """

    def __init__(self, peers: Iterable[Shown], *, ring: Keyring | None = None, run: str = "run") -> None:
        self._peers, self._run = list(peers), run
        self._ring: Mapping[str, object] = ring or {}
        self._stores = {shown.url: RedisStore(shown.url, timeout_s=WAIT_S) for shown in self._peers if shown.url}
        self._beats: dict[str, tuple[int, float]] = {}

    @classmethod
    def of_file(cls, file: PeerFile) -> Mesh:
        """The mesh that a peer's configuration tells of, itself first."""
        node = file.node
        own_status = str(node.status) if node.status else ""
        if not own_status and node.metrics and node.metrics[1]:
            own_status = f"http://{node.metrics[0]}:{node.metrics[1]}"
        url = file.own_url or (node.store if isinstance(node.store, str) else "")
        peers = [Shown(node.key.peer, node.name, url, own_status)]
        for listed in file.others:
            name = node.ring[listed.peer].name if listed.peer in node.ring else ""
            peers.append(Shown(listed.peer, name, listed.url, listed.metrics or ""))
        return cls(peers, ring=node.ring, run=file.training.run)

    @classmethod
    def of_sources(cls, sources: Iterable[str]) -> Mesh:
        """Those whose status is at URLs or in files."""
        return cls(Shown(status=source) for source in sources)

    def look(self, now: float) -> list[MeshRow]:
        """A row for each peer; a dead one's says so.

        Args:
            now: Of a monotonic clock, in seconds.
        """
        with ThreadPoolExecutor(min(THREADS, len(self._peers)) or 1) as pool:
            statuses = list(pool.map(_status, self._peers))
            boards = list(pool.map(self._board, self._peers))
        rows = [self._row(*seen, now) for seen in zip(self._peers, statuses, boards, strict=True)]
        for row, shown in zip(rows, self._peers, strict=True):
            _add_hearsay(row, shown, [status for status in statuses if not isinstance(status, str)])
        return rows

    def close(self) -> None:
        """Close the connections."""
        for store in self._stores.values():
            store.close()

    def _row(self, shown: Shown, status: object, board: Board | str, now: float) -> MeshRow:
        row = of_status(status) if not isinstance(status, str) else status
        faults = [fault for fault in (row, board) if isinstance(fault, str) and fault]
        if isinstance(row, MeshRow):
            if shown.peer and row.peer != shown.peer:
                row = MeshRow(shown.peer, said=f"its status is that of peer {row.peer[:8]}")
            row.said = "; ".join(filter(None, [_staleness(shown.status), row.said]))
        else:
            row = MeshRow(shown.peer)
            if isinstance(board, str):
                row.said = f"no sign of life: {'; '.join(faults) or 'nothing says where it is'}"
        row.name = shown.name or row.name or ("" if row.peer else Path(shown.status).name)
        if isinstance(board, Board):
            self._add_board(row, board, now)
        return row

    def _add_board(self, row: MeshRow, board: Board, now: float) -> None:
        sequence, since = self._beats.get(row.peer, (-1, now))
        if board.sequence != sequence:
            self._beats[row.peer] = (board.sequence, since := now)
            row.age_s = 0.0 if sequence >= 0 else None  # the first look does not tell how old the beat is
        else:
            row.age_s = now - since
        row.round = board.round if row.round is None else row.round
        if board.leaves_after is not None:
            row.said = f"leaves after round {board.leaves_after}"

    def _board(self, shown: Shown) -> Board | str:
        if not shown.url:
            return ""
        try:
            data = self._stores[shown.url].read("board", max_bytes=STATEMENT_BYTES + MAX_BOARD_BYTES)
        except StoreUnavailableError:
            return "no connection to its store"
        except StoreError as error:
            return str(error).splitlines()[0]
        if data is None:
            return "its store holds no board"
        opened = open_envelope(data, Expected(run=self._run, peer=shown.peer, **SIGHT), self._ring)  # type: ignore[arg-type]
        return opened.detail if isinstance(opened, Rejected) else Board.decode(opened.payload or b"")


def _status(shown: Shown) -> object:
    """The status as it is found, or in a text why there is none."""
    source = shown.status
    if not source:
        return ""
    try:
        if source.startswith(("http://", "https://")):
            opener = build_opener(ProxyHandler({}))  # peers are asked directly
            with opener.open(f"{source.rstrip('/')}/status", timeout=WAIT_S) as reply:
                data = reply.read(MAX_STATUS_BYTES + 1)
        else:
            with open(source, "rb") as file:
                data = file.read(MAX_STATUS_BYTES + 1)
        status = json.loads(data) if len(data) <= MAX_STATUS_BYTES else None
    except URLError:
        return "no answer where its metrics were"
    except OSError as error:
        return f"no status: {error.strerror or error}"
    except (ValueError, RecursionError):
        return "its status is no JSON"
    return status if isinstance(status, dict) else "what it gives is no peer's status"


def _add_hearsay(row: MeshRow, shown: Shown, statuses: list[object]) -> None:
    """What the others that were found say of a peer, where it is not known at first hand."""
    for status in statuses:
        standing, age_s = hearsay(status, row.peer)
        if standing and standing != "alive" and standing not in row.said:
            row.said = "; ".join(filter(None, [row.said, standing]))
        if row.age_s is None:
            row.age_s = age_s


def _staleness(source: str) -> str:
    """What is to be said of a status file that nobody has written for a while."""
    try:
        age_s = time.time() - os.stat(source).st_mtime
    except OSError:  # it is a URL
        return ""
    return f"its status is {age_s:.0f} s old" if age_s > STALE_S else ""
