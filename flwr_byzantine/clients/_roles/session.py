"""One node's part in a run, whatever its role: it trains to the end, in one message or in a thread of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext, suppress
from logging import INFO, WARNING
from typing import Any, TypeVar

from flwr.app import Context, Message
from flwr.common.logger import log

from flwr_byzantine.clients._roles.outcome import Outcome, save_failure, save_progress
from flwr_byzantine.clients._roles.place import Place
from flwr_byzantine.clients._settings import Settings
from flwr_byzantine.clients.prometheus import Status, StatusServer, Text
from flwr_byzantine.errors import StoreError
from flwr_byzantine.roster import SETTINGS, run_name

__all__ = ["Session", "sent_settings", "served"]

S = TypeVar("S", bound=Settings)


class Session(ABC):
    """What a node does between the message that starts it and its outcome.

    Args:
        place: Its place in the run.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    def run(self) -> Outcome:
        """Go through the whole training, and say how that went.

        Raises:
            StoreError: If there is no last model; the message says why.
        """

    @abstractmethod
    def stop(self) -> None:
        """End it early."""

    def run_resident(self) -> None:
        """The same in a thread of its own; progress and outcome are kept in the store."""
        try:
            self.run().save(self.place.store)
        except Exception as error:  # nobody waits for this thread: what is not kept is lost
            log(WARNING, "node %s failed: %s", self.place.node.key.peer[:8], error)
            with suppress(StoreError):
                save_failure(self.place.store, error)

    def note(self, round: int) -> None:
        """Keep that a round is over, for who asks."""
        with suppress(StoreError):
            save_progress(self.place.store, round)


def sent_settings(kind: type[S], message: Message, context: Context) -> S:
    """The settings of a kind that the server sent, for this run.

    Raises:
        TypeError: If one is of another type.
        ValueError: If one cannot be.
    """
    given: dict[str, Any] = dict(message.content.config_records[SETTINGS])
    return kind.from_mapping({**given, "run": run_name(context.run_id)})


def served(context: Context, status: Status, text: Text) -> AbstractContextManager[object]:
    """A node's numbers for Prometheus, for as long, if its ``node_config`` has a ``metrics-port``.

    Args:
        context: The node's; ``metrics-host`` is ``127.0.0.1`` unless it says otherwise.
        status: Gives the status.
        text: Makes Prometheus' text of it.

    Raises:
        OSError: If the port is taken.
    """
    port = context.node_config.get("metrics-port")
    if port is None:
        return nullcontext()
    server = StatusServer(status, text, host=str(context.node_config.get("metrics-host", "127.0.0.1")), port=int(port))
    log(INFO, "metrics at %s/metrics", server.url)
    return server
