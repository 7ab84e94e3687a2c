"""What the rules for a node of a graph promise beyond the battery."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.rules import (
    bridge,
    bucketing,
    cg_plus,
    clipped_gossip,
    faba,
    ios,
    median,
    monna,
    multi_krum,
    nna,
    nnm,
    script_text,
    trimmed_mean,
)
from flwr_byzantine.rules._dispatch import plain

WEIGHTED = pytest.mark.parametrize("rule", [clipped_gossip, cg_plus, nna, ios], ids=repr)
EVERY = pytest.mark.parametrize("rule", [clipped_gossip, cg_plus, nna, ios, bridge], ids=repr)


def rows_and_weights(n, d, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(n, generator=generator, dtype=torch.float64) + 0.05
    return torch.randn(n, d, generator=generator, dtype=torch.float64), weights / weights.sum()


def clip(offset, radius):
    return offset * min(1, radius / np.linalg.norm(offset))


def obvious(rule, rows, weights, f):
    """The weighted rules as the papers write them: slow, in float64, one neighbour at a time."""
    own, near = rows[0], sorted(range(1, len(rows)), key=lambda j: np.linalg.norm(rows[j] - rows[0]))
    offset = {j: rows[j] - own for j in near}
    b, total = sum(sorted(weights[1:])[-f:]) if f else 0.0, weights[1:].sum()
    reached = {j: sum(weights[k] for k in near[: place + 1]) for place, j in enumerate(near)}
    if rule is nna:
        return own + sum(max(0, min(weights[j], total - b - reached[j] + weights[j])) * offset[j] for j in near)
    if rule is ios:
        left = list(range(len(rows)))
        for _ in range(f):
            centre = np.average(rows[left], axis=0, weights=weights[left])
            left.remove(max(left[1:], key=lambda j: np.linalg.norm(rows[j] - centre)))
        return np.average(rows[left], axis=0, weights=weights[left])
    if rule is cg_plus:
        tau = max((np.linalg.norm(offset[j]) for j in near if reached[j] <= total - 2 * b + 1e-12), default=0.0)
    else:
        kept = [j for j in near if reached[j] <= total - b + 1e-12]
        tau = math.sqrt(sum(weights[j] * offset[j] @ offset[j] for j in kept) / b) if f else math.inf
    return own + sum(weights[j] * clip(offset[j], tau) for j in near)


@WEIGHTED
@pytest.mark.parametrize("seed", range(12))
def test_weighted_rules_agree_with_the_obvious_reference(rule, seed):
    f = seed % 3
    rows, weights = rows_and_weights(2 * f + 2 + seed % 4, 5, seed)
    expected = obvious(rule, rows.numpy(), weights.numpy(), f)
    torch.testing.assert_close(rule(rows, f=f, weights=weights), torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


@WEIGHTED
def test_equal_weights_are_those_taken_when_none_are_given(rule):
    rows, _ = rows_and_weights(9, 5, 1)
    for dtype in (torch.float32, torch.float64):
        weights = torch.full((9,), 1 / 9, dtype=dtype)
        torch.testing.assert_close(rule(rows, f=2, weights=weights), rule(rows, f=2), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", [clipped_gossip, cg_plus, nna, ios], ids=repr)
def test_without_liars_they_are_the_weighted_mean(rule):
    rows, weights = rows_and_weights(6, 4, 2)
    torch.testing.assert_close(rule(rows, f=0, weights=weights), weights @ rows)


def test_nna_goes_from_the_own_row_towards_the_mean_of_monna():
    rows, _ = rows_and_weights(9, 5, 3)
    way = (9 - 2) / 9
    torch.testing.assert_close(nna(rows, f=2), (1 - way) * rows[0] + way * monna(rows, f=2, pivot=rows[0]))


def test_ios_is_faba_unless_the_own_row_would_leave():
    rows, _ = rows_and_weights(9, 5, 4)
    rows[0] *= 0.1
    torch.testing.assert_close(ios(rows, f=2), faba(rows, f=2))
    rows[0] += 50
    assert 0 in ios.apply(rows, f=2).selected
    assert 0 not in faba.apply(rows, f=2).selected


def test_of_equally_far_neighbours_the_highest_row_leaves_ios():
    assert ios.apply(torch.tensor([[0.0], [2.0], [-2.0], [2.0], [-2.0]]), f=1).selected.tolist() == [0, 1, 2, 3]


def test_bridge_is_a_trimmed_mean_that_keeps_the_own_row():
    rows = torch.tensor([[9.0], [1.0], [2.0], [3.0], [4.0]])
    assert bridge(rows, f=1).item() == pytest.approx((9 + 2 + 3) / 3)
    assert trimmed_mean(rows, f=1).item() == pytest.approx((2 + 3 + 4) / 3)


@pytest.mark.parametrize("rule", [clipped_gossip.bind(tau=0.0), cg_plus, clipped_gossip], ids=repr)
def test_a_radius_of_0_leaves_the_own_row_as_it_is(rule):
    """By choice, or since all but 2f of the neighbours agree with it."""
    rows = torch.full((6, 3), 0.1)
    rows[4:] = torch.tensor([[1e30], [-7.0]])
    assert torch.equal(rule(rows, f=2), rows[0])


@EVERY
def test_a_row_of_any_size_moves_the_result_no_further_than_a_near_one(rule):
    """The lone liar at 1e300 does no more than one just beyond the honest rows."""
    rows, _ = rows_and_weights(8, 3, 5)
    for size in (1e3, 1e30, 1e300):
        rows[-1] = size
        assert (rule(rows, f=1) - rows[0]).norm() <= 2 * (rows[1:-1] - rows[0]).norm(dim=1).max()


@EVERY
def test_float32_rows_with_a_large_common_offset_are_told_apart(rule):
    """Offsets of 1e-3 on top of 1e3: by inner products in float32 all distances would be noise."""
    offsets = 1e-3 * torch.randn(9, 50_000, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    offsets[7:] *= 1.2
    rows = (1e3 + offsets).to(torch.float32)
    exact = rows.to(torch.float64) - 1e3
    torch.testing.assert_close(rule(rows, f=2).to(torch.float64) - 1e3, rule(exact, f=2), rtol=0, atol=4e-5)


@EVERY
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_own_row_that_is_not_finite_is_the_callers_mistake(rule, bad):
    rows, _ = rows_and_weights(8, 3, 7)
    rows[0, 1] = bad
    expected = rf"{rule.__name__}: input 0, the caller's own row, is not finite"
    with pytest.raises(ValueError, match=expected):
        rule(rows, f=2)
    with pytest.raises(torch.jit.Error, match=expected):
        torch.jit.CompilationUnit(script_text(rule.bind(f=2))).run(list(rows), [], [])


@WEIGHTED
def test_the_weight_of_a_row_that_is_not_finite_is_left_out_with_it(rule):
    rows, weights = rows_and_weights(9, 3, 8)
    rows[4] = math.nan
    keep = torch.arange(9) != 4
    expected = rule(rows[keep], f=1, weights=weights[keep])
    torch.testing.assert_close(rule(rows, f=2, weights=weights), expected)


@WEIGHTED
@pytest.mark.parametrize("weights", [[0.5, 0.5, 0.0, 0.0], [0.4, 0.3, 0.4, -0.1], [1.0, 1.0, 1.0, 1.0], [math.nan] * 4])
def test_weights_that_are_no_row_of_a_mixing_matrix_are_refused(rule, weights):
    with pytest.raises(ValueError, match=rf"{rule.__name__}: the weights must be 4 positive numbers of sum 1"):
        rule(torch.zeros(4, 2), f=1, weights=torch.tensor(weights))


@WEIGHTED
def test_as_many_weights_as_rows_are_needed(rule):
    with pytest.raises(ValueError, match="weights must have a row for each input, 4, got 3"):
        rule(torch.zeros(4, 2), f=1, weights=torch.full((3,), 1 / 3))


@pytest.mark.parametrize("tau", [-1.0, math.nan])
def test_a_radius_below_0_is_refused(tau):
    with pytest.raises(ValueError, match="tau must be at least 0"):
        clipped_gossip(torch.zeros(4, 2), f=1, tau=tau)


@EVERY
def test_f_liars_need_f_more_than_f_honest_neighbours(rule):
    with pytest.raises(
        ToleranceError, match=rf"{rule.__name__}\(f=2\) needs n >= 6 inputs \(n >= 2f \+ 2\), got n = 5"
    ):
        rule(torch.zeros(5, 1), f=2)


@WEIGHTED
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_a_store_takes_the_weights_after_the_rows(rule, shape):
    rows, weights = rows_and_weights(7, math.prod(shape), 9)
    rows[3] = math.nan
    unit = torch.jit.CompilationUnit(script_text(rule.bind(f=2), given=("weights",)))
    for _ in range(3):
        (result,) = unit.run([*rows.reshape(7, *shape), weights], [], [])
        with plain():
            assert torch.equal(result.flatten(), rule(rows, f=2, weights=weights))


def test_a_store_takes_a_fixed_radius():
    rows, _ = rows_and_weights(7, 5, 10)
    for tau in (1, 0.25):
        fixed = clipped_gossip.bind(f=2, tau=tau)
        with plain():
            assert torch.equal(torch.jit.CompilationUnit(script_text(fixed)).run(list(rows), [], [])[0], fixed(rows))


def test_neighbours_may_be_mixed_first_but_not_shuffled():
    rows, _ = rows_and_weights(7, 5, 11)
    chain = nnm.bind(f=2) >> cg_plus.bind(f=2)
    assert torch.equal(chain(rows), cg_plus(nnm(rows, f=2), f=2))
    with pytest.raises(TypeError, match="bucketing leaves no row of the caller's own, which cg_plus needs"):
        bucketing >> cg_plus
    assert (bucketing >> median).name == "bucketing >> median"
    assert chain.own_row
    assert not (nnm >> multi_krum).own_row


def lies(n, f, seed, size):
    """Rows of which the last f are drawn far out, and the distance of the farthest honest one from the own row."""
    rows, weights = rows_and_weights(n, 3, seed)
    rows[n - f :] *= size
    return rows, weights, (rows[1 : n - f] - rows[0]).norm(dim=1).max()


SIZES = st.one_of(st.floats(-5, 5), st.floats(-1e6, 1e6))


@pytest.mark.parametrize("rule", [clipped_gossip, cg_plus, nna], ids=repr)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), f=st.integers(0, 3), extra=st.integers(0, 3), size=SIZES)
def test_liars_of_any_weight_move_the_result_little_farther_than_the_farthest_honest_neighbour(
    rule, seed, f, extra, size
):
    """At most 1.21 times: of h + b <= 1, the honest move it h, and clipped liars sqrt(b h) (Cauchy-Schwarz)."""
    rows, weights, farthest = lies(2 * f + 2 + extra, f, seed, size)
    assert (rule(rows, f=f, weights=weights) - rows[0]).norm() <= 1.21 * farthest


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), f=st.integers(0, 3), extra=st.integers(0, 3), size=SIZES)
def test_liars_of_less_than_a_third_move_ios_little_farther_than_the_farthest_honest_neighbour(seed, f, extra, size):
    rows, _, farthest = lies(3 * f + 2 + extra, f, seed, size)
    assert (ios(rows, f=f) - rows[0]).norm() <= 2 * farthest


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), f=st.integers(0, 3), extra=st.integers(0, 3), size=SIZES)
def test_bridge_stays_in_the_range_of_the_honest_values(seed, f, extra, size):
    n = 2 * f + 2 + extra
    rows, _, _ = lies(n, f, seed, size)
    honest, result = rows[: n - f], bridge(rows, f=f)
    assert (result >= honest.min(0).values - 1e-12).all()
    assert (result <= honest.max(0).values + 1e-12).all()


@pytest.mark.parametrize("rule", [cg_plus, clipped_gossip, nna])
def test_a_mean_of_the_largest_numbers_there_are_is_not_infinite(rule):
    inputs = torch.full((5, 1), torch.finfo(torch.float64).max, dtype=torch.float64)
    assert torch.equal(rule(inputs, f=1), inputs[0])
