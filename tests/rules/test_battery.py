"""Every rule and pre-aggregator runs through the same battery.

In one file however long, so that all that a rule promises is read in one place.
"""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flwr_byzantine import rules
from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.rules._dispatch import plain
from tests.rules import scripts
from tests.rules.table import ROWS, Row, reference

EACH = pytest.mark.parametrize("row", ROWS, ids=Row.id)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def call(row, inputs, f, **more):
    return row.get()(inputs, f=f, **{**row.keywords(inputs), **more})


def cloud(n, d, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype) + 3


def enough(row, f, extra=2):
    return max(row.get().min_inputs(f), 2 * f + 1) + extra


def test_every_public_rule_has_exactly_one_row():
    assert sorted(row.rule for row in ROWS) == sorted(rules.RULES)


@EACH
def test_values_worked_out_by_hand(row):
    inputs = torch.tensor([[float(v)] for v in row.values], dtype=torch.float64)
    expected = torch.tensor(row.expected, dtype=torch.float64)
    torch.testing.assert_close(call(row, inputs, row.f).flatten(), expected, msg=lambda m: f"{row.because}: {m}")


@pytest.mark.parametrize("row", [row for row in ROWS if row.reference], ids=Row.id)
@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_the_obvious_reference(row, seed):
    f = seed % 3
    inputs = cloud(enough(row, f, extra=seed), 4, seed)
    inputs[-f or len(inputs) :] *= 7  # the Byzantine rows
    keywords = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in row.keywords(inputs).items()}
    expected = torch.from_numpy(np.asarray(reference(row)(inputs.numpy(), f, **keywords)))
    torch.testing.assert_close(call(row, inputs, f), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("row", [row for row in ROWS if row.ordered and row.reference], ids=Row.id)
def test_the_order_of_inputs_does_not_matter(row):
    inputs = cloud(enough(row, 2), 5)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(1))
    result, shuffled = call(row, inputs, 2), call(row, inputs[order], 2)
    torch.testing.assert_close(shuffled, result[order] if result.ndim == 2 else result)


@pytest.mark.parametrize("row", [row for row in ROWS if row.get().equivariant], ids=Row.id)
def test_an_equivariant_rule_moves_with_its_inputs(row):
    inputs, shift = cloud(enough(row, 2), 5), torch.linspace(-50, 50, 5, dtype=torch.float64)
    torch.testing.assert_close(call(row, inputs + shift, 2), call(row, inputs, 2) + shift, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.get().equivariant], ids=Row.id)
def test_a_rule_that_says_it_is_not_equivariant_is_not(row):
    inputs, shift = cloud(enough(row, 2), 5), torch.linspace(-50, 50, 5, dtype=torch.float64)
    assert not torch.allclose(call(row, inputs + shift, 2), call(row, inputs, 2) + shift)


@pytest.mark.parametrize("row", [row for row in ROWS if row.scales], ids=Row.id)
@pytest.mark.parametrize("factor", [1e-6, 0.5, 1e12])
def test_scaling_the_inputs_scales_the_result(row, factor):
    inputs = cloud(enough(row, 2), 5)
    torch.testing.assert_close(call(row, inputs * factor, 2), call(row, inputs, 2) * factor, rtol=1e-6, atol=0)


@pytest.mark.parametrize("row", [row for row in ROWS if row.holds], ids=Row.id)
@pytest.mark.parametrize("size", [10.0, 1e4, 1e18, 1e38])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_f_arbitrary_inputs_cannot_carry_it_away(row, size, dtype):
    f = 2
    inputs = cloud(enough(row, f), 6, dtype=dtype)
    honest = inputs[:-f].to(torch.float64)
    inputs[-f:] = torch.tensor([[size], [-size]], dtype=dtype)
    result = call(row, inputs, f).to(torch.float64)
    kept = result if result.ndim == 1 else result[:-f]
    radius = (honest - honest.mean(0)).norm(dim=1).max() + honest.mean(0).norm()
    assert (kept - honest.mean(0)).norm(dim=-1).max() <= 2 * radius


@pytest.mark.parametrize("row", [row for row in ROWS if row.holds and row.rule != "dnc"], ids=Row.id)
@pytest.mark.parametrize(("small", "huge"), [(1e6, 1e38), (1e100, 1e300), (-1e300, 1e300)])
def test_a_huge_input_does_not_hide_a_smaller_one(row, small, huge):
    """Beside 1e300 the squares of all others vanish; DnC alone cannot help it, as its docstring says."""
    inputs = cloud(enough(row, 2), 6)
    inputs[1], inputs[2] = small, huge
    result = row.get()(inputs, f=2, **row.keywords(inputs))
    kept = result if result.ndim == 1 else result[3:]
    assert kept.abs().max() <= 10


@pytest.mark.parametrize("row", [r for r in ROWS if r.reference and r.rule not in {"fltrust", "foolsgold"}], ids=Row.id)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_inputs_are_rounded_once_at_the_end(row, dtype):
    for seed in range(20):
        inputs = (cloud(enough(row, 2, extra=seed % 3), 50, seed) * 0.5 + 18.5).to(dtype)
        exact = call(row, inputs.to(torch.float64), 2)
        slack = 0.51 * torch.finfo(dtype).eps * exact.abs() + torch.finfo(dtype).tiny
        assert ((call(row, inputs, 2).to(torch.float64) - exact).abs() <= slack).all()


@EACH
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_dtype_comes_back_and_the_result_is_near_that_of_float64(row, dtype):
    inputs = cloud(enough(row, 1), 8).to(dtype)
    result = call(row, inputs, 1)
    assert result.dtype == dtype
    exact = call(row, inputs.to(torch.float64), 1)
    torch.testing.assert_close(result.to(torch.float64), exact, rtol=torch.finfo(dtype).eps * 4, atol=1e-6)


@EACH
def test_inputs_are_neither_changed_nor_shared(row):
    inputs = cloud(enough(row, 1), 7)
    before, version = inputs.clone(), inputs._version
    result = call(row, inputs, 1)
    assert torch.equal(inputs, before)
    assert inputs._version == version
    assert result.untyped_storage().data_ptr() != inputs.untyped_storage().data_ptr()


@EACH
def test_the_result_does_not_depend_on_the_memory_layout(row):
    inputs = cloud(enough(row, 1), 7)
    strided = torch.stack([inputs, inputs], dim=2)[..., 0].T.contiguous().T
    assert not strided.is_contiguous()
    torch.testing.assert_close(call(row, strided, 1), call(row, inputs, 1))


@EACH
def test_inputs_that_carry_a_gradient_are_welcome(row):
    inputs = cloud(enough(row, 1), 3).requires_grad_()
    assert not call(row, inputs, 1).requires_grad


@EACH
@pytest.mark.parametrize("f", [0, 1, 3])
def test_it_works_at_the_bound_and_one_less_is_an_error_that_names_it(row, f):
    rule, n = row.get(), row.get().min_inputs(f)
    assert torch.isfinite(call(row, cloud(n, 3), f)).all()
    if n == 1:
        return
    with pytest.raises(ToleranceError, match=re.escape(f"{row.rule}(f={f}) needs n >= {n}")) as error:
        call(row, cloud(n - 1, 3), f)
    assert rule.bound in str(error.value)
    assert f"got n = {n - 1}" in str(error.value)


@pytest.mark.parametrize("row", [r for r in ROWS if re.fullmatch(r"n >= \d?f \+ \d", r.get().bound)], ids=Row.id)
@pytest.mark.parametrize("f", [0, 1, 2, 7])
def test_the_bound_in_words_is_the_bound_in_numbers(row, f):
    slope, constant = re.fullmatch(r"n >= (\d?)f \+ (\d)", row.get().bound).groups()
    assert row.get().min_inputs(f) == int(slope or 1) * f + int(constant)


@EACH
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_row_that_is_not_finite_is_left_out_and_counted_against_f(row, bad):
    clean = cloud(enough(row, 2), 4)
    dirty = torch.cat([clean[:3], clean[2:3].clone(), clean[3:]])
    dirty[3, 1] = bad
    keywords = row.keywords(clean)
    beside = [name for name in row.get().aligned if name in keywords]
    aligned = {name: torch.cat([keywords[name][:3], keywords[name][2:]]) for name in beside}
    expected = row.get()(clean, f=2, **keywords)
    torch.testing.assert_close(row.get()(dirty, f=3, **{**keywords, **aligned}), expected)


@EACH
def test_more_rows_that_are_not_finite_than_f_are_an_error(row):
    inputs = cloud(enough(row, 3), 4)
    inputs[:2] = float("nan")
    with pytest.raises(ToleranceError, match=r"2 of \d+ inputs are not finite"):
        call(row, inputs, 1)


@EACH
@pytest.mark.parametrize("d", [0, 1])
def test_dimensions_zero_and_one(row, d):
    assert call(row, cloud(enough(row, 1), d), 1).shape[-1] == d


@EACH
def test_a_store_that_runs_its_script_gets_the_same_result(row):
    aggregator, inputs = scripts.bound(row, 1), cloud(enough(row, 1), 7, dtype=torch.float32)
    inputs[1, 2] = torch.nan
    givens = scripts.given(aggregator, inputs)
    with plain():
        expected = aggregator(inputs, **givens)
    for _ in range(3):  # TorchScript optimises what it runs again
        (result,) = scripts.run(aggregator, [*inputs, *givens.values()])
        assert torch.equal(result, expected)


NOT_AMONG_ITS_INPUTS = {
    "sign_majority": "gives a direction",
    "foolsgold": "gives no weight to equals",
    "fltrust": "has the reference's length",
}


@pytest.mark.parametrize("row", [row for row in ROWS if row.rule not in NOT_AMONG_ITS_INPUTS], ids=Row.id)
def test_equal_inputs_give_that_input(row):
    one = torch.tensor([0.3, -0.7, 2.0], dtype=torch.float64)
    inputs = one.expand(enough(row, 1), 3).clone()
    result = call(row, inputs, 1)
    torch.testing.assert_close(result, one.expand_as(result))


@pytest.mark.parametrize("row", [r for r in ROWS if r.rule in {"krum", "medoid"}], ids=Row.id)
def test_ties_go_to_the_lowest_row(row):
    corners = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    assert call(row, torch.cat([corners, corners]), 1).tolist() == [1.0, 0.0]


TIED = {"meamed", "phocas", "faba", "mda", "smea", "clipped_gossip", "cg_plus"}


@pytest.mark.parametrize("row", [r for r in ROWS if r.rule in TIED], ids=Row.id)
def test_small_whole_numbers_full_of_ties_agree_with_the_reference(row):
    for seed in range(40):
        f = seed % 3
        numbers = torch.randint(
            0, 4, (enough(row, f, extra=seed % 3), 2), generator=torch.Generator().manual_seed(seed)
        )
        inputs = numbers.to(torch.float64)
        expected = reference(row)(inputs.numpy(), f)
        torch.testing.assert_close(call(row, inputs, f), torch.from_numpy(expected))


@pytest.mark.parametrize("row", [r for r in ROWS if r.get().min_inputs(1) == 5 or r.rule == "medoid"], ids=Row.id)
def test_rows_that_differ_by_a_millionth_of_a_common_offset_are_ordered_rightly(row):
    """Float32 rows near 1e3 in 1e5 dimensions, whose offsets of 1e-3 a float32 Gram matrix cannot see."""
    generator = torch.Generator().manual_seed(3)
    offsets = 1e-3 * torch.randn(9, 100_000, generator=generator, dtype=torch.float64)
    offsets[7:] *= 1.2  # the Byzantine rows lie a little farther out
    inputs = (1e3 + offsets).to(torch.float32)
    exact = inputs.to(torch.float64) - 1e3
    torch.testing.assert_close(call(row, inputs, 2).to(torch.float64) - 1e3, call(row, exact, 2), rtol=0, atol=4e-5)
    assert row.get().apply(inputs, f=2).selected.tolist() == row.get().apply(exact, f=2).selected.tolist()
    assert not {7, 8} & set(row.get().apply(inputs, f=2).selected.tolist())


@pytest.mark.parametrize("row", [row for row in ROWS if row.get().averages], ids=Row.id)
def test_a_rule_that_averages_returns_the_mean_of_what_it_selected(row):
    inputs = cloud(enough(row, 2), 4)
    inputs[1] = float("nan")
    outcome = row.get().apply(inputs, f=2, **row.keywords(inputs))
    assert 1 not in outcome.selected.tolist()
    torch.testing.assert_close(outcome.value, inputs[outcome.selected].mean(0))


def sets_of_inputs(row, dtype):
    f = st.integers(0, 3)
    numbers = st.floats(width=torch.finfo(dtype).bits, allow_nan=False, allow_infinity=False)
    if dtype == torch.float64:
        numbers = st.one_of(st.just(5e-324), st.just(1.7e308), numbers)
    # Few different numbers make equal rows and ties likely.
    pool = st.lists(numbers, min_size=1, max_size=4)

    def matrix(f, extra, d, pool, picks):
        n = row.get().min_inputs(f) + extra
        cells = [pool[picks[i % len(picks)] % len(pool)] for i in range(n * d)]
        return torch.tensor(cells, dtype=torch.float64).to(dtype).reshape(n, d), f

    picks = st.lists(st.integers(0, 3), min_size=1, max_size=60)
    return st.builds(matrix, f, st.integers(0, 3), st.integers(0, 4), pool, picks)


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_finite_inputs_give_a_finite_result_among_them(row, dtype, data):
    """Huge, denormal and equal numbers, at the bound: no error, and the result lies in the inputs' range."""
    inputs, f = data.draw(sets_of_inputs(row, dtype))
    result = call(row, inputs, f)
    if row.rule == "foolsgold":  # a sum that is not normalised may overflow
        return
    assert torch.isfinite(result).all()
    if inputs.numel() == 0 or row.rule in {"sign_majority", "fltrust"}:
        return
    wide, result = inputs.to(torch.float64), result.to(torch.float64)
    slack = 1e-6 * wide.abs().max() + 1e-44
    low, high = wide.min(0).values, wide.max(0).values
    if not row.get().equivariant:  # these may shorten their inputs
        low, high = low.clamp(max=0), high.clamp(min=0)
    assert (result >= low - slack).all()
    assert (result <= high + slack).all()
