"""``flwr-byzantine bench`` and ``report``: rules against attacks, and one page that shows what came of it."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flwr_byzantine.bench import Results
    from flwr_byzantine.cli._sweep_file import SweepFile

__all__ = ["add_to"]

INTERRUPTED = 130


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``bench`` and ``report``."""
    bench = commands.add_parser("bench", help="train every rule under every attack; called again, it goes on")
    bench.add_argument("sweep", type=Path, metavar="SWEEP.toml", help="what is compared (see docs/bench.md)")
    bench.add_argument("--results", type=Path, metavar="FILE", help="in place of the one that SWEEP.toml names")
    bench.add_argument("--workers", type=int, metavar="N", help="this many processes, in place of what SWEEP.toml says")
    bench.add_argument("--report", type=Path, metavar="FILE.html", help="write the report, too")
    bench.add_argument("--list", action="store_true", help="list what would run, and end")
    bench.set_defaults(run=_bench)

    report = commands.add_parser("report", help="make one HTML page of a file of results")
    report.add_argument("results", type=Path, metavar="RESULTS.jsonl")
    report.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.html")
    report.set_defaults(run=_report)


def _bench(options: argparse.Namespace) -> int:
    from flwr_byzantine.bench import load_results
    from flwr_byzantine.cli._sweep_file import SweepFile

    file = SweepFile.load(options.sweep)
    if options.list:
        for job in file.sweep.jobs():
            print(job.label)
        return 0
    results = options.results or file.results
    try:
        failed = _run(file, results, options.workers)
    except KeyboardInterrupt:
        print(f"\nstopped; what is finished is in {results}, and the same command goes on", file=sys.stderr)
        return INTERRUPTED
    found = load_results(results)
    _print_worst(found)
    if options.report is not None:
        _write_report(found, options.report)
    if failed:
        print(f"{failed} failed: {results} says why, and the same command tries them again", file=sys.stderr)
    return 1 if failed else 0


def _run(file: SweepFile, results: Path, workers: int | None) -> int:
    from flwr_byzantine.bench import ProgressLine, run_sweep
    from flwr_byzantine.clients.functions import executor

    kind = file.executor if workers is None else "processes"
    given = {"threads": 1, **file.options} if kind == "processes" else file.options
    line = ProgressLine(sys.stderr)
    try:
        with executor(kind, workers=workers or file.workers, options=given) as where:  # type: ignore[arg-type]
            return run_sweep(
                list(file.sweep.jobs()), results, executor=where, folder=file.file.parent, command=_command(), tell=line
            )
    finally:
        line.close()


def _command() -> str:
    """What was typed."""
    return shlex.join(["flwr-byzantine", *sys.argv[1:]])


def _print_worst(results: Results) -> None:
    """A line for each rule: the attack that it bears least."""
    from flwr_byzantine.bench import worst_attacks

    setting = None
    for within, score in worst_attacks(results):
        if within != setting:
            print(f"\n{within}: the worst attack on each rule, median accuracy over {len(score.finals)} seeds")
            setting = within
        print(f"  {score.median:.3f}  {score.rule}  ({score.attack})")


def _report(options: argparse.Namespace) -> int:
    from flwr_byzantine.bench import load_results

    _write_report(load_results(options.results), options.output)
    return 0


def _write_report(results: Results, path: Path) -> None:
    from flwr_byzantine.bench import report_html

    path.write_text(report_html(results), encoding="utf-8")
    print(f"wrote {path}")
