"""A server of one's own: it starts, keeps what it should, lets in whom it should, and never outlives its owner.

In one file however long: one server's life, from its start to what it leaves behind.
"""

import gc
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import redis
import torch

from flwr_byzantine import native
from flwr_byzantine.errors import StoreError, StoreUnavailableError, TooLargeError
from flwr_byzantine.rules import krum
from flwr_byzantine.stores import EmbeddedStore, RedisAIStore, RedisStore, _locate, script, sgd_step
from flwr_byzantine.stores._config import ServerOptions
from flwr_byzantine.stores._server import Server
from flwr_byzantine.stores._wire import MAX_HEADER_BYTES

pytestmark = pytest.mark.system

LINUX = sys.platform == "linux"


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return not LINUX or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def ends(pid: int, within_s: float = 15.0) -> bool:
    deadline = time.monotonic() + within_s
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not runs(pid)


def wait_for(condition) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it


def python(text: str, **keywords) -> subprocess.Popen:
    """A process that owns a store."""
    imports = "import os, signal, sys, time, torch; from flwr_byzantine.stores import EmbeddedStore\n"
    return subprocess.Popen(
        [sys.executable, "-c", imports + text], stdout=subprocess.PIPE, text=True, preexec_fn=interruptible, **keywords
    )


def started(owner: subprocess.Popen) -> tuple[int, Path]:
    """The server's process and its directory, once the owner has printed them."""
    pid, path = owner.stdout.readline().split()
    return int(pid), Path(path).parent


OWN = "store = EmbeddedStore(module=False); print(store.pid, store._server.socket, flush=True)\n"


def test_three_lines_aggregate_in_the_database():
    with EmbeddedStore() as store:
        for key, value in {"a": 1.0, "b": 1.1, "c": 0.9, "d": 1.2, "e": 99.0}.items():
            store.put(key, torch.tensor([value]))
        store.run(script(krum.bind(f=1)), ["a", "b", "c", "d", "e"], to="out")
        assert store.get("out").tolist() == [1.0]
        assert store.client.execute_command("AI.TENSORGET", "out", "VALUES")
        pid, directory = store.pid, store._server.socket.parent
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (directory / "server.conf").stat().st_mode & 0o777 == 0o600
    assert ends(pid)
    assert not directory.exists()


def test_an_owner_that_is_killed_takes_its_server_with_it():
    with python(OWN + "time.sleep(60)") as owner:
        pid, directory = started(owner)
        assert runs(pid)
        owner.kill()
    assert ends(pid)
    wait_for(lambda: not directory.exists())


def test_a_child_that_outlives_a_killed_owner_does_not_keep_its_server():
    forking = OWN + "child = os.fork()\nif child: print(child, 'x', flush=True)\ntime.sleep(60)"
    with python(forking) as owner:
        pid, _ = started(owner)
        child, _ = started(owner)
        owner.kill()
        try:
            assert ends(pid)
            assert runs(child)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_forked_child_uses_the_store_and_does_not_stop_it():
    text = """
store.put("x", torch.ones(1))
child = os.fork()
if not child:
    store.put("y", store.get("x") + 1)
    store.close()
    sys.exit(0)
os.waitpid(child, 0)
print(store.get("y").item(), flush=True)
store.close()
"""
    with python(OWN + text) as owner:
        pid, _ = started(owner)
        assert owner.stdout.readline() == "2.0\n"
    assert ends(pid)


def test_an_owner_that_forgets_to_close_leaves_nothing():
    with python(OWN) as owner:
        pid, directory = started(owner)
    assert ends(pid)
    assert not directory.exists()


def test_a_store_that_nobody_holds_ends():
    store = EmbeddedStore(module=False)
    pid = store.pid
    del store
    gc.collect()
    assert ends(pid)


def test_a_terminals_interrupt_leaves_the_server_to_its_owner():
    text = """
store.put("x", torch.ones(1))
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.3)
    print(store.get("x").item(), flush=True)
"""
    with python(OWN + text, start_new_session=True) as owner:
        pid, _ = started(owner)
        owner.stdout.readline()
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.stdout.readline() == "1.0\n"
    assert ends(pid)


def test_a_server_whose_guard_was_killed_is_still_stopped():
    store = EmbeddedStore(module=False)
    pid, directory = store.pid, store._server.socket.parent
    store._server._process._guard.kill()
    assert store.client.ping()
    store.close()
    assert not runs(pid)
    assert not directory.exists()


def test_two_stores_share_nothing():
    with EmbeddedStore(module=False) as one, EmbeddedStore(module=False) as other:
        one.put("x", torch.ones(1))
        assert not other.exists("x")
        one.close()
        other.put("x", torch.zeros(1))
        with pytest.raises(StoreUnavailableError):
            one.get("x")


def test_what_was_acknowledged_is_there_after_the_server_was_killed(tmp_path):
    with EmbeddedStore(directory=tmp_path / "data", persist=True) as store:
        for number in range(20):
            store.put(f"x{number}", torch.full((100_000,), float(number)))
        store.publish("p", b"payload")
        os.kill(store.pid, signal.SIGKILL)
    with EmbeddedStore(directory=tmp_path / "data", persist=True) as store:
        assert all(torch.equal(store.get(f"x{n}"), torch.full((100_000,), float(n))) for n in range(20))
        assert store.read("p", max_bytes=10) == b"payload"


def test_without_persist_nothing_is_kept(tmp_path):
    for _ in range(2):
        with EmbeddedStore(directory=tmp_path, module=False) as store:
            assert not store.exists("x")
            store.put("x", torch.ones(1))


def test_one_directory_is_one_servers(tmp_path, monkeypatch):
    monkeypatch.setattr(_locate, "LOCK_S", 0.1)
    with (
        EmbeddedStore(directory=tmp_path, module=False),
        pytest.raises(StoreError, match="another server keeps its data in"),
    ):
        EmbeddedStore(directory=tmp_path, module=False)
    EmbeddedStore(directory=tmp_path, module=False).close()


def test_a_store_finds_a_server_again_that_was_away(tmp_path):
    options = ServerOptions(directory=tmp_path, socket=tmp_path / "s", persist=True)
    with RedisStore(f"unix://{tmp_path}/s") as store:
        for value in (1.0, 2.0):
            server = Server(options)
            assert store.exists("x") is (value == 2.0)
            store.put("x", torch.tensor(value))
            server.stop()
            with pytest.raises(StoreUnavailableError):
                store.get("x")


def test_memory_has_the_limit_that_was_given():
    with EmbeddedStore(max_memory_bytes=64 << 20) as store:
        tensor = torch.zeros(4 << 20)
        store.put("x0", tensor)
        with pytest.raises(StoreError, match="OOM"):
            all(store.put(f"x{number}", tensor) is None for number in range(1, 10))
        assert torch.equal(store.get("x0"), tensor)
        assert not store.exists("x9")


def test_a_tensor_over_the_servers_own_limit_is_refused_and_the_limit_named():
    with EmbeddedStore(module=False) as store:
        store.client.config_set("proto-max-bulk-len", 1 << 20)
        limit = (1 << 20) - MAX_HEADER_BYTES
        with RedisStore(store.client) as small:
            small.put("x", torch.zeros(limit, dtype=torch.uint8))
            with pytest.raises(TooLargeError, match=f"{limit + 1} bytes, over the store's limit of {limit}"):
                small.put("x", torch.zeros(limit + 1, dtype=torch.uint8))
            assert small.get("x").shape == (limit,)


FORBIDDEN = ("KEYS *", "FLUSHALL", "CONFIG GET *", "SCAN 0", "ACL WHOAMI", "EVAL 1 0", "SUBSCRIBE x", "RANDOMKEY")


def test_a_port_asks_for_a_password_and_a_reader_reads_what_is_published_only():
    with EmbeddedStore(port=0, reader_password="p@ss/word", module=False) as store:
        store.put("x", torch.ones(1))
        store.publish("x", b"payload")
        port = store._server.options.port
        with RedisStore(store.url) as owner:
            assert owner.get("x").tolist() == [1.0]
        with RedisStore(f"redis://127.0.0.1:{port}") as nobody, pytest.raises(StoreUnavailableError):
            nobody.read("x", max_bytes=10)
        with redis.Redis(port=port, username="reader", password="p@ss/word") as client, RedisStore(client) as reader:
            assert reader.read("x", max_bytes=10) == b"payload"
            assert reader.read("y", max_bytes=10) is None
            for request in (
                lambda: reader.get("x"),
                lambda: reader.exists("x"),
                lambda: reader.put("x", torch.ones(1)),
                lambda: reader.delete("x"),
                lambda: reader.publish("x", b"forged"),
            ):
                with pytest.raises(StoreError, match="NOPERM"):
                    request()
            for command in FORBIDDEN:
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command.split())


def test_without_a_module_the_same_programs_run_here_and_the_log_says_why(monkeypatch, caplog):
    def missing(**_):
        raise native.CompilerMissingError("no C++ compiler: none is there")

    monkeypatch.setattr(native, "module", missing)
    with EmbeddedStore() as store:
        for key, value in {"a": 1.0, "b": 1.1, "c": 0.9, "d": 1.2, "e": 99.0}.items():
            store.put(key, torch.tensor([value]))
        store.run(script(krum.bind(f=1)), ["a", "b", "c", "d", "e"], to="out")
        assert store.get("out").tolist() == [1.0]
    assert [record.getMessage() for record in caplog.records] == [
        "programs run in this process, not in the database: no C++ compiler: none is there"
    ]


def test_without_a_backend_kernels_run_there_and_scripts_here(monkeypatch, caplog):
    def missing(**_):
        raise native.CompilerMissingError("no C++ compiler: none is there")

    monkeypatch.setattr(native, "backend", missing)
    with EmbeddedStore() as store:
        for key, value in {"a": 1.0, "b": 1.1, "c": 0.9, "d": 1.2, "e": 99.0}.items():
            store.put(key, torch.tensor([value]))
        store.run(script(krum.bind(f=1)), ["a", "b", "c", "d", "e"], to="out")
        assert not caplog.records
        store.run(script(krum.bind(f=1, neighbors=1)), ["a", "b", "c", "d", "e"], to="out")
        store.run(script(krum.bind(f=1, neighbors=1)), ["a", "b", "c", "d", "e"], to="out")
        assert store.exists("out")
    assert len(caplog.records) == 1
    assert "no C++ compiler" in caplog.text


def test_a_server_that_does_not_start_says_why(tmp_path):
    with pytest.raises(StoreError, match=r"(?s)did not start: it ended.*maxmemory"):
        EmbeddedStore(module=False, max_memory_bytes=-1)
    with pytest.raises(StoreError, match=r"no server: .*/nothing is not a program"):
        EmbeddedStore(module=False, server=tmp_path / "nothing")
    with pytest.raises(StoreError, match="did not start: it ended"):
        EmbeddedStore(module=False, server="/bin/false")
    with pytest.raises(ValueError, match="needs a directory"):
        EmbeddedStore(persist=True)


def test_a_long_path_for_temporary_files_leaves_room_for_a_socket(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with EmbeddedStore(module=False, directory=long / "da ta \"'\\") as store:
        store.put("x", torch.ones(1))
        assert store.get("x").tolist() == [1.0]
        assert (long / "da ta \"'\\" / "server.log").exists()


def test_many_stores_leave_no_process_and_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pids = []
    for _ in range(5):
        with EmbeddedStore(module=False) as store:
            pids.append(store.pid)
    assert all(ends(pid) for pid in pids)
    assert list(tmp_path.iterdir()) == []
    with suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)


def test_a_server_that_lacks_the_backend_is_told_where_it_is():
    server = Server(ServerOptions(), [str(native.module())])
    try:
        with RedisAIStore(server.client, kernels=False) as store:
            store.put("x", torch.ones(2))
            store.run(sgd_step(0.5), ["x", "x"], to="y")
            assert store.get("y").tolist() == [0.5, 0.5]
            assert store.client.exists("script:" + sgd_step(0.5).digest)
    finally:
        server.stop()
