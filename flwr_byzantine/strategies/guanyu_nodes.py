"""GuanYu in Flower: servers and workers on nodes of their own, which the SuperLink only starts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from logging import INFO, WARNING

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log

from flwr_byzantine.admission import AdmissionPolicy, Admitted, admit_train
from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.records import buffer_median
from flwr_byzantine.roster import GUANYU
from flwr_byzantine.rules import Aggregator, median
from flwr_byzantine.strategies._guanyu_nodes_roles import Roles, deal
from flwr_byzantine.strategies._roles import NUMBERS_PER_ROUND, RolesStrategy, Setting
from flwr_byzantine.strategies._roles_report import PeerReport, RolesResult, models_of, peer_reports, round_summaries

__all__ = ["GuanYuNodes", "GuanYuNodesResult"]

DONE = "all steps done"


@dataclass(repr=False)
class GuanYuNodesResult(RolesResult):
    """Flower's result, and what each node told.

    ``arrays`` is the coordinate-wise median of the servers' last models; ``train_metrics_clientapp`` has for each step
    the median over the servers of each metric as ``server-...``, and over the workers as ``worker-...``, with the
    least and greatest value as ``...-min`` and ``...-max``.
    """

    nodes: Mapping[int, PeerReport] = field(default_factory=dict)
    """By node id, of the nodes whose final reply was admitted; a worker's model is the last at which it computed."""

    @property
    def reports(self) -> Mapping[int, PeerReport]:
        """By node id, what each told."""
        return self.nodes


class GuanYuNodes(RolesStrategy[GuanYuNodesResult]):
    """Starts the nodes of :func:`~flwr_byzantine.clients.guanyu_app` as GuanYu's servers and workers.

    The SuperLink's part is small: it asks each node for its key and its store, deals the roles, and sends all of them
    the seats, signed by the nodes themselves, the lists, the settings and the first model. From then on servers and
    workers speak through their own stores: no model and no gradient passes the SuperLink, it cannot forge any, and if
    it dies they go on. In the end it collects metrics and models. (:class:`~flwr_byzantine.strategies.GuanYu` simulates
    the servers in the SuperLink's own process.)

    The first ``n`` nodes by ascending id are servers and the next ``m`` workers, unless their ``node_config`` says
    ``role``; more nodes than that take no part. It starts with fewer if a quorum of each role is there: who does not
    come counts among the Byzantine ones, ``f`` of which are then left.

    Each node is one long message, or trains in a thread where a simulation has fewer processes than nodes, as with
    :class:`~flwr_byzantine.strategies.Spirt`.

    Args:
        settings: How many servers and workers there are, how many may lie, quorums and rules. Rules are sent by name.
        learning_rate: That of step 1.
        decay: The rate of step t is ``learning_rate / (1 + decay (t - 1))``.
        min_available_nodes: How many nodes to wait for before it starts with all that are there; ``n + m`` unless
            given.
        node_settings: Further settings of a node, as in its configuration file: ``idle-s``, ``poll-s``, ``stay-s``,
            ``retain-steps``, ...
        resident: Whether nodes train in threads that outlive the message; None for where that is needed.

    Raises:
        ValueError: If a number is out of range, a rule is more than its name, the settings are ``synchronous``, or
            ``node_settings`` says again what is said beside it.

    Example:
        >>> from flwr_byzantine.clients import guanyu_app
        >>> from flwr_byzantine.testing import InProcessGrid
        >>> app = guanyu_app(lambda model, context, step: model - 1.0)  # the gradient of |model - 1|^2 / 2
        >>> settings = GuanYuSettings(n=3, f=0, m=3, f_w=0)
        >>> strategy = GuanYuNodes(settings, learning_rate=0.5, node_settings={"stay-s": 0.5})
        >>> with InProcessGrid(app, 6, run_config={"store": "memory"}) as grid:
        ...     result = strategy.start(grid, ArrayRecord([torch.zeros(2).numpy()]), num_rounds=2)
        >>> result.arrays.to_numpy_ndarrays()[0], len(result.nodes)
        (array([0.75, 0.75], dtype=float32), 6)
    """

    talk = GUANYU

    def __init__(
        self,
        settings: GuanYuSettings,
        *,
        learning_rate: float = 0.1,
        decay: float = 0.0,
        min_available_nodes: int | None = None,
        node_settings: Mapping[str, Setting] | None = None,
        resident: bool | None = None,
    ) -> None:
        least = settings.n + settings.m if min_available_nodes is None else min_available_nodes
        if least < 1 or not (learning_rate > 0 and decay >= 0):
            raise ValueError(
                f"GuanYuNodes: min_available_nodes must be >= 1, learning_rate > 0 and decay >= 0, "
                f"got {least}, {learning_rate} and {decay}"
            )
        if settings.synchronous:
            raise ValueError("GuanYuNodes: nodes wait for nobody, so there is no synchronous version of them")
        super().__init__(min_available_nodes=least, resident=resident)
        self.settings, self.learning_rate, self.decay = settings, learning_rate, decay
        self.node_settings: dict[str, Setting] = {}
        further = {name.replace("_", "-"): value for name, value in (node_settings or {}).items()}
        taken = {*self._settings(1), "run"} & further.keys()
        if taken:
            raise ValueError(
                f"GuanYuNodes: {', '.join(sorted(taken))} cannot be among the node_settings: it is said elsewhere"
            )
        self.node_settings = further
        self._roles = Roles(settings)
        self._admitted: dict[str, Admitted] = {}

    def summary(self) -> None:
        """Log the settings."""
        s = self.settings
        log(INFO, "\t├──> GuanYu, servers and workers on nodes of their own:")
        log(INFO, "\t│\t├── Servers: %d, of which %d may lie; quorum %d; %s", s.n, s.f, s.q, s.model_rule)
        log(INFO, "\t│\t├── Workers: %d, of which %d may lie; quorum %d; %s", s.m, s.f_w, s.q_w, s.gradient_rule)
        if s.lost:
            log(WARNING, "\t│\t├── Given up: %s", s.lost)
        log(INFO, "\t│\t└── Nodes: %s", self.node_settings or "by default")

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The coordinate-wise median of the servers' last models, and the last step's metrics; None without any."""
        policy = AdmissionPolicy(max_metric_values=NUMBERS_PER_ROUND * max(server_round, 1))
        self._admitted = self._admit(replies, policy)
        servers = self._admitted["server"]
        if not servers.nodes:
            return None, None
        middle = median(servers.rows).numpy()
        buffers = {name: buffer_median(values) for name, values in servers.buffers.items()}
        return self._layout.record(self._model + middle, buffers), self._summaries(server_round).get(server_round)

    def _admit(self, replies: Iterable[Message], policy: AdmissionPolicy) -> dict[str, Admitted]:
        """The replies by role: servers and workers tell of different things."""
        by_role: dict[str, list[Message]] = {"server": [], "worker": []}
        for reply in replies:
            node = self._addressees.get(reply.metadata.reply_to_message_id, reply.metadata.src_node_id)
            by_role["server" if node in self._roles.servers else "worker"].append(reply)
        admitted = {
            role: admit_train(came, self._layout, self._model, policy, addressees=self._addressees)
            for role, came in by_role.items()
        }
        for rejected in (*admitted["server"].rejected, *admitted["worker"].rejected):
            log(WARNING, "\t> reply of node %d left out: %s", rejected.node_id, rejected.reason)
        return admitted

    def _new_result(self) -> GuanYuNodesResult:
        return GuanYuNodesResult()

    def _settings(self, num_rounds: int) -> ConfigRecord:
        s = self.settings
        said: dict[str, Setting] = {
            "byzantine-servers": s.f, "byzantine-workers": s.f_w, "model-quorum": s.q, "gradient-quorum": s.q_w,
            "model-rule": _text(s.model_rule), "gradient-rule": _text(s.gradient_rule), "strict": s.strict,
            "exchange-every": s.exchange_every, "lag": s.lag, "learning-rate": self.learning_rate, "decay": self.decay,
            "steps": num_rounds,
        }  # fmt: skip
        return ConfigRecord({**self.node_settings, **said})

    def _about(self) -> Mapping[str, int]:
        return {"servers": self.settings.n, "workers": self.settings.m}

    def _roster(self, settings: ConfigRecord) -> ConfigRecord:
        self._roles = deal(self.settings, self._invited)
        settings["byzantine-servers"] = self._roles.settings.f
        settings["byzantine-workers"] = self._roles.settings.f_w
        roster, seats = self._invited.roster, self._invited.seats
        roster["servers"] = [seats[node].key.peer for node in self._roles.servers]
        roster["workers"] = [seats[node].key.peer for node in self._roles.workers]
        return roster

    def _reports(self) -> dict[str, dict[int, PeerReport]]:
        """By role and node id; distances are from the median of the servers' models."""
        servers = self._admitted["server"]
        middle = median(servers.rows) if servers.nodes else torch.zeros(self._layout.size)
        return {
            role: peer_reports(admitted, middle, self._invited.seats, GUANYU, role)
            for role, admitted in self._admitted.items()
        }

    def _summaries(self, num_rounds: int) -> dict[int, MetricRecord]:
        found: dict[int, MetricRecord] = {step: MetricRecord() for step in range(1, num_rounds + 1)}
        for role, reports in self._reports().items():
            told = round_summaries(reports.values(), num_rounds, who=f"{role}s", prefix=f"{role}-")
            for step, summary in told.items():
                found[step].update(summary)
        return found

    def _tell(self, result: GuanYuNodesResult, num_rounds: int) -> None:
        result.rejected = [*self._invited.rejected, *(r for each in self._admitted.values() for r in each.rejected)]
        result.nodes = {node: report for reports in self._reports().values() for node, report in reports.items()}
        for node, report in result.nodes.items():
            if report.status.get("ended") != DONE:
                log(WARNING, "\t> node %d, %s, ended early: %.200s", node, report.called, report.status.get("ended"))
        for admitted in self._admitted.values():
            result.models = {**result.models, **models_of(admitted, self._layout, self._model)}
        result.train_metrics_clientapp.update(self._summaries(num_rounds))


def _text(rule: Aggregator) -> str:
    """A rule as a node's settings name it; each node binds f itself.

    Raises:
        ValueError: If more than f is bound.
    """
    text = re.sub(r"\(f=\d+\)", "", rule.name)
    if "(" in text:
        raise ValueError(f"GuanYuNodes: rules are sent by name, and {rule} is more than that")
    return text
