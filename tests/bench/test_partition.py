"""How data are dealt out to nodes that differ."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.bench import deal, dirichlet, gamma

LABELS = torch.arange(200) % 5


@given(
    text=st.sampled_from(["iid", "gamma:0", "gamma:0.33", "dirichlet:0.05", "dirichlet:10"]),
    nodes=st.integers(1, 12),
    examples=st.integers(12, 90),
    seed=st.integers(0, 2**31),
)
def test_every_example_is_dealt_to_one_node_and_no_node_is_without(text, nodes, examples, seed):
    labels = torch.arange(examples) % 7
    parts = deal(text, labels, nodes, seed=seed)
    assert sorted(torch.cat(parts).tolist()) == list(range(examples))
    assert len(parts) == nodes
    assert all(len(part) for part in parts)
    again = deal(text, labels, nodes, seed=seed)
    assert all(torch.equal(one, other) for one, other in zip(parts, again, strict=True))


def test_less_alike_means_fewer_labels_per_node():
    def labels_per_node(parts):
        return sum(len(set(LABELS[part].tolist())) for part in parts) / len(parts)

    by_gamma = [labels_per_node(gamma(LABELS, 5, alike=alike, seed=0)) for alike in (0.0, 1.0)]
    by_alpha = [labels_per_node(dirichlet(LABELS, 5, alpha=alpha, seed=0)) for alpha in (0.02, 100.0)]
    assert by_gamma == [1, 5]
    assert by_alpha[0] < 3 < by_alpha[1]


@pytest.mark.parametrize(
    "text", ["", "iid:1", "gamma", "gamma:1.5", "gamma:nan", "dirichlet:0", "dirichlet:inf", "x:1"]
)
def test_what_is_no_heterogeneity_is_refused(text):
    with pytest.raises(ValueError, match="it is iid, dirichlet:ALPHA"):
        deal(text, LABELS, 5, seed=0)


def test_fewer_examples_than_nodes_are_refused():
    with pytest.raises(ValueError, match="2 examples cannot be dealt to 3 nodes"):
        deal("iid", LABELS[:2], 3, seed=0)
