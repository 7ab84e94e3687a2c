"""The four messages that a node with a lasting role answers, and what of it outlives them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from logging import INFO

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.logger import log

from flwr_byzantine.clients._roles.node import Node, close_store, node_of, open_own, slots
from flwr_byzantine.clients._roles.outcome import load_outcome, load_progress
from flwr_byzantine.clients._roles.session import Session
from flwr_byzantine.roster import Talk, run_name

__all__ = ["Answers"]

SENT = "sent-arrays"

_resident: dict[str, Session] = {}
"""Those that train in threads of this process, by the URL of their store."""


@dataclass(frozen=True)
class Answers:
    """What a node says in one kind of run.

    Args:
        talk: The message types.
        check: Checks what the first message asks for, and tells what the server wants to know besides.
        begin: Makes the session of the message that starts the training.
    """

    talk: Talk
    check: Callable[[Message, Context], Mapping[str, str]]
    begin: Callable[[Node, Message, Context], Session]

    def app(self, train: object, maker: str) -> ClientApp:
        """The ClientApp given, which answers these messages too; or a new one, if it is a function.

        Args:
            train: What a user gave.
            maker: To whom, for the error.

        Raises:
            TypeError: If it is neither.
        """
        if not callable(train):
            raise TypeError(f"{maker} needs a ClientApp or a function, got {type(train).__name__}")
        app, talk = train if isinstance(train, ClientApp) else ClientApp(), self.talk
        app.query(_action(talk.who))(self.who)
        app.train(_action(talk.start))(self.start)
        app.query(_action(talk.report))(self.report)
        app.query(_action(talk.end))(self.end)
        return app

    def who(self, message: Message, context: Context) -> Message:
        """Check the settings, and say who this node is and where it can run."""
        told = self.check(message, context)
        room = slots()
        asked = message.content.config_records[self.talk.name]
        node = node_of(context, lasting=room > 0 or asked.get("process") == process_name())
        about = {
            "peer": node.key.peer,
            "seat": node.seat.signed(node.key, run=run_name(context.run_id)),
            "slots": room,
            "process": process_name(),
            **told,
        }
        return self._reply(message, ConfigRecord(about))  # type: ignore[arg-type]

    def start(self, message: Message, context: Context) -> Message:
        """Train to the end; or in a thread that outlives the message, if the server says that it should."""
        session = self.begin(node_of(context), message, context)
        if not message.content.config_records[self.talk.name].get("resident"):
            try:
                return Message(session.run().content(session.place.sent, self.talk), reply_to=message)
            finally:
                session.place.close()
        context.state[SENT] = session.place.sent
        _resident[session.place.node.store] = session
        threading.Thread(target=session.run_resident, name=f"{self.talk.name}-node", daemon=True).start()
        log(INFO, "node %s trains on while it takes other messages", session.place.node.key.peer[:8])
        return self._reply(message, ConfigRecord({"done": False, "round": 0}))

    def report(self, message: Message, context: Context) -> Message:
        """How far the node is, or how its training ended."""
        store = open_own(node_of(context).store, context)
        outcome = load_outcome(store)
        if outcome is None:
            return self._reply(message, ConfigRecord({"done": False, "round": load_progress(store)}))
        return Message(outcome.content(context.state.array_records[SENT], self.talk), reply_to=message)

    def end(self, message: Message, context: Context) -> Message:
        """Stop a node that still trains, and end its store, if they are in this process; say whether the store was."""
        url = node_of(context).store
        session = _resident.pop(url, None)
        if session is not None:
            session.stop()
            session.place.close()
        return self._reply(message, ConfigRecord({"closed": close_store(url)}))

    def _reply(self, message: Message, record: ConfigRecord) -> Message:
        return Message(RecordDict({self.talk.name: record}), reply_to=message)


def process_name() -> str:
    """This process among all: the host and the number."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _action(message_type: str) -> str:
    return message_type.split(".")[1]
