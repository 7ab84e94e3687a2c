"""MNIST's benchmark: the search in the span finds what the search in full length finds; one array holds a network."""

import pytest
import torch
from _mnist.span import searched
from _mnist.worker import FlatNetwork, Worker
from torch.nn.functional import cross_entropy

from flwr_byzantine.attacks import alie, ipm, optimal
from flwr_byzantine.bench.tasks import Examples, mnist_network
from flwr_byzantine.rules import caf, clipping, geometric_median, nnm, trimmed_mean

BEFORE = clipping.bind(radius=2.0) >> nnm


def honest_rows(d=2000):
    draws = torch.Generator().manual_seed(0)
    return (0.3 * torch.randn(d, generator=draws) + torch.randn(10, d, generator=draws)) * 2 / d**0.5


@pytest.mark.parametrize("base", [ipm, alie, alie.bind(sign=-1.0)], ids=str)
@pytest.mark.parametrize("rule", [BEFORE >> geometric_median, clipping.bind(radius=2.0) >> caf], ids=str)
@pytest.mark.parametrize("forward", [True, False])
def test_the_span_gives_the_rows_of_the_search_in_full_length(base, rule, forward):
    honest = honest_rows()
    expected = optimal(base, rule, forward=forward)(honest, f=3)
    torch.testing.assert_close(searched(base, rule, forward=forward)(honest, f=3), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("base", [ipm, alie], ids=str)
def test_every_fourth_coordinate_tells_how_to_harm_a_coordinate_wise_rule(base):
    honest, rule = honest_rows(), BEFORE >> trimmed_mean

    def harm(attack):
        return (rule(torch.cat([honest, attack(honest, f=3)]), f=3) - honest.mean(0)).norm()

    assert harm(searched(base, rule, forward=True)) > 0.98 * harm(optimal(base, rule, forward=True))


def test_a_flat_network_computes_and_differentiates_as_the_network_does():
    torch.manual_seed(0)
    plain, one = mnist_network(), Examples(torch.randn(1, 1, 28, 28), torch.tensor([7]))
    expected = plain(one.inputs).detach()
    cross_entropy(plain(one.inputs), one.labels).backward()
    length = sum(p.grad.square().sum() for p in plain.parameters()).sqrt()
    flat = FlatNetwork(plain)
    assert flat.values.shape == (431_080,)
    torch.testing.assert_close(flat.network(one.inputs).detach(), expected)
    worker = Worker(one, batch=1, momentum=0.9, decay=0.0, seed=0)
    first, second = (worker.momentum_at(flat).norm() for _ in range(2))
    torch.testing.assert_close(torch.stack([first, second]), torch.stack([0.1 * length, 0.19 * length]))
