"""What single rules promise beyond the battery."""

import numpy as np
import pytest
import torch
from sklearn.cluster import HDBSCAN, MeanShift, estimate_bandwidth

from flwr_byzantine.rules import (
    bulyan,
    centered_clipping,
    dnc,
    flame,
    fltrust,
    foolsgold,
    geometric_median,
    krum,
    mda,
    mean,
    median,
    monna,
    multi_krum,
    nnm,
    robustness,
    sign_guard,
    trimmed_mean,
)
from flwr_byzantine.rules._distances import squared_distances
from flwr_byzantine.rules._order import mean_of_order_statistics, pruned_network, sort_columns, workspace
from flwr_byzantine.rules.clustering import largest_mode, tightest_cluster
from flwr_byzantine.rules.trust import cosines
from tests.rules import references


def cloud(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_order(rows, low, high):
    """Places ``low`` to ``high - 1`` of each column, by the network that was pruned to them."""
    ordered = sort_columns(list(rows), pruned_network(len(rows), low, high), workspace(rows))
    return torch.stack(ordered[low:high])


@pytest.mark.parametrize("n", range(1, 15))
def test_the_sorting_network_sorts_every_vector_of_zeros_and_ones(n):
    """By the 0-1 principle it then sorts everything; pruned, it still finds the places it was pruned to."""
    rows = ((torch.arange(2**n)[None, :] >> torch.arange(n)[:, None]) & 1).float()
    before, expected = rows.clone(), rows.sort(0).values
    for low, high in {(0, n), ((n - 1) // 2, n // 2 + 1), (n // 3, n - n // 3), (0, 1), (n - 1, n)}:
        assert torch.equal(in_order(rows, low, high), expected[low:high])
    assert torch.equal(rows, before)


@pytest.mark.parametrize("n", [16, 17, 33, 64, 100])
def test_the_sorting_network_sorts_many_rows(n):
    rows = cloud(n, 200)
    assert torch.equal(in_order(rows, 0, n), rows.sort(0).values)


def test_primitives_give_the_same_in_one_block_and_in_many(monkeypatch):
    rows = cloud(7, 1000)
    whole = squared_distances(rows), mean_of_order_statistics(rows, 2, 5)
    monkeypatch.setattr("flwr_byzantine.rules._blocks.BLOCK_COLUMNS", 13)
    torch.testing.assert_close(squared_distances(rows), whole[0])
    assert torch.equal(mean_of_order_statistics(rows, 2, 5), whole[1])


def test_float32_distances_keep_eight_digits_under_a_common_offset():
    rows = (1e3 + 1e-3 * cloud(8, 10_000)).float()
    exact = torch.from_numpy(
        np.array([[((a - b) ** 2).sum() for b in rows.double().numpy()] for a in rows.double().numpy()])
    )
    torch.testing.assert_close(squared_distances(rows), exact, rtol=1e-12, atol=0)


def test_the_geometric_median_minimises_the_sum_of_distances():
    for seed in range(5):
        rows = cloud(9, 3, seed)
        rows[7:] *= 1e6
        best = geometric_median(rows, f=2)
        value = (rows - best).norm(dim=1).sum()
        for probe in 1e-3 * cloud(200, 3, seed + 50):
            assert (rows - best - probe).norm(dim=1).sum() >= value * (1 - 1e-12)


def test_the_geometric_median_leaves_an_input_that_is_not_the_answer():
    """The coordinate-wise median is the first row, where plain Weiszfeld would stay for ever."""
    rows = torch.tensor([[0.0, 0.0], [1.0, 5.0], [2.0, -1.0], [-1.0, -5.0], [-1.0, 4.0]], dtype=torch.float64)
    assert torch.equal(median(rows), rows[0])
    expected = torch.from_numpy(references.geometric_median(rows.numpy(), 0))
    torch.testing.assert_close(geometric_median(rows), expected, rtol=0, atol=1e-6)


def test_the_geometric_median_of_a_majority_is_the_majority():
    rows = torch.tensor([[1.0, 2.0]] * 4 + [[50.0, -3.0], [9.0, 9.0], [-7.0, 1.0]])
    assert geometric_median(rows, f=3).tolist() == [1.0, 2.0]


def test_centered_clipping_starts_from_the_state_that_is_handed_in():
    rows = cloud(8, 3) + 100
    assert centered_clipping(rows, tau=1.0).norm() == pytest.approx(1.0, rel=1e-2)
    near = centered_clipping(rows, tau=1e9, center=torch.full((3,), 100.0))
    torch.testing.assert_close(near, rows.mean(0))
    with pytest.raises(ValueError, match="tau must be positive"):
        centered_clipping(rows, tau=0.0)


def test_krum_in_the_convention_of_other_libraries():
    rows = torch.tensor([[1.0], [2.0], [4.0], [7.0], [99.0]])
    for neighbors in (2, 3, 1):
        expected = references._krum_order(rows.double().numpy(), range(5), neighbors)[0]
        assert krum(rows, f=1, neighbors=neighbors) == rows[expected]


def test_bulyan_is_the_papers_iterated_one():
    """Flower's single scoring picks the same number of rows, but often others."""
    differ = 0
    for seed in range(20):
        rows = cloud(11, 50, seed)
        single = multi_krum.apply(rows, f=2, m=7).selected.sort().values
        differ += not torch.equal(bulyan.apply(rows, f=2).selected.sort().values, single)
    assert differ > 5


def test_mda_breaks_ties_towards_the_first_subset():
    rows = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    assert mda.apply(rows, f=1).selected.tolist() == [0, 1, 2]


def test_mda_copes_with_more_inputs_than_can_be_enumerated():
    rows = cloud(40, 6)
    rows[30:] += 20
    assert mda.apply(rows, f=10).selected.tolist() == list(range(30))


def test_dnc_finds_colluders_along_one_direction():
    rows = cloud(20, 50)
    rows[16:] += 5 * torch.ones(50, dtype=torch.float64)
    chosen = dnc.apply(rows, f=4, generator=torch.Generator().manual_seed(1)).selected.tolist()
    assert not {16, 17, 18, 19} & set(chosen)


def test_dnc_draws_coordinates_from_the_generator():
    rows = cloud(9, 40)
    first, again, other = (dnc(rows, f=2, coordinates=3, generator=torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("nothing", [{"iterations": 0}, {"coordinates": 0}, {"filter_fraction": -1.0}])
def test_dnc_refuses_to_filter_nothing(nothing):
    with pytest.raises(ValueError, match="must be positive"):
        dnc(cloud(9, 4), f=2, **nothing)


def test_fltrust_takes_no_step_when_nobody_is_trusted():
    rows = -torch.ones(4, 3)
    assert torch.equal(fltrust(rows, reference=torch.ones(3)), torch.zeros(3))
    assert torch.equal(fltrust(rows, reference=torch.zeros(3)), torch.zeros(3))
    with pytest.raises(ValueError, match="reference is not finite"):
        fltrust(rows, reference=torch.tensor([1.0, float("nan"), 0.0]))


@pytest.mark.parametrize("seed", range(20))
def test_flames_cluster_is_the_one_hdbscan_finds(seed):
    rows = cloud(11, 4, seed)
    rows[8:] = rows[8:] * 0.1 - 2
    distances = 1 - cosines(rows)
    labels = HDBSCAN(
        min_cluster_size=6, min_samples=1, allow_single_cluster=True, metric="precomputed", copy=True
    ).fit_predict(distances.clamp(min=0).numpy())
    assert tightest_cluster(distances, 6).tolist() == np.flatnonzero(labels == 0).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_flames_cluster_takes_in_all_that_join_at_the_same_height(seed):
    points = torch.randint(0, 5, (9, 2), generator=torch.Generator().manual_seed(seed)).to(torch.float64)
    distances = torch.cdist(points, points, p=1)
    labels = HDBSCAN(
        min_cluster_size=5, min_samples=1, allow_single_cluster=True, metric="precomputed", copy=True
    ).fit_predict(distances.numpy())
    assert tightest_cluster(distances, 5).tolist() == np.flatnonzero(labels == 0).tolist()


def test_flames_noise_has_the_stated_size():
    rows = torch.ones(5, 200_000)
    noise = flame(rows, f=1, epsilon=10.0) - flame(rows, f=1, epsilon=float("inf"))
    expected = float(rows[0].norm()) * (2 * np.log(125)) ** 0.5 / 10
    assert float(noise.std()) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("seed", range(10))
def test_sign_guards_cluster_is_the_one_mean_shift_finds(seed):
    points = cloud(15, 3, seed).numpy()
    points[11:] += 6
    bandwidth = estimate_bandwidth(points, quantile=0.5)
    labels = MeanShift(bandwidth=bandwidth).fit_predict(points)
    assert largest_mode(torch.from_numpy(points)).tolist() == (labels == np.bincount(labels).argmax()).tolist()


def test_sign_guard_leaves_out_what_is_too_long_and_what_points_elsewhere():
    rows = cloud(12, 1000).abs()
    rows[9] *= 50
    rows[10:] *= -1
    assert sign_guard.apply(rows, f=3).selected.tolist() == list(range(9))


@pytest.mark.parametrize(("rule", "known"), [(trimmed_mean, 0.667), (median, 1.5), (krum, 5.9)])
def test_the_search_finds_the_known_worst_kappa(rule, known):
    report = robustness(rule, n=7, f=2, d=1)
    assert report.found == pytest.approx(known, rel=0.04)
    assert report.floor <= report.found * 1.001
    assert report.found <= report.proven


def test_krums_kappa_is_that_of_its_own_number_of_neighbours():
    """n = 7, f = 2: 3 neighbours, of which with the chosen one at least 2 are honest."""
    assert krum.kappa(7, 2) == pytest.approx(5 / 2 * (1 + (2 * 3 / 4) ** 0.5) ** 2)


def test_a_pre_aggregator_has_no_kappa_to_search():
    with pytest.raises(TypeError, match="nnm is a pre-aggregator"):
        robustness(nnm, n=7, f=2)


@pytest.mark.parametrize(("rule", "keyword"), [(monna, "pivot"), (fltrust, "reference"), (centered_clipping, "center")])
def test_a_vector_of_another_shape_or_not_finite_is_an_error(rule, keyword):
    rows = cloud(7, 3)
    for bad in (torch.ones(1), torch.ones(4), torch.ones(7, 3)):
        with pytest.raises(ValueError, match=rf"{keyword}.* must have the shape of one input, \[3\]"):
            rule(rows, f=1, **{keyword: bad})
    with pytest.raises(ValueError, match=rf"{keyword}.* is not finite"):
        rule(rows, f=1, **{keyword: torch.tensor([1.0, float("inf"), 0.0])})


def test_foolsgold_refuses_histories_that_are_not_finite():
    with pytest.raises(ValueError, match="history is not finite"):
        foolsgold(cloud(3, 2), history=torch.full((3, 2), float("nan")))


def test_the_search_finds_that_the_mean_has_no_kappa():
    assert robustness(mean, n=7, f=2, d=1).found > 1e3
    assert mean.kappa(7, 2) is None
