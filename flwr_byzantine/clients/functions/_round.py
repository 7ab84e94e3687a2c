"""The batches of one round on their way: bounded in flight, run again where a worker died, judged when they come."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from flwr_byzantine.admission import printable
from flwr_byzantine.clients.functions._policy import BatchFailed, BatchGradient, BatchPolicy
from flwr_byzantine.clients.functions._work import Answer, Item, Job, run_call

__all__ = ["Round"]

log = logging.getLogger("flwr_byzantine.clients")

LOOK_S = 0.25
"""How often a call that waits is looked at: whether it has begun, whether it is overdue."""
START_S = 120.0
"""How much longer than ``timeout_s`` a call may wait to begin while nothing else moves: workers import torch first."""


@dataclass
class _Tried:
    """An item and how often it was run."""

    item: Item
    attempts: int = 0


@dataclass
class _Call:
    """What is in flight."""

    tried: list[_Tried]
    submitted: float
    began: float | None = None


@dataclass
class Round:
    """The batches of one round: waiting to be run again, in flight, or held back for order."""

    job: Job
    items: Iterator[Item]
    executor: Executor
    policy: BatchPolicy
    form: tuple[int, torch.dtype]
    again: deque[_Tried] = field(default_factory=deque)
    flying: dict[Future[list[Answer]], _Call] = field(default_factory=dict)
    held: dict[int, BatchGradient | BatchFailed] = field(default_factory=dict)
    following: int = 0
    moved: float = field(default_factory=time.monotonic)

    def run(self) -> Iterator[BatchGradient | BatchFailed]:
        self._fill()
        while self.flying:
            for result in self._collect():
                self.held[result.batch] = result
            yield from self._release()
            self._fill()

    def close(self) -> None:
        """Give up what is in flight."""
        for future in self.flying:
            self._abandon(future)
        self.flying.clear()

    def _abandon(self, future: Future[list[Answer]]) -> None:
        if not future.cancel():
            getattr(self.executor, "abandon", Future.cancel)(future)

    def _fill(self) -> None:
        most = self.policy.in_flight or _capacity(self.executor)
        own: int = getattr(self.executor, "batches_per_call", 1)
        size = self.policy.batches_per_call or own
        while len(self.flying) < most:
            tried = [self.again.popleft()] if self.again else self._fresh(size, 4 * most * size)
            if not tried:
                return
            self._submit(tried)

    def _fresh(self, size: int, window: int) -> list[_Tried]:
        """The next batches of the source, unless too many results are held back for an earlier one."""
        open_ = len(self.held) + sum(len(call.tried) for call in self.flying.values())
        return [_Tried(item) for item in islice(self.items, max(0, min(size, window - open_)))]

    def _submit(self, tried: list[_Tried]) -> None:
        try:
            future = self.executor.submit(run_call, self.job, [each.item for each in tried])
        except BrokenExecutor as error:  # a pool of the caller's own, which does not repair itself
            future = Future()
            future.set_exception(error)
        self.flying[future] = _Call(tried, submitted=time.monotonic())

    def _collect(self) -> list[BatchGradient | BatchFailed]:
        """What has come to an end, one way or the other, since the last look."""
        wait(self.flying, timeout=min(LOOK_S, self.policy.timeout_s / 4), return_when=FIRST_COMPLETED)
        now, results = time.monotonic(), []
        for future, call in list(self.flying.items()):
            if future.done():
                ended = self._settle_all(call, future)
            elif self._overdue(future, call, now):
                self._abandon(future)
                ended = [self._settle(each, f"not done in {self.policy.timeout_s:g} s") for each in call.tried]
            else:
                continue
            del self.flying[future]
            self.moved = now
            results += [result for result in ended if result is not None]
        return results

    def _overdue(self, future: Future[list[Answer]], call: _Call, now: float) -> bool:
        limit = self.policy.timeout_s * len(call.tried)
        if call.began is None and future.running():
            call.began = self.moved = now
        if call.began is None:
            return now - max(call.submitted, self.moved) > limit + START_S
        return now - call.began > limit

    def _settle_all(self, call: _Call, future: Future[list[Answer]]) -> list[BatchGradient | BatchFailed | None]:
        try:
            answers = {answer.index: answer for answer in future.result()}
        except Exception as error:  # the worker, not the function: that one's errors are answers
            return [self._settle(each, f"{type(error).__name__}: {error}") for each in call.tried]
        return [self._judge(each, answers.get(each.item.index)) for each in call.tried]

    def _judge(self, tried: _Tried, answer: Answer | None) -> BatchGradient | BatchFailed | None:
        if answer is None or answer.fault or answer.values is None:
            return self._settle(tried, "its worker did not answer for it" if answer is None else answer.fault)
        fault = _fault(answer, *self.form)
        if fault:
            return self._settle(tried, fault, final=True)
        gradient = torch.from_numpy(np.array(answer.values)).view(self.form[1])
        if not bool(torch.isfinite(gradient).all()):
            bad = int((~torch.isfinite(gradient)).sum())
            return self._settle(tried, f"{bad} of {gradient.numel()} numbers are not finite", final=True)
        return BatchGradient(tried.item.index, gradient, answer.loss, answer.examples)

    def _settle(self, tried: _Tried, fault: str, *, final: bool = False) -> BatchFailed | None:
        """Run it again, or leave it out and say so."""
        tried.attempts += 1
        if tried.attempts < self.policy.attempts and not final:
            self.again.append(tried)
            return None
        failed = BatchFailed(tried.item.index, printable(fault, 400), tried.attempts)
        log.warning("batch %d left out after %d attempts: %s", failed.batch, failed.attempts, failed.reason)
        return failed

    def _release(self) -> Iterator[BatchGradient | BatchFailed]:
        if not self.policy.ordered:
            for index in list(self.held):
                yield self.held.pop(index)
            return
        while self.following in self.held:
            self.following += 1
            yield self.held.pop(self.following - 1)


def _fault(answer: Answer, size: int, dtype: torch.dtype) -> str:
    """What is wrong with an answer's form; empty if nothing."""
    if answer.dtype != str(dtype) or answer.values is None or answer.values.nbytes != size * dtype.itemsize:
        got = 0 if answer.values is None else answer.values.nbytes
        return f"its gradient must be {dtype}[{size}], got {got} bytes of {answer.dtype}"
    if not math.isfinite(answer.loss):
        return f"its loss is {answer.loss}"
    if answer.examples < 1:
        return f"it claims {answer.examples} examples"
    return ""


def _capacity(executor: Executor) -> int:
    """Calls in flight that keep an executor busy: two per worker, so that none waits while a result is folded."""
    own: int | None = getattr(executor, "in_flight", None)
    return own or 2 * (getattr(executor, "_max_workers", None) or os.cpu_count() or 1)
