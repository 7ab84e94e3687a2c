"""Attacks that know the rule do it more harm, and ROP stands where centered clipping cannot see it."""

import math

import pytest
import torch

from flwr_byzantine.attacks import alie, attack, fang, gaussian, huge, ipm, optimal, rop, sign_flip
from flwr_byzantine.rules import krum, mean, median, nnm, rule, trimmed_mean

RULES = [mean, median, trimmed_mean, krum, nnm.bind(f=2) >> trimmed_mean]


def some_rows(h=9, d=6, seed=0):
    return torch.randn(h, d, generator=torch.Generator().manual_seed(seed)) + 0.5


def harm(rule, honest, hostile):
    return (rule(torch.cat([honest, hostile]), f=len(hostile)) - honest.mean(0)).norm().item()


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("weak", [alie, ipm, sign_flip, gaussian, huge], ids=str)
def test_an_optimal_attack_does_no_less_harm_than_the_attack_as_given(weak, rule):
    for seed in range(3):
        honest = some_rows(seed=seed)
        assert harm(rule, honest, optimal(weak, rule)(honest, f=2)) >= harm(rule, honest, weak(honest, f=2))


@pytest.mark.parametrize("rule", [median, trimmed_mean, krum], ids=str)
def test_an_optimal_alie_does_more_harm_where_the_usual_z_is_too_timid(rule):
    honest = some_rows()
    assert harm(rule, honest, optimal(alie, rule)(honest, f=2)) > 1.1 * harm(rule, honest, alie(honest, f=2))


def test_an_optimal_attack_is_an_attack_that_knows_the_rule():
    strongest = optimal(alie.bind(sign=-1.0), median)
    assert (strongest.knows, strongest.factor) == ("rule", None)
    assert strongest.name == "optimal(alie(sign=-1.0), median)"
    assert strongest(some_rows(), f=0).shape == (0, 6)
    with pytest.raises(TypeError, match="does not take z"):
        strongest.bind(z=1.0)
    with pytest.raises(ValueError, match="fang has no strength to search"):
        optimal(fang, median)


def threshold_rule(strengths, limit, beyond=0.0):
    """A rule that follows the last row up to a limit, and notes what it sees."""

    @rule(min_inputs=lambda f: 1, bound="any", source="test")
    def follow(inputs, f):
        strengths.append(-inputs[-1].item())
        return inputs[-1].clone() if abs(strengths[-1]) <= limit else torch.full_like(inputs[-1], beyond)

    return follow


@attack(source="test", knows="honest", factor="t")
def line(honest, *, f, t=1.0):
    return torch.full_like(honest[0], -t)


def test_the_search_doubles_its_steps_then_goes_back_and_forth():
    strengths = []
    honest = torch.zeros(3, 1, dtype=torch.float64)
    hostile = optimal(line, threshold_rule(strengths, limit=35.0))(honest, f=1)
    # 0, +10, +20, +40 is too far: 70 - 32, 38 - 25.6, and from below 30 up again: 12.4 + 20.48.
    assert strengths[:7] == pytest.approx([0.0, 10.0, 30.0, 70.0, 38.0, 12.4, 32.88])
    assert len(strengths) == 20 + 1
    assert strengths[-1] == 1.0
    assert -hostile.item() == max(s for s in strengths if s <= 35.0)


@pytest.mark.parametrize("beyond", [math.inf, math.nan])
def test_a_harm_that_is_not_finite_never_wins(beyond):
    strengths = []
    honest = torch.zeros(3, 1)
    hostile = optimal(line, threshold_rule(strengths, limit=5.0, beyond=beyond))(honest, f=1)
    assert max(strengths) > 5.0
    assert 1.0 <= -hostile.item() <= 5.0


def test_the_search_of_byzfl_shrinks_its_steps_upwards_only_and_leaves_the_attack_as_given_out():
    strengths = []
    honest = torch.zeros(3, 1, dtype=torch.float64)
    hostile = optimal(line, threshold_rule(strengths, limit=35.0), forward=True)(honest, f=1)
    # 0, +10, +20, +40 is too far: 30 + 32, 30 + 25.6, ... until 30 + 4.29 is not, then 34.29 + 3.4 again is.
    assert strengths[:6] == pytest.approx([0.0, 10.0, 30.0, 70.0, 62.0, 55.6])
    assert len(strengths) == 20
    assert strengths[-1] > -hostile.item() == max(s for s in strengths if s <= 35.0) > 34.0


@pytest.mark.parametrize("affine", [alie, alie.bind(z=0.5, sign=-1.0), ipm], ids=str)
def test_the_line_of_an_affine_attack_holds_its_rows_at_every_strength(affine):
    honest = some_rows(seed=3)
    place = affine.line(honest, f=2)
    for strength in (0.0, 0.3, 40.0):
        made = affine(honest, f=2, **{affine.factor: strength})
        torch.testing.assert_close(place(strength).expand(2, -1), made)


def test_no_strength_below_zero_is_tried():
    strengths = []
    optimal(line, threshold_rule(strengths, limit=0.5))(torch.zeros(3, 1), f=1)
    assert min(strengths) >= 0.0


@pytest.mark.parametrize("angle", [90.0, 180.0, 270.0])
def test_rop_lies_at_the_angle_and_distance_asked_for(angle):
    honest, reference = some_rows(seed=1).double(), some_rows(seed=2).double()[0]
    hostile = rop(honest, f=1, reference=reference, angle=angle, z=2.5)[0]
    step = hostile - reference
    towards = 0.9 * reference + 0.1 * honest.mean(0)
    assert step.norm().item() == pytest.approx(2.5)
    cosine = (step @ towards / step.norm() / towards.norm()).item()
    assert cosine == pytest.approx(math.cos(math.radians(angle)), abs=1e-9)


def test_rop_moves_from_the_mean_to_the_reference():
    honest, reference = some_rows(), torch.arange(6.0)
    at_mean = rop(honest, f=1, reference=reference, pi=0.0, z=0.0)
    at_reference = rop(honest, f=1, reference=reference, pi=1.0, z=0.0)
    torch.testing.assert_close(at_mean[0], honest.mean(0))
    torch.testing.assert_close(at_reference[0], reference)


def test_rop_finds_a_direction_where_all_coordinates_are_equal():
    hostile = rop(torch.ones(3, 4), f=1, reference=torch.full((4,), 2.0))[0]
    torch.testing.assert_close(hostile, 2.0 - torch.tensor([0.5, -0.5, 0.5, -0.5]))


def test_rop_refuses_a_reference_of_another_shape():
    with pytest.raises(ValueError, match=r"shape \[6\], got \[5\]"):
        rop(some_rows(), f=1, reference=torch.ones(5))
