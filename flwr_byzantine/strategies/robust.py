"""The strategy under all others here: FedAvg's sampling and rounds, with admission and a robust rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from logging import ERROR, INFO, WARNING
from typing import Any, Literal, cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result
from torch import Tensor

from flwr_byzantine.admission import AdmissionPolicy, Admitted, admit_evaluate, admit_train
from flwr_byzantine.errors import BudgetError, ToleranceError
from flwr_byzantine.records import Buffers, Flat, Layout, buffer_median
from flwr_byzantine.rules import Aggregator, Outcome
from flwr_byzantine.strategies._gathering import GatheringGrid
from flwr_byzantine.strategies._metrics import median_metrics
from flwr_byzantine.strategies._optimizer import ServerOptimizer
from flwr_byzantine.strategies._report import RobustResult, RoundReport
from flwr_byzantine.strategies._tolerance import clipped_counts, largest_tolerated, seeded

__all__ = ["RobustStrategy"]

MetricsFunction = Callable[[list[RecordDict], str], MetricRecord]


class RobustStrategy(FedAvg):
    """Federated averaging with any robust rule, and with nothing believed that a node sends.

    Each round, replies pass admission (:func:`~flwr_byzantine.admission.admit_train`); the rule aggregates what
    the admitted nodes changed in the model; the model takes that step. A rejected reply is a fault found, so it
    uses up one of ``num_malicious_nodes``: the rule runs with the largest f between ``num_malicious_nodes``
    minus the rejected nodes and ``num_malicious_nodes`` that its bound allows for the replies admitted. If it
    allows none, the model stays.

    Args:
        rule: Any rule or composition, such as ``nnm >> trimmed_mean``.
        num_malicious_nodes: Byzantine nodes to tolerate, f. If None, the f bound to the rule.
        admission: What a reply must keep to, beyond the model's names, shapes and dtypes. Its ``weight_key`` is
            ``weighted_by_key``.
        on_shortfall: What to do when too few replies are admitted for the rule's bound: keep the model and go on, or
            raise :class:`~flwr_byzantine.errors.ToleranceError`, which ends the run.
        quorum: Replies after which nobody is waited for longer than ``grace_s``, at most f errors among them. If
            None, all replies or the timeout.
        grace_s: Seconds that slower nodes have once the quorum is there.
        example_counts: What becomes of the numbers of examples that nodes state. "clip": the rule's selected replies
            are averaged with them as weights, none more than ``max_count_ratio`` times the median of those selected;
            for rules that average what they select.
        max_count_ratio: See above.
        server_optimizer: A Flower strategy with an optimiser, such as ``FedAdam(eta=0.01)`` or
            ``FedAvgM(server_momentum=0.9)``: it takes the step from the robust aggregate. Only its optimiser is used,
            not its sampling, and each start begins with its state as given here.
        seed: Together with the round it seeds the randomness of rules that draw. Who knows it foresees the draws, so
            in a real federation it should be secret.
        **options: All arguments of :class:`flwr.serverapp.strategy.FedAvg`, by name. ``train_metrics_aggr_fn`` and
            ``evaluate_metrics_aggr_fn`` see admitted replies only; their default is the median per key.

    Raises:
        ValueError: If an argument is out of range, or the rule needs something that is not bound.

    Example:
        >>> from flwr_byzantine.rules import nnm, trimmed_mean
        >>> strategy = RobustStrategy(nnm >> trimmed_mean, num_malicious_nodes=2, min_train_nodes=10)
        >>> strategy.rule
        nnm >> trimmed_mean
    """

    def __init__(
        self,
        rule: Aggregator,
        *,
        num_malicious_nodes: int | None = None,
        admission: AdmissionPolicy | None = None,
        on_shortfall: Literal["keep", "raise"] = "keep",
        quorum: int | None = None,
        grace_s: float = 0.0,
        example_counts: Literal["ignore", "clip"] = "ignore",
        max_count_ratio: float = 2.0,
        server_optimizer: FedAvg | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        for aggregator in ("train_metrics_aggr_fn", "evaluate_metrics_aggr_fn"):
            options[aggregator] = options.get(aggregator) or median_metrics
        super().__init__(**options)
        self.rule = rule
        self.num_malicious_nodes = self._f_to_tolerate(num_malicious_nodes)
        self.admission = replace(admission or AdmissionPolicy(), weight_key=self.weighted_by_key)
        self.on_shortfall = on_shortfall
        self.quorum, self.grace_s = quorum, grace_s
        self.example_counts, self.max_count_ratio = example_counts, max_count_ratio
        self.server_optimizer = None if server_optimizer is None else ServerOptimizer(server_optimizer)
        self._check_settings()
        self.seed = seed
        self.rounds: dict[int, RoundReport] = {}
        """A report of each round since the last start."""
        self._layout: Layout | None = None
        self._model: Flat | None = None
        self._grid: GatheringGrid | None = None

    def _f_to_tolerate(self, stated: int | None) -> int:
        f = self.rule.f if stated is None else stated
        if self.rule.own_row:
            raise self._wrong(f"the rule {self.rule} is for a peer among neighbours: input 0 is its own; no reply is")
        missing = self.rule.needs - self.provides
        if missing:
            raise self._wrong(f"the rule {self.rule} needs {', '.join(sorted(missing))}; bind it")
        if f is None:
            raise self._wrong(f"num_malicious_nodes is needed, since the rule {self.rule} binds no f")
        if f < 0:
            raise self._wrong(f"num_malicious_nodes must be at least 0, got {f}")
        return f

    def _check_settings(self) -> None:
        rule, f = self.rule, self.num_malicious_nodes
        if self.on_shortfall not in ("keep", "raise"):
            raise self._wrong(f"on_shortfall must be 'keep' or 'raise', got {self.on_shortfall!r}")
        if self.quorum is not None and self.quorum < rule.min_inputs(f):
            needed = f"{rule.min_inputs(f)} replies ({rule.bound}) that {rule} needs for f = {f}"
            raise self._wrong(f"quorum = {self.quorum} is less than the {needed}")
        if self.grace_s < 0:
            raise self._wrong(f"grace_s must be at least 0, got {self.grace_s}")
        if self.example_counts not in ("ignore", "clip"):
            raise self._wrong(f"example_counts must be 'ignore' or 'clip', got {self.example_counts!r}")
        if self.example_counts == "clip" and not rule.averages:
            raise self._wrong(f"{rule} does not average what it selects, so it cannot weigh example counts")
        if not self.max_count_ratio > 0:
            raise self._wrong(f"max_count_ratio must be positive, got {self.max_count_ratio}")

    def _wrong(self, text: str) -> ValueError:
        return ValueError(f"{type(self).__name__}: {text}")

    provides: frozenset[str] = frozenset({"generator"})
    """Keywords that :meth:`rule_keywords` hands to the rule in each round."""

    def rule_keywords(self, server_round: int, admitted: Admitted, f: int) -> dict[str, Any]:
        """What the rule gets in this round besides ``f``; for subclasses with a state to hand in."""
        if "generator" not in self.rule.accepts:
            return {}
        return {"generator": seeded(self.seed, server_round)}

    def summary(self) -> None:
        """Log the configuration of the strategy."""
        log(INFO, "\t├──> Robust aggregation:")
        log(INFO, "\t│\t├── Rule: %s (%s)", self.rule, self.rule.bound)
        needed = self.rule.min_inputs(self.num_malicious_nodes)
        log(INFO, "\t│\t├── Malicious nodes tolerated: %d (needs %d replies)", self.num_malicious_nodes, needed)
        log(INFO, "\t│\t├── Example counts: %s", self.example_counts)
        if self.server_optimizer is not None:
            log(INFO, "\t│\t├── Server optimizer: %s", self.server_optimizer)
        waits = "all replies" if self.quorum is None else f"{self.quorum} replies and {self.grace_s:g} s"
        log(INFO, "\t│\t└── Waits for: %s", waits)
        super().summary()

    def start(self, grid: Grid, initial_arrays: ArrayRecord, *args: Any, **keywords: Any) -> RobustResult:
        """Run the rounds, as Flower's strategies do.

        Args:
            grid: The grid to send and receive messages over.
            initial_arrays: The model to begin with.
            *args: The rest of :meth:`flwr.serverapp.strategy.Strategy.start`, in its order.
            **keywords: The same by name.

        Returns:
            Flower's result; ``rounds`` reports who was admitted, rejected and selected in each round.
        """
        return self.report(super().start(self.gather(grid), initial_arrays, *args, **keywords))

    def gather(self, grid: Grid) -> Grid:
        """Begin a run: forget the last one's reports, and wrap the grid as ``quorum`` and ``grace_s`` say."""
        self.rounds = {}
        if self.server_optimizer is not None:
            self.server_optimizer.forget()
        self._grid = GatheringGrid(grid, self.quorum, self.grace_s, f=self.num_malicious_nodes)
        return self._grid

    def report(self, result: Result) -> RobustResult:
        """End a run: Flower's result with the reports of its rounds."""
        return RobustResult(**vars(result), rounds=dict(self.rounds))

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Configure the next round of training, and keep the model that is sent.

        Raises:
            ValueError: If the model holds NaN or infinite numbers: no update of it could be told.
        """
        if self.quorum is not None and self._grid is None:
            log(WARNING, "quorum = %d is not heeded: another strategy's start runs the rounds", self.quorum)
        self._layout = Layout.of(arrays)
        self._model = self._layout.flatten(arrays)
        for spec, place in self._layout.floats:
            if not np.isfinite(self._model[place]).all():
                raise ValueError(f"round {server_round}: array {spec.name!r} of the model to send is not finite")
        if self.server_optimizer is not None:
            self.server_optimizer.see(server_round, arrays, grid)
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate the train replies robustly; the arrays are None if too few were admitted."""
        if self._layout is None or self._model is None:
            raise RuntimeError(f"{type(self).__name__}: configure_train must come before aggregate_train")
        replies = list(replies)
        if not replies and not self.min_train_nodes:
            return None, None
        admitted = admit_train(replies, self._layout, self._model, self.admission, addressees=self._addressees())
        _log_admission("aggregate_train", server_round, admitted)
        f, outcome = self._outcome(server_round, admitted)
        selected = None if outcome is None or outcome.selected is None else outcome.selected.tolist()
        chosen = None if selected is None else tuple(admitted.nodes[row] for row in sorted(selected))
        self.rounds[server_round] = RoundReport(admitted.nodes, admitted.rejected, chosen, f)
        metrics = self._train_metrics(admitted, chosen)
        if outcome is None:
            return None, metrics
        _log_selection(len(admitted.nodes), chosen, f)
        carrier = next(reply for reply in replies if reply.has_content())
        return self._step(server_round, outcome.value, admitted, carrier), metrics

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Aggregate the metrics of the evaluate replies robustly."""
        replies = list(replies)
        if not replies:
            return None
        admitted = admit_evaluate(replies, self.admission, addressees=self._addressees())
        _log_admission("aggregate_evaluate", server_round, admitted)
        report = self.rounds.get(server_round, RoundReport((), (), None, None))
        self.rounds[server_round] = replace(report, evaluate_rejected=admitted.rejected)
        if not admitted.nodes:
            return None
        if len(admitted.nodes) <= 2 * self.num_malicious_nodes:
            log(WARNING, "\t> round %d: so few evaluate replies that liars can own their metrics", server_round)
        return self._metrics(self.evaluate_metrics_aggr_fn, list(admitted.contents))

    def _metrics(self, aggregate: MetricsFunction, contents: list[RecordDict]) -> MetricRecord | None:
        """What the user's function makes of admitted metrics, or the median per key if it raises on them."""
        try:
            return aggregate(contents, self.weighted_by_key)
        except Exception:  # a node's numbers may be such that a function of the user's cannot bear them
            name = getattr(aggregate, "__name__", repr(aggregate))
            log(ERROR, "%s raised; the median per key is taken instead", name, exc_info=True)
            return median_metrics(contents, self.weighted_by_key)

    def _addressees(self) -> dict[str, int]:
        return {} if self._grid is None else self._grid.addressees

    def _outcome(self, server_round: int, admitted: Admitted) -> tuple[int | None, Outcome | None]:
        """The f that was tolerated and what the rule made, or None for both if the model is to stay."""
        f = largest_tolerated(self.rule, len(admitted.nodes), self.num_malicious_nodes, admitted.faulty)
        try:
            if f is None:
                left = max(0, self.num_malicious_nodes - admitted.faulty)
                needed = f"{self.rule.min_inputs(left)} ({self.rule.bound}) for f = {left}"
                raise ToleranceError(f"{len(admitted.nodes)} replies admitted, but {self.rule} needs {needed}")
            return f, self._aggregate(server_round, admitted, f)
        except (ToleranceError, BudgetError) as error:  # replies can be made so that an exact search runs over
            if self.on_shortfall == "raise":
                raise
            log(WARNING, "round %d: %s: the model is kept", server_round, error)
            return None, None

    def _aggregate(self, server_round: int, admitted: Admitted, f: int) -> Outcome:
        keywords = self.rule_keywords(server_round, admitted, f)
        tensors = any(isinstance(value, Tensor) for value in keywords.values())
        if self.rule.equivariant and len(admitted.model) and not (tensors or self.rule.holds_tensors):
            value, selected = self.rule.apply(admitted.replies, f=f, **keywords)  # where they lie
            outcome = Outcome(value.sub_(admitted.model), selected)
        else:
            outcome = self.rule.apply(admitted.rows, f=f, **keywords)
        if self.example_counts == "ignore" or outcome.selected is None:
            return outcome
        weights = clipped_counts(admitted, outcome.selected, self.weighted_by_key, self.max_count_ratio)
        return Outcome(weights.to(admitted.rows.dtype) @ admitted.rows, outcome.selected)

    def _step(self, server_round: int, update: Tensor, admitted: Admitted, carrier: Message) -> ArrayRecord | None:
        """The model after this update, in the names, order, shapes and dtypes sent; None if it is not finite."""
        layout, model = cast(Layout, self._layout), cast(Flat, self._model)
        buffers = self._buffers(admitted)
        stepped = layout.record(model + update.numpy(), buffers)
        if self.server_optimizer is not None:
            stepped = self.server_optimizer.step(server_round, stepped, carrier)
            stepped = layout.record(layout.flatten(stepped), buffers)
        if layout.is_finite(stepped):
            return stepped
        log(WARNING, "round %d: the step leaves the range of the model's dtypes: the model is kept", server_round)
        return None

    def _buffers(self, admitted: Admitted) -> Buffers:
        """The arrays of the next model that are not floating-point."""
        return {name: buffer_median(values) for name, values in admitted.buffers.items()}

    def _train_metrics(self, admitted: Admitted, chosen: tuple[int, ...] | None) -> MetricRecord:
        contents = list(admitted.contents)
        metrics = self._metrics(self.train_metrics_aggr_fn, contents) if contents else MetricRecord()
        counts = {"num-admitted": len(contents), "num-rejected": len(admitted.rejected)}
        if chosen is not None:
            counts["num-selected"] = len(chosen)
        return MetricRecord({**counts, **(metrics or {})})


def _log_admission(phase: str, server_round: int, admitted: Admitted) -> None:
    log(INFO, "%s: Received %s results and %s failures", phase, len(admitted.nodes), len(admitted.rejected))
    for rejected in admitted.rejected:
        log(WARNING, "\t> round %d: %s", server_round, rejected)


def _log_selection(n: int, chosen: tuple[int, ...] | None, f: int | None) -> None:
    used = f"all {n} replies" if chosen is None else f"{len(chosen)} of {n} replies"
    log(INFO, "\t└──> Aggregated %s, tolerating f = %d", used, f)
