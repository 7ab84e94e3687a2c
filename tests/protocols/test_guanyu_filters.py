"""The filters of synchronous ByzSGD: an honest server passes, a lying one is left for the next."""

import pytest
import torch

from flwr_byzantine.protocols.guanyu import GuanYuSettings, Memory, ModelFilters

RATE = 0.1
SETTINGS = GuanYuSettings.byzsgd(5, 1, 4, 1, exchange_every=1)


def gradient(model):
    """Of a bowl with its bottom at 0 and a slope of its own in each coordinate."""
    return model * torch.linspace(0.5, 2.0, model.shape[0])


def after(steps, filters, *, count=6):
    """The honest model after some steps, each of them judged; refusals of the Lipschitz filter are what it may do."""
    model = torch.ones(count)
    for step in range(1, steps + 1):
        filters.judge(step, model, gradient(model), rate=RATE)
        model = model - RATE * gradient(model)
    return model


def test_the_first_model_passes_unseen_and_an_honest_course_after_it():
    filters, model, accepted = ModelFilters(SETTINGS), torch.ones(6), 0
    for step in range(1, 31):
        accepted += filters.judge(step, model, gradient(model), rate=RATE).accepted
        model = model - RATE * gradient(model)
    assert accepted == 30


@pytest.mark.parametrize("lie", [lambda m: -100 * m, lambda m: m + 1, lambda m: torch.full_like(m, 1e30)])
def test_a_model_far_from_where_one_step_leads_is_an_outlier(lie):
    filters = ModelFilters(SETTINGS)
    model = lie(after(5, filters))
    verdict = filters.judge(6, model, gradient(model), rate=RATE)
    assert not verdict.accepted
    assert "outliers filter" in verdict.reason


def test_a_model_near_by_at_which_the_gradient_leaps_fails_the_lipschitz_filter():
    filters = ModelFilters(SETTINGS)
    model = after(5, filters)
    verdict = filters.judge(6, model, gradient(model) + 50, rate=RATE)
    assert not verdict.accepted
    assert "Lipschitz filter" in verdict.reason


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_never_passes_not_even_at_first(value):
    filters = ModelFilters(SETTINGS)
    bad = torch.full((6,), value)
    assert not filters.judge(1, bad, torch.ones(6), rate=RATE).accepted
    assert not filters.judge(1, torch.ones(6), bad, rate=RATE).accepted
    assert filters.judge(1, torch.ones(6), torch.ones(6), rate=RATE).accepted


def test_a_refused_model_is_not_remembered():
    filters = ModelFilters(SETTINGS)
    honest = after(5, filters)
    filters.judge(6, honest + 100, gradient(honest), rate=RATE)
    assert filters.judge(6, honest, gradient(honest), rate=RATE).accepted


def test_the_outliers_filter_reaches_as_far_as_the_paper_says():
    settings = GuanYuSettings.byzsgd(5, 1, 4, 1, exchange_every=2)
    filters = ModelFilters(settings)
    start = torch.tensor([1.0, 0.0])
    filters.judge(1, start, torch.tensor([1.0, 0.0]), rate=0.1)
    reach = 0.1 * ((3 * 2 + 2) * 3 / 4 + 2 * 0)  # rate * |g| * ((3T + 2)(m - f_w) / 4f_w + 2((t - 1) mod T)), t = 1
    guess = torch.tensor([0.9, 0.0])
    for distance, passes in ((0.99 * reach, True), (1.01 * reach, False)):
        verdict = filters._verdict(2, guess + torch.tensor([0.0, distance]), torch.tensor([1.0, 0.0]))
        assert verdict.accepted is passes


def test_without_byzantine_workers_no_model_is_an_outlier():
    filters = ModelFilters(GuanYuSettings(3, 0, 3, 0))
    filters.judge(1, torch.ones(2), torch.ones(2), rate=RATE)
    assert filters.judge(2, torch.full((2,), 9.0), torch.ones(2), rate=RATE).accepted


def test_servers_are_asked_in_turn_so_that_a_liar_is_left_after_one_refusal():
    filters = ModelFilters(SETTINGS, memory=Memory(asked=3))
    assert [filters.next_server() for _ in range(6)] == [3, 4, 0, 1, 2, 3]
