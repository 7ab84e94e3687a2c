"""``flwr-byzantine peer``: a peer without any server, until its last round, or until it is told to leave."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from flwr_byzantine.cli._running import add_options, keep, metrics_served, run_to_its_end, running

if TYPE_CHECKING:
    from flwr_byzantine.cli._peer_file import PeerFile
    from flwr_byzantine.clients.peer import Peer, PeerHistory
    from flwr_byzantine.stores import TensorStore

__all__ = ["add_to"]

FINE = ("all rounds done", "left", "stopped")

log = logging.getLogger("flwr_byzantine.peer")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``peer``."""
    peer = commands.add_parser("peer", help="train with other peers, without any server")
    add_options(peer, config="PEER.toml", docs="docs/peers.md", result="its rounds and how it ended")
    peer.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from flwr_byzantine.cli._peer_file import PeerFile

    with running(options) as (stack, signals):
        file = PeerFile.load(options.config)
        history, status = _train(file, stack, signals)
    keep(options, lambda: json.dumps({**json.loads(history.to_json()), "last": status}, indent=1), history.model)
    print(f"{file.node.name}: {history.status}, {len(history.records)} rounds", flush=True)
    return 0 if history.status in FINE else 1


def _train(file: PeerFile, stack: ExitStack, signals: list[int]) -> tuple[PeerHistory, dict[str, Any]]:
    """Run the peer; its history and its last status."""
    from flwr_byzantine.cli._node_stores import own_store
    from flwr_byzantine.cli._task import made
    from flwr_byzantine.clients.peer_metrics import metrics_text

    gradients, model = made(file.node)
    peer = _peer(file, stack.enter_context(own_store(file.node, log.info)), gradients)
    stack.enter_context(metrics_served(peer, file.node, metrics_text))
    start = None if file.join else model
    return run_to_its_end(peer, file.node, lambda: peer.run(start), _attendant(peer, file, signals))


def _peer(file: PeerFile, store: TensorStore, gradients: Any) -> Peer:
    from flwr_byzantine.cli._node_stores import connector, reader
    from flwr_byzantine.clients.peer import Peer

    wait_s = file.training.answer_s
    try:
        return Peer(
            file.node.key,
            ring=file.node.ring,
            store=store,
            readers={listed.peer: reader(listed, timeout_s=wait_s) for listed in file.others},
            config=file.training,
            gradients=gradients,
            members=[listed.peer for listed in file.others],
            newcomer=file.join,
            address=file.address,
            connect=connector(file.node.files, timeout_s=wait_s),
        )
    except ValueError as error:  # rule, f, graph and the number of members do not go together
        raise ValueError(f"{file.node.file}: [training] with {1 + len(file.others)} members: {error}") from error


def _attendant(peer: Peer, file: PeerFile, signals: list[int]) -> Callable[[], None]:
    """What makes it leave at the first signal, stop at the second, and take in members that were added."""
    from flwr_byzantine.cli._members import MembersFile

    members, answered = MembersFile(file), 0

    def attend() -> None:
        nonlocal answered
        if len(signals) > answered:
            answered = len(signals)
            if answered == 1:
                log.info("%s: leaves after this round", file.node.name)
                peer.leave()
            else:
                log.info("%s: stops at once", file.node.name)
                peer.stop()
        members.attend(peer)

    return attend
