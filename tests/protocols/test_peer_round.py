"""The peer's round, one event after another: what it asks for, counts, and never does.

In one file however long: one machine, from its first event to its last.
"""

from itertools import pairwise

import pytest

from flwr_byzantine import protocols as p
from tests.protocols.driver import OWN, PEERS, POLICY, Driver, row_of


def test_a_round_with_everybody_goes_through_its_phases_without_waiting():
    driver = Driver()
    assert [type(a) for a in driver.done] == [p.PublishModel, p.PublishBeat, p.Compute]
    driver.compute(at=1.0)
    assert driver.machine.phase is p.Phase.GATHERING
    assert [(a.peer, a.attempt) for a in driver.asked(p.Fetch)] == [(peer, 1) for peer in PEERS]
    driver.receive("g", "f", "e", "d", "c")
    assert driver.machine.phase is p.Phase.GATHERING
    driver.receive("b")
    [aggregate] = driver.asked(p.Aggregate)
    assert [row.peer for row in aggregate.rows] == [OWN, *PEERS]
    assert driver.tell(p.Aggregated(1)) == (p.Update(1),)
    assert p.Compute(2) in driver.tell(p.Updated(1))


def test_once_a_quorum_is_in_only_the_grace_is_waited_for():
    driver = Driver()
    driver.compute()
    driver.receive("b", "c", "d", "e", at=2.0)
    assert driver.machine.wake_at <= 3.0
    driver.tell(p.Tick(), 2.9)
    assert driver.machine.phase is p.Phase.GATHERING
    driver.tell(p.Tick(), 3.0)
    assert [row.peer for row in driver.asked(p.Aggregate)[0].rows] == ["a", "b", "c", "d", "e"]


def test_at_the_deadline_as_few_as_the_rule_needs_will_do():
    driver = Driver(least=3)
    driver.compute()
    driver.receive("b", "c")
    driver.tell(p.Tick(), 9.9)
    assert driver.machine.phase is p.Phase.GATHERING
    driver.tell(p.Tick(), 10.0)
    assert len(driver.asked(p.Aggregate)[0].rows) == 3


def test_with_too_few_the_model_is_kept_and_it_is_said_and_the_next_round_begins():
    driver = Driver()
    driver.compute()
    driver.receive("b", "c", "d")
    driver.tell(p.Tick(), 10.0)
    assert driver.asked(p.KeepModel) == [p.KeepModel(1, 2, "4 averages of 7 members, and the rule needs 5 (f = 2)")]
    assert driver.asked(p.Aggregate) == []
    assert driver.machine.round == 2


@pytest.mark.parametrize("phase", ["computing", "aggregating", "updating"])
def test_work_that_hangs_is_given_up(phase):
    driver = Driver()
    if phase != "computing":
        driver.compute()
        driver.receive(*PEERS)
    if phase == "updating":
        driver.tell(p.Aggregated(1))
    assert driver.machine.phase == phase
    driver.tell(p.Tick(), 20.0)
    assert (p.Reason.FAILED, OWN) in driver.reasons()
    assert driver.machine.phase is (p.Phase.GATHERING if phase == "computing" else p.Phase.COMPUTING)


def test_a_peer_that_could_not_compute_still_aggregates_the_others():
    driver = Driver()
    driver.tell(p.Failed(1, "every batch failed"))
    driver.receive(*PEERS)
    assert [row.peer for row in driver.asked(p.Aggregate)[0].rows] == PEERS
    assert driver.asked(p.Publish) == []


def test_an_aggregation_that_fails_keeps_the_model():
    driver = Driver()
    driver.compute()
    driver.receive(*PEERS)
    driver.tell(p.Failed(1, "store gone"))
    assert driver.asked(p.KeepModel) == [p.KeepModel(1, 2, "aggregating failed: store gone")]


def test_late_early_and_repeated_averages_are_counted_and_change_nothing():
    driver = Driver()
    driver.finish_round()
    driver.compute()
    driver.receive("b", round=2)
    driver.receive("b", round=2)
    driver.receive("c", round=3)
    driver.receive("d", round=10**18)
    driver.receive("x", round=2)
    driver.receive("d", round=1)
    found = [(r, peer) for r, peer in driver.reasons() if peer in "bcdx"]
    assert found == [
        (p.Reason.DUPLICATE, "b"),
        (p.Reason.EARLY, "c"),
        (p.Reason.EARLY, "d"),
        (p.Reason.STRANGER, "x"),
        (p.Reason.DUPLICATE, "d"),
    ]
    driver.tell(p.Tick(), 10.0)
    assert len(driver.asked(p.Aggregate)) == 1


def test_an_average_that_comes_after_the_round_closed_is_late():
    driver = Driver()
    driver.compute()
    driver.receive("b", "c", "d", "e")
    driver.tell(p.Tick(), 1.0)
    driver.receive("f")
    assert (p.Reason.LATE, "f") in driver.reasons()


def test_two_values_of_one_peer_are_proved_and_neither_is_used():
    driver = Driver()
    driver.compute()
    driver.receive("b", digest=b"one")
    driver.receive("b", digest=b"two")
    [accusation] = driver.asked(p.Accuse)
    assert (accusation.peer, accusation.first.digest, accusation.second.digest) == ("b", b"one", b"two")
    driver.receive("b", digest=b"one")
    driver.receive("c", "d", "e", "f", "g")
    assert [row.peer for row in driver.asked(p.Aggregate)[0].rows] == ["a", "c", "d", "e", "f", "g"]


def test_a_second_value_is_found_out_rounds_later_too():
    driver = Driver()
    driver.finish_round()
    driver.finish_round()
    driver.receive("b", round=1, digest=b"another")
    assert driver.membership.standing("b") is p.Standing.CONVICTED


@pytest.mark.parametrize("list_first", [True, False])
def test_hearsay_convicts_nobody_but_is_followed_up(list_first):
    driver, claim = Driver(), p.SeenDigests("c", 1, {"b": b"other", "x": b"stranger"})
    driver.compute()
    for event in [claim, row_of("b", 1)] if list_first else [row_of("b", 1), claim, claim]:
        driver.tell(event)
    assert driver.asked(p.FetchStatement) == [p.FetchStatement("b", 1, holder="c")]
    assert driver.membership.standing("b") is p.Standing.ALIVE
    driver.tell(p.Stated("b", 1, b"b1", "stated"))
    assert (p.Reason.HEARSAY, "b") in driver.reasons()
    driver.tell(p.Stated("b", 1, b"other", "stated"))
    assert driver.membership.standing("b") is p.Standing.CONVICTED
    assert len(driver.asked(p.Accuse)) == 1


def test_lists_of_absurd_rounds_or_size_ask_for_nothing():
    driver = Driver()
    driver.compute()
    driver.receive("b")
    huge = {f"peer{k}": b"x" for k in range(10_000)}
    for round in (0, 2, 10**18):
        driver.tell(p.SeenDigests("c", round, {"b": b"other"}))
    driver.tell(p.SeenDigests("c", 1, huge))
    driver.tell(p.SeenDigests("x", 1, {"b": b"other"}))
    assert driver.asked(p.FetchStatement) == []


def test_a_second_statement_by_ones_own_key_ends_the_run():
    driver = Driver()
    driver.compute()
    driver.tell(p.SeenDigests("c", 1, {OWN: b"forged"}))
    assert driver.asked(p.FetchStatement) == [p.FetchStatement(OWN, 1, "c")]
    driver.tell(p.Stated(OWN, 1, b"forged", "stated"))
    assert driver.machine.phase is p.Phase.DONE
    assert driver.asked(p.Accuse) == []


def test_peers_are_asked_less_and_less_often_while_there_is_nothing():
    driver, times = Driver(), []
    driver.compute()
    while driver.now < 9.5:
        fetched = [a for a in driver.last if isinstance(a, p.Fetch) and a.peer == "b"]
        times += [driver.now] if fetched else []
        driver.tell(p.Absent("b", 1) if fetched else p.Tick(), driver.now if fetched else driver.machine.wake_at)
    waits = [round(later - earlier, 3) for earlier, later in pairwise(times)]
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]


def test_a_fetch_without_an_answer_is_made_again():
    driver = Driver()
    driver.compute()
    driver.tell(p.Tick(), 3.0)
    assert [a.attempt for a in driver.asked(p.Fetch) if a.peer == "b"] == [1, 2]


def test_who_is_refused_or_went_beyond_without_an_average_is_not_waited_for():
    driver = Driver()
    driver.beat("f", round=2)
    driver.compute()
    driver.receive("b", "c", "d", "e")
    driver.tell(p.Refused("g", 1, "not finite"))
    assert driver.machine.phase is p.Phase.GATHERING
    driver.tell(p.Absent("f", 1))
    assert driver.machine.phase is p.Phase.AGGREGATING
    assert (p.Reason.REFUSED, "g") in driver.reasons()


def test_a_peer_that_fell_behind_jumps_to_the_round_of_a_quorum_and_no_liar_moves_it():
    driver = Driver()
    driver.compute()
    driver.beat("f", "g", round=10**18)
    driver.beat("b", "c", round=9)
    assert driver.asked(p.CatchUp) == [p.CatchUp(9, ("b", "c", "f", "g"), needed=5)]
    assert p.Compute(9) in driver.tell(p.CaughtUp(9))


def test_a_peer_that_trails_by_little_for_long_jumps_too():
    driver = Driver()
    for _ in range(3):
        driver.beat(*PEERS, round=driver.machine.round + 2)
        driver.finish_round()
    assert [action.round for action in driver.asked(p.CatchUp)] == [5]


def test_when_catching_up_fails_again_and_again_one_goes_on_with_ones_own_model():
    driver = Driver()
    driver.compute()
    driver.beat(*PEERS, round=9)
    while driver.machine.phase is p.Phase.CATCHING_UP:
        driver.tell(p.Failed(9, "2 models"))
        driver.tell(p.Failed(9, "2 models"))
        driver.tell(p.Tick(), driver.machine.wake_at)
    assert len(driver.asked(p.CatchUp)) == POLICY.catch_up_tries
    assert driver.asked(p.KeepModel) == [p.KeepModel(1, 9, "catching up failed: 2 models")]
    assert driver.machine.round == 9


def test_an_average_is_published_once_however_often_it_was_computed():
    driver = Driver()
    driver.compute()
    driver.compute()
    assert driver.asked(p.Publish) == [p.Publish(1)]
    assert driver.last[-1].reason is p.Reason.LATE


@pytest.mark.parametrize("answer", [p.CaughtUp(2), p.CaughtUp(2, with_own=True), p.Failed(2, "2 models")])
def test_who_kept_its_model_takes_the_others_before_it_aggregates_again(answer):
    driver = Driver()
    driver.compute()
    driver.tell(p.Tick(), 10.0)
    driver.compute(at=10.0)
    driver.receive(*PEERS)
    assert driver.asked(p.CatchUp) == [p.CatchUp(2, tuple(PEERS), needed=5)]
    driver.tell(p.Convicted("g"))
    driver.tell(answer)
    assert [row.peer for row in driver.asked(p.Aggregate)[0].rows] == ["a", "b", "c", "d", "e", "f"]
    driver.tell(p.Aggregated(2))
    driver.tell(p.Updated(2))
    driver.finish_round(at=10.0)
    assert len(driver.asked(p.CatchUp)) == (1 if answer == p.CaughtUp(2) else 2)


def test_models_settle_every_few_rounds_where_the_policy_says_so():
    driver = Driver(policy=p.RoundPolicy(settle_every=2))
    for _ in range(5):
        driver.compute()
        driver.receive(*PEERS)
        if driver.machine.phase is p.Phase.CATCHING_UP:
            driver.tell(p.CaughtUp(driver.machine.round))
        driver.tell(p.Aggregated(driver.machine.round))
        driver.tell(p.Updated(driver.machine.round))
    assert [action.round for action in driver.asked(p.CatchUp)] == [2, 4]
    assert driver.machine.round == 6


def test_a_newcomer_asks_to_join_and_begins_with_the_others_model():
    driver = Driver(newcomer=True)
    assert driver.done[0] == p.RequestJoin()
    driver.beat("b", "c", "d", "e", round=7)
    assert [action.round for action in driver.asked(p.CatchUp)] == [7]
    assert p.Compute(7) in driver.tell(p.CaughtUp(7))


def test_a_newcomer_that_finds_nobody_begins_alone():
    driver = Driver(newcomer=True)
    driver.tell(p.Tick(), 10.0)
    assert p.Compute(1) in driver.last


def test_rounds_before_what_is_retained_are_forgotten():
    driver = Driver()
    for _ in range(8):
        driver.finish_round()
    assert [action.before_round for action in driver.asked(p.Forget)] == [2, 3, 4]


def test_the_last_round_leaves_its_model_and_heartbeats_go_on():
    driver = Driver(policy=p.RoundPolicy(rounds=1))
    driver.finish_round()
    assert driver.asked(p.Finished) == [p.Finished(1, "all rounds done")]
    assert p.PublishModel(2) in driver.done
    assert any(isinstance(action, p.PublishBeat) for action in driver.tell(p.Tick(), 50.0))
    assert driver.machine.wake_at > 50.0


def test_a_liar_cannot_lead_beyond_the_last_round():
    driver = Driver(policy=p.RoundPolicy(rounds=5))
    driver.compute()
    driver.beat(*PEERS, round=10**18)
    assert driver.asked(p.CatchUp)[0].round == 6
    assert p.Finished(5, "all rounds done") in driver.tell(p.CaughtUp(6))


def test_one_leaves_at_the_end_of_the_round():
    driver = Driver()
    driver.tell(p.Leave())
    driver.finish_round()
    assert p.PublishLeave(1) in driver.done
    assert driver.machine.phase is p.Phase.DONE


def test_results_of_work_that_was_given_up_are_dropped():
    driver = Driver()
    driver.compute()
    driver.receive(*PEERS)
    driver.tell(p.Tick(), 20.0)
    for stale in (p.Aggregated(1), p.Updated(1), p.CaughtUp(1), p.Failed(1, "late"), p.Computed(1, b"x", "x")):
        assert driver.tell(stale)[-1].reason is p.Reason.LATE
    assert (driver.machine.round, driver.machine.phase) == (2, p.Phase.COMPUTING)


@pytest.mark.parametrize(
    "wrong", [{"retain_rounds": 3}, {"deadline_s": 0.0}, {"lag": 0}, {"settle_every": 0}, {"grace_s": -1.0}]
)
def test_a_policy_out_of_range_is_the_callers_mistake(wrong):
    with pytest.raises(ValueError, match="must be"):
        p.RoundPolicy(**wrong)
