"""The grid behaves as Flower's own does, and repeats exactly.

In one file however long: it is one list of what Flower's grids do.
"""

import random
import threading
import time

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg, FedMedian

from flwr_byzantine.testing import HostileReply, InProcessGrid, Late, SystemClock, VirtualClock, late, silent
from flwr_byzantine.testing._flower import TaskIdentity


def model(value=0.0, size=4):
    return ArrayRecord({"w": Array(np.full((size, 2), value, np.float32)), "b": Array(np.zeros(2, np.float32))})


def counting_mod(message, context, call_next):
    reply = call_next(message, context)
    reply.content["mod"] = ConfigRecord({"node": context.node_id})
    return reply


def make_app(mods=None, meeting=None):
    """Each node moves the model towards its partition id, and counts its calls in its state."""
    app = ClientApp(mods=mods)

    @app.train()
    def train(message, context):
        count = context.state.get("calls", MetricRecord({"count": 0}))["count"] + 1
        context.state["calls"] = MetricRecord({"count": count})
        partition = context.node_config["partition-id"]
        if context.node_config.get("raises"):
            raise ZeroDivisionError("division by zero")
        if meeting is not None:
            meeting.wait(timeout=60)
        rate = np.float32(context.run_config.get("lr", 0.5))
        arrays = {k: a.numpy() for k, a in message.content["arrays"].items()}
        moved = {k: Array(a + rate * (np.float32(partition) - a)) for k, a in arrays.items()}
        metrics = MetricRecord({"num-examples": 10, "loss": float(partition), "calls": count})
        return Message(RecordDict({"arrays": ArrayRecord(moved), "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message, context):
        metrics = MetricRecord({"num-examples": 10, "accuracy": 0.5})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def train_messages(grid, ttl=None):
    content = RecordDict({"arrays": model(), "config": ConfigRecord({"server-round": 1})})
    return [Message(content, node, "train", group_id="1", ttl=ttl) for node in grid.get_node_ids()]


def partitions(grid, replies):
    return [grid.partition_of(reply.metadata.src_node_id) for reply in replies]


def test_fedavg_runs_20_rounds_with_10_clients():
    with InProcessGrid(make_app(), 10) as grid:
        result = FedAvg().start(grid, model(), num_rounds=20)
    assert np.allclose(result.arrays["w"].numpy(), 4.5, atol=1e-4)
    assert result.evaluate_metrics_clientapp[20]["accuracy"] == pytest.approx(0.5)
    assert result.train_metrics_clientapp[20]["calls"] == pytest.approx(20)


def test_a_run_repeats_bit_for_bit():
    def run():
        random.seed(0)  # Flower draws the order of its nodes from it
        with InProcessGrid(make_app(), 5) as grid:
            return FedAvg().start(grid, model(), num_rounds=3).arrays["w"].data

    assert run() == run()


def test_threads_give_the_same_result():
    with InProcessGrid(make_app(), 5, max_workers=4) as grid:
        threaded = FedMedian().start(grid, model(), num_rounds=3).arrays["w"].data
    with InProcessGrid(make_app(), 5) as grid:
        assert FedMedian().start(grid, model(), num_rounds=3).arrays["w"].data == threaded


def test_threads_run_client_functions_at_the_same_time():
    meeting = threading.Barrier(4)  # which all four are to reach before one goes on
    with InProcessGrid(make_app(meeting=meeting), 4, max_workers=4) as grid:
        replies = list(grid.send_and_receive(train_messages(grid)))
    assert len(replies) == 4
    assert not any(reply.has_error() for reply in replies)


def test_replies_come_in_the_order_in_which_messages_were_sent():
    with InProcessGrid(make_app(), 6, faults={0: late(5), 3: late(1)}, clock=VirtualClock()) as grid:
        messages = train_messages(grid)[::-1]
        assert partitions(grid, grid.send_and_receive(messages)) == [5, 4, 3, 2, 1, 0]


def test_messages_and_replies_have_ids_that_match():
    with InProcessGrid(make_app(), 3) as grid:
        messages = train_messages(grid)
        replies = grid.send_and_receive(messages)
    for message, reply in zip(messages, replies, strict=True):
        assert reply.metadata.reply_to_message_id == message.metadata.message_id != ""
        assert reply.metadata.src_node_id == message.metadata.dst_node_id
        assert reply.metadata.dst_node_id == message.metadata.src_node_id == 1
        assert (reply.metadata.group_id, reply.metadata.message_type) == ("1", "train")
        assert reply.metadata.run_id == message.metadata.run_id == grid.run.run_id
    assert len({m.metadata.message_id for m in messages + replies}) == 6


def test_the_seed_determines_node_ids():
    def ids(seed):
        with InProcessGrid(make_app(), 4, seed=seed) as grid:
            return grid.get_node_ids()

    assert ids(0) == ids(0) != ids(1)
    assert len(set(ids(0))) == 4


def test_nodes_are_listed_as_flower_lists_them():
    with InProcessGrid(make_app(), 4) as grid:
        assert [node.node_id for node in grid.get_nodes()] == grid.get_node_ids()


def test_node_config_and_run_config_reach_the_client():
    with InProcessGrid(make_app(), 2, run_config={"lr": 1.0}, node_configs={1: {"gpu": True}}) as grid:
        _, second = grid.send_and_receive(train_messages(grid))
        assert (second.content["arrays"]["w"].numpy() == 1.0).all()
        config = grid.context_of(second.metadata.src_node_id).node_config
    assert config == {"partition-id": 1, "num-partitions": 2, "gpu": True}


def test_state_lasts_from_message_to_message():
    with InProcessGrid(make_app(), 2) as grid:
        for _ in range(3):
            replies = grid.send_and_receive(train_messages(grid))
    assert [reply.content["metrics"]["calls"] for reply in replies] == [3, 3]


def test_an_exception_becomes_an_error_reply_and_loses_its_state():
    with InProcessGrid(make_app(), 2, node_configs={0: {"raises": True}}) as grid:
        failed, fine = grid.send_and_receive(train_messages(grid))
        assert not grid.context_of(failed.metadata.src_node_id).state
    assert failed.error.code == 2
    assert failed.error.reason == "<class 'ZeroDivisionError'>:<'division by zero'>"
    assert fine.has_content()


def test_an_app_that_returns_no_message_gets_an_error_reply():
    app = ClientApp()
    app.train()(lambda message, context: None)
    with InProcessGrid(app, 1) as grid:
        [reply] = grid.send_and_receive(train_messages(grid))
    assert "must return a Message, got NoneType" in reply.error.reason


def test_mods_run():
    with InProcessGrid(make_app(mods=[counting_mod]), 2) as grid:
        replies = grid.send_and_receive(train_messages(grid))
    assert [r.content["mod"]["node"] for r in replies] == [r.metadata.src_node_id for r in replies]


def test_a_client_cannot_change_what_the_server_sent():
    app = ClientApp()

    @app.train()
    def train(message, context):
        message.content["arrays"].clear()
        return Message(message.content, reply_to=message)

    with InProcessGrid(app, 2) as grid:
        messages = train_messages(grid)
        grid.send_and_receive(messages)
    assert set(messages[0].content["arrays"]) == {"w", "b"}


def test_pull_hands_out_only_what_has_arrived_and_only_once():
    clock = VirtualClock()
    with InProcessGrid(make_app(), 3, faults={0: late(5.0), 2: silent}, clock=clock) as grid:
        ids = grid.push_messages(train_messages(grid))
        assert partitions(grid, grid.pull_messages(ids)) == [1]
        clock.sleep(5.0)
        assert partitions(grid, grid.pull_messages([ids[0], ids[2]])) == [0]
        [again] = grid.pull_messages([ids[0]])
    assert (again.error.code, again.metadata.reply_to_message_id) == (3, ids[0])


def test_an_unknown_id_is_answered_by_the_superlink():
    with InProcessGrid(make_app(), 1) as grid:
        [reply] = grid.pull_messages(["nobody"])
    assert (reply.error.code, reply.metadata.src_node_id) == (3, 1)


def test_a_message_to_an_unknown_node_is_left_out():
    with InProcessGrid(make_app(), 1) as grid:
        assert grid.push_messages([Message(RecordDict(), 5, "train")]) == []


def test_a_late_reply_can_be_pulled_after_the_timeout():
    clock = VirtualClock()
    with InProcessGrid(make_app(), 2, faults={1: late(10.0)}, clock=clock) as grid:
        messages = train_messages(grid)
        assert partitions(grid, grid.send_and_receive(messages, timeout=3.0)) == [0]
        assert clock.now() == 3.0
        clock.sleep(7.0)
        assert partitions(grid, grid.pull_messages([messages[1].metadata.message_id])) == [1]


def test_a_late_reply_takes_its_time_on_the_clock_of_the_machine():
    with InProcessGrid(make_app(), 2, faults={1: late(0.2)}, clock=SystemClock()) as grid:
        started = time.perf_counter()
        assert len(grid.send_and_receive(train_messages(grid))) == 2
        assert time.perf_counter() - started >= 0.2


def test_silence_costs_no_time():  # or an hour, and the run's own limit ends it
    with InProcessGrid(make_app(), 4, faults={0: silent}) as grid:
        result = FedAvg().start(grid, model(), num_rounds=2, timeout=3600)
    assert np.allclose(result.arrays["w"].numpy(), 1.5)  # 2 rounds half the way to mean(1, 2, 3)


def test_silence_without_a_timeout_ends_when_the_message_expires():
    with InProcessGrid(make_app(), 2, faults={0: silent}) as grid:
        expired, fine = grid.send_and_receive(train_messages(grid, ttl=5.0))
    assert expired.error.code == 3
    assert fine.has_content()


def test_a_reply_that_is_later_than_its_message_lives_is_refused():
    with InProcessGrid(make_app(), 1, faults={0: late(6.0)}, clock=VirtualClock()) as grid:
        [reply] = grid.send_and_receive(train_messages(grid, ttl=5.0))
    assert reply.error.code == 3


def test_faults_can_change_between_rounds():
    with InProcessGrid(make_app(), 2) as grid:
        grid.faults[0] = silent
        assert partitions(grid, grid.send_and_receive(train_messages(grid), timeout=1)) == [1]
        del grid.faults[0]
        assert partitions(grid, grid.send_and_receive(train_messages(grid), timeout=1)) == [0, 1]


def test_a_fault_sees_the_message_that_was_sent():
    def echo(reply, sent):
        return Message(RecordDict({"arrays": sent.content["arrays"]}), reply_to=sent)

    with InProcessGrid(make_app(), 3, faults={2: echo}) as grid:
        replies = grid.send_and_receive(train_messages(grid))
    assert (replies[2].content["arrays"]["w"].numpy() == 0).all()
    assert replies[2].metadata.src_node_id == grid.get_node_ids()[2]


def test_a_fault_may_send_twice():
    with InProcessGrid(make_app(), 2, faults={0: HostileReply.SECOND_REPLY}) as grid:
        replies = grid.send_and_receive(train_messages(grid))
    assert partitions(grid, replies) == [0, 0, 1]
    assert len({reply.metadata.message_id for reply in replies}) == 3


def test_a_second_reply_after_the_first_was_pulled_is_refused():
    clock = VirtualClock()

    def again(reply, sent):
        return [reply, Late(HostileReply.HUNDREDFOLD.make(reply)[0], 5.0)]

    with InProcessGrid(make_app(), 1, faults={0: again}, clock=clock) as grid:
        ids = grid.push_messages(train_messages(grid))
        assert len(grid.pull_messages(ids)) == 1
        clock.sleep(5.0)
        assert [reply.error.code for reply in grid.pull_messages(ids)] == [3]


@pytest.mark.parametrize("max_workers", [1, 3])
def test_a_fault_that_raises_is_the_tests_own_mistake(max_workers):
    def broken(reply, sent):
        raise KeyError("typo")

    with (
        InProcessGrid(make_app(), 2, faults={0: broken}, max_workers=max_workers) as grid,
        pytest.raises(KeyError, match="typo"),
    ):
        grid.send_and_receive(train_messages(grid), timeout=10)


def test_a_whole_server_app_runs_unchanged():
    app = ServerApp()

    @app.main()
    def main(grid, context):
        result = FedAvg().start(grid, model(), num_rounds=context.run_config["num-server-rounds"])
        context.state["arrays"] = result.arrays

    with InProcessGrid(make_app(), 3, run_config={"num-server-rounds": 2}) as grid:
        state = grid.run_app(app).state
    assert (state["arrays"]["w"].numpy() == 0.75).all()


def test_messages_can_be_made_while_any_grid_is_open():
    before = vars(TaskIdentity)["_run_id"]
    first, second = InProcessGrid(make_app(), 1), InProcessGrid(make_app(), 1)
    first.close()
    assert second.create_message(RecordDict(), "train", 7, "1").metadata.src_node_id == 1
    second.close()
    second.close()
    assert vars(TaskIdentity)["_run_id"] is before


def test_a_closed_grid_sends_nothing():
    with InProcessGrid(make_app(), 1) as grid:
        messages = train_messages(grid)
    with pytest.raises(RuntimeError, match="closed"):
        grid.push_messages(messages)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_supernodes": 0}, "num_supernodes >= 1, got 0"),
        ({"max_workers": 0}, "max_workers >= 1, got 0"),
        ({"num_supernodes": 3, "faults": {3: silent}}, r"partition ids 0 to 2 in faults, got \[3\]"),
        ({"num_supernodes": 3, "node_configs": {-1: {}}}, r"partition ids 0 to 2 in node_configs, got \[-1\]"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        InProcessGrid(make_app(), **arguments)


@pytest.mark.system
@pytest.mark.filterwarnings("ignore")
def test_the_result_is_that_of_flowers_simulation(monkeypatch):
    from flwr.simulation import run_simulation

    for name in ("_task_id", "_run_id", "_node_id"):  # run_simulation leaves its identity behind
        monkeypatch.setattr(TaskIdentity, name, None)
    results = []
    app = ServerApp()

    @app.main()
    def main(grid, context):
        while len(list(grid.get_node_ids())) < 4:  # the simulation starts before its nodes are there
            time.sleep(0.05)
        results.append(
            FedMedian().start(  # for which the order of replies makes no difference
                grid, model(), num_rounds=3
            )
        )

    with InProcessGrid(make_app(), 4) as grid:
        grid.run_app(app)
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": 1}}
    run_simulation(app, make_app(), num_supernodes=4, backend_config=resources)
    mine, flowers = results
    assert {k: a.data for k, a in mine.arrays.items()} == {k: a.data for k, a in flowers.arrays.items()}
    assert mine.train_metrics_clientapp == flowers.train_metrics_clientapp
    assert mine.evaluate_metrics_clientapp == flowers.evaluate_metrics_clientapp


@pytest.mark.parametrize("delay_s", [-1.0, float("nan")])
def test_delays_are_not_negative(delay_s):
    with pytest.raises(ValueError, match="delay_s >= 0"):
        late(delay_s)
