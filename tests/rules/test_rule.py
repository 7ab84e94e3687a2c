"""What a rule object is: binding, composition, and its data."""

import copy
import inspect
import pickle
import subprocess
import sys

import pytest
import torch

from flwr_byzantine.errors import BudgetError, ToleranceError
from flwr_byzantine.rules import (
    RULES,
    arc,
    bucketing,
    bulyan,
    centered_clipping,
    clipping,
    fltrust,
    foolsgold,
    krum,
    mda,
    mean,
    median,
    multi_krum,
    nnm,
    smea,
    trimmed_mean,
)


def cloud(n=12, d=4, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_bound_rule_is_called_without_the_bound_keywords():
    rows = cloud()
    assert torch.equal(krum.bind(f=2)(rows), krum(rows, f=2))
    assert krum.bind(f=2).f == 2
    assert krum.f is None


def test_a_call_overrides_what_was_bound():
    assert torch.equal(trimmed_mean.bind(f=5)(cloud(), f=1), trimmed_mean(cloud(), f=1))


def test_composition_reads_left_to_right():
    rows = cloud()
    assert torch.equal((nnm.bind(f=2) >> trimmed_mean.bind(f=2))(rows), trimmed_mean(nnm(rows, f=2), f=2))


def test_an_f_given_to_a_chain_goes_to_every_stage():
    rows = cloud()
    assert torch.equal((nnm >> krum)(rows, f=3), krum(nnm(rows, f=3), f=3))


def test_composition_is_associative():
    rows = cloud()
    left, right = (clipping.bind(radius=1.0) >> nnm) >> median, clipping.bind(radius=1.0) >> (nnm >> median)
    assert torch.equal(left(rows, f=2), right(rows, f=2))
    assert repr(left) == repr(right) == "clipping(radius=1.0) >> nnm >> median"


def test_nothing_follows_a_rule_that_gives_one_vector():
    with pytest.raises(TypeError, match="nothing can follow"):
        krum >> median


def test_a_chain_needs_as_many_inputs_as_its_stages_leave_for_the_last():
    assert (nnm >> krum).min_inputs(2) == 7
    chain = bucketing.bind(size=3) >> krum
    assert chain.min_inputs(2) == 19  # ceil(19 / 3) = 7
    assert torch.isfinite(chain(cloud(19), f=2)).all()
    with pytest.raises(ToleranceError, match="got n = 6"):
        chain(cloud(18), f=2)


def test_a_row_that_is_not_finite_counts_once_in_a_chain():
    rows = cloud()
    dirty = torch.cat([rows, torch.full((1, 4), float("nan"), dtype=torch.float64)])
    assert torch.equal((nnm >> trimmed_mean)(dirty, f=3), (nnm >> trimmed_mean)(rows, f=2))


def test_a_chain_tells_which_inputs_were_selected_only_if_rows_stay_rows():
    rows = torch.cat([cloud(9), torch.full((2, 4), 1e6, dtype=torch.float64)])
    assert not {9, 10} & set((nnm >> multi_krum).apply(rows, f=2).selected.tolist())
    assert (bucketing >> multi_krum).apply(rows, f=1).selected is None


def test_selected_rows_are_numbered_as_in_the_inputs():
    rows = torch.tensor([[float("nan")], [1.0], [1.1], [0.9], [1.2], [99.0]])
    assert krum.apply(rows, f=2).selected.tolist() == [1]


@pytest.mark.parametrize(("rule", "needs"), [(fltrust, {"reference"}), (clipping >> krum, {"radius"}), (krum, set())])
def test_a_rule_says_what_it_needs_besides_f(rule, needs):
    assert rule.needs == needs


def test_an_unknown_keyword_is_an_error_that_lists_the_known_ones():
    with pytest.raises(TypeError, match="does not take tau; it takes"):
        krum(cloud(), f=1, tau=3)
    with pytest.raises(TypeError, match="does not take tau"):
        (nnm >> krum).bind(tau=3)


@pytest.mark.parametrize("rule", [krum, krum.bind(f=2), nnm.bind(f=2) >> krum.bind(f=2)], ids=repr)
def test_rules_can_be_copied_and_sent_to_other_processes(rule):
    rows = cloud()
    for other in (copy.copy(rule), copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))):
        assert repr(other) == repr(rule)
        assert torch.equal(other(rows, f=2), rule(rows, f=2))


def test_what_a_rule_shows_of_itself_is_what_a_call_takes_and_gives():
    assert (
        str(inspect.signature(krum))
        == "(inputs: 'Tensor', *, f: 'int', neighbors: 'str | int' = 'classic') -> 'Tensor'"
    )
    assert inspect.signature(krum.bind(f=2)).parameters["f"].default == 2


def test_rows_chosen_by_number_stay_the_same_rows_when_others_are_left_out():
    rows = cloud(n=9)
    dirty = torch.cat([torch.full((1, 4), float("nan"), dtype=torch.float64), rows])
    chosen = torch.tensor([0, 2, 3, 5, 8])
    outcome = bulyan.apply(dirty, f=2, selected=torch.cat([chosen + 1, torch.tensor([0])]))
    assert torch.equal(outcome.value, bulyan(rows, f=1, selected=chosen))
    assert outcome.selected.tolist() == (chosen + 1).tolist()


@pytest.mark.parametrize("rows", [4, 6])
def test_a_history_of_other_length_is_an_error_with_and_without_rows_left_out(rows):
    inputs = cloud(n=5)
    for bad in (inputs, torch.where(torch.arange(5)[:, None] == 1, torch.nan, inputs)):
        with pytest.raises(ValueError, match=f"history must have a row for each input, 5, got {rows}"):
            foolsgold(bad, f=1, history=cloud(n=rows))


def test_no_proof_is_claimed_for_another_convention():
    assert krum.kappa(9, 2) is not None
    assert krum.bind(f=2).kappa(9, 2) == krum.kappa(9, 2)
    assert krum.bind(neighbors=1).kappa(9, 2) is None


def test_an_array_of_another_library_is_an_error_that_says_what_to_give():
    with pytest.raises(TypeError, match=r"must be a torch.Tensor \[n, d\] or a list of rows, got ndarray"):
        median(cloud().numpy())


def test_a_missing_f_is_an_error():
    with pytest.raises(TypeError, match="krum needs f"):
        krum(cloud())
    with pytest.raises(TypeError, match="foolsgold needs history"):
        foolsgold(cloud())


@pytest.mark.parametrize(("f", "error"), [(-1, ToleranceError), (1.5, TypeError), ("2", TypeError)])
def test_f_is_a_count(f, error):
    with pytest.raises(error):
        median(cloud(), f=f)


@pytest.mark.parametrize("bad", [torch.ones(3), torch.ones(3, 2, dtype=torch.int64), torch.ones(2, 2, 2)])
def test_inputs_must_be_a_floating_point_matrix(bad):
    with pytest.raises(ValueError, match="floating-point matrix"):
        mean(bad)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_documents_itself(rule):
    assert rule.source
    assert rule.bound
    for section in ("Args:", "Returns:", "Raises:", "Example:", ".. math::"):
        assert section in rule.__doc__
    for name in rule.accepts:
        assert f"{name}: " in rule.__doc__


def test_kappa_is_proven_through_a_chain():
    assert trimmed_mean.kappa(10, 2) == pytest.approx(6 * (1 / 3) * (4 / 3))
    assert (nnm >> trimmed_mean).kappa(10, 2) == pytest.approx(2 * (1 + 8 / 3))
    assert (arc >> median).kappa(10, 2) == pytest.approx(4 * (4 / 3) ** 2 + 2 / 3)
    assert centered_clipping.kappa(10, 2) is None
    assert (clipping.bind(radius=1) >> median).kappa(10, 2) is None
    assert (bucketing >> median).kappa(10, 2) is None


@pytest.mark.parametrize("rule", [mda, smea])
def test_an_exact_search_stops_at_its_budget(rule):
    with pytest.raises(BudgetError, match="budget = 3"):
        rule(cloud(12), f=5, budget=3)


@pytest.mark.parametrize("choice", [{"m": "n-f"}, {"m": "n-2f-3"}, {"m": 3}, {"neighbors": "n-f-1"}, {"neighbors": 4}])
def test_conventions_can_be_chosen(choice):
    assert torch.isfinite(multi_krum(cloud(), f=2, **choice)).all()


def test_an_unknown_convention_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"must be one of .*'classic'"):
        multi_krum(cloud(), f=2, m="most")
    with pytest.raises(ValueError, match="between 1 and 12"):
        multi_krum(cloud(), f=2, m=13)
    with pytest.raises(TypeError):
        multi_krum(cloud(), f=2, m=2.5)


def test_rules_and_attacks_import_without_flower():
    code = "import sys, flwr_byzantine.rules, flwr_byzantine.attacks; sys.exit('flwr' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
