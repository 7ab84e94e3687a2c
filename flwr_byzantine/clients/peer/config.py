"""What a peer is told before it starts, checked as a whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flwr_byzantine.clients._choose import graph_of, rule_of
from flwr_byzantine.clients._settings import Settings
from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.protocols import MembershipPolicy, Quorum, RoundPolicy
from flwr_byzantine.protocols.graphs import Graph
from flwr_byzantine.rules import Aggregator
from flwr_byzantine.rules._rule import stages_of

__all__ = ["PeerConfig"]

MAX_ENVELOPE_BYTES = 4 << 30


@dataclass(frozen=True, kw_only=True)
class PeerConfig(Settings):
    """How a peer trains, and how patient it is. All times are of its own clock.

    Raises:
        TypeError: If a value is of another type.
        ValueError: If a value is out of its range, or there is no such rule.

    Example:
        >>> config = PeerConfig.from_mapping({"rule": "trimmed-mean", "byzantine": 1, "learning-rate": 0.5})
        >>> config.aggregator
        trimmed_mean(f=1)
        >>> PeerConfig.from_mapping({"leaning-rate": 0.5})
        Traceback (most recent call last):
        ...
        ValueError: there is no setting 'leaning-rate'; did you mean 'learning-rate'?
    """

    run: str = "run"
    """Its name: signatures of another run count for nothing."""
    rule: str | Aggregator = "trimmed-mean"
    """A rule, or its text: ``trimmed-mean``, ``nnm >> krum``."""
    byzantine: int = 0
    """How many members (on a graph: neighbours) may lie, f."""
    rounds: int | None = None
    """The last round; None for no end."""
    learning_rate: float = 0.1
    momentum: float = 0.0
    quorum: int | None = None
    """How many averages to wait for; None for n - f."""
    least: int | None = None
    """The fewest that will do at the deadline; None for what the rule needs."""
    deadline_s: float = 60.0
    grace_s: float = 2.0
    work_s: float = 600.0
    poll_s: float = 0.05
    max_poll_s: float = 2.0
    answer_s: float = 30.0
    lag: int = 2
    retain_rounds: int = 10
    settle_every: int | None = None
    """Every how many rounds to take the median of the models first: it ends what differs since not all averages reached
    everybody. None for never: gradients then leave the difference."""
    catch_up_tries: int = 5
    beat_s: float = 1.0
    suspect_after_s: float = 5.0
    evict_after_s: float = 30.0
    return_beats: int = 3
    idle_rounds: int = 3
    store_patience_s: float = 300.0
    """For how long one's own store may be away before one gives up."""
    stay_s: float = 0.0
    """How long to go on beating after the last round, so that others can finish."""
    graph: str | Graph = "full"
    """Who gossips with whom: ``full``, ``ring``, ``ring:2``, ``random-regular:4:7``, or a file."""
    exchange: str = ""
    """What is gossiped: ``gradients``, or ``models`` after one's own step. Empty for gradients on the full graph with a
    rule for all, and for models elsewhere: where not all get the same, gradients keep nobody together."""
    peers: tuple[str, ...] | None = None
    """The ids that the graph's nodes stand for, in order; None for the members in ascending order."""
    secret: bool = False
    """Whether what is published is sealed for the peers on the keyring."""
    max_bytes: int = MAX_ENVELOPE_BYTES
    """The largest envelope that is read while one does not know the model's size."""

    def __post_init__(self) -> None:
        self._check_types()
        if self.byzantine < 0:
            raise ValueError(f"byzantine must be >= 0, got {self.byzantine}")
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                f"learning_rate must be > 0 and momentum in [0, 1), got {self.learning_rate} and {self.momentum}"
            )
        if self.exchange not in ("", "gradients", "models"):
            raise ValueError(f"exchange must be 'gradients' or 'models', got {self.exchange!r}")
        if not self.store_patience_s > 0 or self.stay_s < 0 or self.max_bytes < 1024:
            raise ValueError("store_patience_s must be > 0, stay_s >= 0 and max_bytes >= 1024")
        _ = self.aggregator, self.round_policy, self.membership_policy
        missing = self.aggregator.needs - {"pivot", "reference"}
        if missing:
            raise ValueError(f"{self.aggregator} needs {', '.join(sorted(missing))}; bind it")
        if self.gossips_models and not self.aggregator.equivariant:
            raise ValueError(f"{self.aggregator} does not move with its inputs, so it cannot be run over models")

    @cached_property
    def aggregator(self) -> Aggregator:
        """The rule, with f bound."""
        chosen = rule_of(self.rule) if isinstance(self.rule, str) else self.rule
        return chosen.bind(f=self.byzantine) if "f" in chosen.accepts else chosen

    @cached_property
    def round_policy(self) -> RoundPolicy:
        """The part of it that is for rounds."""
        names = {field.name for field in dataclasses.fields(RoundPolicy)}
        return RoundPolicy(**{name: getattr(self, name) for name in names if hasattr(self, name)})

    @cached_property
    def membership_policy(self) -> MembershipPolicy:
        """The part of it that is for heartbeats."""
        names = {field.name for field in dataclasses.fields(MembershipPolicy)}
        return MembershipPolicy(**{name: getattr(self, name) for name in names if hasattr(self, name)})

    @property
    def own_first(self) -> bool:
        """Whether the rule treats one's own row apart."""
        return stages_of(self.aggregator)[-1].own_row

    @property
    def _depends_on_own(self) -> bool:
        return self.own_first or ("pivot" in self.aggregator.accepts and self.aggregator.equivariant)

    @property
    def gossips_models(self) -> bool:
        """Whether models are exchanged rather than gradients."""
        full = self.graph == "full" if isinstance(self.graph, str) else self.graph.min_degree == self.graph.n - 1
        return self.exchange == "models" or (not self.exchange and (self._depends_on_own or not full))

    def graph_among(self, members: Sequence[str]) -> Graph:
        """The graph of these members."""
        graph = graph_of(self.graph, len(members)) if isinstance(self.graph, str) else self.graph
        if graph.n != len(members):
            raise ValueError(f"{graph} has {graph.n} nodes, and there are {len(members)} peers")
        return graph

    def quorum_among(self, n: int) -> Quorum:
        """The quorum of ``n`` members, oneself among them.

        Raises:
            ToleranceError: If they are too few for ``f``, the rule, or the quorum asked for; the message says which.
        """
        f, needed = self.byzantine, self.aggregator.min_inputs(self.byzantine)
        if n - f < needed:
            raise ToleranceError(
                f"{self.aggregator} needs {needed} averages ({self.aggregator.bound}), and of n = {n} peers only "
                f"n - f = {n - f} are sure to come"
            )
        least = needed if self.least is None else max(needed, self.least)
        return Quorum.of(n, f=f, least=least, size=self.quorum)
