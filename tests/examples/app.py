"""What the tests of the example apps share: an app's modules and settings, and a run of it in one process."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from flwr_byzantine.testing import InProcessGrid

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

sys.path.insert(0, str(ROOT / "scripts"))
try:
    from _flower import LocalFlower as LocalFlower
finally:
    sys.path.remove(str(ROOT / "scripts"))


def app_config(app: Path) -> dict[str, Any]:
    """The app's own settings."""
    return tomllib.loads((app / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]


@contextmanager
def imported(app: Path) -> Iterator[SimpleNamespace]:
    """The app's three modules, imported as Flower imports them: from the app's folder."""
    threads, package = torch.get_num_threads(), app.name.replace("-", "_")
    sys.path.insert(0, str(app))
    try:
        modules = {name: import_module(f"{package}.{name}") for name in ("client_app", "server_app", "task")}
        yield SimpleNamespace(
            path=app, client=modules["client_app"], server=modules["server_app"], task=modules["task"]
        )
    finally:
        sys.path.remove(str(app))
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            del sys.modules[name]
        torch.set_num_threads(threads)


def played(app: SimpleNamespace, nodes: int, results: Path, **settings: Any) -> dict[str, Any]:
    """What a run with these settings writes, ``_`` for ``-`` in their names."""
    given = {key.replace("_", "-"): value for key, value in settings.items()}
    config = {**app_config(app.path), **given, "results-path": str(results)}
    with InProcessGrid(app.client.app, nodes, run_config=config) as grid:
        grid.run_app(app.server.app)
    return json.loads(results.read_text())


def small_mnist() -> dict[str, np.ndarray]:
    """Twenty images to learn from and ten to test with, by the names of Keras' file."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 28, 28), dtype=np.uint8), np.arange(30, dtype=np.uint8) % 10
    return {"x_train": images[:20], "y_train": labels[:20], "x_test": images[20:], "y_test": labels[20:]}


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of bytes as MNIST's own files have it."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def assert_same_data(data: Any, expected: dict[str, np.ndarray]) -> None:
    """What an app loaded is that data."""
    assert data.train_images.shape == (20, 1, 28, 28)
    assert data.test_images.max() <= 1
    np.testing.assert_array_equal((data.train_images[:, 0] * 255).round().numpy(), expected["x_train"])
    np.testing.assert_array_equal(data.test_labels.numpy(), expected["y_test"])
