"""Rules and attacks by their text."""

import pytest

from flwr_byzantine.attacks import sign_flip
from flwr_byzantine.bench import attack_named, known_attacks, rule_named
from flwr_byzantine.rules import RULES, clipping, krum, mean, nnm, trimmed_mean


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("krum", krum),
        ("nnm >> trimmed-mean", nnm >> trimmed_mean),
        ("clipping(radius=2.0)>>nnm >> mean", clipping.bind(radius=2.0) >> nnm >> mean),
    ],
)
def test_a_text_names_the_rule_that_python_would_make(text, rule):
    assert rule_named(text).name == rule.name


def test_every_rule_that_needs_nothing_more_can_be_named():
    ready = [r for r in RULES.values() if not r.needs and not r.own_row and not r.is_pre_aggregator]
    assert [rule_named(rule.name).__wrapped__ for rule in ready] == [rule.__wrapped__ for rule in ready]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("krumm", "there is no rule 'krumm'; did you mean 'krum'?"),
        ("nnm", "ends in a pre-aggregator"),
        ("krum >> nnm >> mean", "krum"),
        ("krum(g=1)", "does not take g"),
        ("krum(2)", "not written as in Python"),
        ("krum(median)", "settings by name"),
        ("fltrust", "needs reference"),
        ("ios", "a row of its own"),
        ("__import__('os').system('true')", "not written as in Python"),
        ("krum(f=[].__class__)", "not written as in Python"),
        ("(" * 200, "not written as in Python"),
        ("a" * 501, "more than 500 characters"),
        ("", "not written as in Python"),
    ],
)
def test_a_text_that_names_no_rule_is_refused_with_what_is_wrong(text, said):
    with pytest.raises(ValueError, match=r".") as raised:
        rule_named(text)
    assert said in str(raised.value)


def test_attacks_are_on_updates_on_data_or_none():
    assert attack_named("none", mean).updates is None
    assert attack_named("label-flip", mean).data == "label-flip"
    assert attack_named("sign_flip(scale=3.0)", mean).updates.name == sign_flip.bind(scale=3.0).name
    assert attack_named("optimal(alie, evaluations=4)", krum).updates.name == "optimal(alie, krum)"


@pytest.mark.parametrize("name", sorted(set(known_attacks()) - {"optimal"}))
def test_every_known_attack_can_be_named(name):
    assert attack_named(name, mean) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sign_flop", "did you mean 'sign_flip'?"),
        ("rop", "there is no attack 'rop'"),
        ("optimal", "takes one attack with a strength"),
        ("optimal(nothing)", "takes one attack with a strength: "),
        ("alie >> ipm", "do not follow each other"),
        ("none(f=1)", "takes no settings"),
        ("alie(y=1)", "does not take y"),
    ],
)
def test_a_text_that_names_no_attack_is_refused_with_what_is_wrong(text, said):
    with pytest.raises(ValueError, match=r".") as raised:
        attack_named(text, mean)
    assert said in str(raised.value)
