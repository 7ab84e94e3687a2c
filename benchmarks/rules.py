"""Our rules against Flower's, ByzFL's, ByzPy's, and what one writes with NumPy or torch: as tables, JSON and plots.

    python benchmarks/rules.py speed                  # n = 10, 20, 50 and d = 1e5, 1e6; about 10 minutes, 8 GB
    python benchmarks/rules.py speed --full           # n = 100 and d = 1e7 too: hours, 16 GB
    python benchmarks/rules.py accuracy               # distances and Krum's choice against float64
    python benchmarks/rules.py aggregate              # a whole aggregate_train, replies in and model out
    python benchmarks/rules.py stream --folder DISK   # rules over files: n = 20, d = 1e8 in bfloat16, 4 GB of disk
    python benchmarks/rules.py report                 # the tables and plots again, from what was measured so far

Every contender is a process of its own that maps the same rows, each row at another offset within its page, and takes
its turn: the floor (the mean of the rows, read once, in C++), then one call. A number is the median over the rounds, a
multiple of the floor the median of the quotients. Times are CPU time unless they are called wall time, with as many
threads as stated. "MB more" is how far the resident set grew in a call beyond what it was before, the output included.
ByzFL and ByzPy live in an environment of their own, made with pip under the user's cache (``--peers`` names another
folder, ``--peers none`` leaves them out). What fails, takes longer than ``--limit-s`` or more memory than
``--limit-gb`` is shown so. ``ours, torch`` is this package with its compiled kernels switched off, ``ours, seen`` what
is left of a round once the last reply has come, if each was looked at when it came.

Everything is appended to ``rules.jsonl`` under ``--out``, a line per contender, rule and input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _machine import machine
from _rules import report
from _rules.accuracy import compare
from _rules.contenders import CONTENDERS, ELSEWHERE, ROUNDS
from _rules.driver import Limits, LostError, Team, peers_environment
from _rules.measure import RULES, WHOLE, Plan, Record, measure
from _rules.stream import streams


class Journal:
    """The file of records: each is written as soon as it is known."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path = folder, folder / "rules.jsonl"

    def add(self, kind: str, records: Iterable[Record], **common: object) -> None:
        """Append records of one kind."""
        with self.path.open("a") as file:
            for record in records:
                print(json.dumps({"kind": kind, **common, **record}), file=file, flush=True)

    def read(self, kind: str) -> list[Record]:
        """All records of one kind."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [record for line in lines if (record := json.loads(line))["kind"] == kind]


def teams(arguments: argparse.Namespace, names: Iterable[str], journal: Journal) -> Iterator[tuple[int, Team]]:
    """For each number of threads everyone who can be had; who they are is written down."""
    peers, wanted = None, [name for name in names if name not in arguments.without]
    if arguments.peers != "none" and set(wanted) & set(ELSEWHERE):
        try:
            peers = peers_environment(Path(arguments.peers))
        except LostError as lost:
            print(f"no ByzFL and ByzPy: {lost}\n")
    limits = Limits(arguments.limit_s, arguments.limit_gb * 1e9)
    for threads in arguments.threads:
        with Team(wanted, threads=threads, limits=limits, peers=peers) as team:
            journal.add("who", [{"by": name, **hello} for name, hello in team.hellos.items()], machine=machine())
            yield threads, team


def speed(arguments: argparse.Namespace, journal: Journal) -> None:
    """Measure every input with every number of threads."""
    sizes = [(n, int(d)) for d in arguments.d for n in arguments.n]
    for threads, team in teams(arguments, [name for name in CONTENDERS if name != "ours, seen"], journal):
        for n, d in sizes:
            plan = Plan(tuple(arguments.rules), arguments.rounds, arguments.patience_s)
            journal.add("speed", measure(team, n, d, plan), threads=threads)
            print(f"n = {n}, d = {d:.0e}, {threads} thread(s): done", file=sys.stderr, flush=True)
    show_speed(journal)


def show_speed(journal: Journal) -> None:
    """Print the tables, and draw the plots."""
    results = report.Results(journal.read("speed"))
    for n, d in results.cells(1):
        print(f"n = {n}, d = {d:.0e}, CPU milliseconds, one thread:\n\n{report.speed_table(results, n, d)}\n")
        print(f"All contenders:\n\n{report.peers_table(results, n, d)}\n")
    print("\n\n".join(report.footnotes(results)), end="\n\n")
    print(report.growth_table(results), end="\n\n")
    for name, text in report.plots(results):
        (journal.folder / name).write_text(text)
    show_who(journal)


def show_who(journal: Journal) -> None:
    """Print the machine and the versions."""
    records = journal.read("who")
    versions = {f"{k} {v}" for record in records for k, v in record.get("versions", {}).items()}
    failed = {f"{record['by']}: {record['failed']}" for record in records if "failed" in record}
    machines = dict.fromkeys(record["machine"] for record in records)
    print(*machines, ", ".join(sorted(versions)), *sorted(failed), sep="\n")


def accuracy(arguments: argparse.Namespace, journal: Journal) -> None:
    """Compare with float64."""
    arguments.threads = arguments.threads[:1]
    for _, team in teams(arguments, [name for name in CONTENDERS if name not in ("floor", "ours, seen")], journal):
        for n in arguments.n:
            journal.add("accuracy", compare(team, n, int(arguments.d[0]), arguments.draws))
    show_accuracy(journal)


def show_accuracy(journal: Journal) -> None:
    """Print the table."""
    latest = {(r["scenario"], r["n"], r["d"], r["by"]): r for r in journal.read("accuracy")}
    print(report.accuracy_table(latest.values()))


def aggregate(arguments: argparse.Namespace, journal: Journal) -> None:
    """Time whole rounds of aggregation."""
    for threads, team in teams(arguments, ROUNDS, journal):
        for n in arguments.n:
            for d in arguments.d:
                plan = Plan(WHOLE, arguments.rounds, arguments.patience_s)
                journal.add("aggregate", measure(team, n, int(d), plan), threads=threads)
    show_aggregate(journal)


def show_aggregate(journal: Journal) -> None:
    """Print the table."""
    print(report.whole_table(report.Results(journal.read("aggregate"))))


def stream(arguments: argparse.Namespace, journal: Journal) -> None:
    """Time rules over files."""
    for n in arguments.n:
        for d in arguments.d:
            journal.add("stream", streams(arguments.folder, n, int(d), sparse=arguments.sparse), machine=machine())
    show_stream(journal)


def show_stream(journal: Journal) -> None:
    """Print the table."""
    print(report.stream_table({(r["rule"], r["n"], r["d"]): r for r in journal.read("stream")}.values()))


DEFAULTS: dict[str, tuple[list[int], list[float]]] = {
    "speed": ([10, 20, 50], [1e5, 1e6]),
    "accuracy": ([20, 30], [1e4]),
    "aggregate": ([20, 50], [1e6]),
    "stream": ([20], [1e8]),
}
FULL: tuple[list[int], list[float]] = ([10, 20, 50, 100], [1e5, 1e6, 1e7])
COMMANDS = {"speed": speed, "accuracy": accuracy, "aggregate": aggregate, "stream": stream}


def parsed() -> argparse.Namespace:
    """The command line."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flwr-byzantine"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*COMMANDS, "report"])
    parser.add_argument("--n", type=int, nargs="*", help="numbers of inputs")
    parser.add_argument("--d", type=float, nargs="*", help="numbers in an input")
    parser.add_argument("--full", action="store_true", help="n to 100 and d to 1e7")
    parser.add_argument("--rules", nargs="*", default=list(RULES), choices=RULES)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--draws", type=int, default=200, help="of Krum's choice per scenario")
    parser.add_argument("--patience-s", type=float, default=8.0, help="for one contender's rounds of one rule")
    parser.add_argument("--limit-s", type=float, default=60.0, help="for one call")
    parser.add_argument("--limit-gb", type=float, default=6.0, help="for one contender's own memory")
    parser.add_argument("--without", nargs="*", default=[], choices=list(CONTENDERS), help="contenders to leave out")
    parser.add_argument("--peers", default=str(cache / "peers"), help="folder of their environment, or none")
    parser.add_argument("--folder", type=Path, help="where streamed files are made, the temporary folder if not given")
    parser.add_argument("--sparse", action="store_true", help="streamed files of zeros, which take no room on disk")
    parser.add_argument("--out", type=Path, default=cache / "benchmarks", help="folder for records and plots")
    arguments = parser.parse_args()
    if arguments.what in DEFAULTS:
        n, d = FULL if arguments.full and arguments.what == "speed" else DEFAULTS[arguments.what]
        arguments.n, arguments.d = arguments.n or n, arguments.d or d
    return arguments


def main() -> None:
    """Measure, then print what is known."""
    arguments = parsed()
    journal = Journal(arguments.out)
    if arguments.what in COMMANDS:
        COMMANDS[arguments.what](arguments, journal)
        return
    for show in (show_speed, show_aggregate, show_accuracy, show_stream):
        show(journal)


if __name__ == "__main__":
    main()
