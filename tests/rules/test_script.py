"""A rule's script: the same result as in process, bit by bit, and clear errors for what no script can say."""

import ast
import copy
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.rules import (
    bucketing,
    bulyan,
    centered_clipping,
    clipping,
    dnc,
    flame,
    fltrust,
    foolsgold,
    krum,
    mda,
    median,
    monna,
    multi_krum,
    nnm,
    script_givens,
    script_text,
    sign_guard,
    smea,
    trimmed_mean,
)
from flwr_byzantine.rules._dispatch import plain
from tests.rules import scripts
from tests.rules.scripts import KINDS, inputs, run

ALL = scripts.aggregators(f=1)
EACH = pytest.mark.parametrize("aggregator", ALL, ids=repr)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture(autouse=True)
def as_scripts_do():
    """Calls run on matrices and by pure torch, as scripts do: without kernels and mixtures that are never made."""
    with plain():
        yield


def same(aggregator, rows):
    """Whether script and call agree on some rows: the same numbers, or an error of the same words."""
    givens = scripts.given(aggregator, rows)
    try:
        expected = aggregator(rows, **givens)
    except ValueError as error:
        with pytest.raises(torch.jit.Error, match=re.escape(str(error))):
            run(aggregator, [*rows, *givens.values()])
        return
    (result,) = run(aggregator, [*rows, *givens.values()])
    assert result.dtype == expected.dtype
    assert torch.equal(result.nan_to_num(1234.5), expected.nan_to_num(1234.5))


@settings(deadline=None, max_examples=250)
@given(
    aggregator=st.sampled_from([*ALL, krum.bind(f=3), bulyan.bind(f=2), trimmed_mean.bind(f=3), mda.bind(f=3)]),
    n=st.integers(1, 14),
    d=st.sampled_from([0, 1, 2, 3, 30, 300]),
    seed=st.integers(0, 2**20),
    kind=st.sampled_from(sorted(KINDS)),
    dtype=st.sampled_from(DTYPES),
)
def test_a_script_computes_what_the_call_does(aggregator, n, d, seed, kind, dtype):
    same(aggregator, inputs(n, d, seed=seed, kind=kind, dtype=dtype))


@EACH
def test_a_script_computes_the_same_over_several_blocks_of_columns(aggregator):
    same(aggregator, inputs(9, 30_000, kind="with rows that are not finite", dtype=torch.float32))


@EACH
def test_a_text_is_compact_and_the_same_each_time(aggregator):
    text = scripts.text(aggregator)
    assert text == script_text(copy.deepcopy(aggregator))
    assert len(text) < 13 * 1024
    assert text.count("def run(tensors: List[Tensor], keys: List[str], args: List[str]) -> List[Tensor]:") == 1


@EACH
def test_a_text_keeps_to_the_dialect(aggregator):
    tree = ast.parse(scripts.text(aggregator))
    assert all(isinstance(node, ast.FunctionDef) and not node.decorator_list for node in tree.body)
    unknown = (ast.JoinedStr, ast.Raise, ast.With, ast.Try, ast.NamedExpr, ast.Starred, ast.Lambda, ast.Dict)
    for node in ast.walk(tree):
        assert not isinstance(node, unknown), ast.unparse(node)
        assert not isinstance(node, ast.Compare) or len(node.ops) == 1, ast.unparse(node)
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"linalg", "nn", "float32", "float64", "int64", "bool"}, ast.unparse(node)
            assert "empty" not in node.attr, ast.unparse(node)
        if isinstance(node, ast.Name):
            assert node.id not in {"math", "operator", "isinstance"}, ast.unparse(node)


@pytest.mark.parametrize("rule", [krum, bulyan, mda, dnc, nnm >> multi_krum], ids=repr)
def test_a_script_tells_which_rows_were_selected_in_the_order_of_selection(rule):
    rows = inputs(12, 5)
    rows[3] = torch.nan
    outcome = rule.apply(rows, f=2)
    value, selected = run(rule.bind(f=2), list(rows), selected=True)
    assert torch.equal(value, outcome.value)
    assert torch.equal(selected, outcome.selected)


@pytest.mark.parametrize("rule", [median.bind(f=1), nnm.bind(f=1), (bucketing >> krum).bind(f=1)], ids=repr)
def test_what_selects_nothing_cannot_tell(rule):
    with pytest.raises(TypeError, match="does not tell which inputs it selected"):
        script_text(rule, selected=True)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (2, 0)])
def test_results_have_the_shape_of_an_input(shape):
    tensors = [torch.full(shape, float(i)) for i in range(5)]
    assert run(median.bind(f=1), tensors)[0].shape == shape
    assert run(nnm.bind(f=1), tensors)[0].shape == (5, *shape)


def test_tensors_that_go_with_the_inputs_come_after_them_in_their_shape():
    tensors = [torch.randn(2, 3, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    rows = torch.stack([tensor.flatten() for tensor in tensors])
    chain = nnm.bind(f=1) >> fltrust.bind(f=1)
    assert script_givens(chain) == ("reference",)
    assert script_givens(krum) == ()
    assert torch.equal(run(chain, [*tensors, tensors[0]])[0].flatten(), chain(rows, reference=rows[0]))
    expected = foolsgold(rows, f=1, history=rows)
    assert torch.equal(run(foolsgold.bind(f=1), [*tensors, torch.stack(tensors)])[0].flatten(), expected)


def test_optional_tensors_can_be_asked_for():
    rows, centre = inputs(5, 3), torch.full((3,), 2.0, dtype=torch.float64)
    text = script_text(centered_clipping.bind(tau=1), given=("center",))
    (result,) = torch.jit.CompilationUnit(text).run([*rows, centre], [], [])
    assert torch.equal(result, centered_clipping(rows, tau=1, center=centre))
    rows, chosen = inputs(9, 3, kind="with rows that are not finite"), torch.tensor([0, 2, 3, 5, 8, 7])
    text = script_text(bulyan.bind(f=1), selected=True, given=("selected",))
    value, selected = torch.jit.CompilationUnit(text).run([*rows, chosen], [], [])
    outcome = bulyan.apply(rows, f=1, selected=chosen)
    assert torch.equal(value, outcome.value)
    assert torch.equal(selected, outcome.selected)
    with pytest.raises(TypeError, match=r"krum\(f=1\) takes no optional tensor center"):
        script_text(krum.bind(f=1), given=("center",))


@pytest.mark.parametrize(
    "rule",
    [dnc.bind(f=1, coordinates=3), bucketing.bind(f=1), sign_guard.bind(f=1, fraction=0.2), flame.bind(f=1)],
    ids=repr,
)
def test_a_seed_per_call_draws_the_same_numbers_as_in_process(rule):
    rows = inputs(9, 20, dtype=torch.float32)
    for args, generator in (((), None), (("5",), 5), (("9000000000000000000",), 9000000000000000000)):
        assert torch.equal(run(rule, list(rows), args=args)[0], rule(rows, generator=generator))


def test_other_seeds_draw_other_numbers():
    rows = list(inputs(9, 20))
    assert (
        len({tuple(run(bucketing.bind(f=1), rows, args=(str(seed),))[0].flatten().tolist()) for seed in range(5)}) == 5
    )


def test_a_seed_that_is_bound_is_in_the_text_and_a_call_overrides_it():
    rows = inputs(9, 20)
    bound = bucketing.bind(f=1, generator=3)
    assert torch.equal(run(bound, list(rows))[0], bucketing(rows, f=1, generator=3))
    assert torch.equal(run(bound, list(rows), args=("4",))[0], bucketing(rows, f=1, generator=4))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([], "no inputs"),
        ([torch.ones(2, dtype=torch.int64)], "must be floating-point"),
        ([torch.ones(2), torch.ones(3)], r"input 1 has shape \[3\], input 0 \[2\]"),
        ([torch.ones(2), torch.ones(2, dtype=torch.float64)], "input 1 has another dtype than input 0"),
        ([torch.ones(2), torch.full((2,), torch.nan)], r"median\(f=0\): 1 of 2 inputs are not finite"),
    ],
)
def test_inputs_that_no_rule_can_take_are_an_error_of_the_script(tensors, message):
    with pytest.raises(torch.jit.Error, match=message):
        run(median.bind(f=0), tensors)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (krum, "krum needs f"),
        (nnm.bind(f=1) >> krum, "krum needs f"),
        (clipping, "clipping needs radius"),
        (monna.bind(f=1, pivot=torch.ones(2)), "monna: a script cannot hold a tensor; leave pivot unbound"),
        (dnc.bind(f=1, generator=torch.Generator()), "dnc: a script cannot hold a generator; bind generator to a seed"),
        (multi_krum.bind(f=1, m=2.5), "'float' object cannot be interpreted as an integer"),
    ],
)
def test_what_a_script_would_lack_is_an_error_when_it_is_written(rule, message):
    with pytest.raises(TypeError, match=message):
        script_text(rule)


def test_what_every_call_would_refuse_every_run_refuses():
    for keywords in ({"m": "most"}, {"m": 10}, {"neighbors": 0}):
        same(multi_krum.bind(f=1, **keywords), inputs(9, 3))
    with pytest.raises(ToleranceError, match="f must be at least 0"):
        script_text(krum.bind(f=-1))


def test_an_exact_search_stops_at_its_budget_in_a_script_too():
    rows = list(inputs(12, 4))
    for rule in (mda, smea):
        with pytest.raises(torch.jit.Error, match="budget = 3"):
            run(rule.bind(f=5, budget=3), rows)


def test_constants_of_a_module_are_those_of_the_moment(monkeypatch):
    monkeypatch.setattr("flwr_byzantine.rules._blocks.BLOCK_COLUMNS", 35)
    text = script_text(trimmed_mean.bind(f=2))
    assert "else 35" in text
    rows = inputs(7, 50)
    assert torch.equal(torch.jit.CompilationUnit(text).run(list(rows), [], [])[0], trimmed_mean(rows, f=2))
