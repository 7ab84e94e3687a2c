"""A deployment of Flower whose SuperNodes each have a store, and whose SuperLink can die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence

from tests.examples.app import LocalFlower


class WithStores(LocalFlower):
    """Gives the SuperNodes, in turn, more to their ``--node-config``: ``store='...'`` say."""

    def __init__(self, configs: Sequence[str]) -> None:
        super().__init__()
        self._configs = list(configs)

    def _start(self, program: str, *arguments: str) -> None:
        if program == "flower-supernode":
            *others, config = arguments
            arguments = (*others, f"{config} {self._configs.pop(0)}")
        super()._start(program, *arguments)

    def kill_superlink(self) -> None:
        """As a machine dies: at once, with everything that the SuperLink started."""
        os.kill(self._children[0].pid, signal.SIGKILL)


def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s:g} s"
        time.sleep(0.2)
