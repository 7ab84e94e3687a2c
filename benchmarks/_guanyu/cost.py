"""How the cost of a step grows with the servers, the workers and the model; and the bytes on each link."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from _machine import exponent
from _plot import Axis, Line, line_plot

from _guanyu.nodes import PATIENCE, free, mean_counts
from _guanyu.overhead import laps
from _guanyu.results import markdown
from _guanyu.work import as_record, free_app
from flwr_byzantine.clients.guanyu import GuanYuConfig, GuanYuHistory, GuanYuNode
from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.signing import Keyring, PrivateKey
from flwr_byzantine.stores import MemoryStore

__all__ = ["GRID", "cost", "exponents", "links", "links_table", "plot", "table"]

SERVERS, WORKERS, SIZE = 6, 18, 100_000
GRID: dict[str, tuple[int, ...]] = {
    "n": (3, 6, 9, 12, 15), "m": (6, 12, 18, 24, 30), "d": (10_000, 30_000, 100_000, 300_000, 1_000_000)
}  # fmt: skip
PARTS = ("models at workers", "rule over gradients", "models at servers")
UNIT = {"models at workers": "m", "rule over gradients": "n", "models at servers": "n"}


def cost(steps: int = 2) -> Iterator[dict[str, Any]]:
    """One row per point: n, m and d varied one at a time, with the most liars that each tolerates."""
    for name, values in GRID.items():
        for value in values:
            at = {"n": SERVERS, "m": WORKERS, "d": SIZE, name: value}
            settings = GuanYuSettings(at["n"], (at["n"] - 3) // 3, at["m"], (at["m"] - 3) // 3)
            found = laps(free_app(at["m"], at["d"]), settings, as_record(torch.zeros(at["d"])), steps)
            parts = {part: statistics.median(lap.parts[part] for lap in found) for part in found[0].parts}
            yield {"varied": name, **at, "cpu_s": statistics.median(lap.cpu_s for lap in found), "parts": parts}


def exponents(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By part and by what is varied, n, m or d: as which power of it the time of all nodes grows."""
    return {
        part: {
            name: exponent([(row[name], _part(row, part)) for row in rows if row["varied"] == name])
            for name in GRID
            if sum(row["varied"] == name for row in rows) > 1
        }
        for part in ("whole step", *PARTS)
    }


def _part(row: dict[str, Any], part: str) -> float:
    return float(row["cpu_s"] if part == "whole step" else max(row["parts"][part], 1e-6))


def table(rows: Iterable[dict[str, Any]]) -> str:
    """One row per point: processor ms of all nodes, and what one node's part of it is."""
    lines = []
    for row in rows:
        each = [f"{1000 * row['parts'][part] / row[UNIT[part]]:.2f}" for part in PARTS]
        lines.append([row["n"], row["m"], f"{row['d']:,}", f"{1000 * row['cpu_s']:.0f}", *each])
    head = ["n", "m", "d", "all nodes, ms", "median at a worker, ms", "Multi-Krum at a server, ms",
            "median at a server, ms"]  # fmt: skip
    return markdown(head, lines)


def plot(rows: list[dict[str, Any]], name: str) -> str:
    """Processor time of a step against n, m or d, by part."""
    mine = [row for row in rows if row["varied"] == name]
    lines = [Line(part, [(row[name], 1000 * _part(row, part)) for row in mine]) for part in ("whole step", *PARTS)]
    what = {"n": "servers", "m": "workers", "d": "parameters"}[name]
    title = f"Processor time per step of all nodes against {what}"
    return line_plot(lines, title=title, x=Axis(what, log=True), y=Axis("ms", log=True))


# Bytes on links: what nodes count, over stores in memory, for the count is the same over any


def links(n: int, m: int, d: int, steps: int = 6) -> dict[str, Any]:
    """Bytes per step that one server and one worker read and wrote, by kind."""
    keys = [PrivateKey.from_seed(bytes([number + 1]) * 32) for number in range(n + m)]
    ids, stores = [key.peer for key in keys], [MemoryStore() for _ in keys]
    config = GuanYuConfig(
        run="benchmark", byzantine_servers=(n - 3) // 3, byzantine_workers=(m - 3) // 3, steps=steps,
        learning_rate=0.01, **PATIENCE,
    )  # fmt: skip
    histories: dict[int, GuanYuHistory] = {}

    def live(number: int) -> None:
        function, model = free(d, number)
        histories[number] = GuanYuNode(
            keys[number], servers=ids[:n], workers=ids[n:], ring=Keyring(key.public() for key in keys),
            store=stores[number], readers=dict(zip(ids, stores, strict=True)), config=config, gradient=function,
        ).run(model)  # fmt: skip

    threads = [threading.Thread(target=live, args=(number,)) for number in range(n + m)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row: dict[str, Any] = {"n": n, "m": m, "d": d}
    for role, numbers in (("server", range(n)), ("worker", range(n, n + m))):
        records = [record for number in numbers for record in histories[number].steps if 1 < record.step < steps]
        row[f"{role}_read"] = mean_counts(record.read_bytes for record in records)
        row[f"{role}_written"] = mean_counts(record.written_bytes for record in records)
    return row


def links_table(rows: Iterable[dict[str, Any]]) -> str:
    """One row per cluster: what one node reads and writes per step, and how far it is above 4 d per message."""
    lines = []
    for row in rows:
        n, m, d = row["n"], row["m"], row["d"]
        models, gradients = row["worker_read"].get("model", 0), row["server_read"].get("gradient", 0)
        exchanged = row["server_read"].get("exchange", 0)
        heads = [
            sum(size for kind, size in row[f"{role}_read"].items() if kind.endswith("head"))
            for role in ("worker", "server")
        ]
        lines.append([n, m, f"{d:,}", *(f"{size / 1e3:,.1f}" for size in (models, heads[0], gradients, exchanged,
                      heads[1])), f"{models / (4 * d):.2f} of {n}", f"{gradients / (4 * d):.2f} of {m}",
                      f"{exchanged / (4 * d):.2f} of {n - 1}"])  # fmt: skip
    head = ["n", "m", "d", "worker reads models, kB", "and heads", "server reads gradients, kB", "models, kB",
            "and heads", "models, in 4d", "gradients, in 4d", "exchanged, in 4d"]  # fmt: skip
    return markdown(head, lines)
