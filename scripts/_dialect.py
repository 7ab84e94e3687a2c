"""The scripts of the tests' table, and of some chains and conventions, in another libtorch and in this process."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for the tests' table

from flwr_byzantine.rules import Aggregator, script_text
from flwr_byzantine.rules._dispatch import plain
from flwr_byzantine.rules._script.stages import selects
from tests.rules.scripts import KINDS, aggregators, given, inputs

TRIALS = [
    *((kind, dtype, 30) for kind in KINDS for dtype in (torch.float32, torch.float64)),
    ("plain", torch.float16, 30), ("plain", torch.bfloat16, 30),
    ("with rows that are not finite", torch.float32, 40_000),
]  # fmt: skip
"""Kinds of inputs, their dtypes and dimensions."""


@dataclass(frozen=True)
class Case:
    """A script on some inputs."""

    folder: Path
    aggregator: Aggregator
    rows: Tensor
    what: str

    def write(self, text: str) -> None:
        """Lay down what the driver needs."""
        self.folder.mkdir()
        (self.folder / "script.py").write_text(text)
        torch.save([*self.rows, *given(self.aggregator, self.rows).values()], self.folder / "inputs.pt")

    def problem(self) -> str | None:
        """How what the driver found differs from the call in process, if it does."""
        error = self.folder / "error.txt"
        found = error.read_text() if error.exists() else ""
        try:
            with plain():  # by pure torch, as the script does
                expected = self.aggregator.apply(self.rows, **given(self.aggregator, self.rows))
        except ValueError as refusal:
            return None if str(refusal) in found else f"expected {refusal!r}, got {found or 'a result'}"
        if found:
            return found
        value, *selected = torch.load(self.folder / "outputs.pt")
        if selected and not torch.equal(selected[0], expected.selected):
            return f"selected {selected[0].tolist()} instead of {expected.selected.tolist()}"
        slack = {
            "rtol": 4 * torch.finfo(value.dtype).eps,
            "atol": 1e-6 * float(expected.value.abs().nan_to_num().max()),
        }
        same = value.dtype == expected.value.dtype and torch.allclose(value, expected.value, equal_nan=True, **slack)
        return None if same else f"values differ by {float((value - expected.value).abs().max())}"


def cases(folder: Path) -> Iterator[Case]:
    """Every aggregator on every trial's inputs, written below ``folder``."""
    for aggregator in aggregators(f=1):
        text = script_text(aggregator, selected="stages" not in vars(aggregator) and selects(aggregator))
        for number, (kind, dtype, d) in enumerate(TRIALS):
            what = f"{aggregator.name}: {kind}, {str(dtype).removeprefix('torch.')}, d = {d}"
            case = Case(folder / f"{aggregator.name}-{number}", aggregator, inputs(9, d, kind=kind, dtype=dtype), what)
            case.write(text)
            yield case


def main() -> int:
    """Returns 0 if every script compiles and computes the same."""
    parser = argparse.ArgumentParser(prog="scripts/check_dialect", description=__doc__)
    parser.add_argument("driver", help="scripts/_dialect.cpp, built against the libtorch to be checked")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tried = list(cases(Path(folder)))
        subprocess.run([options.driver, *(str(case.folder) for case in tried)], check=True)
        problems = [(case.what, problem) for case in tried if (problem := case.problem())]
    for what, problem in problems:
        print(f"{what}\n    {problem.strip()}")
    print(f"{len(tried)} runs of {len(aggregators(f=1))} scripts: {len(problems)} differ")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
