"""A peer's part in a run: made of what the server sent and of what the node knows, it goes through the rounds."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from flwr_byzantine.clients._roles.node import Node
from flwr_byzantine.clients._roles.outcome import Outcome
from flwr_byzantine.clients._roles.place import Place
from flwr_byzantine.clients._roles.session import Session, sent_settings, served
from flwr_byzantine.clients._roles.training import Evaluate, GradientsOf, Training, app_gradients
from flwr_byzantine.clients.peer import Peer, PeerConfig, RoundRecord
from flwr_byzantine.clients.peer_metrics import metrics_text
from flwr_byzantine.clients.spirt.attack import peer_attack
from flwr_byzantine.clients.spirt.report import round_metrics
from flwr_byzantine.errors import StoreError
from flwr_byzantine.roster import SPIRT

__all__ = ["PeerSession", "settings_of"]


class PeerSession(Session):
    """A peer made of what the server sent and of what the node knows.

    Args:
        node: The node.
        message: The one that starts the training: the peers' seats, the settings, the model.
        context: The node's.
        source: The user's function or app.
        evaluate: Of the model after each round, or None.

    Raises:
        ValueError: If the roster or the settings cannot be, or the run's attack.
        StoreError: If the node's own store cannot be used.
    """

    def __init__(
        self, node: Node, message: Message, context: Context, source: ClientApp | GradientsOf, evaluate: Evaluate | None
    ) -> None:
        self._context, self.config = context, settings_of(message, context)
        super().__init__(Place(node, message, context, talk=SPIRT, answer_s=self.config.answer_s))
        place = self.place
        if isinstance(source, ClientApp):
            source = app_gradients(source, place.layout, place.sent, message)
        self._training = Training(source, evaluate, context)
        self.peer = Peer(
            node.key,
            ring=place.ring,
            store=place.store,
            readers=place.readers,
            config=self.config,
            gradients=self._training,
            attack=peer_attack(context, self.config),
        )

    def run(self) -> Outcome:
        """Go through all rounds, and say how that went."""
        with served(self._context, self.peer.status, metrics_text):
            history = self.peer.run(self.place.model)
        if history.model is None:
            raise StoreError(f"the last model is lost: {history.status}")
        rounds = self.config.rounds or 0
        self._training.measure(history.model, rounds)
        metrics = round_metrics(history.records, self._training.measured, rounds)
        status = {name: value for name, value in self.peer.status().items() if name != "rounds"}  # those are in metrics
        return Outcome(history.model, metrics, {"ended": history.status, **status})

    def run_resident(self) -> None:
        """The same in a thread of its own; progress and outcome are kept in the store."""
        self.peer.on_round = self._note_round
        super().run_resident()

    def stop(self) -> None:
        """End it early."""
        self.peer.stop()

    def _note_round(self, record: RoundRecord) -> None:
        self.note(record.round)


def settings_of(message: Message, context: Context) -> PeerConfig:
    """The settings that the server sent, for this run.

    Raises:
        TypeError: If one is of another type.
        ValueError: If one cannot be, or there is no last round: who asked would wait for ever.
    """
    config = sent_settings(PeerConfig, message, context)
    if config.rounds is None:
        raise ValueError("the server must say how many rounds there are")
    return config
