"""The commands of a page that starts servers, typed one after the other as it says, on ports that are free."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST_PORT = {"peers": 16390, "guanyu": 16490}
METRICS = 1000
"""The pages put the port of a node's metrics so far above that of its store."""
FEWER = {"steps = 200": "steps = 20", "rounds = 30": "rounds = 10"}
"""So that the test takes no longer than it must."""
NODES = 8
TIMEOUT_S = 500


def section(page: str, heading: str) -> str:
    """What stands between this heading and the next of its level."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    return re.split(r"^## ", text.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def free_range() -> int:
    """A port with as many free ones after it, here and where the metrics are."""
    while True:
        first = random.randrange(20_000, 30_000)
        try:
            for port in [*range(first, first + NODES), *range(first + METRICS, first + METRICS + NODES)]:
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first


def typed(page: str, heading: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Save the Python as task.py and run all shell blocks as one script, which ends with what it started."""
    first, commands = free_range(), ["set -e"]
    for language, code in BLOCK.findall(section(page, heading)):
        if language == "python":
            (folder / "task.py").write_text(code)
        else:
            written = code.replace(str(FIRST_PORT[page] + METRICS), str(first + METRICS))
            for many, few in FEWER.items():
                written = written.replace(many, few)
            commands.append(written.replace(str(FIRST_PORT[page]), str(first)))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-c", "\n".join(commands)],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return subprocess.CompletedProcess([], process.returncode, output)


def logs(folder: Path) -> str:
    return "\n".join(f"{log.name}:\n{log.read_text()[-1000:]}" for log in sorted(folder.glob("*.log")))


@pytest.mark.system
@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        ("peers", "Four peers on this machine", ["alice", "bob", "carol", "dan"]),
        ("guanyu", "Four servers and three workers on this machine", ["s1", "s2", "s3", "s4", "w1", "w2", "w3"]),
    ],
)
def test_the_commands_of_the_page_work(page, heading, names, tmp_path):
    ended = typed(page, heading, tmp_path)
    assert ended.returncode == 0, ended.stdout + logs(tmp_path)
    for name in names:
        assert (tmp_path / f"{name}.json").exists(), ended.stdout + logs(tmp_path)
