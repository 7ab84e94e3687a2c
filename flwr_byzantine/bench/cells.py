"""What is run in a sweep, piece by piece: its settings are its identity."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from flwr_byzantine.bench.names import attack_named, rule_named
from flwr_byzantine.bench.partition import heterogeneity
from flwr_byzantine.rules import robustness

__all__ = ["SYSTEMS", "Cell", "Job", "KappaSearch", "Servers", "TaskChoice", "Training"]

System = Literal["strategy", "guanyu", "peers"]
SYSTEMS: tuple[str, ...] = ("strategy", "guanyu", "peers")
"""What a training may run on."""
FORMAT = 1
"""Of the settings: what is computed from them differently gets another number, and so runs again."""


class Job(Protocol):
    """A piece of work of a sweep."""

    @property
    def kind(self) -> str:
        """``cell`` or ``kappa``."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that determines the result, of JSON's types."""

    @property
    def label(self) -> str:
        """For people."""

    def run(self, folder: Path) -> dict[str, Any]:
        """The result, of JSON's types; ``folder`` is where the sweep's files are."""


def identity(job: Job) -> str:
    """16 hexadecimal digits that name a job's settings.

    Example:
        >>> identity(KappaSearch("median", n=5, f=1)) == identity(KappaSearch("median", n=5, f=1, evaluations=9))
        False
    """
    text = json.dumps([FORMAT, job.kind, job.settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TaskChoice:
    """Which task, as :func:`~flwr_byzantine.bench.load_task` takes it.

    Raises:
        ValueError: If an option is not of JSON's types.
    """

    name: str = "digits"
    data: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            json.dumps(self.options, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"options may hold texts, finite numbers, lists and tables: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Training:
    """How nodes train, and for how long.

    Raises:
        ValueError: If a number is out of range.
    """

    honest: int = 10
    """Honest nodes, who share the data; ``f`` Byzantine ones come on top."""
    rounds: int = 30
    local_steps: int = 5
    """Mini-batches between two messages."""
    batch_size: int = 32
    learning_rate: float = 0.5
    momentum: float = 0.0
    """Of each node: ``m = momentum * m + (1 - momentum) * gradient``."""
    weight_decay: float = 0.0
    evaluate_every: int = 1
    """Rounds between two measurements of the accuracy; the last round is always measured."""

    def __post_init__(self) -> None:
        for name in ("honest", "rounds", "local_steps", "batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not (0 < self.learning_rate < math.inf and 0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf):
            raise ValueError(
                f"learning_rate must be > 0, momentum in [0, 1) and weight_decay >= 0, all finite, "
                f"got {self.learning_rate}, {self.momentum} and {self.weight_decay}"
            )

    def measures(self, round: int) -> bool:
        """Whether the accuracy after this round is measured."""
        return round > 0 and (round % self.evaluate_every == 0 or round == self.rounds)


@dataclass(frozen=True, kw_only=True)
class Servers:
    """GuanYu's servers; its workers are the nodes.

    Raises:
        ValueError: If a number is out of range.
    """

    count: int = 6
    byzantine: int = 1
    attack: str = ""
    """What Byzantine servers send, a name in :data:`~flwr_byzantine.attacks.SERVER_ATTACKS`; "" for honest ones."""
    strict: bool = True
    """False allows the smaller numbers of the later paper."""

    def __post_init__(self) -> None:
        if not 0 <= self.byzantine < self.count:
            raise ValueError(f"of {self.count} servers, {self.byzantine} cannot be Byzantine")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training under attack.

    Raises:
        ValueError: If a rule, attack or heterogeneity is none, or a number is out of range.

    Example:
        >>> Cell(rule="krum", attack="alie", f=2).label
        'strategy: krum, alie, f = 2, iid, seed 0'
    """

    rule: str
    attack: str
    f: int
    heterogeneity: str = "iid"
    seed: int = 0
    system: str = "strategy"
    task: TaskChoice = field(default_factory=TaskChoice)
    training: Training = field(default_factory=Training)
    servers: Servers | None = None
    """Of the system ``guanyu``."""

    kind = "cell"

    def __post_init__(self) -> None:
        if self.system not in SYSTEMS or self.f < 0 or self.seed < 0:
            raise ValueError(
                f"system is one of {', '.join(SYSTEMS)}, f and seed are >= 0, "
                f"got {self.system!r}, {self.f} and {self.seed}"
            )
        heterogeneity(self.heterogeneity)
        attack_named(self.attack, rule_named(self.rule))

    @property
    def settings(self) -> dict[str, Any]:
        """All that determines the result, of JSON's types."""
        given = asdict(self)
        if self.servers is None:
            del given["servers"]
        return given

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.system}: {self.rule}, {self.attack}, f = {self.f}, {self.heterogeneity}, seed {self.seed}"

    def run(self, folder: Path) -> dict[str, Any]:
        """Train; accuracies by round, who was selected and rejected, and the rule's time."""
        from flwr_byzantine.bench.systems import train  # which knows cells

        return train(self, folder)


@dataclass(frozen=True)
class KappaSearch:
    """A search for the worst kappa of a rule, beside what is proven.

    Example:
        >>> KappaSearch("median", n=5, f=1).label
        'kappa: median, n = 5, f = 1'
    """

    rule: str
    n: int
    f: int
    evaluations: int = 2000

    kind = "kappa"

    @property
    def settings(self) -> dict[str, Any]:
        """All that determines the result, of JSON's types."""
        return asdict(self)

    @property
    def label(self) -> str:
        """For people."""
        return f"kappa: {self.rule}, n = {self.n}, f = {self.f}"

    def run(self, folder: Path) -> dict[str, Any]:
        """The kappa found, the one proven or None, and the least that any rule can have."""
        found = robustness(rule_named(self.rule), self.n, self.f, evaluations=self.evaluations)
        floor = found.floor if math.isfinite(found.floor) else None
        return {"found": found.found, "proven": found.proven, "floor": floor}
