"""``flwr-byzantine peers``: the mesh, live in a terminal."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from flwr_byzantine.cli._running import until_interrupted

if TYPE_CHECKING:
    from flwr_byzantine.cli._mesh import Mesh
    from flwr_byzantine.cli._mesh_row import MeshRow

__all__ = ["add_to"]

HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
NARROW = 80


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``peers``."""
    peers = commands.add_parser("peers", help="show the mesh: a row per peer, until Ctrl-C")
    peers.add_argument("sources", nargs="*", metavar="STATUS", help="status files, or URLs of peers' metrics")
    peers.add_argument("--config", type=Path, metavar="PEER.toml", help="a peer's configuration, which tells of all")
    peers.add_argument("--once", action="store_true", help="show it once, and end")
    peers.add_argument("--json", action="store_true", help="as JSON, one line each time")
    peers.add_argument("--every", type=_seconds, default=1.0, metavar="S", help="seconds between looks (%(default)s)")
    peers.set_defaults(run=_run)


def _seconds(text: str) -> float:
    if not (value := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return value


def _run(options: argparse.Namespace) -> int:
    with until_interrupted(), closing(_mesh(options)) as mesh:
        while True:
            _show(mesh.look(time.monotonic()), as_json=options.json, alone=options.once)
            if options.once:
                break
            time.sleep(options.every)
    return 0


def _mesh(options: argparse.Namespace) -> Mesh:
    from flwr_byzantine.cli._mesh import Mesh
    from flwr_byzantine.cli._peer_file import PeerFile

    if (options.config is None) == (not options.sources):
        raise ValueError("peers needs --config PEER.toml, or the status files or metrics URLs of peers")
    if options.config is None:
        return Mesh.of_sources(options.sources)
    return Mesh.of_file(PeerFile.load(options.config))


def _show(rows: list[MeshRow], *, as_json: bool, alone: bool) -> None:
    from flwr_byzantine.cli._mesh_table import lines, table

    if as_json:
        text = json.dumps([dataclasses.asdict(row) for row in rows])
    elif sys.stdout.isatty():
        text = table(rows, width=shutil.get_terminal_size().columns)
        if not alone:
            text = HOME + "".join(f"{line}{CLEAR_LINE}\n" for line in text.splitlines()) + CLEAR_BELOW
    else:
        text = table(rows, width=NARROW * 3) if alone else lines(rows)
    print(text, end="" if text.endswith(CLEAR_BELOW) else "\n", flush=True)
