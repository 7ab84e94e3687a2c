"""An ordinary function, or an ordinary ClientApp, as a peer of SPIRT's."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from flwr_byzantine.clients._roles.answers import Answers
from flwr_byzantine.clients._roles.node import Node
from flwr_byzantine.clients._roles.training import Evaluate, GradientsOf
from flwr_byzantine.clients.spirt.session import PeerSession, settings_of
from flwr_byzantine.roster import SPIRT

__all__ = ["peer_app"]


def peer_app(train: ClientApp | GradientsOf, *, evaluate: Evaluate | None = None) -> ClientApp:
    """A ClientApp whose node trains as a peer when :class:`~flwr_byzantine.strategies.Spirt` asks it to.

    The node's own facts come from its ``node_config``, all optional: ``store`` (the URL of its own store; without one
    ``"embedded"``, which lasts as long as the process, so that in a deployment a node needs a URL), ``store-address``
    (the URL for others, if that is another: of a user who may only read), ``key`` (a file of ``flwr-byzantine keys``;
    without it a key is made for the run), ``keyring`` (a file: whom it takes part with, whatever the server says),
    ``tls-ca``, ``tls-cert``, ``tls-key`` (files, for stores at ``rediss://``), ``name``, and ``metrics-port`` (of an
    endpoint for Prometheus, while it trains; ``metrics-host`` is 127.0.0.1). For experiments,
    ``run_config["attack"]`` and ``["num-byzantine"]`` make nodes lie, as with
    :func:`~flwr_byzantine.clients.attack_mod`.

    Args:
        train: A function ``(model [d], context, round) -> gradients of the mini-batches``, each a tensor ``[d]`` or
            what :func:`~flwr_byzantine.clients.functions.gradients` yields; the model is the floating-point arrays that
            the server sent, one after the other. Or a ClientApp with ``@app.train()``, used as it is: the model it was
            sent less the one it replies with counts as its gradient, which goes with a learning rate of 1.
        evaluate: ``(model [d], context, rounds done) -> metrics by name``, called after each round.

    Returns:
        The ClientApp given, which answers these messages too, or a new one.

    Raises:
        TypeError: If ``train`` is neither.

    Example:
        >>> app = peer_app(lambda model, context, round: [model - 1.0])
        >>> type(app).__name__
        'ClientApp'
    """

    def begin(node: Node, message: Message, context: Context) -> PeerSession:
        return PeerSession(node, message, context, train, evaluate)

    return Answers(SPIRT, _check, begin).app(train, "peer_app")


def _check(message: Message, context: Context) -> dict[str, str]:
    asked = message.content.config_records[SPIRT.name]
    settings_of(message, context).quorum_among(int(str(asked["nodes"])))
    return {}
