"""SPIRT in Flower: nodes train peer to peer, and the server only brings them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from logging import INFO, WARNING

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log

from flwr_byzantine.admission import AdmissionPolicy, Admitted, admit_train
from flwr_byzantine.records import buffer_median
from flwr_byzantine.roster import SPIRT
from flwr_byzantine.rules import median
from flwr_byzantine.strategies._roles import NUMBERS_PER_ROUND, RolesStrategy, Setting
from flwr_byzantine.strategies._roles_report import PeerReport, RolesResult, models_of, peer_reports, round_summaries

__all__ = ["Spirt", "SpirtResult"]


@dataclass(repr=False)
class SpirtResult(RolesResult):
    """Flower's result, and what each peer told.

    ``arrays`` is the coordinate-wise median of the peers' last models; ``train_metrics_clientapp`` has for each round
    the median over the peers of each metric, and its least and greatest value as ``...-min`` and ``...-max``.
    """

    peers: Mapping[int, PeerReport] = field(default_factory=dict)
    """By node id, of the nodes whose final reply was admitted."""

    @property
    def reports(self) -> Mapping[int, PeerReport]:
        """By node id, what each told."""
        return self.peers


class Spirt(RolesStrategy[SpirtResult]):
    """Starts the nodes of :func:`~flwr_byzantine.clients.peer_app` as peers, and collects what they tell in the end.

    The server asks each node for its key and its store, and sends all of them the seats, signed by the peers
    themselves, the settings and the first model. The peers then train among themselves, through their own stores: no
    gradient passes the server, it cannot forge any, and if it dies they go on. Nodes that fail are counted, and the
    others go on.

    By default each peer is one long message. In a simulation with fewer processes than nodes the first peers would wait
    for others that cannot start; there the peers train in threads of these processes, and the server asks how far they
    are. Which it is, the log says.

    The result's model is the coordinate-wise median of the peers' last models: they agree if all are honest, and a
    minority of liars cannot carry a median away.

    Args:
        rule: What each peer aggregates by: ``"trimmed-mean"``, ``"nnm >> krum"``.
        num_malicious_nodes: Byzantine peers to tolerate, f.
        min_available_nodes: How many nodes to wait for before it starts with all that are there.
        settings: Further settings of a peer, as in its configuration file: ``learning-rate``, ``momentum``, ``graph``,
            ``quorum``, ``deadline-s``, ``grace-s``, ``secret``, ...
        resident: Whether peers train in threads that outlive the message; None for where that is needed.

    Raises:
        ValueError: If a number is negative, or ``settings`` says again what is said beside it.

    Example:
        >>> from flwr_byzantine.clients import peer_app
        >>> from flwr_byzantine.testing import InProcessGrid
        >>> app = peer_app(lambda model, context, round: [model - 1.0])  # the gradient of |model - 1|^2 / 2
        >>> strategy = Spirt("median", num_malicious_nodes=1, settings={"learning-rate": 0.5})
        >>> with InProcessGrid(app, 4, run_config={"store": "memory"}) as grid:
        ...     result = strategy.start(grid, ArrayRecord([torch.zeros(2).numpy()]), num_rounds=2)
        >>> result.arrays.to_numpy_ndarrays()[0], len(result.peers)
        (array([0.75, 0.75], dtype=float32), 4)
    """

    talk = SPIRT

    def __init__(
        self,
        rule: str = "trimmed-mean",
        *,
        num_malicious_nodes: int = 0,
        min_available_nodes: int = 2,
        settings: Mapping[str, Setting] | None = None,
        resident: bool | None = None,
    ) -> None:
        taken = {"rule", "byzantine", "rounds", "run"} & {name.replace("_", "-") for name in settings or {}}
        if taken:
            raise ValueError(f"Spirt: {', '.join(sorted(taken))} cannot be among the settings: it is said elsewhere")
        if num_malicious_nodes < 0 or min_available_nodes < 1:
            raise ValueError(
                f"Spirt: num_malicious_nodes must be >= 0 and min_available_nodes >= 1, "
                f"got {num_malicious_nodes} and {min_available_nodes}"
            )
        super().__init__(min_available_nodes=min_available_nodes, resident=resident)
        self.rule, self.num_malicious_nodes = rule, num_malicious_nodes
        self.settings = dict(settings or {})
        self._admitted: Admitted | None = None

    def summary(self) -> None:
        """Log the settings."""
        log(INFO, "\t├──> SPIRT settings:")
        log(INFO, "\t│\t├── Rule: %s", self.rule)
        log(INFO, "\t│\t├── Byzantine peers tolerated: %d", self.num_malicious_nodes)
        log(INFO, "\t│\t└── Peers: %s", self.settings or "by default")

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The coordinate-wise median of the last models, and the last round's metrics; None if there is no model."""
        policy = AdmissionPolicy(max_metric_values=NUMBERS_PER_ROUND * max(server_round, 1))
        admitted = admit_train(replies, self._layout, self._model, policy, addressees=self._addressees)
        for rejected in admitted.rejected:
            log(WARNING, "\t> reply of node %d left out: %s", rejected.node_id, rejected.reason)
        self._admitted = admitted
        if not admitted.nodes:
            return None, None
        middle = median(admitted.rows).numpy()
        buffers = {name: buffer_median(values) for name, values in admitted.buffers.items()}
        reports = peer_reports(admitted, torch.from_numpy(middle), self._invited.seats, SPIRT)
        arrays = self._layout.record(self._model + middle, buffers)
        return arrays, round_summaries(reports.values(), server_round).get(server_round)

    def _new_result(self) -> SpirtResult:
        return SpirtResult()

    def _settings(self, num_rounds: int) -> ConfigRecord:
        said: dict[str, Setting] = {"rule": self.rule, "byzantine": self.num_malicious_nodes, "rounds": num_rounds}
        return ConfigRecord({**self.settings, **said})

    def _tell(self, result: SpirtResult, num_rounds: int) -> None:
        admitted = self._admitted
        result.rejected = [*self._invited.rejected, *(admitted.rejected if admitted else [])]
        if admitted is None or not admitted.nodes:
            return
        result.peers = peer_reports(admitted, median(admitted.rows), self._invited.seats, SPIRT)
        result.models = models_of(admitted, self._layout, self._model)
        result.train_metrics_clientapp.update(round_summaries(result.peers.values(), num_rounds))
