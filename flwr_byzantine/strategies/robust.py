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

from flwr_byzantine.admission import AdmissionPolicy, Admitted, TrainAdmission, admit_evaluate
from flwr_byzantine.errors import BudgetError, ToleranceError
from flwr_byzantine.records import Buffers, Flat, Layout, buffer_median
from flwr_byzantine.rules import Aggregator, Outcome
from flwr_byzantine.strategies._gathering import GatheringGrid
from flwr_byzantine.strategies._metrics import median_metrics
from flwr_byzantine.strategies._optimizer import ServerOptimizer
from flwr_byzantine.strategies._report import RobustResult, RoundReport, log_admission, log_selection
from flwr_byzantine.strategies._settings import check_settings, f_to_tolerate
from flwr_byzantine.strategies._tolerance import largest_tolerated, seeded
from flwr_byzantine.strategies._weighing import selected_shares, stated_counts, takes_counts, weighing

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
        example_counts: What becomes of the numbers of examples that nodes state. "clip": replies weigh by them, none
            more than ``max_count_ratio`` times their median. A rule that averages the replies which it selects does
            so with these weights; ``median``, ``trimmed_mean`` and ``geometric_median`` give way to
            :func:`~flwr_byzantine.rules.weighted_median` and so on, which keep any f replies below half of the weight.
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
        self.rule = weighing(rule, max_count_ratio) if example_counts == "clip" else rule
        self.example_counts, self.max_count_ratio = example_counts, max_count_ratio
        self.num_malicious_nodes = f_to_tolerate(self, num_malicious_nodes)
        self.admission = replace(admission or AdmissionPolicy(), weight_key=self.weighted_by_key)
        self.on_shortfall = on_shortfall
        self.quorum, self.grace_s = quorum, grace_s
        self.server_optimizer = None if server_optimizer is None else ServerOptimizer(server_optimizer)
        check_settings(self)
        self.seed = seed
        self.rounds: dict[int, RoundReport] = {}
        """A report of each round since the last start."""
        self._layout: Layout | None = None
        self._model: Flat | None = None
        self._arriving: TrainAdmission | None = None
        self._grid: GatheringGrid | None = None

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
        self._arriving = None
        self._grid = GatheringGrid(grid, self.quorum, self.grace_s, f=self.num_malicious_nodes, on_reply=self.see)
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
        self._arriving = None
        for spec, place in self._layout.floats:
            if not np.isfinite(self._model[place]).all():
                raise ValueError(f"round {server_round}: array {spec.name!r} of the model to send is not finite")
        if self.server_optimizer is not None:
            self.server_optimizer.see(server_round, arrays, grid)
        self._arriving = TrainAdmission(self._layout, self._model, self.admission)
        return super().configure_train(server_round, arrays, config, grid)

    def see(self, reply: Message) -> None:
        """Do what can be done for a train reply before all have come; ``start`` calls this while it waits."""
        if self._arriving is not None:
            self._arriving.see(reply)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate the train replies robustly; the arrays are None if too few were admitted."""
        if self._layout is None or self._model is None:
            raise RuntimeError(f"{type(self).__name__}: configure_train must come before aggregate_train")
        replies = list(replies)
        if not replies and not self.min_train_nodes:
            return None, None
        arriving = self._arriving or TrainAdmission(self._layout, self._model, self.admission)
        self._arriving = None
        admitted = arriving.admit(replies, addressees=self._addressees())
        log_admission("aggregate_train", server_round, admitted)
        f, outcome = self._outcome(server_round, admitted)
        selected = None if outcome is None or outcome.selected is None else outcome.selected.tolist()
        chosen = None if selected is None else tuple(admitted.nodes[row] for row in sorted(selected))
        self.rounds[server_round] = RoundReport(admitted.nodes, admitted.rejected, chosen, f)
        metrics = self._train_metrics(admitted, chosen)
        if outcome is None:
            return None, metrics
        log_selection(len(admitted.nodes), chosen, f)
        carrier = next(reply for reply in replies if reply.has_content())
        return self._step(server_round, outcome.value, admitted, carrier), metrics

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Aggregate the metrics of the evaluate replies robustly."""
        replies = list(replies)
        if not replies:
            return None
        admitted = admit_evaluate(replies, self.admission, addressees=self._addressees())
        log_admission("aggregate_evaluate", server_round, admitted)
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
        """The f that was tolerated and the model that the rule made, or None for both if the model is to stay."""
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
        """The model after the step that the rule makes of the updates, and the rows that it selected."""
        keywords = self.rule_keywords(server_round, admitted, f)
        tensors = any(isinstance(value, Tensor) for value in keywords.values())
        if self.example_counts == "clip" and takes_counts(self.rule):
            keywords["counts"] = stated_counts(admitted, self.weighted_by_key)
        if self.rule.equivariant and len(admitted.model) and not (tensors or self.rule.holds_tensors):
            outcome = self.rule.apply(admitted.replies, f=f, **keywords)  # where they lie: it moves with them
        else:
            update, selected = self.rule.apply(admitted.rows, f=f, **keywords)
            outcome = Outcome(admitted.model + update, selected)
        if self.example_counts == "ignore" or outcome.selected is None:
            return outcome
        counts = stated_counts(admitted, self.weighted_by_key)
        shares = selected_shares(counts, outcome.selected, self.max_count_ratio)
        return Outcome(admitted.model + shares.to(admitted.rows.dtype) @ admitted.rows, outcome.selected)

    def _step(self, server_round: int, model: Tensor, admitted: Admitted, carrier: Message) -> ArrayRecord | None:
        """The next model, in the names, order, shapes and dtypes sent; None if it is not finite."""
        layout = cast(Layout, self._layout)
        buffers = self._buffers(admitted)
        stepped = layout.record(model.numpy(), buffers)
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
