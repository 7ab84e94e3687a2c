"""What a rule is as an object: what it needs, what it claims, how it is called, bound and composed.

The three classes share a file since each names the others: ``>>`` makes a :class:`Chain` of any two aggregators, and a
chain is made of :class:`Rule`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Generic, ParamSpec

from torch import Tensor

from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.rules._calls import Outcome, apply_to_finite_rows
from flwr_byzantine.rules._keywords import KeywordFunction, as_count
from flwr_byzantine.rules._rows import aligned_rows, kept_places, lowered, require, require_own
from flwr_byzantine.rules.rows import Inputs

__all__ = ["Aggregator", "Chain", "Rule", "stages_of"]

P = ParamSpec("P")


class Aggregator(ABC):
    """A rule or a composition of rules: ``aggregator(inputs, f=...) -> [d]``."""

    source: str
    """The publication that defines it."""
    bound: str
    """The resilience bound in words, such as ``n >= 2f + 3``."""
    equivariant: bool
    """Whether moving every input by the same vector moves the result by that vector. A rule that is not
    must be given updates or gradients, never raw parameters."""
    averages: bool
    """Whether the result is the plain mean of the selected inputs."""
    own_row: bool
    """Whether input 0 must be the caller's own: a rule for a node of a graph, not for a server."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As Python would write it, such as ``nnm(f=2) >> trimmed_mean(f=2)``."""

    @property
    @abstractmethod
    def f(self) -> int | None:
        """The number of Byzantine inputs bound to it, or None if every call must state it."""

    @property
    @abstractmethod
    def needs(self) -> frozenset[str]:
        """Names of required keywords, ``f`` apart, that are not bound yet."""

    @property
    @abstractmethod
    def accepts(self) -> frozenset[str]:
        """Names of all keywords that a call may give."""

    @property
    @abstractmethod
    def holds_tensors(self) -> bool:
        """Whether a tensor is bound to it, such as a pivot, which does not move when the inputs are moved."""

    @abstractmethod
    def bind(self, **keywords: Any) -> Aggregator:
        """The same aggregator with these keywords given; a call may still override them."""

    @abstractmethod
    def min_inputs(self, f: int) -> int:
        """The least number of inputs among which ``f`` Byzantine ones are tolerated."""

    @abstractmethod
    def kappa(self, n: int, f: int) -> float | None:
        """Proven upper bound of kappa in (f, kappa)-robustness for ``n`` inputs, or None if none is known."""

    @abstractmethod
    def apply(self, inputs: Inputs, **keywords: Any) -> Outcome:
        """Like a call, but also tells which inputs were selected."""

    def __call__(self, inputs: Inputs, **keywords: Any) -> Tensor:
        """Aggregate ``inputs`` into one vector ``[d]``.

        They are a matrix ``[n, d]`` or a list of ``n`` rows, each a tensor or a list of tensors, such as the layers of
        a model, which are read where they lie: neither stacked nor copied. Memory maps come by
        :func:`torch.from_numpy`.

        Example:
            >>> import torch
            >>> from flwr_byzantine.rules import median
            >>> layers = [[torch.tensor([[1.0, 2.0]]), torch.tensor([float(i)])] for i in range(3)]
            >>> median(layers, f=1)
            tensor([1., 2., 1.])
        """
        return self.apply(inputs, **keywords).value

    def __rshift__(self, following: Aggregator) -> Chain:
        """Compose: the result of this pre-aggregator is the input of ``following``."""
        if not isinstance(following, Aggregator):
            return NotImplemented
        return Chain(*stages_of(self), *stages_of(following))

    def __repr__(self) -> str:
        return self.name


class Rule(KeywordFunction, Aggregator, Generic[P]):
    """A rule or pre-aggregator made of one function. Made by ``rule`` and ``pre_aggregator``."""

    def __init__(
        self,
        function: Callable[Concatenate[Tensor, P], Tensor | Outcome],
        metadata: Mapping[str, Any],
        keywords: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(function, metadata, keywords)
        self.bound: str = metadata["bound"]
        self.source: str = metadata["source"]
        self.equivariant: bool = metadata["equivariant"]
        self.averages: bool = metadata["averages"]
        self.aligned: tuple[str, ...] = metadata["aligned"]
        self.places: tuple[str, ...] = metadata["places"]
        self.own_row: bool = metadata["own_row"]
        self.is_pre_aggregator: bool = metadata["outputs"] is not None

    @property
    def holds_tensors(self) -> bool:
        """Whether a tensor is bound to it."""
        return any(isinstance(value, Tensor) for value in self.keywords.values())

    def bind(self, **keywords: Any) -> Rule[...]:
        """The same rule with these keywords given; a call may still override them."""
        return self.with_keywords(keywords)

    def min_inputs(self, f: int) -> int:
        """The least number of inputs among which ``f`` Byzantine ones are tolerated."""
        return max(1, int(self._metadata["min_inputs"](as_count("f", f, ToleranceError))))

    def outputs(self, n: int) -> int:
        """How many rows a pre-aggregator makes of ``n``; 1 for a rule."""
        return int(self._metadata["outputs"](n, **self.keywords)) if self.is_pre_aggregator else 1

    @property
    def keeps_rows(self) -> bool:
        """Whether a pre-aggregator makes as many rows as it gets, each of one of them."""
        return self.is_pre_aggregator and all(self.outputs(n) == n for n in range(1, 100))

    def kappa(self, n: int, f: int, inner: float | None = None) -> float | None:
        """Proven upper bound of kappa; ``inner`` is that of the rule which follows a pre-aggregator."""
        proof = self._metadata["kappa"]
        if proof is None or n < self.min_inputs(f) or (self.is_pre_aggregator and inner is None):
            return None
        if self.keywords.keys() - {"f"}:
            return None  # proofs are for the defaults
        return float(proof(n, f, inner) if self.is_pre_aggregator else proof(n, f))

    def apply(self, inputs: Inputs, **keywords: Any) -> Outcome:
        """Like a call, but also tells which inputs were selected."""
        self.refuse_unknown(keywords)
        return apply_to_finite_rows((self,), inputs, keywords)

    def __call__(self, inputs: Inputs, /, *args: P.args, **keywords: P.kwargs) -> Tensor:  # type: ignore[override]
        """Aggregate ``inputs`` ``[n, d]`` into one vector ``[d]``."""
        if args:
            raise TypeError(f"{self.__name__} takes one positional argument, the inputs; give the rest by name")
        return self.apply(inputs, **keywords).value

    def run(self, rows: Tensor, keep: Tensor, excluded: int, keywords: dict[str, Any]) -> Outcome:
        """Run the function on finite rows with f lowered by the excluded ones, or raise what is wrong."""
        n, f = rows.shape[0], keywords.get("f", self.f)
        missing = sorted((self.needs - keywords.keys()) | ({"f"} if f is None else set()))
        if missing:
            raise TypeError(f"{self.__name__} needs {', '.join(missing)}")
        left = lowered(self.__name__, as_count("f", f, ToleranceError), n, excluded)
        require(self.__name__, left, n, self.min_inputs(left), self.bound)
        if self.own_row:
            require_own(self.__name__, keep)
        given = {k: v.detach() if isinstance(v, Tensor) else v for k, v in keywords.items()}
        self._follow_rows(given, keep, n + excluded)
        result = self.__wrapped__(rows, **{**given, "f": left})
        return result if isinstance(result, Outcome) else Outcome(result)

    def _follow_rows(self, given: dict[str, Any], keep: Tensor, n: int) -> None:
        """Make what goes with single inputs fit those that are kept: rows beside them, and their places."""
        for name in self.aligned:
            if given.get(name) is not None:
                given[name] = aligned_rows(self.__name__, name, given[name], keep, n)
        for name in self.places:
            if given.get(name) is not None:
                given[name] = kept_places(given[name], keep, n)


class Chain(Aggregator):
    """Rules applied left to right: pre-aggregators, then a rule. Made by ``>>``."""

    def __init__(self, *stages: Rule[...]) -> None:
        self.stages = stages
        *before, last = stages
        for stage in before:
            if not stage.is_pre_aggregator:
                raise TypeError(f"{stage.name} gives one vector, so nothing can follow it in {self!r}")
            if last.own_row and not stage.keeps_rows:
                raise TypeError(f"{stage.name} leaves no row of the caller's own, which {last.name} needs")
        self.source = "; ".join(stage.source for stage in stages)
        self.equivariant = all(stage.equivariant for stage in stages)
        self.averages = False
        self.own_row = last.own_row
        self.is_pre_aggregator = last.is_pre_aggregator

    @property
    def name(self) -> str:
        """The stages joined by ``>>``."""
        return " >> ".join(stage.name for stage in self.stages)

    @property
    def bound(self) -> str:  # type: ignore[override]
        """The bound of each stage."""
        return "; ".join(f"{stage.__name__}: {stage.bound}" for stage in self.stages)

    @property
    def f(self) -> int | None:
        """The largest number of Byzantine inputs that a stage was bound to, or None if one states none."""
        known = [stage.f for stage in self.stages]
        return None if any(f is None for f in known) else max(f for f in known if f is not None)

    @property
    def needs(self) -> frozenset[str]:
        """Names of required keywords, ``f`` apart, that are not bound yet."""
        return frozenset().union(*(stage.needs for stage in self.stages))

    @property
    def accepts(self) -> frozenset[str]:
        """Names of all keywords that a call may give; each goes to every stage that takes it."""
        return frozenset().union(*(stage.accepts for stage in self.stages))

    @property
    def holds_tensors(self) -> bool:
        """Whether a tensor is bound to a stage."""
        return any(stage.holds_tensors for stage in self.stages)

    def _refuse_unknown(self, keywords: Mapping[str, Any]) -> None:
        for name in keywords.keys() - self.accepts:
            raise TypeError(f"{self.name} does not take {name}; it takes {sorted(self.accepts)}")

    def bind(self, **keywords: Any) -> Chain:
        """The same chain with these keywords given to every stage that takes them."""
        self._refuse_unknown(keywords)
        return Chain(*(s.bind(**{k: v for k, v in keywords.items() if k in s.accepts}) for s in self.stages))

    def min_inputs(self, f: int) -> int:
        """The least number of inputs from which every stage gets as many as it needs."""
        n = self.stages[0].min_inputs(f)
        while not self._suffices(n, f):
            n += 1
        return n

    def _suffices(self, n: int, f: int) -> bool:
        for stage in self.stages:
            if n < stage.min_inputs(f):
                return False
            n = stage.outputs(n)
        return True

    def kappa(self, n: int, f: int) -> float | None:
        """Proven upper bound of kappa, from the last stage to the first, or None if a proof is missing."""
        *before, last = self.stages
        if any(stage.outputs(n) != n for stage in before):
            return None
        value = last.kappa(n, f)
        for stage in reversed(before):
            value = stage.kappa(n, f, value)
        return value

    def apply(self, inputs: Inputs, **keywords: Any) -> Outcome:
        """Like a call, but also tells which inputs were selected, if every stage keeps their number."""
        self._refuse_unknown(keywords)
        return apply_to_finite_rows(self.stages, inputs, keywords)


def stages_of(aggregator: Aggregator) -> tuple[Rule[...], ...]:
    """The rules that a rule or chain is made of, first to last."""
    if isinstance(aggregator, Chain):
        return aggregator.stages
    if isinstance(aggregator, Rule):
        return (aggregator,)
    raise TypeError(f"cannot compose {aggregator!r}: neither a rule nor a chain of rules")
