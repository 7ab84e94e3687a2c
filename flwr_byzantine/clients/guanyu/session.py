"""One node's part in a run of GuanYu: a server or worker of what the strategy sent and of what the node knows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from logging import WARNING

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.common.logger import log
from torch import Tensor

from flwr_byzantine.attacks import ATTACKS
from flwr_byzantine.clients._roles.node import Node
from flwr_byzantine.clients._roles.outcome import Outcome
from flwr_byzantine.clients._roles.place import Place
from flwr_byzantine.clients._roles.session import Session, sent_settings, served
from flwr_byzantine.clients._roles.training import Evaluate, Training, app_gradients
from flwr_byzantine.clients.functions import BatchFailed, BatchGradient
from flwr_byzantine.clients.guanyu.config import GuanYuConfig
from flwr_byzantine.clients.guanyu.history import StepRecord
from flwr_byzantine.clients.guanyu.metrics import metrics_text
from flwr_byzantine.clients.guanyu.node import GuanYuNode
from flwr_byzantine.clients.peer import PeerAttack
from flwr_byzantine.errors import StoreError
from flwr_byzantine.roster import GUANYU
from flwr_byzantine.stores import MemoryStore

__all__ = ["GradientAt", "NodeSession", "settings_of", "step_metrics", "wanted_role"]

GradientAt = Callable[[Tensor, Context, int], Tensor | BatchGradient]
"""From the model ``[d]``, the node's context and the step to the gradient."""
ROLES = ("server", "worker")
ANSWER_S = 30.0
"""How long another's store may take to answer; a reader has a thread of its own, so that nobody else waits for it."""
NOTE_S = 0.5
"""The shortest time between two notes of how far a node is."""
SILENT = MemoryStore()
"""In place of the store of a node whose seat is not believed: nothing comes from it, and the quorum goes on."""


class NodeSession(Session):
    """A server or worker of what the strategy sent and of what the node knows.

    Args:
        node: The node.
        message: The one that starts the training: the seats, who is what, the settings, the model.
        context: The node's.
        source: The user's function or app.
        evaluate: Of models, or None.

    Raises:
        ValueError: If the roster or the settings cannot be, or the run's attack, or the node wants another role.
        StoreError: If the node's own store cannot be used.
    """

    def __init__(
        self, node: Node, message: Message, context: Context, source: ClientApp | GradientAt, evaluate: Evaluate | None
    ) -> None:
        self._context, self.config = context, settings_of(message, context)
        super().__init__(Place(node, message, context, talk=GUANYU, answer_s=ANSWER_S))
        servers, workers = (_listed(message, name) for name in ("servers", "workers"))
        role = "server" if node.key.peer in servers else "worker"
        if wanted_role(context) not in ("", role):
            raise ValueError(f"this node is to be a {wanted_role(context)}, and the strategy made it a {role}")
        self._training = self._made(source, evaluate, message)
        self._losses: dict[int, float] = {}
        self._noted_at = 0.0
        self.guanyu = GuanYuNode(
            node.key,
            servers=servers,
            workers=workers,
            ring=self.place.ring,
            store=self.place.store,
            readers={**dict.fromkeys((*servers, *workers), SILENT), **self.place.readers},
            config=self.config,
            gradient=self._gradient,
            attack=_attack(context, self.config, node.key.peer, role, servers if role == "server" else workers),
        )

    def _made(self, source: ClientApp | GradientAt, evaluate: Evaluate | None, message: Message) -> Training:
        if isinstance(source, ClientApp):
            gradients = app_gradients(source, self.place.layout, self.place.sent, message)
            return Training(gradients, evaluate, self._context)
        function = source

        def one(model: Tensor, context: Context, step: int) -> Iterator[Tensor | BatchGradient]:
            yield function(model, context, step)

        return Training(one, evaluate, self._context)

    def _gradient(self, model: Tensor, step: int) -> Tensor | BatchGradient:
        (piece,) = self._training(model, step)
        if isinstance(piece, BatchFailed):
            raise RuntimeError(piece.reason)
        if isinstance(piece, BatchGradient):
            self._losses[step] = piece.loss
        return piece

    def run(self) -> Outcome:
        """Serve or work until the last step, and say how that went."""
        with served(self._context, self.guanyu.status, metrics_text):
            history = self.guanyu.run(self.place.model)
        if history.model is None:
            raise StoreError(f"there is no last model: {history.status}")
        steps = self.config.steps or 0
        if history.role == "server":
            self._training.measure(history.model, steps)
        measured = {step: dict(found) for step, found in self._training.measured.items()}
        for step, loss in self._losses.items():
            measured.setdefault(step, {})["loss"] = loss
        return Outcome(
            history.model,
            step_metrics(history.steps, measured, steps),
            {"ended": history.status, **history.last},
        )

    def run_resident(self) -> None:
        """The same in a thread of its own; progress and outcome are kept in the store."""
        self.guanyu.on_step = self._note_step
        super().run_resident()

    def stop(self) -> None:
        """End it early."""
        self.guanyu.stop()

    def _note_step(self, step: int) -> None:
        if time.monotonic() > self._noted_at + NOTE_S:  # steps may be many a second, and this thread decides
            self._noted_at = time.monotonic()
            self.note(step - 1)


def settings_of(message: Message, context: Context) -> GuanYuConfig:
    """The settings that the strategy sent, for this run.

    Raises:
        TypeError: If one is of another type.
        ValueError: If one cannot be, or there is no last step: who asked would wait for ever.
    """
    config = sent_settings(GuanYuConfig, message, context)
    if config.steps is None:
        raise ValueError("the strategy must say how many steps there are")
    return config


def wanted_role(context: Context) -> str:
    """The role that the node's configuration says, or "" for any.

    Raises:
        ValueError: If it is no role.
    """
    role = context.node_config.get("role", "")
    if role not in ("", *ROLES):
        raise ValueError(f"node_config['role'] must be one of {', '.join(ROLES)}, got {role!r:.80}")
    return str(role)


def step_metrics(
    records: Iterable[StepRecord], measured: Mapping[int, Mapping[str, float]], steps: int
) -> dict[str, list[float]]:
    """By name, one number per step: what happened in it, and how good the model was that came out of it.

    Args:
        records: Of the steps that the node went through.
        measured: By step, the metrics of the model that it left.
        steps: How many numbers each name has.

    Example:
        >>> step_metrics([StepRecord(2, 0.5, {"gradient": 40}, {"model": 8}, ["ab"])], {}, steps=2)["read-bytes"]
        [nan, 40.0]
    """
    named: dict[int, dict[str, float]] = {step: dict(found) for step, found in measured.items()}
    for record in records:
        read, written = sum(record.read_bytes.values()), sum(record.written_bytes.values())
        found = {"seconds": record.seconds, "missing": len(record.missing)}
        found |= {"read-bytes": read, "written-bytes": written}
        if record.distance is not None:
            found["distance"] = record.distance
        named[record.step] = {**found, **named.get(record.step, {})}
    every = range(1, steps + 1)
    names = sorted({name for found in named.values() for name in found} | {"distance", "missing", "seconds"})
    return {name: [float(named.get(step, {}).get(name, math.nan)) for step in every] for name in names}


def _listed(message: Message, name: str) -> list[str]:
    """The ids of the servers or of the workers."""
    ids = message.content.config_records[GUANYU.name][name]
    if not isinstance(ids, list):
        raise TypeError(f"{name} must be a list of ids, got {type(ids).__name__}")
    return [str(peer) for peer in ids]


def _attack(context: Context, config: GuanYuConfig, own: str, role: str, of_role: Sequence[str]) -> PeerAttack | None:
    """What makes this node lie: the last of each role do, as many as are tolerated, if the run names an attack."""
    chosen = {name: _named(f"{name}-attack", context) for name in ROLES}  # on honest nodes too: a mistake is no defence
    liars = config.byzantine_servers if role == "server" else config.byzantine_workers
    attack = chosen[role]
    if attack is None or own not in of_role[len(of_role) - liars :]:
        return None
    log(WARNING, "EXPERIMENT: this %s lies: %s", role, attack.attack)
    return attack


def _named(setting: str, context: Context) -> PeerAttack | None:
    name = str(context.run_config.get(setting, "none"))
    known = sorted(each for each, attack in ATTACKS.items() if attack.knows == "own")
    if name not in ("none", *known):
        raise ValueError(f"run_config[{setting!r}] must be one of {['none', *known]}, got {name!r:.80}")
    return None if name == "none" else PeerAttack(ATTACKS[name], seed=context.run_id % 2**32)
