"""What is asked of kernels' callers, and what they can rely on."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from flwr_byzantine.native import kernels

from .rows import rows_of

WITHOUT = (
    "from flwr_byzantine.native import kernels as k; import torch; print(k.available(), k.serves(torch.ones(2, 2)))"
)
IN_A_CHILD = """
import os, torch
from flwr_byzantine.native import kernels
torch.set_num_threads(2)
rows = torch.arange(1_000_000.0).reshape(5, 200_000)
before = kernels.squared_distances(rows)
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(kernels.squared_distances(rows), before) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_matrix_with_space_between_its_rows_is_read_in_place() -> None:
    whole = rows_of(6, 300)
    assert torch.equal(
        kernels.squared_distances(whole[::2, 7:250]), kernels.squared_distances(whole[::2, 7:250].clone())
    )


def test_numpy_arrays_and_memory_maps_are_read_in_place(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("map") / "rows"
    values = np.arange(12, dtype=np.float32)
    values.tofile(path)
    mapped = np.memmap(path, dtype=np.float32, mode="c", shape=(3, 4))
    out = torch.empty(4)
    kernels.mean_of_order_statistics([torch.from_numpy(row) for row in mapped], 1, 2, out=out)
    assert out.tolist() == [4.0, 5.0, 6.0, 7.0]


def test_large_pages_change_nothing_of_what_lies_on_them() -> None:
    out = torch.arange(3 << 20, dtype=torch.int32).view(torch.float32)
    before = out.clone()
    kernels.large_pages(out[5:])
    kernels.large_pages(out.reshape(3, -1)[:, 7:-7])
    assert torch.equal(out.view(torch.int32), before.view(torch.int32))


@pytest.mark.parametrize(
    "rows",
    [
        torch.zeros(3, 4, dtype=torch.int32),
        torch.zeros(3, 4).T,
        torch.zeros(0, 4),
        [],
        [torch.zeros(3), torch.zeros(4)],
        [torch.zeros(3), torch.zeros(3, dtype=torch.float64)],
        [torch.zeros(3, 3)],
        torch.zeros(3, 4, device="meta"),
    ],
    ids=str,
)
def test_what_kernels_do_not_take_is_an_error(rows: torch.Tensor | list[torch.Tensor]) -> None:
    assert not kernels.serves(rows)
    with pytest.raises(TypeError, match="kernels take float tensors"):
        kernels.squared_distances(rows)


def test_what_does_not_fit_the_rows_is_an_error() -> None:
    rows, out = torch.zeros(3, 4), torch.empty(4)
    for low, high in [(-1, 2), (2, 2), (1, 4)]:
        with pytest.raises(ValueError, match="places must lie in"):
            kernels.mean_of_order_statistics(rows, low, high, out=out)
    with pytest.raises(ValueError, match="places must lie in"):
        kernels.mean_nearest(rows, (1, 2), 4, out=out)
    with pytest.raises(ValueError, match="out must hold 1 rows of 4 numbers"):
        kernels.mean_of_order_statistics(rows, 1, 2, out=torch.empty(5))
    with pytest.raises(TypeError, match="out must be a float tensor"):
        kernels.mean_of_order_statistics(rows, 1, 2, out=torch.empty(8)[::2])
    with pytest.raises(ValueError, match=r"weights must be \[k, 3\]"):
        kernels.weighted_sum(rows, torch.ones(2, dtype=torch.float64), out=out)
    with pytest.raises(ValueError, match="a row of 4 numbers is needed, got 5"):
        kernels.distances_to(rows, torch.zeros(5))


def test_the_environment_switches_them_off() -> None:
    environment = {**os.environ, "FLWR_BYZANTINE_KERNELS": "off"}
    said = subprocess.run([sys.executable, "-c", WITHOUT], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "False"]


def test_a_forked_child_computes_without_its_parents_threads() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", IN_A_CHILD], check=True, timeout=60)
