"""The app of docs/guanyu.md, as it stands there: in one process; simulated and deployed by Flower, marked system."""

import contextlib
import re
import sys
import threading
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from flwr_byzantine.stores import EmbeddedStore
from flwr_byzantine.testing import InProcessGrid
from tests.examples.app import ROOT, LocalFlower
from tests.examples.deployment import WithStores, until

BLOCK = re.compile(r"```(?:toml|python)\n# (\S+)\n(.*?)```", re.DOTALL)
ENDED = re.compile(r"node-(\d), (server|worker): (.+), \S+ from the median model")
ERROR = re.compile(r"error of the servers' models: ([\d.]+)")
SERVERS, WORKERS, STEPS = 4, 3, 100
FEW = ("server", "server", "server", "worker")  # each a SuperNode, which is two processes, and a third that trains
MAX_BYTES = 1 << 20


@pytest.fixture
def app(tmp_path) -> Path:
    """The files of the page."""
    for name, content in BLOCK.findall((ROOT / "docs" / "guanyu.md").read_text()):
        path = tmp_path / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "app" / "guanyu_nodes" / "__init__.py").touch()
    return tmp_path / "app"


def check_log(lines: list[str], servers: int, workers: int) -> None:
    """All did all steps, and the servers learnt."""
    found = [match for line in lines if (match := ENDED.search(line))]
    assert sorted(match[2] for match in found) == ["server"] * servers + ["worker"] * workers
    assert {match[3] for match in found} == {"all steps done"}
    (error,) = [float(match[1]) for line in lines if (match := ERROR.search(line))]
    assert error < 0.5


def test_the_page_has_a_whole_app_that_learns(app, monkeypatch, caplog):
    monkeypatch.syspath_prepend(str(app))
    config = tomllib.loads((app / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    client, server = (import_module(f"guanyu_nodes.{name}") for name in ("client_app", "server_app"))
    try:
        given = {**config, "store": "memory", "num-server-rounds": 15}
        with InProcessGrid(client.app, SERVERS + WORKERS, run_config=given) as grid:
            grid.run_app(server.app)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "guanyu_nodes"]:
            del sys.modules[name]
    check_log(caplog.messages, SERVERS, WORKERS)


@pytest.mark.system
def test_flwr_run_completes_in_a_simulation(app, tmp_path):
    log: list[str] = []
    with LocalFlower() as flower:
        status = flower.run(app, {"num-server-rounds": 20}, num_supernodes=SERVERS + WORKERS, on_line=log.append)
    assert status == "finished:completed", "\n".join(log[-40:])
    check_log(log, SERVERS, WORKERS)


@pytest.fixture
def stores() -> Iterator[list[EmbeddedStore]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(EmbeddedStore(threads=1)) for _ in FEW]


@pytest.mark.system
def test_the_death_of_the_superlink_and_then_of_a_server_does_not_stop_the_nodes(app, stores):
    def reached(step: int, which: list[EmbeddedStore]) -> bool:
        """Whether they published the model of this step or, since old ones are withdrawn, of one after it."""
        steps = range(step, STEPS + 2)
        return all(any(store.read(f"model:{later}", max_bytes=MAX_BYTES) for later in steps) for store in which)

    servers = stores[:3]
    configs = [f"store='{store.url}' role='{role}'" for store, role in zip(stores, FEW, strict=True)]
    settings = {"num-server-rounds": STEPS, "pause-s": 0.2, "num-servers": 3, "num-workers": 1}
    weaker = {"model-quorum": 2, "gradient-rule": "mean", "strict": False}
    log: list[str] = []
    with WithStores(configs) as flower:
        flower.deploy(len(FEW))
        run = threading.Thread(target=flower.run, args=(app, {**settings, **weaker}), kwargs={"on_line": log.append})
        run.start()
        try:
            until(lambda: reached(3, servers), 600, "step 3 of every server")
            assert not any(reached(STEPS, [store]) for store in servers)
            flower.kill_superlink()
            until(lambda: reached(30, servers), 240, "step 30 of every server")
            servers[2].close()
            until(lambda: reached(STEPS + 1, servers[:2]), 240, "the last model of the other servers")
        finally:
            flower.stop()
            run.join()
    assert any("one long message" in line for line in log)
