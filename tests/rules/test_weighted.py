"""What the rules that weigh inputs by stated example counts promise beyond the battery."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flwr_byzantine.rules import (
    geometric_median,
    median,
    trimmed_mean,
    weighted_geometric_median,
    weighted_median,
    weighted_trimmed_mean,
)
from flwr_byzantine.rules.weighted import believed

WEIGHTED = {
    "median": (weighted_median, median),
    "trimmed_mean": (weighted_trimmed_mean, trimmed_mean),
    "geometric_median": (weighted_geometric_median, geometric_median),
}
EACH = pytest.mark.parametrize(("weighted", "plain"), WEIGHTED.values(), ids=WEIGHTED)
BY_COORDINATE = pytest.mark.parametrize("weighted", [weighted_median, weighted_trimmed_mean], ids=repr)


def cloud(n, d=4, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def claims(draw):
    """Some f, and what 2f + 1 or more nodes say of themselves: anything that is a count."""
    f = draw(st.integers(0, 3))
    count = st.one_of(st.integers(0, 4), st.floats(1e-3, 1e9), st.sampled_from([0, 1e9, 1.7e308]))
    counts = draw(st.lists(count, min_size=2 * f + 1, max_size=2 * f + 6))
    return f, torch.tensor([float(c) for c in counts], dtype=torch.float64)


@given(claim=claims(), max_ratio=st.sampled_from([0.5, 1.0, 2.0, 10.0]))
@settings(max_examples=150, deadline=None)
def test_whatever_is_claimed_f_inputs_weigh_less_than_half_and_none_more_than_its_limit(claim, max_ratio):
    f, counts = claim
    weights = believed(counts, f=f, max_ratio=max_ratio)
    assert weights.max() == 1
    assert weights.sort(descending=True).values[:f].sum() <= f / (2 * f + 1) * weights.sum() * (1 + 1e-9)
    below = (weights > 0) & (weights < 1)
    if below.any():
        limits = counts[below] / weights[below]
        torch.testing.assert_close(limits, limits[:1].expand_as(limits), rtol=1e-9, atol=0)
        half = np.median(counts.numpy() / 2)  # the sum of two of 1.7e308 would be infinite
        assert limits[0] / 2 / max_ratio <= half * (1 + 1e-9)


@BY_COORDINATE
@given(claim=claims(), seed=st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_whatever_is_claimed_f_liars_cannot_leave_the_range_of_the_others(weighted, claim, seed):
    f, counts = claim
    rows = cloud(len(counts), seed=seed)
    liars = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:f]
    rows[liars] = 1e300 * cloud(f, seed=seed + 1).sign()
    honest = torch.ones(len(rows), dtype=torch.bool).index_fill_(0, liars, False)
    result = weighted(rows, f=f, counts=counts)
    assert (result >= rows[honest].min(0).values - 1e-12).all()
    assert (result <= rows[honest].max(0).values + 1e-12).all()


@EACH
@pytest.mark.parametrize("counts", [torch.full((9,), 37), torch.full((9,), 0.1), torch.zeros(9), 5 * torch.eye(9)[0]])
def test_equal_counts_or_too_few_positive_ones_weigh_nothing(weighted, plain, counts):
    rows = cloud(9)
    torch.testing.assert_close(weighted(rows, f=2, counts=counts), plain(rows, f=2), rtol=1e-12, atol=1e-12)


@BY_COORDINATE
def test_a_node_with_many_examples_counts_as_so_many_nodes_with_one(weighted):
    """Within the limits: the median count is 2, the heaviest 3, and any two weigh less than 2/5 of 16."""
    rows, counts = cloud(8), torch.tensor([1, 3, 2, 2, 1, 3, 2, 2])
    repeated = rows.repeat_interleave(counts, dim=0)
    expected = median(repeated, f=0) if weighted is weighted_median else trimmed_mean(repeated, f=6)
    torch.testing.assert_close(weighted(rows, f=2, counts=counts), expected, rtol=1e-12, atol=1e-12)


@EACH
def test_a_liar_that_claims_a_billion_examples_gains_no_more_than_the_clip(weighted, plain):
    rows = cloud(12)
    rows[11] = 50
    counts = torch.tensor([40, 30, 30, 20, 50, 30, 30, 40, 30, 20, 30, 60])  # twice the median at most
    claimed = counts.clone()
    claimed[11] = 10**9
    told, clipped = weighted(rows, f=1, counts=claimed), weighted(rows, f=1, counts=counts)
    torch.testing.assert_close(told, clipped, rtol=1e-12, atol=0)


@EACH
def test_uneven_honest_nodes_are_estimated_better_than_without_their_counts(weighted, plain):
    """Each node reports the mean of as many examples as it states; the truth is 0."""
    counts = torch.tensor([4, 4, 8, 8, 16, 16, 32, 32, 64, 64])
    rows = cloud(10, 5000) / counts[:, None].sqrt()
    error, without = weighted(rows, f=2, counts=counts).norm(), plain(rows, f=2).norm()
    assert error < 0.95 * without


@EACH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int16, torch.uint8], ids=str)
def test_counts_may_be_of_any_kind(weighted, plain, dtype):
    counts = torch.tensor([10, 20, 20, 40, 10])
    assert torch.equal(weighted(cloud(5), f=1, counts=counts.to(dtype)), weighted(cloud(5), f=1, counts=counts))


@EACH
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_what_is_no_count_is_an_error(weighted, plain, bad):
    counts = torch.tensor([10.0, 10.0, bad, 10.0, 10.0])
    with pytest.raises(ValueError, match=r"the counts must be 5 finite numbers of at least 0"):
        weighted(cloud(5), f=1, counts=counts)


@EACH
def test_counts_of_others_are_an_error(weighted, plain):
    for counts in (torch.ones(4), torch.ones(0)):
        with pytest.raises(ValueError, match=f"counts must have a row for each input, 5, got {len(counts)}"):
            weighted(cloud(5), f=1, counts=counts)
    with pytest.raises(ValueError, match="the counts must be 5 finite numbers"):
        weighted(cloud(5), f=1, counts=torch.ones(5, 2))
    for max_ratio in (0.0, float("nan")):
        with pytest.raises(ValueError, match="max_ratio must be positive"):
            weighted(cloud(5), f=1, counts=torch.ones(5), max_ratio=max_ratio)


def test_the_weighted_geometric_median_is_the_point_that_holds_half_the_weight():
    rows = torch.tensor([[1.0, 2.0], [50.0, -3.0], [9.0, 9.0], [1.0, 2.0], [-7.0, 1.0], [3.0, -8.0], [4.0, 4.0]])
    counts = torch.tensor([40, 10, 10, 40, 10, 10, 10])
    assert weighted_geometric_median(rows, f=1, counts=counts, max_ratio=4.0).tolist() == [1.0, 2.0]
    assert geometric_median(rows, f=1).tolist() != [1.0, 2.0]
