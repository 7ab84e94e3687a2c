"""examples/spirt-digits in one process; and by Flower's own command line and as real processes, marked system."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.examples.app import EXAMPLES, imported, played

APP = EXAMPLES / "spirt-digits"
PEERS = 6
TABLE_LINE = re.compile(r"(peer-\d|newcomer) +(\d+) +(?:([\d.]+) %)? +(?:[\d.e+-]+)? +(?:\d+ to \d+)? +(.*)")


@pytest.fixture(scope="module")
def digits() -> Iterator[SimpleNamespace]:
    with imported(APP) as app:
        yield app


def play(digits: SimpleNamespace, results: Path, **settings: Any) -> dict[str, Any]:
    return played(digits, PEERS, results, **{"store": "memory", **settings})


def honest(run: dict[str, Any]) -> list[dict[str, Any]]:
    return [peer for peer in run["peers"].values() if peer["honest"]]


@pytest.fixture(scope="module")
def unattacked(digits, tmp_path_factory) -> float:
    """Accuracy if nobody lies."""
    run = play(digits, tmp_path_factory.mktemp("none") / "results.json", attack="none")
    assert len(honest(run)) == PEERS
    return min(peer["accuracy"] for peer in honest(run))


def test_peers_learn_when_nobody_lies(unattacked):
    assert unattacked > 0.93


@pytest.mark.parametrize("attack", ["sign-flip", "alie", "ipm", "dissensus", "label-flip"])
def test_honest_peers_agree_and_lose_less_than_two_points_to_a_liar(attack, digits, unattacked, tmp_path):
    peers = honest(play(digits, tmp_path / "results.json", attack=attack))
    assert len(peers) == PEERS - 1
    assert max(peer["distance"] for peer in peers) < 1e-6
    assert min(peer["accuracy"] for peer in peers) > unattacked - 0.02


@pytest.mark.parametrize("attack", ["sign-flip", "dissensus"])
def test_plain_means_lose_more_than_ten_points(attack, digits, unattacked, tmp_path):
    peers = honest(play(digits, tmp_path / "results.json", attack=attack, rule="mean"))
    assert max(peer["accuracy"] for peer in peers) < unattacked - 0.1


def test_a_flat_model_is_the_parameters_in_the_order_that_flower_sends(digits):
    net = digits.task.new_model(seed=3)
    model = torch.cat([values.reshape(-1) for values in net.state_dict().values()])
    assert torch.equal(digits.task.flat(net), model)
    _, held_out = digits.task.digits(0)
    with torch.no_grad():
        guesses = net(held_out.images).argmax(1)
    assert digits.task.accuracy(model, held_out) == pytest.approx((guesses == held_out.labels).float().mean().item())


def test_shares_hold_every_digit_once(digits):
    examples, _ = digits.task.digits(0)
    shares = [digits.task.share(examples, i, PEERS, 0) for i in range(PEERS)]
    assert sum(len(each.labels) for each in shares) == len(examples.labels)
    assert torch.equal(torch.cat([s.labels for s in shares]).bincount(), examples.labels.bincount())


@pytest.mark.system
def test_flwr_build_accepts_the_app(flower, tmp_path):
    built = flower.command("build", "--app", str(APP), cwd=tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr


@pytest.mark.system
def test_flwr_run_completes_with_fewer_processes_than_peers(flower, tmp_path):
    results, log = tmp_path / "results.json", []
    settings = {"num-server-rounds": 10, "results-path": str(results)}
    assert flower.run(APP, settings, num_supernodes=PEERS, on_line=log.append) == "finished:completed", log[-40:]
    peers = honest(json.loads(results.read_text()))
    assert len(peers) == PEERS - 1
    assert max(peer["distance"] for peer in peers) < 1e-6
    assert min(peer["accuracy"] for peer in peers) > 0.8
    expected = "one long message" if (os.cpu_count() or 1) >= PEERS else "threads that outlive"
    assert any(expected in line for line in log)


@pytest.mark.system
def test_flwr_run_completes_with_a_process_per_peer(flower, tmp_path):
    results = tmp_path / "results.json"
    fit = f"num-supernodes={PEERS} client-resources-num-cpus=1 init-args-num-cpus={PEERS}"  # whatever the machine has
    settings = f"num-server-rounds=3 results-path='{results}'"
    submitted = flower.command("run", str(APP), "--federation-config", fit, "--run-config", settings)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    deadline = time.monotonic() + 300
    while not (status := flower.last_status()).startswith("finished"):
        assert time.monotonic() < deadline, status
        time.sleep(1)
    log = flower.command("log", re.search(r"run (\d+)", submitted.stdout)[1], "--show").stdout
    assert status == "finished:completed", log[-4000:]
    assert "one long message" in log
    assert len(honest(json.loads(results.read_text()))) == PEERS - 1


@pytest.mark.system
def test_processes_outlive_two_peers_and_a_store_and_take_one_in(tmp_path):
    ran = subprocess.run(
        [sys.executable, str(APP / "processes.py")], text=True, capture_output=True, check=False, timeout=550
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = {match[1]: match for match in map(TABLE_LINE.match, ran.stdout.splitlines()) if match}
    assert {name: told[name][4].split(":")[0] for name in ("peer-1", "peer-2", "peer-3")} == {
        "peer-1": "killed with -9", "peer-2": "killed with -9", "peer-3": "its store killed with -9",
    }  # fmt: skip
    for name in ("peer-4", "peer-5", "newcomer"):
        assert told[name][4].endswith("all rounds done")
        assert float(told[name][3]) > 80
