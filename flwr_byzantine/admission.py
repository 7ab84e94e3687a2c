"""The one place that every untrusted reply passes: what may be computed on, and what is left out and why.

Size and header come first, before any array is loaded; then names, shapes and kinds against the model that was
sent; then the numbers. Nothing here raises on what a node sent: a bad reply becomes :class:`Rejected`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray
from torch import Tensor

from flwr_byzantine.records import ArraySpec, Flat, Layout, read_npy_header

__all__ = ["AdmissionPolicy", "Admitted", "Rejected", "admit_evaluate", "admit_train", "printable"]

Record = TypeVar("Record", ArrayRecord, MetricRecord)

SLACK = 1.01
"""Above any rounding of a float32 sum of squares."""

BYTE_ORDERS = "<>=|"
"""What NumPy may write before the name of a dtype."""


@dataclass(frozen=True)
class Rejected:
    """A reply that was left out."""

    node_id: int
    reason: str

    def __str__(self) -> str:
        return f"reply of node {self.node_id} left out: {self.reason}"


@dataclass(frozen=True)
class AdmissionPolicy:
    """What a reply must keep to, beyond the layout of the model."""

    weight_key: str = "num-examples"
    """The metric in which a node states its number of examples."""
    max_examples: float = 1e9
    """Largest number of examples that is believed."""
    max_update_norm: float | None = None
    """Largest Euclidean norm of an update (reply minus model). The dtype's own limit always holds besides: the
    square of the norm must be finite, which for float32 is a norm of 1.8e19."""
    max_metric_values: int = 10_000
    """Most numbers in the metrics of one reply; an empty list counts as one."""

    def __post_init__(self) -> None:
        if self.max_update_norm is not None and not self.max_update_norm > 0:
            raise ValueError(f"max_update_norm must be positive, got {self.max_update_norm}")


@dataclass(frozen=True)
class Admitted:
    """The replies that may be computed on, by ascending node id, and those that may not."""

    nodes: tuple[int, ...]
    contents: tuple[RecordDict, ...]
    """What each node replied, as it came."""
    rejected: tuple[Rejected, ...]
    model: Tensor = field(default_factory=lambda: torch.empty(0))
    """``[d]``, the model sent; empty for evaluate replies."""
    replies: Sequence[Sequence[Tensor]] = ()
    """For each node the arrays of its reply, read in place: what a rule takes; none for evaluate replies."""
    buffers: Mapping[str, list[NDArray[np.generic]]] = field(default_factory=dict)
    """By name, each node's value of every array that is not floating-point."""

    @cached_property
    def rows(self) -> Tensor:
        """``[n, d]``, reply minus model, in one matrix that is made when it is first asked for."""
        rows = self.model.new_empty((len(self.replies), len(self.model)))
        for row, reply in zip(rows, self.replies, strict=True):
            _subtract(reply, self.model, out=row)
        return rows

    @property
    def faulty(self) -> int:
        """How many nodes replied, but none of their replies was admitted: faults found."""
        return len({rejected.node_id for rejected in self.rejected} - set(self.nodes))


def admit_train(
    replies: Iterable[Message],
    layout: Layout,
    model: Flat,
    policy: AdmissionPolicy = AdmissionPolicy(),
    *,
    addressees: Mapping[str, int] | None = None,
) -> Admitted:
    """Sort train replies into rows to aggregate and rejections with their reasons.

    Args:
        replies: What came back.
        layout: That of the model sent.
        model: ``[d]``, the model sent.
        policy: Further limits.
        addressees: From the id of each message sent to the node it went to: names the node of an error reply
            that the SuperLink wrote in its stead.

    Returns:
        The admitted replies, whose arrays stay where they came.

    Example:
        >>> from flwr_byzantine.testing import HostileReply, make_reply
        >>> model = {"w": np.ones(2, np.float32)}
        >>> honest = make_reply(7, {"w": np.full(2, 3, np.float32)}, {"num-examples": 10})
        >>> [hostile] = HostileReply.ALL_NAN.make(make_reply(8, model, {"num-examples": 10}))
        >>> layout = Layout.of(ArrayRecord({"w": Array(model["w"])}))
        >>> admitted = admit_train([honest, hostile], layout, model["w"])
        >>> admitted.nodes, admitted.rows
        ((7,), tensor([[2., 2.]]))
        >>> print(*admitted.rejected)
        reply of node 8 left out: 2 of 2 numbers are not finite
    """
    candidates, rejected = _readable(replies, policy, addressees or {}, lambda c: _array_fault(c, layout))
    sent = torch.from_numpy(model)
    limits = Limits(sent, min(policy.max_update_norm or math.inf, math.sqrt(torch.finfo(sent.dtype).max)))
    kept: list[tuple[int, RecordDict]] = []
    arrived: list[list[Tensor]] = []
    for node, content in candidates:
        reply = layout.segments(_only(content.array_records))
        fault = limits.fault(reply)
        if fault is None:
            kept.append((node, content))
            arrived.append(reply)
        else:
            rejected.append(Rejected(node, fault))
    buffers: dict[str, list[NDArray[np.generic]]] = {spec.name: [] for spec in layout.buffers}
    for _, content in kept:
        for name, values in layout.read_buffers(_only(content.array_records)).items():
            buffers[name].append(values)
    nodes, contents = tuple(node for node, _ in kept), tuple(content for _, content in kept)
    return Admitted(nodes, contents, tuple(rejected), sent, arrived, buffers)


def admit_evaluate(
    replies: Iterable[Message],
    policy: AdmissionPolicy = AdmissionPolicy(),
    *,
    addressees: Mapping[str, int] | None = None,
) -> Admitted:
    """Sort evaluate replies, which hold metrics only, as :func:`admit_train` does.

    Example:
        >>> from flwr_byzantine.testing import make_error_reply
        >>> print(*admit_evaluate([make_error_reply(7, "out of memory")]).rejected)
        reply of node 7 left out: error 2: out of memory
    """
    candidates, rejected = _readable(replies, policy, addressees or {}, lambda _: None)
    nodes, contents = tuple(node for node, _ in candidates), tuple(content for _, content in candidates)
    return Admitted(nodes, contents, tuple(rejected))


def printable(text: str, limit: int = 160) -> str:
    r"""A stranger's text made fit for a log line: escapes visible, length bounded.

    Example:
        >>> print(printable("red: \x1b[31m", limit=8))
        red: \x1b[3...
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return shown + ("..." if len(text) > limit else "")


def _readable(
    replies: Iterable[Message],
    policy: AdmissionPolicy,
    addressees: Mapping[str, int],
    extra_fault: Callable[[RecordDict], str | None],
) -> tuple[list[tuple[int, RecordDict]], list[Rejected]]:
    """The first reply of each node if its form is right, by ascending node id; and the others with the reason."""
    candidates: list[tuple[int, RecordDict]] = []
    rejected: list[Rejected] = []
    seen: set[int] = set()
    for reply in replies:
        node = addressees.get(reply.metadata.reply_to_message_id, reply.metadata.src_node_id)
        try:
            fault = _form_fault(reply, node in seen, policy) or extra_fault(reply.content)
        except Exception as error:  # whatever a stranger's record does when it is read
            fault = f"cannot be read ({type(error).__name__})"
        seen.add(node)
        if fault is None:
            candidates.append((node, reply.content))
        else:
            rejected.append(Rejected(node, fault))
    candidates.sort(key=lambda candidate: candidate[0])
    return _of_usual_metrics(candidates, rejected), rejected


def _form_fault(reply: Message, repeated: bool, policy: AdmissionPolicy) -> str | None:
    if repeated:
        return "a second reply of the same node"
    if reply.has_error():
        return f"error {reply.error.code}: {printable(str(reply.error.reason))}"
    records = list(reply.content.metric_records.values())
    if len(records) != 1:
        return f"expected 1 MetricRecord, got {len(records)}"
    return _metric_fault(records[0], policy)


def _metric_fault(metrics: MetricRecord, policy: AdmissionPolicy) -> str | None:
    count = sum(max(1, len(value)) if isinstance(value, list) else 1 for value in metrics.values())
    if count > policy.max_metric_values:
        return f"its metrics hold {count} numbers, more than {policy.max_metric_values}"
    weight = metrics.get(policy.weight_key, 0)
    if isinstance(weight, list) or not 0 <= weight <= policy.max_examples:
        shown = f"a list of {len(weight)}" if isinstance(weight, list) else f"{weight:g}"
        return f"metric {policy.weight_key!r} must lie between 0 and {policy.max_examples:g}, got {shown}"
    return None


def _array_fault(content: RecordDict, layout: Layout) -> str | None:
    records = list(content.array_records.values())
    if len(records) != 1:
        return f"expected 1 ArrayRecord, got {len(records)}"
    return next(_array_faults(records[0], layout), None)


def _array_faults(record: ArrayRecord, layout: Layout) -> Iterator[str]:
    names, expected = list(record), dict.fromkeys(spec.name for spec in layout.arrays)
    missing = next((name for name in expected if name not in record), None)
    extra = next((name for name in names if name not in expected), None)
    if missing is not None:
        yield f"array {printable(missing)!r} is missing"
    if extra is not None:
        yield f"array {printable(extra)!r} was not sent"
    if names != list(expected):
        yield "its arrays are in another order than sent"
    for spec in layout.arrays:
        fault = _bytes_fault(record[spec.name], spec)
        if fault:
            yield f"array {spec.name!r} {fault}"


def _bytes_fault(array: Array, spec: ArraySpec) -> str | None:
    """What is wrong with the serialised array, found from its length and its header alone."""
    if array.stype != "numpy.ndarray":
        return f"is serialised as {printable(str(array.stype))!r}, not as numpy.ndarray"
    try:
        header = read_npy_header(array.data)
    except ValueError as error:
        return f"cannot be read: {error}"
    found = f"{header.dtype.name}{list(header.shape)}"
    same = header.dtype.kind == spec.dtype.kind and header.dtype.itemsize <= 8
    if not same or header.shape != spec.shape or not (spec.is_float or header.dtype == spec.dtype):
        return f"expected {spec}, got {printable(found)}"
    if header.total_bytes != len(array.data):
        return f"expected {header.total_bytes} bytes, got {len(array.data)}"
    # Compared as text: NumPy takes seconds over some texts that it is asked to make a dtype of.
    known = (header.dtype.name, header.dtype.str.lstrip(BYTE_ORDERS))
    if tuple(array.shape) != header.shape or array.dtype.lstrip(BYTE_ORDERS) not in known:
        return f"is declared as {printable(f'{array.dtype}{list(array.shape)}')} but holds {found}"
    return None


class Limits:
    """How far from the model sent a reply may be.

    Args:
        model: ``[d]``, the model sent.
        limit: Largest Euclidean norm of an update.
    """

    def __init__(self, model: Tensor, limit: float) -> None:
        self._model, self._limit = model, limit
        self._length = _length([model])

    def fault(self, reply: Sequence[Tensor]) -> str | None:
        """What is wrong with the numbers of a reply's arrays, if something is."""
        # An update is no longer than its reply and the model together, and one look at the reply is all that costs.
        if SLACK * (_length(reply) + self._length) <= self._limit:
            return None
        update = torch.empty_like(self._model)
        _subtract(reply, self._model, out=update)
        norm = float(torch.linalg.vector_norm(update, dtype=torch.float64)) if update.numel() else 0.0
        if norm <= self._limit:
            return None
        bad = int((~torch.isfinite(update)).sum())
        if bad:
            return f"{bad} of {update.numel()} numbers are not finite"
        return f"the norm of its update is {norm:.3g}, more than {self._limit:.3g}"


def _length(parts: Sequence[Tensor]) -> float:
    """The Euclidean norm of arrays together, nearly."""
    return math.sqrt(sum(float(torch.dot(part, part)) for part in parts))


def _subtract(reply: Sequence[Tensor], model: Tensor, *, out: Tensor) -> None:
    """Write a reply's arrays, one after the other, minus the model into ``out`` ``[d]``."""
    start = 0
    for part in reply:
        stop = start + part.numel()
        torch.sub(part, model[start:stop], out=out[start:stop])
        start = stop


def _of_usual_metrics(
    candidates: list[tuple[int, RecordDict]], rejected: list[Rejected]
) -> list[tuple[int, RecordDict]]:
    """The candidates whose metrics have the names and forms that most have; the others join the rejected."""
    forms = [_form(_only(content.metric_records)) for _, content in candidates]
    if len(set(forms)) <= 1:
        return candidates
    usual = Counter(forms).most_common(1)[0][0]
    for (node, _), form in zip(candidates, forms, strict=True):
        if form != usual:
            odd = sorted(form ^ usual)[0]
            rejected.append(Rejected(node, f"its metrics differ from the other replies' in {printable(odd[0])!r}"))
    return [candidate for candidate, form in zip(candidates, forms, strict=True) if form == usual]


def _form(metrics: MetricRecord) -> frozenset[tuple[str, int]]:
    return frozenset((key, len(value) if isinstance(value, list) else -1) for key, value in metrics.items())


def _only(records: Mapping[str, Record]) -> Record:
    return next(iter(records.values()))
