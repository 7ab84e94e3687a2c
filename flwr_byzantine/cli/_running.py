"""How a command runs a node of any kind: its options, its log, its signals, its status, and what it leaves behind."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from flwr_byzantine.cli._node_file import NodeFile
    from flwr_byzantine.clients.prometheus import Text

__all__ = ["Runs", "add_options", "keep", "metrics_served", "run_to_its_end", "running", "until_interrupted"]

POLL_S = 0.1
STATUS_S = 1.0

H = TypeVar("H")

log = logging.getLogger("flwr_byzantine.cli")


def add_options(command: argparse.ArgumentParser, *, config: str, docs: str, result: str) -> None:
    """Add what every such command takes.

    Args:
        command: Whose options they are.
        config: How its file is called, ``PEER.toml``.
        docs: The page about this file.
        result: What is in the file that ``--result`` names.
    """
    command.add_argument("--config", type=Path, required=True, metavar=config, help=f"see {docs}")
    command.add_argument("--result", type=Path, metavar="FILE.json", help=f"for {result}")
    command.add_argument("--model", type=Path, metavar="FILE.pt", help="for the last model, [d], as torch saves it")
    command.add_argument("--quiet", action="store_true", help="log warnings only")


@contextmanager
def running(options: argparse.Namespace) -> Iterator[tuple[ExitStack, list[int]]]:
    """What is closed when the command ends, and the signals that came so far; the log goes to the standard error.

    Raises:
        ValueError: If a result could not be written.
    """
    for path in (options.result, options.model):
        if path is not None and not path.absolute().parent.is_dir():  # better now than after all the work
            raise ValueError(f"{path}: there is no folder {path.absolute().parent}")
    with ExitStack() as stack:
        stack.enter_context(_logged(logging.WARNING if options.quiet else logging.INFO))
        yield stack, stack.enter_context(_signals())


class Runs(Protocol):
    """A node: what :class:`Peer` and :class:`GuanYuNode` have in common here."""

    def stop(self) -> None:
        """Make it end, within a second or so."""

    def status(self) -> dict[str, Any]:
        """What it is doing, of JSON's types."""


def run_to_its_end(
    node: Runs, file: NodeFile, run: Callable[[], H], look: Callable[[], None]
) -> tuple[H, dict[str, Any]]:
    """Run a node on a thread of its own; this one looks after it, and writes its status every second.

    Args:
        node: What runs.
        file: Where its status goes.
        run: What runs it.
        look: Called about ten times a second: answers signals, say.

    Returns:
        What ``run`` returned, and the last status.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="node") as pool:
        future = pool.submit(run)
        status_at = 0.0
        try:
            while not future.done():
                look()
                if (now := time.monotonic()) >= status_at:
                    status_at = now + STATUS_S
                    _write_status(file, node.status())
                time.sleep(POLL_S)
        finally:
            node.stop()
    status = node.status()
    _write_status(file, status)
    return future.result(), status


def metrics_served(node: Runs, file: NodeFile, text: Text) -> AbstractContextManager[object]:
    """The node's numbers for Prometheus, for as long, if its file wants that.

    Args:
        node: Whose status is told.
        file: Says where.
        text: Makes Prometheus' text of it.

    Raises:
        OSError: If the port is taken.
    """
    from flwr_byzantine.clients.prometheus import StatusServer

    if file.metrics is None:
        return nullcontext()
    host, port = file.metrics
    server = StatusServer(node.status, text, host=host, port=port)
    log.info("%s: metrics at %s/metrics", file.name, server.url)
    return server


def keep(options: argparse.Namespace, result: Callable[[], str], model: Tensor | None) -> None:
    """Write the result and the model where the options want them."""
    if options.result is not None:
        _write_whole(options.result, result())
    if options.model is not None and model is not None:
        import torch

        torch.save(model, options.model)


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM end what is done within, and are no error."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _logged(level: int) -> Iterator[None]:
    """This package's log goes to the standard error for as long."""
    ours, handler = logging.getLogger("flwr_byzantine"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = ours.level
    ours.addHandler(handler)
    ours.setLevel(level)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.setLevel(before)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that came so far: nothing is interrupted by them."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_status(file: NodeFile, status: dict[str, Any]) -> None:
    if file.status is None:
        return
    try:
        _write_whole(file.status, json.dumps(status))
    except OSError as error:  # a full disk is no reason to stop training
        log.warning("%s: the status cannot be written: %s", file.name, error)


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, whole."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
