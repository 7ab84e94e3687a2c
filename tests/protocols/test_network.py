"""Whole meshes in virtual time. Safety is asserted in the network at every action; liveness here."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flwr_byzantine import protocols as p
from tests.protocols.network import LONGEST_ROUND_S, Chaos, Lie, Network, peer_id


def models(net):
    return [peer.model for peer in net.honest if peer.up]


def assert_nobody_stood_still(net, begin, end):
    for peer in net.honest:
        times = [begin, *(time for time, _ in peer.history if begin < time < end), end]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert max(gaps) <= LONGEST_ROUND_S, f"peer {peer.number} stood still for {max(gaps):.1f} s"


def assert_together(net):
    """Within one round of each other, but for the instant in which a quorum is in the next already."""
    spread = []
    for _ in range(20):
        net.run(net.now + 0.25)
        spread.append(max(net.rounds()) - min(net.rounds()))
    assert min(spread) <= 1, spread
    assert sorted(spread)[len(spread) // 2] <= 1, spread


def assert_same_models_of_a_round(net, within):
    """Of the last round that all have behind them: at one instant some are a step further than others."""
    last = min(net.rounds()) - 1
    values = [peer.store.models[last] for peer in net.honest if last in peer.store.models]
    assert len(values) > len(net.honest) // 2
    assert max(values) - min(values) < within


FOUND = {
    Lie.SILENT: p.Reason.EVICTED,
    Lie.ZOMBIE: p.Reason.SUSPECTED,
    Lie.GARBAGE: p.Reason.REFUSED,
    Lie.EQUIVOCATE: p.Reason.CONVICTED,
    Lie.SLANDER: p.Reason.HEARSAY,
    Lie.AHEAD: p.Reason.SUSPECTED,
    Lie.REPLAY: p.Reason.REPLAYED,
    Lie.SYBIL: p.Reason.FLOOD,
    Lie.FLAP: p.Reason.SUSPECTED,
}


@pytest.mark.parametrize("lie", Lie, ids=lambda lie: lie.name.lower())
def test_two_liars_of_seven_stop_nobody_and_enter_no_model(lie):
    net = Network(7, [lie, lie], f=2, seed=3)
    net.run(30.0)
    assert min(net.rounds()) >= 15
    assert_together(net)
    assert all(abs(model - 1.0) < 0.1 for model in models(net)), models(net)
    assert all(peer.said[FOUND[lie]] for peer in net.honest if lie in FOUND)


def test_without_faults_all_honest_peers_have_the_same_model_after_the_same_round():
    net = Network(7, [], f=2, seed=1)
    net.run(30.0)
    last = min(net.rounds()) - 1
    assert last > 15
    assert len({round(peer.store.models[last], 9) for peer in net.honest}) == 1


def test_two_of_eight_die_and_the_others_go_on_within_one_deadline():
    net = Network(8, [], f=2, seed=2, chaos=Chaos(crashes=[(10.0, 1e6, 0), (10.0, 1e6, 1)]))
    net.run(10.0)
    before = net.rounds()
    net.run(10.0 + net.policy.deadline_s)
    assert min(net.rounds()) > max(before)
    net.run(60.0)
    assert_together(net)
    assert all(peer.machine.membership.standing(peer_id(0)) is p.Standing.EVICTED for peer in net.honest[2:])


def test_a_peer_added_meanwhile_takes_part_within_two_rounds():
    net = Network(5, [Lie.POISON], f=1, seed=4)
    net.run(20.0)
    newcomer = net.add(9)
    begun = max(net.rounds())
    for peer in net.honest[:-1]:
        peer.tell(p.JoinAsked(newcomer.id, newcomer.id, on_ring=True), peer.life)
    net.run(30.0)
    used = [r for peer in net.honest[:-1] for r, seen in peer.store.digests.items() if newcomer.id in seen]
    assert min(used) <= begun + 2
    assert abs(newcomer.model - 1.0) < 0.1


def test_fresh_keys_join_by_the_votes_of_a_quorum_only():
    net = Network(5, [Lie.SYBIL], f=1, seed=5)
    net.run(10.0)
    newcomer = net.add(9)
    for voter in net.honest[:4]:
        assert newcomer.id not in net.honest[0].machine.membership.members
        voter.tell(p.Approve(newcomer.id), voter.life)
    net.run(30.0)
    for peer in net.honest[:-1]:
        assert peer.machine.membership.members <= {*net.peers}
        assert newcomer.id in peer.machine.membership.members


def test_who_leaves_is_not_waited_for():
    net = Network(6, [], f=1, seed=6)
    net.run(10.0)
    net.honest[0].tell(p.Leave(), net.honest[0].life)
    net.run(20.0)
    assert net.honest[0].finished == "left"
    assert all(peer.said[p.Reason.LEFT] == 1 for peer in net.honest[1:])
    assert all(peer.said[p.Reason.SUSPECTED] == 0 for peer in net.honest[1:])


def test_a_slow_peer_slows_nobody_down_for_long_and_still_follows():
    net = Network(6, [], f=1, seed=7)
    net.honest[0].compute_s = 4.0
    net.run(60.0)
    assert min(net.rounds()) >= 25
    assert abs(net.honest[0].model - 1.0) < 0.1
    assert len(net.honest[0].store.rows) > 5


def test_both_sides_of_a_split_go_on_and_come_together_again():
    net = Network(7, [], f=2, seed=8, chaos=Chaos(cuts=[(10.0, 40.0, frozenset({0, 1}))]))
    net.run(40.0)
    assert all(not any(round > 20 for round in peer.aggregated) for peer in net.honest[:2])
    assert all(len(peer.aggregated) > 20 for peer in net.honest[2:])
    net.run(70.0)
    assert_together(net)
    for peer in net.honest:
        assert peer.machine.membership.members == {*net.peers}
    assert_same_models_of_a_round(net, 0.05)


def test_a_store_that_dies_and_comes_back_catches_up_and_never_doubles_a_round():
    net = Network(6, [Lie.BEHIND], f=1, seed=9, chaos=Chaos(crashes=[(8.0, 30.0, 0)]))
    net.run(60.0)
    assert_together(net)
    assert all(peer.said[p.Reason.CONVICTED] == 0 for peer in net.honest)
    assert net.honest[0].aggregated[-1] >= min(net.rounds()) - 2


HEALED_S, END_S = 20.0, 60.0


@st.composite
def chaos(draw, honest):
    begin = draw(st.floats(0.0, 15.0))
    cut = (
        begin,
        draw(st.floats(begin, HEALED_S)),
        frozenset(draw(st.sets(st.integers(0, honest - 1), max_size=honest))),
    )
    fall = draw(st.floats(1.0, 15.0))
    crash = (fall, draw(st.floats(fall, HEALED_S)), draw(st.integers(0, honest - 1)))
    return Chaos(
        loss=draw(st.sampled_from([0.0, 0.1, 0.4])),
        repeat=draw(st.sampled_from([0.0, 0.5])),
        delay_s=(0.01, draw(st.sampled_from([0.1, 0.5, 2.0]))),
        cuts=draw(st.lists(st.just(cut), max_size=1)),
        crashes=draw(st.lists(st.just(crash), max_size=1)),
    )


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(Lie), max_size=2), st.integers(0, 2**32), st.data())
def test_under_any_schedule_nobody_stands_still_and_after_healing_all_come_together(lies, seed, data):
    net = Network(7, lies, f=2, seed=seed, chaos=data.draw(chaos(7 - len(lies))))
    net.run(HEALED_S)
    net.chaos.loss, net.chaos.repeat, net.chaos.delay_s = 0.0, 0.0, (0.01, 0.2)
    net.run(END_S)
    assert_nobody_stood_still(net, HEALED_S, END_S)
    assert_together(net)
    for peer in net.honest:
        assert peer.aggregated[-1] >= max(net.rounds()) - 3, "a quorum is connected, and a peer does not use it"
    assert all(abs(model - 1.0) < 0.1 for model in models(net)), models(net)
    assert_same_models_of_a_round(net, 0.01)
