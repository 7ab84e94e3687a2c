"""Rounds of SPIRT peers, each a process with a store of its own, on this machine: as Markdown tables.

    python benchmarks/peer_round.py                        # d = 1e5, 1e6, 1e7 and n = 4, 8, 16; 10 to 20 minutes, 12 GB
    python benchmarks/peer_round.py --d 1e5 --n 4 8        # some of them

Gradients cost nothing here (one random vector per peer, made once), so a round is what SPIRT itself takes: store,
average, sign, publish, read, verify, aggregate, update. All n peers share this machine's cores; the wall time of a
round says what that gives, and the processor time per peer and round, of the peer and of its server, what one peer
takes wherever it runs. Signing and verifying are timed alone, in processor time, and set against both. Since gradients
are free here, that share is the largest there can be; the table says from which gradients on it is below 10 %.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from _machine import cpu_seconds, exponent, machine
from _processes import run_together
from _signing import crypto_seconds

from flwr_byzantine.clients.peer import Peer, PeerConfig, RoundRecord
from flwr_byzantine.signing import Keyring, PrivateKey
from flwr_byzantine.stores import EmbeddedStore, RedisStore

PHASES = ("computing", "gathering", "aggregating", "updating")
MAX_BYTES = 12e9  # of all tensors of all peers; more is not tried
PATIENCE = {"deadline_s": 600.0, "grace_s": 300.0, "suspect_after_s": 300.0, "evict_after_s": 900.0, "work_s": 600.0}
"""Every peer waits for all others, so that every round is the same work."""
SHORT = {"lag": 1, "retain_rounds": 3, "max_poll_s": 0.25, "stay_s": 5.0}
SIGNS_PER_ROUND = 2  # the average and the model


@dataclass(frozen=True)
class Setting:
    """One mesh that is timed."""

    d: int
    n: int
    secret: bool = False
    graph: str = "full"
    rule: str = "trimmed-mean"
    rounds: int = 6

    @property
    def byzantine(self) -> int:
        """The most that trimmed-mean tolerates; none where graphs are compared, since a ring tolerates none."""
        return (self.n - 1) // 3 if self.rule == "trimmed-mean" else 0

    @property
    def config(self) -> PeerConfig:
        """What each of its peers is told."""
        return PeerConfig(
            run="benchmark", rule=self.rule, byzantine=self.byzantine, rounds=self.rounds, learning_rate=0.01,
            secret=self.secret, graph=self.graph, **PATIENCE, **SHORT,
        )  # fmt: skip

    @property
    def held_bytes(self) -> float:
        """Of tensors, roughly: rows of the round, what is kept for others, and copies on the way."""
        return 4 * self.d * self.n * (self.n + 4 * SHORT["retain_rounds"])


@dataclass
class Taken:
    """What one peer took for the rounds after the first."""

    seconds: list[float]
    phases: list[dict[str, float]]
    cpu_s: float
    read_bytes: float
    neighbours: float
    """Whose averages it verified."""


def peer_process(number: int, setting: Setting, seeds: list[bytes], pipe: Connection) -> None:
    """One peer: tells where its store is, is told where the others' are, runs, and sends what it took."""
    torch.set_num_threads(1)
    keys = [PrivateKey.from_seed(seed) for seed in seeds]
    ring, own = Keyring(key.public() for key in keys), keys[number]
    gradient = torch.randn(setting.d, generator=torch.Generator().manual_seed(number))
    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedStore(threads=1))
        pipe.send(store.url)
        urls = pipe.recv()
        readers = {key.peer: RedisStore(url) for key, url in zip(keys, urls, strict=True)}
        peer = Peer(
            own, ring=ring, store=store, readers=readers, config=setting.config, gradients=lambda *_: [gradient]
        )
        marks: list[tuple[float, float]] = []
        peer.on_round = lambda record: marks.append((time.perf_counter(), cpu_seconds(store.pid)))
        records = peer.run(torch.zeros(setting.d)).records
        pipe.send(taken(marks, records))
        pipe.recv()  # the others may still read from this store


def taken(marks: list[tuple[float, float]], records: list[RoundRecord]) -> Taken:
    """What lies between the end of the first round and that of the last."""
    later = records[1 : len(marks)]
    seconds = [end - begin for (begin, _), (end, _) in itertools.pairwise(marks)]
    per_round = len(later)
    if [record.kept for record in later] != [None] * per_round or not per_round:
        raise RuntimeError(f"a round was not whole: {[record.kept for record in records]}")
    return Taken(
        seconds,
        [record.seconds for record in later],
        (marks[-1][1] - marks[0][1]) / per_round,
        statistics.mean(record.read_bytes for record in later),
        statistics.mean(len(record.rows) - 1 for record in later),
    )


def run(setting: Setting) -> list[Taken]:
    """Run a mesh; what each peer took."""
    seeds = [bytes([number]) * 32 for number in range(setting.n)]
    return run_together(peer_process, setting, seeds, ["flwr_byzantine.clients.peer", "flwr_byzantine.stores"])


# Tables


@dataclass
class Row:
    """A setting and what came of it."""

    setting: Setting
    round_s: float
    phases: dict[str, float]
    cpu_s: float
    read_bytes: float
    crypto_s: float
    """Processor time of signing and verifying, per peer and round; part of ``cpu_s``."""

    @property
    def enough_s(self) -> float:
        """How much processor time gradients must take for signing and verifying to be 10 % of a round."""
        return max(0.0, 10 * self.crypto_s - self.cpu_s)


def measure(setting: Setting) -> Row:
    """Run a mesh, and its signing alone."""
    peers = run(setting)
    sign, verify = crypto_seconds(setting.d, setting.n, secret=setting.secret)
    cpu_s = statistics.mean(peer.cpu_s for peer in peers)
    phases = {
        phase: statistics.median(seconds.get(phase, 0.0) for peer in peers for seconds in peer.phases)
        for phase in PHASES
    }
    round_s = statistics.median(second for peer in peers for second in peer.seconds)
    neighbours, read = (statistics.mean(getattr(peer, of) for peer in peers) for of in ("neighbours", "read_bytes"))
    return Row(setting, round_s, phases, cpu_s, read, SIGNS_PER_ROUND * sign + neighbours * verify)


def settings(sizes: list[int], counts: list[int], rounds: int) -> Iterator[Setting]:
    """All that is compared on the full graph, the sealed ones after the open ones."""
    for d in sizes:
        for n in counts:
            for secret in (False, True):
                yield Setting(d, n, secret, rounds=rounds)


COLUMNS = (
    "d", "n", "payload", "rounds/s", *PHASES, "CPU per peer and round", "signing and verifying, of CPU", "of wall time",
    "under 10 % of CPU from gradients of", "read per peer and round",
)  # fmt: skip


def line(row: Row) -> str:
    """A row of the first table."""
    cells = [
        f"{row.setting.d:.0e}",
        str(row.setting.n),
        "sealed" if row.setting.secret else "signed",
        f"{1 / row.round_s:.2f}",
        *(f"{1000 * row.phases[phase]:.0f} ms" for phase in PHASES),
        f"{1000 * row.cpu_s:.0f} ms",
        f"{100 * row.crypto_s / row.cpu_s:.1f} %",
        f"{100 * row.crypto_s / row.round_s:.1f} %",
        f"{1000 * row.enough_s:.0f} ms",
        f"{row.read_bytes / 1e6:.1f} MB",
    ]
    return f"| {' | '.join(cells)} |"


def growth(rows: list[Row]) -> Iterator[str]:
    """How the processor time of a signed round grows with d and with n, where there are two points or more."""
    signed = [row for row in rows if not row.setting.secret]
    for name, fixed in (("d", "n"), ("n", "d")):
        for value in sorted({getattr(row.setting, fixed) for row in signed}):
            points = [(getattr(row.setting, name), row.cpu_s) for row in signed if getattr(row.setting, fixed) == value]
            if len(points) > 1:
                yield f"{fixed} = {value:g}: CPU per peer and round grows as {name}^{exponent(points):.2f}"


def graphs_table(d: int, n: int, rounds: int) -> str:
    """The full graph against sparser ones, with one rule for graphs on all of them."""
    lines = ["| graph | rounds/s | CPU per peer and round | read per peer and round |", "|" + " --- |" * 4]
    for graph in ("full", f"random-regular:{min(4, n // 2)}:0", "ring"):
        row = measure(Setting(d, n, graph=graph, rule="cg-plus", rounds=rounds))
        lines.append(f"| {graph} | {1 / row.round_s:.2f} | {1000 * row.cpu_s:.0f} ms | {row.read_bytes / 1e6:.1f} MB |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d", type=float, nargs="*", default=[1e5, 1e6, 1e7], help="model sizes")
    parser.add_argument("--n", type=int, nargs="*", default=[4, 8, 16], help="numbers of peers")
    parser.add_argument("--rounds", type=int, default=6, help="per mesh; the first does not count")
    parser.add_argument("--graphs", type=float, default=1e6, help="model size for sparser graphs, 0 for none")
    arguments = parser.parse_args()
    print(machine(), end="\n\n")
    print(f"| {' | '.join(COLUMNS)} |\n|" + " --- |" * len(COLUMNS), flush=True)
    rows: list[Row] = []
    for setting in settings([int(d) for d in arguments.d], arguments.n, arguments.rounds):
        if setting.held_bytes > MAX_BYTES:
            print(f"| {setting.d:.0e} | {setting.n} | not tried: {setting.held_bytes / 1e9:.0f} GB |", flush=True)
            continue
        rows.append(measure(setting))
        print(line(rows[-1]), flush=True)
    print("", *(f"- {said}" for said in growth(rows)), sep="\n", end="\n\n")
    if arguments.graphs:
        n = max(arguments.n)
        print(f"Sparser graphs, d = {arguments.graphs:g}, n = {n}, cg_plus:\n")
        print(graphs_table(int(arguments.graphs), n, arguments.rounds))


if __name__ == "__main__":
    main()
