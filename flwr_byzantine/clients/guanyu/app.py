"""An ordinary function, or an ordinary ClientApp, as a server or worker of GuanYu."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from flwr_byzantine.clients._roles.answers import Answers
from flwr_byzantine.clients._roles.node import Node
from flwr_byzantine.clients._roles.training import Evaluate
from flwr_byzantine.clients.guanyu.session import GradientAt, NodeSession, settings_of, wanted_role
from flwr_byzantine.roster import GUANYU

__all__ = ["guanyu_app"]


def guanyu_app(train: ClientApp | GradientAt, *, evaluate: Evaluate | None = None) -> ClientApp:
    """A ClientApp whose node serves or works as :class:`~flwr_byzantine.strategies.GuanYuNodes` asks it to.

    The node's own facts come from its ``node_config``, as those of :func:`~flwr_byzantine.clients.peer_app` do:
    ``store``, ``store-address``, ``key``, ``keyring``, ``tls-ca``, ``tls-cert``, ``tls-key``, ``name``,
    ``metrics-port``, ``metrics-host``; and ``role``, ``"server"`` or ``"worker"``, if it takes only that. For
    experiments, ``run_config["server-attack"]`` and ``["worker-attack"]`` make as many servers and workers lie as are
    tolerated: a name in :data:`~flwr_byzantine.attacks.ATTACKS` that needs nobody else's rows, ``"sign-flip"`` say.

    Args:
        train: A worker's function ``(model [d], context, step) -> gradient``, a tensor ``[d]`` or a
            :class:`~flwr_byzantine.clients.functions.BatchGradient`; the model is the floating-point arrays that
            the strategy sent, one after the other. Or a ClientApp with ``@app.train()``, used as it is: the model it
            was sent less the one it replies with counts as its gradient, which goes with a learning rate of 1.
        evaluate: ``(model [d], context, steps done) -> metrics by name``: at a worker before each gradient, at a server
            in the end; an empty mapping where it is not wanted.

    Returns:
        The ClientApp given, which answers these messages too, or a new one.

    Raises:
        TypeError: If ``train`` is neither.

    Example:
        >>> app = guanyu_app(lambda model, context, step: model - 1.0)
        >>> type(app).__name__
        'ClientApp'
    """

    def begin(node: Node, message: Message, context: Context) -> NodeSession:
        return NodeSession(node, message, context, train, evaluate)

    return Answers(GUANYU, _check, begin).app(train, "guanyu_app")


def _check(message: Message, context: Context) -> dict[str, str]:
    """The settings must hold for as many servers and workers as are wanted; the role that this node wants."""
    asked = message.content.config_records[GUANYU.name]
    settings_of(message, context).settings(int(str(asked["servers"])), int(str(asked["workers"])))
    return {"role": wanted_role(context)}
