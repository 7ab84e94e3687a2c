"""GuanYu's benchmark: its cells, its arithmetic, and that a run that was killed goes on."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from _guanyu import attacks, cost, curves, nodes, overhead
from _guanyu.parts import NAMES, Parts
from _guanyu.results import append, read
from _guanyu.work import cifar_cnn, load, perceptron, worker_app
from _machine import exponent

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "guanyu.py"
SHORT = attacks.Training(steps=2, rate=0.4)


@pytest.fixture(scope="module")
def digits():
    return load()


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_papers_network_has_as_many_parameters_as_they_say():
    assert size(cifar_cnn()) == 1_756_426
    assert size(perceptron(28)) == 50_890


def test_every_server_attack_meets_every_worker_attack_once():
    cells = attacks.SETS["every-pair"]
    assert len(cells) == len(set(cells)) == 2 + 11 * 12
    assert {(cell.server, cell.worker) for cell in cells} >= {("equivocation", "sign-flip"), ("silent", "nan")}


def test_a_cell_that_the_file_has_is_not_played_again(digits, tmp_path):
    path = tmp_path / "results.jsonl"
    first = list(attacks.run(digits, attacks.SETS["no-defence"][:1], SHORT, path))
    assert list(attacks.run(digits, attacks.SETS["no-defence"][:1], SHORT, path)) == first == read(path)
    path.write_text(path.read_text()[:-20])
    assert len(list(attacks.run(digits, attacks.SETS["no-defence"][:1], SHORT, path))) == 1
    assert [row["worst"] for row in read(path)] == [first[0]["worst"]]


def test_a_line_that_was_cut_short_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"a": 1}\n{"a": ')
    append(path, {"a": 2})
    append(path, {"a": 3})
    assert read(path) == [{"a": 1}, {"a": 2}, {"a": 3}]


def model_of(result):
    return result.arrays["model"].numpy()


def test_the_one_server_that_lies_trains_on_what_it_says(digits):
    honest, slow, liar = (
        model_of(attacks.play(digits, attacks.Cell(attacks.ONE, server), SHORT)) for server in ("none", "slow", "zero")
    )
    assert (honest == slow).all()  # who only is late tells the truth
    assert (honest != liar).any()


def test_a_silent_server_leaves_the_first_model(digits):
    row = attacks.measure(digits, attacks.Cell(attacks.ONE, "silent"), SHORT)
    assert row["worst"] == attacks.accuracy(digits, digits.first_record())


def test_momentum_begins_with_the_gradient_itself(digits):
    one, two = (
        [
            model_of(attacks.play(digits, attacks.Cell(attacks.ONE), attacks.Training(steps, 0.4, 0, m)))
            for m in (0, 0.9)
        ]
        for steps in (1, 2)
    )
    assert (one[0] == one[1]).all()
    assert (two[0] != two[1]).any()


def test_batches_are_the_same_whatever_is_compared(digits):
    same, other = digits.batch(3, 7), digits.batch(3, 8)
    assert torch.equal(same[0], digits.batch(3, 7)[0])
    assert not torch.equal(same[0], other[0])


def test_parts_and_rest_are_the_whole_and_nothing_counts_twice(digits):
    with Parts() as parts:
        attacks.play(digits, attacks.Cell("GuanYu", "equivocation"), SHORT)
        found = parts.lap(100.0)
    assert set(found) == set(NAMES)
    assert sum(found.values()) == pytest.approx(100.0)
    assert all(found[name] > 0 for name in NAMES)
    assert not parts.lap(0.0)["gradients"]


def test_laps_leave_out_the_first_step_in_which_all_models_are_equal(digits):
    settings = overhead.CHOICES["GuanYu"]()
    found = overhead.laps(worker_app(digits), settings, digits.first_record(), 2)
    assert len(found) == 2
    assert all(lap.cpu_s >= sum(lap.parts.values()) * 0.999 for lap in found)


def test_overhead_is_over_one_server_with_the_mean(digits):
    found = overhead.overhead(digits, repeats=1, steps=1)
    base, guanyu = (found["choices"][name] for name in (overhead.BASE, "GuanYu"))
    assert base["parts"]["gradients"] == guanyu["parts"]["gradients"] > 0
    assert guanyu["cpu_s"] > base["cpu_s"] > base["parts"]["gradients"]
    lines = overhead.table([found]).splitlines()[2:]
    assert len(lines) == len(overhead.CHOICES)
    assert lines[0].endswith("| +0 % |")
    more = round(100 * (guanyu["cpu_s"] / base["cpu_s"] - 1))
    assert next(line for line in lines if "GuanYu" in line).endswith(f"| +{more} % |")


@pytest.mark.parametrize("choice", nodes.CHOICES)
def test_every_cluster_that_is_timed_keeps_the_bounds(choice):
    cluster = nodes.Cluster(**nodes.CHOICES[choice])
    settings = cluster.config.settings(cluster.n, cluster.m)
    assert (settings.f, settings.f_w) == (cluster.f, cluster.f_w)


def test_a_node_that_took_too_few_steps_is_not_timed():
    with pytest.raises(RuntimeError, match="too few"):
        nodes.taken("server", [(0.0, 0.0, 0.0)] * 3, [])


def test_what_a_node_took_leaves_out_the_first_step_and_the_last():
    marks = [(0.0, 0.0, 0.0), (9.0, 1.0, 1.0), (10.0, 3.0, 2.0), (12.0, 5.0, 3.0), (99.0, 99.0, 99.0)]
    found = nodes.taken("worker", marks, [({"model": 4}, {}), ({"model": 8}, {"gradient": 2})])
    assert (found.step_s, found.cpu_s, found.gradient_s) == (1.5, 2.0, 1.0)
    assert (found.read, found.written) == ({"model": 6.0}, {"gradient": 1.0})


def test_exponents_are_of_each_part_against_what_is_varied():
    assert exponent([(x, 7 * x**1.5) for x in (1.0, 10.0, 50.0)]) == pytest.approx(1.5)
    rows = [
        {"varied": "d", "n": 6, "m": 18, "d": d, "cpu_s": 2.0 * d, "parts": dict.fromkeys(cost.PARTS, d**0.5)}
        for d in (10, 100)
    ]
    found = cost.exponents(rows)
    assert found["whole step"] == {"d": pytest.approx(1.0)}
    assert found["models at workers"] == {"d": pytest.approx(0.5)}


def test_updates_to_a_level_are_those_of_the_first_time_it_is_reached():
    row = {"data": "t", "learner": "l", "accuracy": [(0, 0.1), (5, 0.85), (10, 0.79), (15, 0.93)]}
    assert curves.convergence_table([row]).splitlines()[-1] == "| t, l | 5 | 15 | - | 93.0 % at 15 |"


def test_one_liar_in_the_mean_carries_it_away_and_guanyu_stays(digits):
    found = {
        defence: attacks.measure(digits, attacks.Cell(defence, "reversed", "gaussian"), attacks.Training(6, 0.4))
        for defence in ("GuanYu", attacks.MEANS)
    }
    assert found["GuanYu"]["worst"] > 0.5 > 0.3 > found[attacks.MEANS]["worst"]


@pytest.mark.system
def test_links_carry_each_message_once():
    row = cost.links(3, 3, 1000)
    for role, kind, times in (("worker", "model", 3), ("server", "gradient", 3), ("server", "exchange", 2)):
        assert times * 4000 <= row[f"{role}_read"][kind] < times * 5000
    assert len(cost.links_table([row]).splitlines()) == 3


@pytest.mark.system
def test_drift_is_plotted_for_every_pair(tmp_path):
    arguments = ["drift", "--steps", "3", "--plots", str(tmp_path), "--results", str(tmp_path / "rows.jsonl")]
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=True)
    assert len(read(tmp_path / "rows.jsonl")) == 15
    assert done.stdout.count("| equivocation, sign-flip |") == 5
    ET.parse(tmp_path / "guanyu-drift.svg")


@pytest.mark.system
def test_processes_of_their_own_take_as_many_steps_as_they_are_told():
    row = nodes.measure("GuanYu", nodes.Cluster(3, 0, 3, 0, d=1000, steps=5))
    assert row["step_s"] > 0
    assert row["server_cpu_s"] > 0
    assert row["worker_read"]["model"] >= 3 * 4000
    assert len(nodes.table([row]).splitlines()) == 3
