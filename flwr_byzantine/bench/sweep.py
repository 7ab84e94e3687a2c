"""A sweep: all combinations of what is listed, less what has been computed before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from flwr_byzantine.bench.cells import Cell, Job, KappaSearch, Servers, TaskChoice, Training, identity
from flwr_byzantine.bench.names import attack_named, rule_named
from flwr_byzantine.bench.partition import heterogeneity

__all__ = ["Sweep"]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is compared.

    Raises:
        ValueError: If a list is empty, or something in one cannot be; the message names it.

    Example:
        >>> sweep = Sweep(rules=("median", "krum"), attacks=("none", "alie"), f=(1, 2), seeds=(0, 1, 2))
        >>> len(list(sweep.jobs()))
        24
    """

    rules: tuple[str, ...]
    pre_aggregators: tuple[str, ...] = ("",)
    """Each goes before each rule; "" for none."""
    attacks: tuple[str, ...]
    f: tuple[int, ...]
    heterogeneity: tuple[str, ...] = ("iid",)
    seeds: tuple[int, ...] = (0,)
    systems: tuple[str, ...] = ("strategy",)
    task: TaskChoice = field(default_factory=TaskChoice)
    training: Training = field(default_factory=Training)
    servers: Servers = field(default_factory=Servers)
    """Of the system ``guanyu``."""
    kappa_evaluations: int = 0
    """Calls of each rule in the search for its kappa; 0 for no search."""

    def __post_init__(self) -> None:
        for name in ("rules", "attacks", "f", "heterogeneity", "seeds", "systems", "pre_aggregators"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: there is nothing to compare")
        for text in self.heterogeneity:
            heterogeneity(text)
        for rule in self.chains():
            for attack in self.attacks:
                attack_named(attack, rule_named(rule))

    def chains(self) -> list[str]:
        """The rules, each after each pre-aggregator."""
        pairs = itertools.product(self.pre_aggregators, self.rules)
        return list(dict.fromkeys(f"{pre} >> {rule}" if pre else rule for pre, rule in pairs))

    def jobs(self) -> Iterator[Job]:
        """All of it, each once; whole columns of a first seed come before the next seed."""
        seen: set[str] = set()
        everything: Iterator[Job] = itertools.chain[Job](self._kappas(), self._cells())
        for job in everything:
            if (name := identity(job)) not in seen:
                seen.add(name)
                yield job

    def _cells(self) -> Iterator[Cell]:
        for seed, system, mix, f in itertools.product(self.seeds, self.systems, self.heterogeneity, self.f):
            for rule, attack in itertools.product(self.chains(), self.attacks):
                yield Cell(
                    rule=rule, attack=attack, f=f, heterogeneity=mix, seed=seed, system=system, task=self.task,
                    training=self.training, servers=self.servers if system == "guanyu" else None,
                )  # fmt: skip

    def _kappas(self) -> Iterator[KappaSearch]:
        if self.kappa_evaluations:
            for rule, f in itertools.product(self.chains(), self.f):
                if f:
                    yield KappaSearch(rule, self.training.honest + f, f, self.kappa_evaluations)
