"""Cells on the digits: strategies, GuanYu and peers train, under attack and without."""

import json
from pathlib import Path

import pytest
import torch

from flwr_byzantine.bench import Cell, Servers, TaskChoice, Training, identity, load_task
from flwr_byzantine.bench.runner import outcome_of

HERE = Path(__file__).parent
SHORT = Training(honest=5, rounds=3, local_steps=3)
LONGER = Training(honest=5, rounds=10, evaluate_every=10)


def outcome(folder=HERE, **settings):
    given = {"rule": "multi_krum", "attack": "none", "f": 1, "training": SHORT, **settings}
    return outcome_of(Cell(**given), folder)


def test_a_robust_rule_learns_where_the_mean_does_not():
    finals = {
        rule: outcome(rule=rule, attack="optimal(ipm)", f=2, training=LONGER)["final"]
        for rule in ("mean", "nnm >> trimmed_mean")
    }
    assert finals["mean"] < 0.4
    assert finals["nnm >> trimmed_mean"] > 0.6


@pytest.mark.parametrize("system", ["strategy", "guanyu", "peers"])
def test_every_system_learns_and_repeats_itself_exactly(system):
    settings = {"system": system, "rule": "trimmed_mean", "attack": "gaussian", "training": SHORT}
    settings["servers"] = Servers(attack="equivocation") if system == "guanyu" else None
    settings["training"] = Training(honest=6, rounds=4)
    one, other = outcome(**settings), outcome(**settings)
    assert one["status"] == "done", one
    assert one["accuracy"] == other["accuracy"]
    assert [round for round, _ in one["accuracy"]] == [1, 2, 3, 4]
    assert one["final"] > 0.3
    assert one["rule-seconds"] > 0
    json.dumps(one, allow_nan=False)


@pytest.mark.parametrize("system", ["strategy", "peers"])
def test_what_is_not_finite_is_rejected_with_its_reason(system):
    found = outcome(system=system, rule="trimmed_mean", attack="nan")
    assert {(round, node) for round, node, _ in found["rejected"]} == {(1, 5), (2, 5), (3, 5)}
    assert "finite" in found["rejected"][0][2]


def test_selected_nodes_are_told_honest_ones_first():
    found = outcome(rule="krum", attack="sign_flip(scale=50.0)")
    assert [round for round, _ in found["selected"]] == [1, 2, 3]
    assert all(len(nodes) == 1 and nodes[0] < 5 for _, nodes in found["selected"])
    assert (found["nodes"], found["honest"]) == (6, 5)


@pytest.mark.parametrize("system", ["strategy", "guanyu", "peers"])
def test_a_bound_that_does_not_hold_is_refused_before_anything_runs(system):
    found = outcome(system=system, rule="bulyan", f=2)
    assert found["status"] == "refused"
    assert "bulyan needs n >= 11" in found["error"]


def test_flipped_labels_harm_the_mean_of_data_that_differ():
    settings = {"rule": "mean", "f": 4, "training": LONGER, "heterogeneity": "iid"}
    assert outcome(attack="label_flip", **settings)["final"] < outcome(attack="none", **settings)["final"]


def test_accuracy_is_measured_where_it_is_asked_for_and_in_the_end():
    found = outcome(training=Training(honest=5, rounds=5, local_steps=1, evaluate_every=2))
    assert [round for round, _ in found["accuracy"]] == [2, 4, 5]


@pytest.mark.parametrize(
    "change",
    [{"rule": "krum"}, {"attack": "alie"}, {"f": 2}, {"seed": 1}, {"system": "peers"}, {"heterogeneity": "gamma:0"}],
)
def test_whatever_changes_a_result_changes_the_identity(change):
    given = {"rule": "mean", "attack": "none", "f": 1}
    assert identity(Cell(**given)) != identity(Cell(**{**given, **change}))


def test_one_s_own_task_is_a_function_in_a_module_beside_the_sweep(tmp_path):
    (tmp_path / "own_bench_task.py").write_text(
        "import torch\nfrom flwr_byzantine.bench import Examples, Task\n\n"
        "def blobs(classes):\n"
        "    labels = torch.arange(200) % classes\n"
        "    both = Examples(torch.nn.functional.one_hot(labels, classes).float(), labels)\n"
        "    return Task(lambda: torch.nn.Linear(classes, classes), both, both)\n"
    )
    chosen = TaskChoice("own_bench_task:blobs", options={"classes": 3})
    found = outcome(tmp_path, task=chosen, training=Training(honest=5, rounds=5, learning_rate=1.0))
    assert found["final"] == 1.0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "it is digits, mnist, or module:function"),
        ("no_such_module:f", "ModuleNotFoundError"),
        ("math:pi", "TypeError"),
        ("builtins:dict", "must return a flwr_byzantine.bench.Task, got dict"),
    ],
)
def test_a_task_that_cannot_be_is_a_sentence(name, said, tmp_path):
    with pytest.raises(ValueError, match=r".") as raised:
        load_task(name, folder=tmp_path)
    assert said in str(raised.value)


def test_mnist_comes_from_a_file(tmp_path):
    import numpy as np

    arrays = {f"x_{part}": np.zeros((4, 28, 28), np.uint8) for part in ("train", "test")}
    arrays |= {f"y_{part}": np.arange(4, dtype=np.uint8) for part in ("train", "test")}
    np.savez(tmp_path / "mnist.npz", **arrays)
    task = load_task("mnist", data="mnist.npz", folder=tmp_path)
    assert task.train.inputs.shape == (4, 1, 28, 28)
    assert sum(p.numel() for p in task.new_network(0).parameters()) == 431_080
    assert task.new_network(0)(task.test.inputs).shape == torch.Size([4, 10])
    with pytest.raises(ValueError, match="the task mnist needs data"):
        load_task("mnist", data="nowhere.npz", folder=tmp_path)
