"""``flwr-byzantine guanyu``: the file, and servers and workers as real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from flwr_byzantine.cli import main
from flwr_byzantine.cli._guanyu_file import GuanYuFile
from flwr_byzantine.signing import Keyring, PrivateKey
from flwr_byzantine.stores._locate import free_port

PATIENCE_S = 120.0
SERVERS, WORKERS = [f"s{i}" for i in range(1, 7)], [f"w{i}" for i in range(1, 10)]
TASK = """
import torch
def quadratic(d=1000, goal=3.0):
    return (lambda model, step: model - goal), torch.zeros(d)
"""
FILE = """
[node]
key = "{name}.pem"
[store]
reader-password-file = "reader.pw"
port = {port}
[ring]
file = "ring.toml"
[training]
run = "test"
{training}
learning-rate = 0.5
max-poll-s = 0.1
[task]
gradients = "task:quadratic"
[status]
file = "{name}.status"
"""
LISTED = '\n[[{kind}]]\npeer = "{name}"\nurl = "redis://reader@127.0.0.1:{port}"\nstore-password-file = "reader.pw"\n'


class Nodes:
    """Keys, a keyring, a file for each node, and their processes."""

    def __init__(self, path: Path, n: int, m: int, training: str, attacks: dict[str, str]) -> None:
        self.path, self.servers, self.workers = path, SERVERS[:n], WORKERS[:m]
        self.training, self.attacks = training, attacks
        self.keys = {name: PrivateKey.generate() for name in (*self.servers, *self.workers)}
        self.ports = {name: free_port("127.0.0.1") for name in self.keys}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        for name, key in self.keys.items():
            key.save(path / f"{name}.pem")
            (path / f"{name}.toml").write_text(self.text(name))
        Keyring(key.public(name) for name, key in self.keys.items()).save(path / "ring.toml")
        (path / "reader.pw").write_text("a pass/word\n")
        (path / "task.py").write_text(TASK)

    def text(self, name: str) -> str:
        listed = [("servers", server) for server in self.servers] + [("workers", each) for each in self.workers]
        attack = f'[attack]\nname = "{self.attacks[name]}"\n' if name in self.attacks else ""
        return (
            FILE.format(name=name, port=self.ports[name], training=self.training)
            + attack
            + "".join(LISTED.format(kind=kind, name=other, port=self.ports[other]) for kind, other in listed)
        )

    def start(self, name: str) -> None:
        at = self.path / name
        command = [sys.executable, "-m", "flwr_byzantine.cli", "guanyu", "--config", f"{at}.toml"]
        with open(f"{at}.log", "w") as log:
            self.processes[name] = subprocess.Popen(
                [*command, "--result", f"{at}.json", "--model", f"{at}.pt"],
                stdout=log,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def step(self, name: str) -> int:
        file = self.path / f"{name}.status"
        return json.loads(file.read_text())["step"] if file.exists() else 0

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            assert all(process.poll() is None for process in self.processes.values()), self.logs()
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in self.path.glob("*.log"))


@contextmanager
def folder(path: Path, n: int, m: int, training: str, **attacks: str) -> Iterator[Nodes]:
    made = Nodes(path, n, m, training, attacks)
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def nodes(tmp_path) -> Iterator[Nodes]:
    with folder(tmp_path, 4, 3, "model-quorum = 3") as made:
        yield made


def test_a_file_names_servers_workers_and_bounds_and_the_key_says_the_role(nodes):
    file = GuanYuFile.load(nodes.path / "w2.toml")
    assert [listed.peer for listed in file.servers] == [nodes.keys[name].peer for name in nodes.servers]
    assert [listed.peer for listed in file.workers] == [nodes.keys[name].peer for name in nodes.workers]
    assert (file.node.name, file.training.model_quorum, file.training.steps) == ("w2", 3, None)
    assert file.servers[0].url == f"redis://reader:a%20pass%2Fword@127.0.0.1:{nodes.ports['s1']}"


MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "an unknown table": (lambda text: text.replace("[status]", "[statsu]"), "statsu is no setting; did you mean"),
    "an unknown key": (lambda text: text.replace("[node]", "[node]\nkye = 1"), r"\[node\] kye .* mean 'key'\?"),
    "an unknown setting": (lambda text: text.replace("run =", "rnu ="), r"\[training\] there is no setting 'rnu'"),
    "a broken bound": (
        lambda text: text.replace("model-quorum = 3", "byzantine-servers = 1"),
        r"\[training\] GuanYu: n = 4 servers break n >= 3f \+ 3 = 6",
    ),
    "an unknown node": (lambda text: text.replace('"w3"', '"w4"'), r"\[\[workers\]\] number 3: peer must be a name"),
    "a node twice": (lambda text: text.replace('"w3"', '"w2"'), r"name node [0-9a-f]{8} more than once"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_file_is_told_with_its_place(nodes, mistake):
    change, said = MISTAKES[mistake]
    path = nodes.path / "s1.toml"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=said) as told:
        GuanYuFile.load(path)
    assert str(told.value).startswith(f"{path}:")


def test_a_node_that_is_in_neither_list_is_told(nodes, capsys):
    path = nodes.path / "s1.toml"
    PrivateKey.generate().save(nodes.path / "other.pem")
    path.write_text(path.read_text().replace('"s1.pem"', '"other.pem"'))
    assert main(["guanyu", "--config", str(path)]) == 1
    assert re.search(r"neither \[\[servers\]\] nor \[\[workers\]\] name this node", capsys.readouterr().err)


def test_a_node_may_serve_its_numbers(nodes):
    path = nodes.path / "s1.toml"
    assert GuanYuFile.load(path).node.metrics is None
    path.write_text(path.read_text().replace("[ring]", "[metrics]\nport = 9464\n[ring]"))
    assert GuanYuFile.load(path).node.metrics == ("127.0.0.1", 9464)


def test_a_node_may_be_told_to_lie(tmp_path):
    with folder(tmp_path, 4, 3, "model-quorum = 3", s2="sign-flip", s3="ipm") as nodes:
        assert GuanYuFile.load(tmp_path / "s1.toml").attack is None
        assert GuanYuFile.load(tmp_path / "s2.toml").attack.attack.name == "sign_flip"
        with pytest.raises(ValueError, match=r"\[attack\] name must be one of .*sign-flip.*, got 'ipm'"):
            GuanYuFile.load(tmp_path / "s3.toml")
        path = nodes.path / "s2.toml"
        path.write_text(path.read_text().replace('"sign-flip"', '"sign-flip"\noptions = {size = 3}'))
        with pytest.raises(ValueError, match=r"\[attack\] options do not fit"):
            GuanYuFile.load(path)


def steps_per_second(nodes: Nodes, steps: int, *names: str) -> float:
    """How fast the first of these nodes went while all of them took so many steps."""
    first, begun = nodes.step(names[0]), time.monotonic()
    nodes.until(lambda: all(nodes.step(name) >= first + steps for name in names))
    return (nodes.step(names[0]) - first) / (time.monotonic() - begun)


def stop_all(nodes: Nodes) -> None:
    for process in nodes.processes.values():
        process.send_signal(signal.SIGTERM)
    for process in nodes.processes.values():
        assert process.wait(PATIENCE_S) == 0, nodes.logs()


def check_server(nodes: Nodes, name: str) -> dict:
    """A server was stopped with the model that all honest workers want; its result."""
    result = json.loads((nodes.path / f"{name}.json").read_text())
    assert (result["status"], result["role"]) == ("stopped", "server")
    torch.testing.assert_close(torch.load(nodes.path / f"{name}.pt"), torch.full((1000,), 3.0))
    return result


@pytest.mark.system
def test_training_goes_on_when_one_of_four_servers_is_killed(nodes):
    for name in nodes.keys:
        nodes.start(name)
    nodes.until(lambda: all(nodes.step(name) >= 10 for name in nodes.keys))
    killed = nodes.processes.pop("s4")
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    rate = steps_per_second(nodes, 60, *nodes.processes)
    print(f"3 of 4 servers, 3 workers, 1000 parameters: {rate:.1f} steps per second")
    stop_all(nodes)
    for name in ("s1", "s2", "s3"):
        assert check_server(nodes, name)["last"]["rejected"][nodes.keys["s4"].peer]["unreachable"] >= 1


@pytest.mark.system
def test_a_lying_server_and_two_lying_workers_lead_no_process_astray(tmp_path):
    liars = {"s1": "nan", "w1": "sign-flip", "w2": "huge"}
    with folder(tmp_path, 6, 9, "byzantine-servers = 1\nbyzantine-workers = 2", **liars) as nodes:
        for name in nodes.keys:
            nodes.start(name)
        honest = [name for name in nodes.keys if name not in liars]
        nodes.until(lambda: all(nodes.step(name) >= 5 for name in honest))
        rate = steps_per_second(nodes, 30, *honest)
        print(f"6 servers, 9 workers, 1 and 2 of them lie, 1000 parameters: {rate:.1f} steps per second")
        stop_all(nodes)
        for name in nodes.servers[1:]:
            assert check_server(nodes, name)["last"]["rejected"][nodes.keys["s1"].peer]["not-finite"] >= 1
