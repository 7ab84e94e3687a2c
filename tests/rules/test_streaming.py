"""A rule over parts of its inputs gives what it gives on all at once, from files too, with parts in memory only."""

import subprocess
import sys

import pytest
import torch

from flwr_byzantine import rules
from flwr_byzantine.errors import ToleranceError
from flwr_byzantine.rules.mapped import MappedRow
from flwr_byzantine.rules.streaming import STREAMED, stream

N, D, F = 12, 1500, 2
SMALL = 8 * N * 4 * 40  # bytes of a part; the bound on n ** 2 columns makes it eight parts or more
SINGLE = [name for name in STREAMED if not rules.RULES[name].is_pre_aggregator]


def inputs(far):
    """Rows whose distances are other ones in every part; two of them may be very far out, and all far from zero."""
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    part = torch.arange(D) * 8 // D
    x *= 1 + (torch.arange(N)[:, None] * 7 + part * 3) % 5
    x[3] *= 1e6 if far else 3
    x[7] = x[7] * 3 + (1e6 if far else 3)
    return x + 1000 if far else x


def streamed(rule, x, **keywords):
    out = torch.full((x.shape[1],), torch.nan)
    stream(rule, list(x), out, chunk_bytes=SMALL, **keywords)
    return out


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize("name", SINGLE)
def test_every_rule_gives_over_parts_what_it_gives_on_all(name, far):
    x = inputs(far)
    torch.testing.assert_close(streamed(rules.RULES[name], x, f=F), rules.RULES[name](x, f=F), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize(
    "chain",
    [
        rules.nnm >> rules.krum, rules.nnm >> rules.trimmed_mean, rules.nnm >> rules.geometric_median,
        rules.clipping.bind(radius=60.0) >> rules.krum, rules.arc >> rules.nnm >> rules.median,
    ],
    ids=repr,
)  # fmt: skip
def test_so_does_every_composition(chain, far):
    x = inputs(far)
    torch.testing.assert_close(streamed(chain, x, f=F), chain(x, f=F), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", [rules.median, rules.multi_krum, rules.nnm >> rules.trimmed_mean], ids=repr)
def test_a_row_that_is_not_finite_in_one_part_is_left_out_of_all(rule):
    x = inputs(far=False)
    x[5, D - 3] = torch.nan
    torch.testing.assert_close(streamed(rule, x, f=F), rule(x, f=F), rtol=1e-6, atol=1e-6)


def test_more_rows_that_are_not_finite_than_are_tolerated_are_an_error():
    x = inputs(far=False)
    x[:3, 7] = torch.inf
    with pytest.raises(ToleranceError, match="3 of 12 inputs are not finite"):
        streamed(rules.median, x, f=F)


def test_rows_may_be_files_of_half_precision_and_the_result_too(tmp_path):
    x = inputs(far=False).to(torch.bfloat16)
    for i, row in enumerate(x):
        (tmp_path / str(i)).write_bytes(bytes(12) + row.view(torch.uint8).numpy().tobytes())
    files = [MappedRow(tmp_path / str(i), torch.bfloat16, offset_bytes=12) for i in range(N)]
    out = MappedRow.create(tmp_path / "out", D, torch.float32)
    stream(rules.multi_krum, files, out, f=F, chunk_bytes=SMALL)
    torch.testing.assert_close(out.read(0, D), rules.multi_krum(x, f=F).float(), rtol=0, atol=0)


def test_a_file_that_is_too_short_or_only_read_is_said_so(tmp_path):
    (tmp_path / "row").write_bytes(bytes(10))
    assert len(MappedRow(tmp_path / "row", torch.float32)) == 2
    with pytest.raises(ValueError, match=r"holds 2 numbers of torch\.float32, needed 3"):
        MappedRow(tmp_path / "row", torch.float32, d=3)
    with pytest.raises(TypeError, match="only read"):
        MappedRow(tmp_path / "row", torch.float32).write(0, torch.zeros(1))
    with pytest.raises(FileExistsError):
        MappedRow.create(tmp_path / "row", 3, torch.float32)


@pytest.mark.parametrize(
    ("rule", "x", "message"),
    [
        (rules.dnc, torch.zeros(5, 9), "dnc does not run over parts"),
        (rules.clipping.bind(radius=1.0) >> rules.medoid, torch.zeros(5, 9), "no products of clipped rows"),
        (rules.median, torch.zeros(5, 9, dtype=torch.float64), "to be streamed, got torch.float64"),
    ],
    ids=repr,
)
def test_what_cannot_be_streamed_is_an_error(rule, x, message):
    with pytest.raises(TypeError, match=message):
        stream(rule, list(x), torch.zeros(9), f=1)


def test_rows_and_result_must_be_alike():
    with pytest.raises(ValueError, match="no inputs"):
        stream(rules.median, [], torch.zeros(9))
    with pytest.raises(ValueError, match="input 1 is not 9 numbers"):
        stream(rules.median, [torch.zeros(9), torch.zeros(8)], torch.zeros(9))
    with pytest.raises(ValueError, match="out must hold 9 numbers"):
        stream(rules.median, [torch.zeros(9), torch.zeros(9)], torch.zeros(8))


PEAK = """
import sys
from pathlib import Path
import torch
from flwr_byzantine import rules
from flwr_byzantine.rules.mapped import MappedRow
from flwr_byzantine.rules.streaming import stream

def peak_bytes():  # not ru_maxrss, which begins with the parent's
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

def run(folder, size, dtype, rule):
    for i in range(20):
        with open(folder / f"{size}-{i}", "wb") as file:
            file.truncate(size)  # zeros that take no room on disk
    rows = [MappedRow(folder / f"{size}-{i}", dtype) for i in range(20)]
    out = MappedRow.create(folder / f"{size}-out", len(rows[0]), dtype)
    stream(rule, rows, out, f=4, chunk_bytes=1 << 24)

folder, dtype, rule = Path(sys.argv[1]), getattr(torch, sys.argv[2]), getattr(rules, sys.argv[3])
run(folder, 2_000_000, dtype, rule)
before = peak_bytes()
run(folder, 50_000_000, dtype, rule)
print(peak_bytes() - before)
"""


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak")
@pytest.mark.parametrize(("dtype", "rule"), [("float32", "multi_krum"), ("bfloat16", "trimmed_mean")])
def test_a_gigabyte_of_rows_takes_some_megabytes_of_memory(tmp_path, dtype, rule):
    command = [sys.executable, "-c", PEAK, str(tmp_path), dtype, rule]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150e6  # the system may map 2 MB pages, and so 2 MB or 4 of each of 20 rows at a time
