"""examples/robust-digits in one process; and both examples by Flower's own command line, marked system."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.examples.app import EXAMPLES, assert_same_data, idx_bytes, imported, played, small_mnist

APP = EXAMPLES / "robust-digits"
NODES, LIARS = 10, 2
SIGN_FLIP = {"attack": "sign-flip", "num-byzantine": LIARS}


@pytest.fixture(scope="module")
def digits() -> Iterator[SimpleNamespace]:
    with imported(APP) as app:
        yield app


def play(digits: SimpleNamespace, results: Path, **settings: Any) -> list[dict[str, Any]]:
    return played(digits, NODES, results, **{"num_server_rounds": 5, **settings})["rounds"]


def last_accuracy(digits: SimpleNamespace, results: Path, **overrides: Any) -> float:
    return play(digits, results, **overrides)[-1]["accuracy"]


def test_learns_when_nobody_lies(digits, tmp_path):
    rows = play(digits, tmp_path / "results.json", strategy="fedavg")
    assert [row["round"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert rows[0]["accuracy"] < 0.3
    assert rows[-1]["accuracy"] > 0.85


def test_two_liars_break_fedavg(digits, tmp_path):
    assert last_accuracy(digits, tmp_path / "results.json", strategy="fedavg", **SIGN_FLIP) < 0.5


@pytest.mark.parametrize("strategy", ["multikrum", "krum", "bulyan", "median", "trimmed-mean", "geometric-median"])
def test_two_liars_do_not_break(strategy, digits, tmp_path):
    tolerated = 1 if strategy == "bulyan" else LIARS  # Bulyan needs n >= 4f + 3: ten nodes bear one liar
    liars = {"attack": "sign-flip", "num-byzantine": tolerated, "num-malicious-nodes": tolerated}
    assert last_accuracy(digits, tmp_path / "results.json", strategy=strategy, **liars) > 0.7


def test_every_strategy_that_the_app_names_completes_a_round(digits, tmp_path):
    for strategy in ["fedavg", *digits.server.STRATEGIES]:
        rows = play(
            digits,
            tmp_path / f"{strategy}.json",
            strategy=strategy,
            num_server_rounds=1,
            num_malicious_nodes=1,
        )
        assert len(rows) == 2, strategy


def test_the_same_seed_gives_the_same_run(digits, tmp_path):
    runs = [play(digits, tmp_path / f"{n}.json", num_server_rounds=2, seed=seed) for n, seed in enumerate((3, 3, 4))]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_an_unknown_strategy_is_an_error_that_names_the_known(digits):
    with pytest.raises(ValueError, match="multikrum"):
        digits.server.make_strategy({"strategy": "typo", "num-malicious-nodes": 2})


@pytest.mark.parametrize("partitioner", ["iid", "dirichlet"])
def test_partitions_hold_every_row_once_and_none_is_empty(partitioner, digits):
    labels = digits.task.load_dataset().train_labels
    parts = digits.task.partition(labels, NODES, partitioner=partitioner, alpha=0.05, seed=1)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert all(len(part) for part in parts)


def test_dirichlet_partitions_miss_classes(digits):
    labels = digits.task.load_dataset().train_labels
    parts = digits.task.partition(labels, NODES, partitioner="dirichlet", alpha=0.05, seed=1)
    assert min(len(labels[part].unique()) for part in parts) < 10


def test_reads_mnist_from_an_npz(digits, tmp_path):
    np.savez(tmp_path / "mnist.npz", **small_mnist())
    assert_same_data(digits.task.load_dataset(str(tmp_path / "mnist.npz")), small_mnist())


@pytest.mark.parametrize("zipped", [False, True])
def test_reads_fashion_mnist_from_a_folder_of_idx_files(zipped, digits, tmp_path):
    for name, array in zip(digits.task.IDX_FILES, small_mnist().values(), strict=True):
        data = idx_bytes(array)
        (tmp_path / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)
    assert_same_data(digits.task.load_dataset(str(tmp_path)), small_mnist())


def test_the_model_takes_small_and_large_images(digits):
    model = digits.task.new_model(seed=0)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.system
def test_flwr_build_accepts_it(flower, tmp_path):
    built = flower.command("build", "--app", str(APP), cwd=tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    assert list(tmp_path.glob("*.fab"))


@pytest.mark.system
def test_flwr_run_completes_and_learns_in_spite_of_liars(flower, tmp_path):
    results, log = tmp_path / "results.json", []
    settings = {"num-server-rounds": 3, "results-path": str(results), **SIGN_FLIP}
    status = flower.run(APP, settings, num_supernodes=NODES, on_line=log.append)
    assert status == "finished:completed", "\n".join(log[-40:])
    accuracies = [row["accuracy"] for row in json.loads(results.read_text())["rounds"]]
    assert accuracies[-1] > accuracies[0] + 0.3


@pytest.mark.system
def test_a_deployment_of_real_nodes_learns_in_spite_of_a_liar(flower, tmp_path):
    results, log = tmp_path / "results.json", []
    settings = {"num-server-rounds": 2, "results-path": str(results), "num-malicious-nodes": 1}
    flower.deploy(5)
    status = flower.run(APP, {**settings, **SIGN_FLIP, "num-byzantine": 1}, on_line=log.append)
    assert status == "finished:completed", "\n".join(log[-40:])
    rounds = json.loads(results.read_text())["rounds"]
    assert rounds[-1]["accuracy"] > rounds[0]["accuracy"] + 0.3
    assert len(rounds[-1]["selected"]) == 4


@pytest.mark.system
def test_a_failed_run_is_seen_although_flwr_run_exits_with_0(flower):
    assert flower.run(APP, {"strategy": "typo"}, num_supernodes=NODES) == "finished:failed"
