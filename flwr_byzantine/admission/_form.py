"""The form of a reply: what can be wrong with it before any of its numbers is read."""

from __future__ import annotations

from collections.abc import Iterator

from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from flwr_byzantine.admission._verdict import AdmissionPolicy, printable
from flwr_byzantine.records import NUMPY, ArraySpec, Layout, read_npy_header, records_of

__all__ = ["array_fault", "form_fault"]

BYTE_ORDERS = "<>=|"
"""What NumPy may write before the name of a dtype."""


def form_fault(reply: Message, repeated: bool, policy: AdmissionPolicy) -> str | None:
    """What is wrong with a reply, its arrays apart."""
    if repeated:
        return "a second reply of the same node"
    if reply.has_error():
        return f"error {reply.error.code}: {printable(str(reply.error.reason))}"
    records = records_of(reply.content, MetricRecord)
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


def array_fault(content: RecordDict, layout: Layout) -> str | None:
    """What is wrong with the arrays of a reply, numbers apart."""
    records = records_of(content, ArrayRecord)
    if len(records) != 1:
        return f"expected 1 ArrayRecord, got {len(records)}"
    return None if layout.is_as_written(records[0]) else next(_array_faults(records[0], layout), None)


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
    if array.stype != NUMPY:
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
