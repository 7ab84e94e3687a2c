"""The mod as a worker of synchronous ByzSGD: whom it asks, what it leaves, and what it remembers."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flwr_byzantine.clients import guanyu_mod
from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.protocols.guanyu.wire import RECORD, Choice, Delivery
from flwr_byzantine.testing import InProcessGrid

SETTINGS = GuanYuSettings.byzsgd(6, 1, 9, 2, exchange_every=4, synchronous=True)
SERVERS = tuple(f"server-{number}" for number in range(6))


@pytest.fixture(scope="module", autouse=True)
def a_run():
    """Messages can be made within a run only."""
    with InProcessGrid(ClientApp(), 1):
        yield


class Worker:
    """A node whose function halves every number: the gradient is half of the model."""

    def __init__(self, node_id=0):
        self.context = Context(1, node_id, {}, RecordDict(), {})
        self.saw = []
        self.fails = False

    def train(self, message, context):
        if self.fails:
            return Message(Error(1, "no data"), reply_to=message)
        w = message.content["arrays"]["w"].numpy()
        self.saw.append(float(w[0]))
        record = ArrayRecord({"w": Array(w / 2)})
        return Message(RecordDict({"arrays": record, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)

    def step(self, number, values, *, size=2, senders=SERVERS):
        """The reply to these servers' models, and what it says of them."""
        names = tuple(map(str, values))
        delivery = Delivery(number, tuple(senders[: len(names)]), names, SERVERS, "model", SETTINGS)
        models = {n: ArrayRecord({"w": Array(np.full(size, float(n), np.float32))}) for n in names}
        sent = Message(RecordDict({RECORD: ConfigRecord(delivery.as_config()), **models}), 1, "train")
        self.saw = []
        reply = guanyu_mod()(sent, self.context, self.train)
        return reply, None if reply.has_error() else Choice.of(reply.content.config_records[RECORD], SERVERS)


def begun(node_id=0, steps=3):
    """A worker that honest servers have led to 1.0, half of the way to 0 each time; the next they send is 0.5.

    In its first two steps it took the median, and asked nobody.
    """
    worker = Worker(node_id)
    for number in range(1, steps + 1):
        worker.step(number, [2.0 ** (steps - number)] * 6)
    return worker


def test_the_first_two_steps_are_computed_at_the_median_and_later_ones_at_one_servers_model():
    worker = Worker()
    for number, value in ((1, 8), (2, 4)):
        _, choice = worker.step(number, [value, value, value, value, value, 900])
        assert (worker.saw, choice) == ([value], Choice("", {}))
    reply, choice = worker.step(3, [2, 2.01, 2, 2, 2, 900])
    assert (worker.saw, choice) == ([2.0], Choice("server-0", {}))
    assert reply.content["arrays"]["w"].numpy().tolist() == [1.0, 1.0]


def test_the_step_after_each_exchange_is_computed_at_the_median():
    worker = begun(steps=4)
    _, choice = worker.step(5, [0.5, 0.5, 0.5, 0.5, 0.5, 90.0])
    assert (worker.saw, choice) == ([0.5], Choice("", {}))


def test_a_worker_that_a_liar_led_astray_is_back_after_the_next_exchange():
    worker = begun(node_id=0)
    far = 19.0  # from the guess, 0.5, still within the outliers filter's reach; a wild history disarms the other one
    (record,) = worker.context.state.array_records.values()
    record["coefficients"] = Array(np.full(100, 1e6))
    _, choice = worker.step(4, [0.5, far, 0.5, 0.5, 0.5, 0.5])
    assert choice.server == "server-1"
    _, choice = worker.step(5, [0.5, far, 0.5, 0.5, 0.5, 0.5])
    assert (worker.saw, choice) == ([0.5], Choice("", {}))


def test_servers_are_asked_in_turn_beginning_at_ones_own():
    worker = begun(node_id=6 + 4, steps=2)
    steps = zip((3, 4, 6, 7), (0.5, 0.25, 0.125, 0.0625), strict=True)  # in step 5, after an exchange, nobody is asked
    asked = [worker.step(number, [value] * 6)[1].server for number, value in steps]
    assert asked == ["server-4", "server-5", "server-0", "server-1"]


def test_a_model_that_fails_is_left_and_the_next_server_asked():
    worker = begun(node_id=1)  # it has asked server 1
    reply, choice = worker.step(4, [0.5, 0.5, 90.0, 0.5, 0.5, 0.5])
    assert worker.saw == [90.0, 0.5]
    assert choice.server == "server-3"
    assert list(choice.rejected) == ["server-2"]
    assert choice.rejected["server-2"].startswith("outliers filter")
    assert reply.content["arrays"]["w"].numpy().tolist() == [0.25, 0.25]


def test_silence_and_numbers_that_are_not_finite_are_left_without_computing_there():
    worker = begun(node_id=1)
    _, choice = worker.step(4, ["nan", 0.5, 0.5], senders=("server-3", "server-4", "server-5"))
    assert worker.saw == [0.5]
    assert choice == Choice(
        "server-4", {"server-2": "nothing came in time", "server-3": "not finite, or of another form"}
    )


def test_the_median_is_taken_where_every_server_fails_and_then_the_filters_find_their_way_back():
    worker = begun(node_id=0)
    _, choice = worker.step(4, [50.0] * 6)
    assert choice.server == ""
    assert set(choice.rejected) == set(SERVERS)
    _, choice = worker.step(6, [25.0] * 6)
    assert (choice.server != "", choice.rejected) == (True, {})


@pytest.mark.parametrize(("number", "size"), [(1, 2), (2, 2), (4, 3)])
def test_what_was_remembered_of_another_run_is_forgotten(number, size):
    worker = begun()
    _, choice = worker.step(number, [90.0] * 6, size=size)
    assert choice == Choice("", {})


def test_a_function_that_fails_is_not_the_servers_fault():
    worker = begun()
    worker.fails = True
    reply, _ = worker.step(4, [0.5] * 6)
    assert reply.has_error()
    worker.fails = False
    assert worker.step(4, [0.5] * 6)[1].rejected == {}


def test_too_few_finite_models_for_the_median_are_an_error_as_without_filters():
    with pytest.raises(ValueError, match="fewer than q = 5 finite models"):
        Worker().step(1, [1, 1, 1, 1])


def test_a_nodes_state_holds_its_last_step_and_a_coefficient_for_each_model_judged():
    worker = begun(steps=20)
    (record,) = worker.context.state.array_records.values()
    assert record["model"].numpy().tolist() == [1.0, 1.0]
    assert len(record["coefficients"].numpy()) == 15
