"""Rules that weigh each input by how far it may be trusted: by a root data set, or by its history."""

from __future__ import annotations

import torch
from torch import Tensor

from flwr_byzantine.rules._blocks import column_blocks
from flwr_byzantine.rules._distances import row_norms
from flwr_byzantine.rules._primitives import checked_vector, finite_rows, weighted_sum
from flwr_byzantine.rules._rule import rule

__all__ = ["fltrust", "foolsgold"]


@rule(
    min_inputs=lambda f: 1,
    bound="any n >= 1, given a trusted reference",
    source="Cao et al., NDSS 2021, arXiv:2012.13995",
    equivariant=False,
)
def fltrust(inputs: Tensor, *, f: int = 0, reference: Tensor) -> Tensor:
    r"""The mean of the inputs rescaled to the reference's length and weighed by their angle to it.

    .. math:: y = \frac{1}{\sum_j t_j} \sum_i t_i \, \frac{\lVert g_0 \rVert}{\lVert x_i \rVert} \, x_i,
              \qquad t_i = \max\bigl(0, \cos(x_i, g_0)\bigr)

    where :math:`g_0` is the update that the server computes on a small clean data set of its own. If no input is
    trusted (all :math:`t_i = 0`), the result is zero: no step is taken.

    Args:
        inputs: ``[n, d]``, one update per row.
        f: Number of non-finite inputs that may be left out; trust alone guards against the others.
        reference: ``[d]``, the trusted update :math:`g_0`, finite.

    Returns:
        ``[d]``, no longer than the reference.

    Raises:
        ToleranceError: If no input is left, or more than ``f`` are not finite.
        ValueError: If the reference is not a finite ``[d]``.

    Example:
        >>> fltrust(torch.tensor([[3.0, 0.0], [-9.0, 0.0]]), reference=torch.tensor([1.0, 0.0]))
        tensor([1., 0.])
    """
    reference = checked_vector("fltrust: the reference", reference, inputs)
    length = row_norms(reference[None, :])[0]
    norms = row_norms(inputs)
    if float(length) == 0:
        return torch.zeros_like(inputs[0])
    # Scaled before the products, so that no huge or tiny input spoils them. A row of zeros has no direction.
    safe = torch.where(norms > 0, norms, torch.ones_like(norms))[:, None]
    inner = torch.zeros_like(norms)
    for start, stop, block in column_blocks(inputs):
        inner += block.to(torch.float64) / safe @ (reference[start:stop].to(torch.float64) / length)
    trust = inner.clamp(0, 1)
    result = torch.zeros_like(inputs[0])
    if float(trust.sum()) == 0:
        return result
    for start, stop, block in column_blocks(inputs):
        result[start:stop] = (length * (trust / trust.sum() @ (block.to(torch.float64) / safe))).to(result.dtype)
    return result


@rule(
    min_inputs=lambda f: f + 1,
    bound="n >= f + 1",
    source="Fung et al., RAID 2020, arXiv:1808.04866",
    equivariant=False,
    aligned=("history",),
)
def foolsgold(inputs: Tensor, *, f: int = 0, history: Tensor) -> Tensor:
    r"""The inputs weighed down by how alike their senders' histories are: a guard against Sybils.

    .. math:: y = \sum_i w_i x_i, \qquad
              w_i = \operatorname{clip}_{[0, 1]}\Bigl(\ln\frac{a_i}{1 - a_i} + \tfrac12\Bigr)

    where :math:`a_i` is one minus the largest cosine similarity of history :math:`i` to another (pardoned: scaled
    down for whoever resembles others less), divided by the largest such value and held below 1. The sum is not
    normalised, as in the authors' code. Weak where honest inputs resemble one another, and no guard against
    attackers who know it.

    Args:
        inputs: ``[n, d]``, one update per row.
        f: Number of non-finite inputs that may be left out; histories alone guard against the others.
        history: ``[n, d]``, the sum of each sender's updates up to now, row by row as the inputs, finite.

    Returns:
        ``[d]``.

    Raises:
        ToleranceError: If no input is left, or more than ``f`` are not finite.
        ValueError: If the history has not as many rows as there are inputs, or is not finite.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0], [-1.0, -1.0]])
        >>> foolsgold(rows, history=rows)
        tensor([1., 1.])
    """
    if history.shape[0] != inputs.shape[0]:
        raise ValueError(f"foolsgold: {history.shape[0]} histories for {inputs.shape[0]} inputs")
    if not bool(finite_rows(history).all()):
        raise ValueError("foolsgold: the history is not finite")
    return weighted_sum(inputs, foolsgold_weights(cosines(history)))


def foolsgold_weights(similarity: Tensor) -> Tensor:
    """``[n]``: FoolsGold's weights from the cosine similarities ``[n, n]`` of the histories."""
    n = similarity.shape[0]
    if n == 1:
        return torch.ones_like(similarity[0])
    alike = similarity - torch.eye(n, dtype=similarity.dtype, device=similarity.device)
    largest = alike.max(dim=1).values + 1e-5  # the authors' constant
    pardon = torch.where(
        largest[:, None] < largest[None, :], largest[:, None] / largest[None, :], torch.ones_like(alike)
    )
    distinct = (1 - (alike * pardon).max(dim=1).values).clamp(0, 1)
    peak = distinct.max()
    distinct = distinct / peak if float(peak) > 0 else distinct
    distinct = distinct.clamp(max=0.99)
    return (torch.log(distinct / (1 - distinct) + 1e-5) + 0.5).clamp(0, 1)


def cosines(rows: Tensor) -> Tensor:
    """``float64[n, n]``: cosine similarity of all pairs; 0 for a row of zeros, 1 with itself otherwise."""
    norms = row_norms(rows)
    safe = torch.where(norms > 0, norms, torch.ones_like(norms))
    result = torch.zeros(rows.shape[0], rows.shape[0], dtype=torch.float64, device=rows.device)
    for _, _, block in column_blocks(rows):
        unit = block.to(torch.float64) / safe[:, None]
        result += unit @ unit.T
    return result.clamp(-1, 1)
