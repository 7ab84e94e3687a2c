"""What goes with the models to workers of GuanYu, and what comes back with their gradients."""

import pytest

from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.protocols.guanyu.wire import Choice, Delivery

SERVERS = ("a", "b", "c")


@pytest.mark.parametrize("synchronous", [False, True])
def test_a_delivery_tells_the_worker_all_that_its_filters_need(synchronous):
    settings = GuanYuSettings.byzsgd(5, 1, 4, 1, exchange_every=7, synchronous=synchronous)
    sent = Delivery(3, ("a",), ("x",), SERVERS, "gradient", settings, rate=0.25)
    assert Delivery.of(sent.as_config()) == sent


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"server": "a"},
        {"server": 1, "rejected": [], "reasons": []},
        {"server": "a", "rejected": "b", "reasons": "c"},
        {"server": "d", "rejected": [], "reasons": []},
        {"server": "a", "rejected": ["d"], "reasons": ["lies"]},
        {"server": "a", "rejected": [""], "reasons": ["lies"]},
        {"server": "a", "rejected": [1], "reasons": ["lies"]},
        {"server": "a", "rejected": ["b", "b"], "reasons": ["lies", "lies"]},
        {"server": "a", "rejected": ["b"], "reasons": []},
    ],
)
def test_a_choice_that_is_none_is_refused(config):
    with pytest.raises(ValueError, match=r"it is no server and two lists|names others than the servers"):
        Choice.of(config, SERVERS)


@pytest.mark.parametrize("choice", [Choice("", {}), Choice("a", {"c": "outliers filter", "b": "not finite"})])
def test_a_choice_comes_back_as_it_was(choice):
    assert Choice.of(choice.as_config(), SERVERS) == choice
