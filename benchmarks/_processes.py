"""Nodes of one run, each a process of this machine with a store of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["run_together"]


def run_together(target: Callable[..., None], setting: object, seeds: Sequence[bytes], preload: list[str]) -> list[Any]:
    """Start one process for each seed; what each of them sent.

    Args:
        target: Called as ``target(number, setting, seeds, pipe)`` in each: sends the URL of its store, receives those
            of all, sends its result, and waits for a last message, since others may still read from its store.
        setting: Anything that can be pickled.
        seeds: Of the nodes' keys.
        preload: Modules that every process has loaded when it begins.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", *preload])
    pipes: list[Connection] = []
    processes = []
    try:
        for number in range(len(seeds)):
            ours, theirs = context.Pipe()
            process = context.Process(target=target, args=(number, setting, seeds, theirs))
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        urls = [pipe.recv() for pipe in pipes]
        for pipe in pipes:
            pipe.send(urls)
        result = [pipe.recv() for pipe in pipes]
        for pipe in pipes:
            pipe.send(None)
        return result
    finally:
        for process in processes:
            process.join(30)
            process.kill()
