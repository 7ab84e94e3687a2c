"""Rows in place: any rule takes a list of rows as it takes their matrix, in two passes, as exactly as in float64."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.native import kernels
from flwr_byzantine.rules import (
    RULES,
    Rows,
    _compiled,
    _in_place,
    arc,
    bucketing,
    bulyan,
    clipping,
    geometric_median,
    krum,
    mean,
    median,
    medoid,
    multi_bulyan,
    multi_krum,
    nnm,
    trimmed_mean,
)
from flwr_byzantine.rules._dispatch import plain
from flwr_byzantine.rules._distances import distances_to, distances_with, row_norms, squared_distances
from flwr_byzantine.rules._source import SMALL
from flwr_byzantine.rules.running import RunningDistances, RunningMean
from tests.rules import scripts
from tests.rules.table import ROWS, Row

EACH = pytest.mark.parametrize("row", ROWS, ids=Row.id)
CHAINS = [
    nnm >> krum, nnm >> trimmed_mean, nnm >> geometric_median, nnm >> multi_krum, nnm >> bulyan, bucketing >> median,
    bucketing >> medoid, clipping.bind(radius=40.0) >> nnm >> trimmed_mean, arc >> nnm >> krum, nnm >> RULES["cge"],
    geometric_median, medoid, RULES["caf"], RULES["smea"], RULES["centered_clipping"].bind(steps=3, tau=90.0),
    nnm >> arc >> RULES["aksel"], nnm >> RULES["faba"], nnm >> RULES["caf"], multi_bulyan,
]  # fmt: skip


@pytest.fixture(params=["torch", "kernels"])
def path(request, monkeypatch):
    """Both ways in which primitives run: pure torch, and the compiled kernels."""
    if request.param == "torch":
        monkeypatch.setattr(kernels, "serves", lambda rows: False)
    elif not kernels.available():
        pytest.skip("the compiled kernels are not here")
    return request.param


def cloud(n, d, seed=0, dtype=torch.float32):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def in_segments(rows):
    """The rows as lists of tensors of several sizes and shapes, with small ones beside one another."""
    d = rows.shape[1]
    cuts = [min(d, cut) for cut in (0, 3, 3 + SMALL, 5 + SMALL, 9 + SMALL, d)]
    return [[row[a:b].reshape(1, -1) for a, b in pairwise(cuts)] for row in rows]


def close(result, expected, dtype=torch.float32):
    """Equal but for a rounding to the dtype, and for those of float32 distances in what follows from them."""
    return torch.allclose(result.double(), expected.double(), rtol=torch.finfo(dtype).eps, atol=2e-6)


@pytest.mark.parametrize("to_origin", [True, False])
def test_a_point_beside_the_rows_is_as_far_from_them_as_in_float64(to_origin, path):
    rows = cloud(6, _compiled.COLUMNS_OF_ZEROS + 1000) + 1
    point = None if to_origin else cloud(1, rows.shape[1], seed=1)[0]
    among = torch.cat([rows, torch.zeros_like(rows[:1]) if point is None else point[None]]).double()
    expected = torch.stack([(among - one).square().sum(1) for one in among])
    for given_rows in (Rows.of(rows), Rows.of(in_segments(rows))):
        assert torch.allclose(distances_with(given_rows, point), expected, rtol=1e-6, atol=0)


@EACH
def test_a_list_of_rows_gives_what_their_matrix_gives_in_float64(row, path):
    f = 0 if row.rule == "mean" else 2
    rows = cloud(max(row.get().min_inputs(f), 2 * f + 1) + 2, 33_000) + 1
    expected = row.get()(rows.double(), f=f, **row.keywords(rows.double()))
    for given_rows in (list(rows), in_segments(rows)):
        keywords = row.keywords(rows)
        assert close(row.get()(given_rows, f=f, **keywords), expected)


@EACH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_so_it_does_in_other_dtypes_at_odd_addresses_and_with_a_row_that_is_not_finite(row, dtype, path):
    n = max(row.get().min_inputs(1), 3) + 2
    matrix = cloud(n, 3001, dtype=dtype)
    matrix[1, 7] = torch.nan
    rows = [torch.cat([torch.zeros(i, dtype=dtype), values])[i:] for i, values in enumerate(matrix)]
    finite = matrix.nan_to_num(0.0)
    with plain():
        expected = row.get()(matrix.double(), f=1, **row.keywords(finite.double()))
    assert close(row.get()(rows, f=1, **row.keywords(finite)), expected, dtype)


@pytest.mark.parametrize("chain", CHAINS, ids=repr)
@pytest.mark.parametrize("size", [1.0, 1e12])
def test_few_passes_and_mixtures_that_are_never_made_give_what_float64_does(chain, size, path):
    rows = cloud(13, 4000) + 1
    rows[11:] *= size
    with plain():
        expected = chain(rows.double(), f=2)
    assert close(chain(rows, f=2), expected)


@pytest.mark.parametrize(("aggregator", "passes"), [
    (krum, 2), (multi_krum, 2), (nnm >> krum, 2), (bulyan, 2), (medoid, 2), (geometric_median, 2), (median, 1),
    (mean, 1), (nnm >> trimmed_mean, 2), (nnm >> geometric_median, 2), (nnm >> bulyan, 2), (bucketing >> krum, 2),
    (RULES["mda"], 2), (RULES["smea"], 2), (RULES["caf"], 2), (RULES["centered_clipping"], 2), (RULES["faba"], 2),
    (clipping.bind(radius=1.0) >> nnm >> krum, 3), (RULES["cge"], 2),
])  # fmt: skip
def test_a_rule_of_distances_reads_its_rows_twice(aggregator, passes, monkeypatch):
    """Distances, and a sum: whatever is composed. Whether all is finite shows on the way."""
    if not kernels.available():
        pytest.skip("the compiled kernels are not here")
    calls = []
    for name in ("squared_distances", "distances_to", "gram_about", "weighted_sum", "mean_nearest",
                 "mean_of_order_statistics", "finite_rows"):  # fmt: skip
        kernel = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *args, k=kernel, n=name, **kw: (calls.append(n), k(*args, **kw))[1])
    monkeypatch.setattr(_compiled.Source, "block", lambda *_: pytest.fail("rows were put together"), raising=True)
    aggregator(list(cloud(12, 2000)), f=1)
    assert len(calls) == passes, calls


def test_nothing_is_read_more_than_twice_without_kernels_either(monkeypatch):
    monkeypatch.setattr(kernels, "serves", lambda rows: False)
    read = []
    views, block = Rows.block, _in_place.Source.views
    monkeypatch.setattr(Rows, "block", lambda rows, a, b: (read.append(b - a), views(rows, a, b))[1])
    monkeypatch.setattr(
        _in_place.Source, "views", lambda source, width: (read.append(source.d), block(source, width))[1]
    )
    (nnm >> krum)(list(cloud(9, 2000)), f=1)
    assert sum(read) == 2 * 2000


@pytest.mark.parametrize("size", [1.0, 1e6, 1e15])
@pytest.mark.parametrize("updates", [1e-4, 1.0])
def test_distances_are_those_of_float64_to_a_millionth(size, updates, path):
    """Updates of a ten-thousandth of the weights, attackers that collude and are huge beside the rest."""
    rows = 1 + updates * cloud(7, 33_000)
    rows[5:] = updates * size * (1 + 1e-3 * cloud(2, 33_000, seed=1))
    wide = rows.double()
    exact = (wide[:, None] - wide[None, :]).square().sum(2)
    torch.testing.assert_close(squared_distances(Rows.of(list(rows))), exact, rtol=1e-6, atol=0)
    point = wide.mean(0)
    torch.testing.assert_close(distances_to(Rows.of(rows), point), (wide - point).norm(dim=1), rtol=1e-6, atol=0)
    torch.testing.assert_close(row_norms(Rows.of(list(rows))), wide.norm(dim=1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [1.0, 1e6, 1e15])
@pytest.mark.parametrize("make", [nnm, bucketing, clipping.bind(radius=75.0)], ids=repr)
def test_distances_of_mixtures_are_those_of_the_mixtures(size, make, path):
    rows = cloud(11, 5000)
    rows[9:] *= size
    mixtures = make.__wrapped__(Rows.of(list(rows)), **{"f": 2, **make.keywords})
    assert isinstance(mixtures, Rows)
    with plain():
        made = make(rows.double(), f=2)
    honest = slice(0, 4)
    exact = (made[:, None] - made[None, :]).square().sum(2)
    torch.testing.assert_close(squared_distances(mixtures)[honest, honest], exact[honest, honest], rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(row_norms(mixtures)[honest], made.norm(dim=1)[honest], rtol=1e-5, atol=0)


def test_krum_chooses_as_in_float64_in_a_thousand_of_a_thousand_draws(path):
    """Rows of 1 with differences of a ten-thousandth, of which two are a hundredth farther out."""
    draws = (1 + 1e-4 * cloud(9000, 60)).reshape(1000, 9, 60)
    wide = draws.double()
    exact = (wide[:, :, None] - wide[:, None, :]).square().sum(3)
    expected = exact.sort(dim=2).values[:, :, :6].sum(2).argmin(1)  # itself and n - f - 2 = 5 others
    for rows, choice in zip(draws, expected, strict=True):
        assert krum.apply(list(rows), f=2).selected.tolist() == [choice]


@pytest.mark.parametrize("seed", range(3))
def test_so_it_does_among_long_rows(seed, path):
    rows = 1 + 1e-4 * cloud(9, 40_000, seed)
    with plain():
        expected = multi_krum.apply(rows.double(), f=2).selected
    assert torch.equal(multi_krum.apply(list(rows), f=2).selected, expected)


@settings(max_examples=40, deadline=None)
@given(
    rule=st.sampled_from(sorted(RULES)),
    n=st.integers(1, 12),
    d=st.sampled_from([0, 1, 5, 300]),
    seed=st.integers(0, 1000),
    kind=st.sampled_from(sorted(scripts.KINDS)),
)
def test_whatever_the_rows_a_list_gives_what_the_matrix_gives_or_the_same_error(rule, n, d, seed, kind):
    row = next(row for row in ROWS if row.rule == rule)
    aggregator, rows = scripts.bound(row, 2), scripts.inputs(n, d, seed=seed, kind=kind, dtype=torch.float32)
    givens = scripts.given(aggregator, rows)
    assert outcome(aggregator, list(rows), givens) == outcome(aggregator, rows, givens)


def outcome(aggregator, rows, givens):
    """The numbers of a result, or the words of an error."""
    try:
        return aggregator(rows, **givens).nan_to_num(0.5).tolist()
    except ValueError as error:
        return str(error)


def test_rows_stand_for_their_matrix_in_any_use_of_torch():
    matrix = cloud(4, 6)
    rows = Rows.of(list(matrix))
    assert rows.shape == (4, 6)
    assert (rows.dtype, len(rows), rows.ndim) == (torch.float32, 4, 2)
    uses = [
        lambda x: x + 1, lambda x: 2 - x, lambda x: x.sum(0), lambda x: torch.cat([x, x]), lambda x: x.T,
        lambda x: x[2], lambda x: x[-1], lambda x: x[1:], lambda x: x[:, 2:4], lambda x: x[1, 2],
        lambda x: x[torch.tensor([3, 0])], lambda x: x[:, torch.tensor([5, 1])], lambda x: x.new_zeros(2),
    ]  # fmt: skip
    for use in uses:
        assert torch.equal(use(rows) + 0, use(matrix))
    with pytest.raises(IndexError, match="row 4 of 4"):
        rows[4]


@pytest.mark.parametrize(("rows", "error", "message"), [
    ([], ValueError, "no inputs"),
    ([torch.ones(3), torch.ones(4)], ValueError, "input 1 has 4 numbers, input 0 3"),
    ([[torch.ones(3), torch.ones(1)], [torch.ones(4)]], ValueError, r"input 1 has 4 numbers, input 0 3 \+ 1"),
    ([torch.ones(3), torch.ones(3).double()], ValueError, "input 1 has another dtype or device"),
    ([torch.ones(3).int()], ValueError, "must be floating-point"),
    ([torch.ones(3), "abc"], TypeError, "input 1 must be a torch.Tensor or tensors, got str"),
])  # fmt: skip
def test_rows_that_do_not_fit_one_another_are_an_error(rows, error, message):
    with pytest.raises(error, match=message):
        median(rows, f=0)


def test_a_bound_that_holds_only_without_a_row_that_is_not_finite_holds():
    rows = [*cloud(5, 4), torch.full((4,), torch.nan)]
    assert torch.equal(median(rows, f=3), median(rows[:5], f=2))  # 2f + 1 = 7 inputs would be needed of 6
    with pytest.raises(ToleranceError, match="got n = 5"):
        median(rows, f=4)


def test_a_running_mean_is_the_mean_of_the_finite_rows():
    rows, running = [*cloud(5, 7), torch.full((7,), torch.inf)], RunningMean()
    assert [running.add(row) for row in rows] == [True] * 5 + [False]
    torch.testing.assert_close(running.value(), torch.stack(rows[:5]).mean(0))
    with pytest.raises(ValueError, match="row 5 has 3 numbers, those before 7"):
        running.add(torch.ones(3))
    with pytest.raises(ValueError, match="no row has come"):
        RunningMean().value()


def test_running_distances_leave_krum_only_its_choice(monkeypatch):
    rows, running = cloud(9, 5000), RunningDistances()
    assert [running.add([row[:2000], row[2000:]]) for row in rows] == [True] * 9
    assert not running.add([torch.full((2000,), torch.nan), torch.zeros(3000)])
    monkeypatch.setattr(_in_place, "_compiled", None)  # no distance is computed any more
    squares = squared_distances(running.rows())
    monkeypatch.undo()
    torch.testing.assert_close(squares, torch.cdist(rows.double(), rows.double()).square())
    assert torch.equal(krum(running.rows(), f=2), krum(rows, f=2))
