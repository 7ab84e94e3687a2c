"""GuanYu in one ServerApp: replicated parameter servers, some of them staged as Byzantine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from logging import INFO, WARNING
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy.strategy_utils import sample_nodes

from flwr_byzantine.admission import Admitted, admit_train
from flwr_byzantine.attacks import Attack, ServerAttack
from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.protocols.guanyu.wire import ANSWERS, RECORD, Delivery
from flwr_byzantine.records import Flat, Layout
from flwr_byzantine.rules import median
from flwr_byzantine.strategies._guanyu_replicas import Gradients, Replica, Replicas
from flwr_byzantine.strategies._guanyu_report import GuanYuResult, StepReport, choices
from flwr_byzantine.strategies._guanyu_staging import (
    Schedule,
    StagedServers,
    attack_draws,
    server_attack_named,
    stage_workers,
)
from flwr_byzantine.strategies._report import RoundReport
from flwr_byzantine.strategies._settings import wrong
from flwr_byzantine.strategies.robust import RobustStrategy

__all__ = ["GuanYu"]


class GuanYu(RobustStrategy):
    """GuanYu's ``n`` servers and their exchanges, simulated in one ServerApp for any ``flwr run``.

    In each round every worker gets one message with the servers' models; the mod
    :func:`~flwr_byzantine.clients.guanyu_mod` takes the median of its quorum and sends one gradient back. Each server
    aggregates a quorum of gradients of its own, steps, and takes the median of a quorum of the servers' models.

    THIS SIMULATES FAULTY SERVERS. All of them are values in one process, and it does not survive the loss of that
    process, nor is it safe from who controls it. It serves to study what Byzantine servers do to a training, and what
    GuanYu's bounds and quorums cost; nothing here is measured or defended on a network.

    With :meth:`GuanYuSettings.byzsgd <flwr_byzantine.protocols.guanyu.GuanYuSettings.byzsgd>` it is ByzSGD, and with
    ``synchronous=True`` there its synchronous version: between exchanges a worker computes at one server's model, in
    turn, and asks the next one if that fails the Lipschitz or the outliers filter. What is left is logged and reported.

    Args:
        settings: How many servers and workers there are, how many may lie, and the rules.
        workers_return: What the workers' function replies: "model", the trained model, or "gradient".
        learning_rate: By which a server steps along the aggregated gradient, or a function of the step, from 1. For
            trained models 1.0 keeps what the workers learnt.
        server_attack: What staged servers send, an attack or its name in
            :data:`~flwr_byzantine.attacks.SERVER_ATTACKS`. FOR EXPERIMENTS ONLY.
        worker_attack: What staged workers send, made of all others' gradients; in place of an
            :class:`~flwr_byzantine.strategies.Adversary`, which knows of one model only. FOR EXPERIMENTS ONLY.
        byzantine_servers: How many servers are staged; ``f`` unless given. More than ``f`` shows how it breaks.
        byzantine_workers: How many workers are staged, those of the highest ids; ``f_w`` unless given.
        schedule: In which order messages reach a receiver: "seeded", drawn for each receiver and step; "arrival",
            gradients as they came; "byzantine-first", the worst case.
        **options: Those of :class:`RobustStrategy`, such as ``seed``, ``admission`` and ``grace_s``. Nodes evaluate
            nothing unless ``fraction_evaluate`` is given.

    Raises:
        ValueError: If an argument is out of range, or an attack needs something that is not bound.

    Example:
        >>> GuanYu(GuanYuSettings(n=6, f=1, m=18, f_w=5), server_attack="equivocation").staged_servers
        1
    """

    def __init__(
        self,
        settings: GuanYuSettings,
        *,
        workers_return: Literal["model", "gradient"] = "model",
        learning_rate: float | Callable[[int], float] = 1.0,
        server_attack: ServerAttack | str | None = None,
        worker_attack: Attack[...] | None = None,
        byzantine_servers: int | None = None,
        byzantine_workers: int | None = None,
        schedule: Schedule = "seeded",
        **options: Any,
    ) -> None:
        options = {"quorum": settings.q_w, "fraction_evaluate": 0.0, **options}
        options.setdefault("grace_s", 0.0 if schedule == "arrival" else 5.0)
        super().__init__(settings.gradient_rule, num_malicious_nodes=settings.f_w, **options)
        self.settings, self.workers_return, self.schedule = settings, workers_return, schedule
        self.rate = learning_rate if callable(learning_rate) else _constant(learning_rate)
        self.server_attack = server_attack_named(server_attack)
        self.worker_attack = worker_attack
        servers = settings.f if byzantine_servers is None else byzantine_servers
        workers = settings.f_w if byzantine_workers is None else byzantine_workers
        self.staged_servers = servers if self.server_attack is not None else 0
        self.staged_workers = workers if worker_attack is not None else 0
        self._check_staging()
        self.steps: dict[int, StepReport] = {}
        """What each round did, since the last start."""
        self._forget()

    def _check_staging(self) -> None:
        if self.workers_return not in ANSWERS or self.schedule not in get_args(Schedule):
            raise wrong(
                self,
                f"workers_return is one of {ANSWERS} and schedule one of {get_args(Schedule)}, "
                f"got {self.workers_return!r} and {self.schedule!r}",
            )
        if not (0 <= self.staged_servers < self.settings.n and 0 <= self.staged_workers < self.settings.m):
            raise wrong(self, "at least one server and one worker must be honest")
        if self.worker_attack is not None and self.worker_attack.needs:
            raise wrong(self, f"the attack {self.worker_attack} needs {', '.join(sorted(self.worker_attack.needs))}")
        if self.server_optimizer is not None or self.example_counts != "ignore":
            raise wrong(self, "each server steps by its own rule: server_optimizer and example_counts do not apply")

    def _forget(self) -> None:
        self.steps = {}
        self._replicas: Replicas | None = None
        self._nodes: tuple[int, ...] = ()
        self._models_bytes = 0

    def summary(self) -> None:
        """Log the numbers, what is lost by them, and what is staged."""
        s = self.settings
        log(INFO, "\t├──> GuanYu, simulated in this one process:")
        log(INFO, "\t│\t├── Servers: %d, of which %d may lie; quorum %d", s.n, s.f, s.q)
        log(INFO, "\t│\t├── Workers: %d, of which %d may lie; quorum %d", s.m, s.f_w, s.q_w)
        log(INFO, "\t│\t├── Models: %s every %d steps; messages: %s", s.model_rule, s.exchange_every, self.schedule)
        if s.synchronous:
            log(INFO, "\t│\t├── Workers take one server's model between exchanges, if it passes their filters")
        if s.lost:
            log(WARNING, "\t│\t├── Given up: %s", s.lost)
        if self.staged_servers or self.staged_workers:
            log(WARNING, "\t│\t├── EXPERIMENT: %d servers send %s", self.staged_servers, self.server_attack)
            log(WARNING, "\t│\t├── EXPERIMENT: %d workers send %s", self.staged_workers, self.worker_attack)
        super().summary()

    def start(self, grid: Grid, initial_arrays: ArrayRecord, *args: Any, **keywords: Any) -> GuanYuResult:
        """Run the rounds, as Flower's strategies do; the result has each honest server's model besides."""
        self._forget()
        result = super().start(grid, initial_arrays, *args, **keywords)
        models: dict[str, ArrayRecord] = {}
        if self._replicas is not None:
            models = {name: self._record(replica) for name, replica in self._replicas.models.items()}
        return GuanYuResult(**vars(result), steps=dict(self.steps), models=models)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message for each worker, with the servers' models in the order in which they reach it.

        Raises:
            ValueError: If the first model holds NaN or infinite numbers.
        """
        if self._replicas is None:
            self._layout, self._nodes = Layout.of(arrays), self._all_workers(grid)
            self._replicas = self._first_replicas(arrays)
        config["server-round"] = server_round
        records: dict[int, tuple[str, ArrayRecord]] = {}
        self._models_bytes = 0
        messages, rate = [], self.rate(self._replicas.step_now)
        for number, node in enumerate(self._nodes):
            content = RecordDict({self.configrecord_key: config, **self._delivery(number, records, rate)})
            messages.append(Message(content, node, MessageType.TRAIN))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Let every server take its step and exchange; gives the median of the honest servers' models."""
        if self._replicas is None or self._layout is None:
            raise RuntimeError(f"{type(self).__name__}: configure_train must come before aggregate_train")
        replies, step = list(replies), self._replicas.step_now
        liars = self._nodes[len(self._nodes) - self.staged_workers :]
        if self.worker_attack is not None:
            draws = attack_draws(self.worker_attack, self.seed, step)
            stage_workers(replies, self.worker_attack, self._layout, liars=liars, draws=draws)
        zero = np.zeros(self._layout.size, self._layout.dtype)
        admitted = admit_train(replies, self._layout, zero, self.admission, addressees=self._addressees())
        before = self._replicas.take_step(self._gradients(admitted, replies, liars))
        moved = self._replicas.step_now > step
        report = RoundReport(admitted.nodes, admitted.rejected, None, self.settings.f_w if moved else None)
        self._tell(server_round, step, admitted, before)
        self.rounds[server_round] = report
        metrics = MetricRecord({**self._train_metrics(admitted, None), **self.steps[server_round].as_metrics()})
        return self._median_record(), metrics

    def _tell(self, server_round: int, step: int, admitted: Admitted, before: float) -> None:
        replicas = cast(Replicas, self._replicas)
        for rejected in admitted.rejected:
            log(WARNING, "\t> round %d: reply of node %d left out: %s", server_round, rejected.node_id, rejected.reason)
        if replicas.step_now == step:
            log(WARNING, "round %d: %d gradients make no quorum of %d", server_round, len(admitted.nodes), self.quorum)
        size = admitted.rows.numel() * admitted.rows.element_size()
        told = choices(step, admitted, replicas.names) if self.settings.synchronous else ()
        self.steps[server_round] = StepReport(
            step, replicas.apart, before, self._models_bytes, size, len(replicas.refused), *told
        )

    def _all_workers(self, grid: Grid) -> tuple[int, ...]:
        """The ids of ``m`` nodes; they stay the workers for the whole run."""
        sampled, _ = sample_nodes(grid, self.settings.m, self.settings.m)
        return tuple(sorted(sampled))

    def _first_replicas(self, arrays: ArrayRecord) -> Replicas:
        layout = cast(Layout, self._layout)
        row = layout.flatten(arrays)
        if not np.isfinite(row).all():
            raise wrong(self, "the first model is not finite")
        names = tuple(f"server-{number}" for number in range(self.settings.n))
        staged = StagedServers(names[len(names) - self.staged_servers :], self.server_attack, self.seed)
        workers = [str(node) for node in self._nodes]
        replicas = Replicas(self.settings, workers, staged, self.rate, self.schedule, self.seed)
        buffers = {name: np.array(values) for name, values in layout.read_buffers(arrays).items()}
        replicas.start(Replica(torch.from_numpy(row), buffers))
        return replicas

    def _delivery(self, number: int, records: dict[int, tuple[str, ArrayRecord]], rate: float) -> dict[str, Any]:
        """The models of one worker's message, equal ones once, and the record that tells whose they are."""
        replicas = cast(Replicas, self._replicas)
        senders, names, models = [], [], {}
        for sender, replica in replicas.models_for(number):
            digest, record = records.get(id(replica)) or self._named(replica)
            if sender in replicas.models:  # what a liar makes for one receiver is gone before the next
                records[id(replica)] = (digest, record)
            senders.append(sender)
            names.append(digest)
            models[digest] = record
        self._models_bytes += len(models) * cast(Layout, self._layout).size * cast(Layout, self._layout).dtype.itemsize
        delivery = Delivery(
            replicas.step_now, tuple(senders), tuple(names), replicas.names, self.workers_return, self.settings, rate
        )
        return {RECORD: ConfigRecord(delivery.as_config()), **models}

    def _gradients(self, admitted: Admitted, replies: list[Message], liars: Iterable[int]) -> Gradients:
        by_worker = {}
        for row, node in enumerate(admitted.nodes):
            buffers = {name: values[row] for name, values in admitted.buffers.items()}
            by_worker[str(node)] = Replica(admitted.rows[row], buffers)
        sources = self._addressees()
        came = [str(sources.get(r.metadata.reply_to_message_id, r.metadata.src_node_id)) for r in replies]
        arrival = tuple(worker for worker in dict.fromkeys(came) if worker in by_worker)
        return Gradients(by_worker, arrival, frozenset(str(node) for node in liars))

    def _named(self, replica: Replica) -> tuple[str, ArrayRecord]:
        """A model's digest and its record."""
        digest = sha256(replica.row.numpy().tobytes())
        for values in replica.buffers.values():
            digest.update(values.tobytes())
        return digest.hexdigest(), self._record(replica)

    def _record(self, replica: Replica) -> ArrayRecord:
        return cast(Layout, self._layout).record(cast(Flat, replica.row.numpy()), replica.buffers)

    def _median_record(self) -> ArrayRecord:
        replicas = cast(Replicas, self._replicas)
        first = next(iter(replicas.models.values()))
        row = median(replicas.rows) if replicas.apart else first.row
        return self._record(replace(first, row=row))


def _constant(rate: float) -> Callable[[int], float]:
    return lambda step: rate
