"""The Python in README and docs runs: each page's blocks one after the other, as a reader would type them."""

import re
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from flwr_byzantine.clients import peer_app
from flwr_byzantine.strategies import RobustMedian, Spirt
from tests.strategies.helpers import initial, make_app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    return [textwrap.dedent(code) for _, code in BLOCK.findall(page.read_text())]


def given() -> dict[str, Any]:
    """What the README's excerpts take from the reader's own app."""
    return {
        "__name__": "a_page",
        "inputs": torch.randn(9, 3, generator=torch.Generator().manual_seed(0)),
        "client_app": make_app(),
        "initial_arrays": initial(),
        "MyStrategy": partial(RobustMedian, fraction_evaluate=0.0),
        "gradients": lambda model, context, server_round: [model],
        "peer_app": peer_app,  # the comments beside them say where these two are from
        "Spirt": Spirt,
    }


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_every_python_block_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    namespace = given()
    for number, code in enumerate(blocks(page), start=1):
        exec(compile(code, f"{page.name}, Python block {number}", "exec"), namespace)
    torch.set_num_threads(threads)
