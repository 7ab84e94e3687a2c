"""Replies in, admitted rows and rejections out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

from flwr_byzantine.admission._form import array_fault, form_fault
from flwr_byzantine.admission._numbers import Limits
from flwr_byzantine.admission._verdict import DEFAULT_POLICY, AdmissionPolicy, Admitted, Rejected, printable
from flwr_byzantine.records import Flat, Layout, records_of

__all__ = ["TrainAdmission", "admit_evaluate", "admit_train"]


class TrainAdmission:
    """Admission of one round's train replies. It may see each as it comes, so that little is left when the last has.

    Args:
        layout: That of the model sent.
        model: ``[d]``, the model sent.
        policy: Further limits.

    Example:
        >>> import numpy as np
        >>> from flwr.app import Array
        >>> from flwr_byzantine.testing import make_reply
        >>> model = {"w": np.ones(2, np.float32)}
        >>> admission = TrainAdmission(Layout.of(ArrayRecord({"w": Array(model["w"])})), model["w"])
        >>> reply = make_reply(7, {"w": np.full(2, 3, np.float32)}, {"num-examples": 10})
        >>> admission.see(reply)
        >>> admission.admit([reply]).nodes
        (7,)
    """

    def __init__(self, layout: Layout, model: Flat, policy: AdmissionPolicy = DEFAULT_POLICY) -> None:
        self._layout, self._policy = layout, policy
        self._model = torch.from_numpy(model)
        longest = min(policy.max_update_norm or math.inf, math.sqrt(torch.finfo(self._model.dtype).max))
        self._limits = Limits(layout, self._model, longest)

    def see(self, reply: Message) -> None:
        """Look at a reply that has come. Its numbers are then not read again by :meth:`admit`, unless they change."""
        self.admit([reply])

    def admit(self, replies: Iterable[Message], *, addressees: Mapping[str, int] | None = None) -> Admitted:
        """What :func:`admit_train` gives back."""
        candidates, rejected = _readable(
            replies, self._policy, addressees or {}, lambda content: array_fault(content, self._layout)
        )
        records = [records_of(content, ArrayRecord)[0] for _, content in candidates]
        read = self._layout.segments(records)
        faults = [self._limits.fault(record, reply) for record, reply in zip(records, read, strict=True)]
        rejected += [Rejected(node, fault) for (node, _), fault in zip(candidates, faults, strict=True) if fault]
        kept = [place for place, fault in enumerate(faults) if fault is None]
        nodes, contents = tuple(candidates[i][0] for i in kept), tuple(candidates[i][1] for i in kept)
        each = [self._layout.read_buffers(records[i]) for i in kept]
        buffers = {spec.name: [one[spec.name] for one in each] for spec in self._layout.buffers}
        arrived = [read[i] for i in kept]
        return Admitted(nodes, contents, tuple(rejected), self._model, arrived, buffers)


def admit_train(
    replies: Iterable[Message],
    layout: Layout,
    model: Flat,
    policy: AdmissionPolicy = DEFAULT_POLICY,
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
        >>> import numpy as np
        >>> from flwr.app import Array
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
    return TrainAdmission(layout, model, policy).admit(replies, addressees=addressees)


def admit_evaluate(
    replies: Iterable[Message],
    policy: AdmissionPolicy = DEFAULT_POLICY,
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
            fault = form_fault(reply, node in seen, policy) or extra_fault(reply.content)
        except Exception as error:  # whatever a stranger's record does when it is read
            fault = f"cannot be read ({type(error).__name__})"
        seen.add(node)
        if fault is None:
            candidates.append((node, reply.content))
        else:
            rejected.append(Rejected(node, fault))
    candidates.sort(key=lambda candidate: candidate[0])
    return _of_usual_metrics(candidates, rejected), rejected


def _of_usual_metrics(
    candidates: list[tuple[int, RecordDict]], rejected: list[Rejected]
) -> list[tuple[int, RecordDict]]:
    """The candidates whose metrics have the names and forms that most have; the others join the rejected."""
    forms = [_metric_form(records_of(content, MetricRecord)[0]) for _, content in candidates]
    if len(set(forms)) <= 1:
        return candidates
    usual = Counter(forms).most_common(1)[0][0]
    for (node, _), form in zip(candidates, forms, strict=True):
        if form != usual:
            odd = sorted(form ^ usual)[0]
            rejected.append(Rejected(node, f"its metrics differ from the other replies' in {printable(odd[0])!r}"))
    return [candidate for candidate, form in zip(candidates, forms, strict=True) if form == usual]


def _metric_form(metrics: MetricRecord) -> frozenset[tuple[str, int]]:
    return frozenset((key, len(value) if isinstance(value, list) else -1) for key, value in metrics.items())
