"""``flwr-byzantine recommend`` and what it ranks by."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.cli import main
from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.rules import geometric_median, krum, median, nnm, trimmed_mean
from flwr_byzantine.rules.recommend import CANDIDATES, recommend


def names(ranked):
    return [each.rule.name for each in ranked]


@given(st.integers(1, 30), st.integers(1, 60), st.sampled_from(["none", "mild", "strong"]))
def test_what_is_recommended_bears_so_many_liars(f, more, heterogeneity):
    n = 2 * f + more
    ranked = recommend(n, f, heterogeneity=heterogeneity)
    assert ranked
    assert all(n >= each.rule.min_inputs(f) for each in ranked)


@given(st.integers(1, 30), st.integers(1, 60))
def test_where_nodes_differ_the_lesser_proven_kappa_comes_first_and_no_proof_last(f, more):
    kappas = [each.kappa for each in recommend(2 * f + more, f)]
    known = [kappa for kappa in kappas if kappa is not None]
    assert known == sorted(known)
    assert kappas[: len(known)] == known


def test_where_nodes_are_alike_the_cheaper_comes_first():
    operations = [each.operations for each in recommend(20, 4, heterogeneity="none")]
    assert operations == sorted(operations)


def test_kappa_is_that_of_the_rules():
    kappas = {each.rule.name: each.kappa for each in recommend(10, 2)}
    assert kappas["trimmed_mean"] == trimmed_mean.kappa(10, 2) == pytest.approx(6 * 2 / 6 * (1 + 2 / 6))
    assert kappas["nnm >> krum"] == (nnm >> krum).kappa(10, 2)
    assert kappas["median"] == median.kappa(10, 2) == geometric_median.kappa(10, 2)


def test_a_rule_whose_bound_does_not_hold_is_left_out():
    assert "bulyan" not in names(recommend(10, 2))  # n >= 4f + 3 = 11
    assert "bulyan" in names(recommend(11, 2))
    assert "krum" not in names(recommend(6, 2))  # n >= 2f + 3 = 7
    assert "krum" in names(recommend(7, 2))


def test_a_search_over_too_many_subsets_is_left_out():
    assert math.comb(40, 12) > 200_000 > math.comb(20, 4)
    assert "smea" in names(recommend(20, 4))
    assert "smea" not in names(recommend(40, 12))


@pytest.mark.parametrize(("n", "f"), [(10, 5), (9, 5), (2, 1), (1, 1)])
def test_a_half_of_liars_is_told_that_nothing_helps(n, f):
    with pytest.raises(ToleranceError, match=rf"f = {f} of n = {n}: no rule can help.*n >= {2 * f + 1}"):
        recommend(n, f)


def test_without_liars_the_mean_is_best():
    with pytest.raises(ToleranceError, match="FedAvg is enough"):
        recommend(10, 0)


def test_callers_mistakes_name_what_was_needed():
    with pytest.raises(ValueError, match="one of none, mild, strong, got 'much'"):
        recommend(10, 2, heterogeneity="much")
    with pytest.raises(ValueError, match="dimension must be at least 1, got 0"):
        recommend(10, 2, dimension=0)


def test_the_command_prints_the_best_first_with_bound_kappa_cost_and_minority(capsys):
    assert main(["recommend", "--nodes", "10", "--byzantine", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("1. trimmed_mean")
    assert [line.split()[0] for line in lines[first + 1 : first + 6]] == ["for", "bound", "kappa", "cost", "minority"]
    assert "at most 2.67" in lines[first + 3]
    assert "Not for these numbers: bulyan (needs 11 nodes)." in lines


def test_the_command_shows_all_on_demand(capsys):
    main(["recommend", "--nodes", "20", "--byzantine", "4", "--all", "--heterogeneity", "strong"])
    printed = capsys.readouterr().out
    assert all(f". {each.rule.name}\n" in printed for each in CANDIDATES)
    assert "1 / (2 + B²)" in printed


def test_the_command_ends_with_1_where_nothing_helps(capsys):
    assert main(["recommend", "--nodes", "10", "--byzantine", "5"]) == 1
    assert "no rule can help, since half of the inputs or more lie" in capsys.readouterr().err
