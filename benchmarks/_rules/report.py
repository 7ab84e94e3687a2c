"""What was measured, as Markdown tables and plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from _machine import exponent
from _plot import Axis, Line, line_plot

from _rules.contenders import IDIOMS, LIBRARIES
from _rules.measure import RULES, Record

COORDINATE_WISE = ("median", "trimmed mean", "meamed")
BY_DISTANCES = ("krum", "multi-krum", "bulyan", "geometric median", "centered clipping", "mda")


OF_DISTANCES = ("krum", "multi-krum", "bulyan", "mda", "nnm >> trimmed mean")
BY_PRODUCTS = ("flwr", "numpy", "byzpy")
"""Those whose squared distances are ``x x + y y - 2 x y`` in float32."""
SHOWN = ("ours", "ours, torch", "flwr", "numpy", "byzfl, torch", "byzpy")


class Results:
    """Records of one kind, found by what they are of."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = {(r["threads"], r["n"], r["d"], r["rule"], r["by"]): r for r in records}
        """The last of each kind: a later run replaces an earlier one's."""

    def get(self, threads: int, n: int, d: int, rule: str, by: str) -> Record | None:
        """A record of a contender that did not fail; else None."""
        record = self.records.get((threads, n, d, rule, by))
        return record if record is not None and "failed" not in record else None

    def known(self, place: int) -> list:
        """All values at one place of the key, in ascending order."""
        return sorted({key[place] for key in self.records})

    def cells(self, threads: int) -> list[tuple[int, int]]:
        """Every (n, d) that was measured."""
        return sorted({(key[1], key[2]) for key in self.records if key[0] == threads})

    def best(self, cell: tuple[int, int, int, str], among: Iterable[str]) -> Record | None:
        """The record of the fastest of some; ``cell`` is threads, n, d and the rule."""
        found = [r for by in among if (r := self.get(*cell, by))]
        return min(found, key=lambda record: record["cpu_s"], default=None)

    def rules(self) -> list[str]:
        """In the order in which they are shown."""
        there = self.known(3)
        return [r for r in RULES if r in there] + [r for r in there if r not in RULES]


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(columns)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def milliseconds(record: Record | None, key: str = "cpu_s") -> str:
    """A time, with three digits at most."""
    return "-" if record is None else f"{1000 * record[key]:.3g}"


def times(over: Record | None, under: Record | None, key: str = "floors") -> str:
    """How many times as long one took as another, each beside the floor of its own moments."""
    return "-" if over is None or under is None else f"{over[key] / under[key]:.3g}"


def speed_table(results: Results, n: int, d: int) -> str:
    """One row per rule, of one input; one thread, but for the quotient of wall times of one and two."""
    rows = []
    for rule in results.rules():
        ours, plain, flwr = (results.get(1, n, d, rule, by) for by in ("ours", "ours, torch", "flwr"))
        library, idiom = (results.best((1, n, d, rule), among) for among in (LIBRARIES, IDIOMS))
        two = results.get(2, n, d, rule, "ours")
        rows.append([
            rule, milliseconds(ours, "floor_cpu_s"), milliseconds(ours), multiple(ours), milliseconds(plain),
            multiple(plain), named(library), times(library, ours), times(library, plain), named(idiom),
            times(idiom, ours), times(idiom, plain), times(flwr, ours), times(ours, two, "wall_s"),
            megabytes(ours), megabytes(plain), megabytes(library),
        ])  # fmt: skip
    columns = [
        "rule", "floor", "ours", "x floor", "ours, torch only", "x floor", "best library", "library / ours",
        "library / torch only", "best idiom", "idiom / ours", "idiom / torch only", "flwr / ours", "2 threads",
        "MB more", "torch only", "best library",
    ]  # fmt: skip
    return table(columns, rows)


def named(record: Record | None) -> str:
    """A time and whose it is."""
    return "-" if record is None else f"{milliseconds(record)} ({record['by']}{signs(record)})"


def signs(record: Record) -> str:
    """† for another rule, ‡ for distances by float32 products, which cancel."""
    by_products = record["by"] in BY_PRODUCTS and record["rule"] in OF_DISTANCES
    return (" †" if record["differs"] else "") + (" ‡" if by_products else "")


def multiple(record: Record | None) -> str:
    """Of the floor of the same moments; and of the least floor, what the least time is."""
    return "-" if record is None else f"{record['floors']:.2f} ({record['least_floors']:.2f})"


def megabytes(record: Record | None) -> str:
    """Memory that a call took beyond its inputs, its output included."""
    return "-" if record is None or "extra_bytes" not in record else f"{record['extra_bytes'] / 1e6:.0f}"


def peers_table(results: Results, n: int, d: int) -> str:
    """One row per rule, one column per contender; one thread, CPU milliseconds."""
    names = [by for by in ("ours", "ours, torch", *LIBRARIES, *IDIOMS) if by in results.known(4)]
    rows = [[rule, *(_cell(results.records.get((1, n, d, rule, by))) for by in names)] for rule in results.rules()]
    return table(["rule", *names], rows)


def _cell(record: Record | None) -> str:
    if record is None:
        return ""
    if "failed" in record:
        return f"failed: {record['failed'][:60]}"
    return milliseconds(record) + signs(record)


def footnotes(results: Results) -> Iterator[str]:
    """Where a peer's rule is another one, whose result is not float64's, and what failed."""
    known = results.records.values()
    differing = {f"{r['by'].partition(',')[0]} {r['rule']}: {r['differs']}" for r in known if r["differs"]}
    if differing:
        yield "† " + "; ".join(sorted(differing)) + "."
    yield "‡ Distances by float32 products, which cancel: Krum's choice is wrong where updates are small."
    checked = [r for r in known if r.get("error") is not None]
    wrong = [r for r in checked if not r["error"] < 1e-4]
    said = "; ".join(f"{r['by']} {r['rule']} at n = {r['n']}, d = {r['d']:.0e}: {r['error']:.1e}" for r in wrong)
    yield f"{len(checked)} results compared with float64; off by over 1e-4 of the largest number: {said or 'none'}."


def growth_table(results: Results) -> str:
    """Fitted exponents of our rules: CPU time against n and against d, with the points that they are fitted to."""
    rows = []
    for rule in results.rules():
        for by in ("ours", "ours, torch"):
            n_points = {d: points(results, rule, by, d=d) for d in results.known(2)}
            d_points = {n: points(results, rule, by, n=n) for n in results.known(1)}
            fits = [f"d = {d:.0e}: n^{exponent(p):.2f}" for d, p in n_points.items() if len(p) > 1]
            fits += [f"n = {n}: d^{exponent(p):.2f}" for n, p in d_points.items() if len(p) > 1]
            rows.append([rule, by, ", ".join(fits)])
    return table(["rule", "", "CPU time grows as"], rows)


def points(
    results: Results, rule: str, by: str, *, n: int | None = None, d: int | None = None, key: str = "cpu_s"
) -> list[tuple[float, float]]:
    """Times of one contender against what is not given, n or d."""
    found = [
        (float(cell[1] if d is None else cell[0]), record[key])
        for cell in results.cells(1)
        if cell[0 if d is None else 1] == (n if d is None else d) and (record := results.get(1, *cell, rule, by))
    ]
    return [(x, y) for x, y in found if y is not None]


def plots(results: Results) -> Iterator[tuple[str, str]]:
    """File names and SVG texts."""
    d = 1_000_000 if 1_000_000 in results.known(2) else results.known(2)[-1]
    n = 20 if 20 in results.known(1) else results.known(1)[-1]
    for kind, some in (("columns", COORDINATE_WISE), ("distances", BY_DISTANCES)):
        over = [Line(rule, points(results, rule, "ours", d=d, key="floors")) for rule in some]
        yield from _drawn(f"rules-multiples-{kind}", over, f"CPU time over the floor's, d = {d:.0e}", "n", "x floor")
    for rule in ("median", "multi-krum"):
        found = [Line(by, points(results, rule, by, d=d)) for by in SHOWN]
        yield from _drawn(f"rules-{rule}-n", found, f"{rule}, d = {d:.0e}, one thread", "n", "CPU seconds")
    grown = [Line(rule, points(results, rule, "ours", n=n)) for rule in (*COORDINATE_WISE[:2], *BY_DISTANCES[:4])]
    fitted = [
        Line(f"{line.name} d^{exponent(list(line.points)):.2f}", line.points) for line in grown if len(line.points) > 1
    ]
    yield from _drawn("rules-d", fitted, f"Our rules, n = {n}, one thread", "d", "CPU seconds")


def _drawn(name: str, lines: list[Line], title: str, x: str, y: str) -> Iterator[tuple[str, str]]:
    there = [line for line in lines if len(line.points) > 1]
    if there:
        log = y != "x floor"
        yield (
            f"{name}.svg",
            line_plot(there, title=title, x=Axis(x, log=True), y=Axis(y, log=log, low=None if log else 0)),
        )


def whole_table(results: Results) -> str:
    """``aggregate_train`` by ours and Flower's."""
    rows = []
    for n, d in results.cells(1):
        for rule in results.rules():
            found = [results.get(1, n, d, rule, by) for by in ("ours", "ours, seen", "ours, torch", "flwr")]
            *mine, flwr = found
            rows.append([
                str(n), f"{d:.0e}", rule.removeprefix("aggregate: "), *map(milliseconds, found),
                *(times(flwr, one) for one in mine), megabytes(found[0]), megabytes(flwr),
            ])  # fmt: skip
    columns = [
        "n", "d", "strategy", "ours", "ours, seen", "ours, torch only", "flwr",
        "flwr / ours", "flwr / seen", "flwr / torch only", "MB more", "flwr",
    ]  # fmt: skip
    return table(columns, rows)


def stream_table(records: Iterable[Record]) -> str:
    """Rules over files beside reading them."""
    rows = []
    for r in records:
        gigabytes, seconds = r["bytes"] / 1e9, r["wall_s"]
        cells = [r["rule"], str(r["n"]), f"{r['d']:.0e}", f"{gigabytes:.1f}", f"{seconds:.2f}", f"{r['cpu_s']:.2f}"]
        rows.append([*cells, f"{gigabytes / seconds:.2f}", megabytes(r)])
    return table(["rule", "n", "d", "GB", "wall s", "CPU s", "GB of rows per s", "MB more"], rows)


def accuracy_table(records: Iterable[Record]) -> str:
    """One row per contender and n, one column per scenario."""
    found = {(r["n"], r["by"], r["scenario"]): r for r in records}
    scenarios = dict.fromkeys(key[2] for key in found)
    rows = [
        [str(n), by, *(_accuracy(found.get((n, by, scenario))) for scenario in scenarios)]
        for n, by in dict.fromkeys(key[:2] for key in found)
    ]
    return table(["n", "by", *scenarios], rows)


def _accuracy(record: Record | None) -> str:
    """The error of distances between honest rows, then how often Krum chose wrongly."""
    if record is None or "failed" in record:
        return "-" if record is None else f"failed: {record['failed'][:60]}"
    return f"{record['honest_error']:.0e}; {record['wrong']} of {record['draws']}"
