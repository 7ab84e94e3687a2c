"""``flwr-byzantine guanyu``: a server or worker of GuanYu, until its last step, or until it is told to stop."""

from __future__ import annotations

import argparse
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from flwr_byzantine.cli._running import add_options, keep, metrics_served, run_to_its_end, running

if TYPE_CHECKING:
    from flwr_byzantine.cli._guanyu_file import GuanYuFile
    from flwr_byzantine.clients.guanyu import GuanYuHistory, GuanYuNode
    from flwr_byzantine.stores import TensorStore

__all__ = ["add_to"]

READER_TIMEOUT_S = 30.0
FINE = ("all steps done", "stopped")

log = logging.getLogger("flwr_byzantine.guanyu")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``guanyu``."""
    node = commands.add_parser("guanyu", help="be one of GuanYu's servers or workers, without Flower's server")
    add_options(node, config="NODE.toml", docs="docs/guanyu.md", result="how it ended, and what it left out")
    node.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from flwr_byzantine.cli._guanyu_file import GuanYuFile

    with running(options) as (stack, signals):
        file = GuanYuFile.load(options.config)
        history = _train(file, stack, signals)
    keep(options, lambda: history.to_json(indent=1), history.model)
    last = history.last
    print(f"{file.node.name}: {history.status}, {history.role}, step {last['step']}, {last['running-s']} s", flush=True)
    return 0 if history.status in FINE else 1


def _train(file: GuanYuFile, stack: ExitStack, signals: list[int]) -> GuanYuHistory:
    """Run the node; a signal stops it."""
    from flwr_byzantine.cli._node_stores import own_store
    from flwr_byzantine.cli._task import made
    from flwr_byzantine.clients.guanyu.metrics import metrics_text

    gradient, model = made(file.node)
    node = _node(file, stack.enter_context(own_store(file.node, log.info)), gradient)
    stack.enter_context(metrics_served(node, file.node, metrics_text))

    def answer() -> None:
        if signals:
            node.stop()

    history, _ = run_to_its_end(node, file.node, lambda: node.run(model), answer)
    return history


def _node(file: GuanYuFile, store: TensorStore, gradient: Any) -> GuanYuNode:
    from flwr_byzantine.cli._node_stores import reader
    from flwr_byzantine.clients.guanyu import GuanYuNode

    own, everybody = file.node.key.peer, (*file.servers, *file.workers)
    return GuanYuNode(
        file.node.key,
        servers=[listed.peer for listed in file.servers],
        workers=[listed.peer for listed in file.workers],
        ring=file.node.ring,
        store=store,
        readers={each.peer: reader(each, timeout_s=READER_TIMEOUT_S) for each in everybody if each.peer != own},
        config=file.training,
        gradient=gradient,
        attack=file.attack,
    )
