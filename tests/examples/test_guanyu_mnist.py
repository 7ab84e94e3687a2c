"""examples/guanyu-mnist in one process; and by Flower's own command line, marked system."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.examples.app import EXAMPLES, app_config, assert_same_data, idx_bytes, imported, played, small_mnist

APP = EXAMPLES / "guanyu-mnist"
WORKERS = 18


@pytest.fixture(scope="module")
def digits() -> Iterator[SimpleNamespace]:
    with imported(APP) as app:
        yield app


def play(digits: SimpleNamespace, results: Path, **settings: Any) -> dict[str, Any]:
    return played(digits, app_config(APP)["num-workers"], results, **{"num_server_rounds": 5, **settings})


def test_the_honest_servers_learn_together_in_spite_of_lying_servers_and_workers(digits, tmp_path):
    results = play(digits, tmp_path / "results.json")
    assert sorted(results["servers"]) == [f"server-{number}" for number in range(5)]
    assert min(results["servers"].values()) > 0.4
    last = results["rounds"][-1]
    assert (last["round"], last["step"]) == (5, 5)
    assert 0 < last["drift"] < last["drift_before_exchange"]
    assert last["accuracy"] > 0.4


def test_momentum_on_the_workers_makes_what_they_send_a_running_mean(digits):
    context = SimpleNamespace(state={})
    given = [{"w": torch.tensor([value])} for value in (4.0, 0.0, 8.0)]
    sent = [digits.client.smoothed(change, 0.75, context)["w"].item() for change in given]
    assert sent == [4.0, 3.0, 4.25]
    assert digits.client.smoothed({"w": torch.tensor([8.0])}, 0.0, context)["w"].item() == 8.0


def test_more_liars_than_the_bound_allows_are_refused(digits, tmp_path):
    with pytest.raises(ValueError, match="n = 6 servers break n >= 3f"):
        play(digits, tmp_path / "results.json", num_malicious_servers=2)


def test_the_mean_in_place_of_a_robust_rule_falls_to_the_same_attacks(digits, tmp_path):
    results = play(digits, tmp_path / "results.json", gradient_rule="mean", worker_attack="gaussian")
    assert max(results["servers"].values()) < 0.4


def test_unknown_attacks_are_errors_that_name_the_known(digits):
    with pytest.raises(ValueError, match="equivocation"):
        digits.server.make_strategy({**app_config(APP), "server-attack": "typo"})
    with pytest.raises(ValueError, match="sign-flip"):
        digits.server.make_strategy({**app_config(APP), "worker-attack": "typo"})


def test_every_worker_has_all_rows_or_shares_that_hold_each_once(digits):
    labels = digits.task.load_dataset().train_labels
    split = [digits.task.share(labels, "split", number, WORKERS, 1) for number in range(WORKERS)]
    everything = list(range(len(labels)))
    assert sorted(torch.cat(split).tolist()) == everything
    assert sorted(digits.task.share(labels, "all", 3, WORKERS, 1).tolist()) == everything
    with pytest.raises(ValueError, match="'all' or 'split', got 'some'"):
        digits.task.share(labels, "some", 0, WORKERS, 1)


def test_reads_mnist_from_an_npz_and_from_idx_files(digits, tmp_path):
    arrays = small_mnist()
    np.savez(tmp_path / "mnist.npz", **arrays)
    for name, array in zip(digits.task.IDX_FILES, arrays.values(), strict=True):
        (tmp_path / name).write_bytes(idx_bytes(array))
    assert_same_data(digits.task.load_dataset(str(tmp_path / "mnist.npz")), arrays)
    assert_same_data(digits.task.load_dataset(str(tmp_path)), arrays)


@pytest.mark.system
def test_flwr_run_completes_and_learns(flower, tmp_path):
    results, log = tmp_path / "results.json", []
    settings = {"num-server-rounds": 4, "results-path": str(results)}
    status = flower.run(APP, settings, num_supernodes=WORKERS, on_line=log.append)
    assert status == "finished:completed", "\n".join(log[-40:])
    assert min(json.loads(results.read_text())["servers"].values()) > 0.25
