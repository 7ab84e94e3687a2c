"""The benchmark of the rules: its arithmetic is right, and nothing that a contender does ends it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from _rules import accuracy, measure, reference, report, shared
from _rules.contenders import CONTENDERS
from _rules.driver import Limits, Team

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

FAST = ["floor", "numpy"]  # which import no torch


@pytest.fixture
def rows(tmp_path):
    rows = shared.create(tmp_path / "rows", 20, 3000)
    shared.fill(rows, seed=0)
    return rows


@pytest.fixture(scope="module")
def team():
    with Team(FAST, threads=1, limits=Limits(), peers=None) as team:
        yield team


def test_rows_lie_at_different_offsets_and_every_process_sees_them(tmp_path, rows):
    starts = [row.ctypes.data for row in rows]
    assert all(start % 64 == 0 for start in starts)
    assert len({start % 4096 for start in starts}) == len(rows)
    assert (shared.attach(tmp_path / "rows", 20, 3000) == rows).all()


@pytest.mark.parametrize("rule", measure.RULES)
def test_our_rules_agree_with_the_reference(rows, rule):
    exact = reference.Reference(rows)
    f = shared.most_tolerated(rule, len(rows))
    ours = CONTENDERS["ours"](torch.get_num_threads()).methods[rule](rows, f)
    assert exact.error(rule, f, "ours", np.asarray(ours.call(*ours.prepare()))) < 1e-6


def test_the_reference_knows_that_a_peer_means_another_rule(rows):
    exact = reference.Reference(rows)
    result = reference.krum_order(exact.distances, 20 - 4 - 1)[0]
    assert exact.error("krum", 4, "byzpy", rows[result]) == 0
    assert exact.error("geometric median", 4, "byzfl, torch", rows[0]) is None


def test_both_ways_to_distances_in_float64_agree(rows):
    assert reference.Reference(rows).distances == pytest.approx(reference.squared_distances(rows), rel=1e-12, abs=1e-9)


def test_every_contender_is_timed_checked_and_measured_beside_the_floor(team):
    plan = measure.Plan(rules=("median", "krum"), rounds=2)
    records = {record["rule"]: record for record in measure.measure(team, 10, 200_000, plan)}
    assert set(records) == {"median", "krum"}
    for record in records.values():
        assert record["by"] == "numpy"
        assert record["error"] < 1e-6
        assert min(record["cpu_s"], record["floor_cpu_s"], record["floors"]) > 0
    if "extra_bytes" in records["median"]:  # /proc knows
        assert records["median"]["extra_bytes"] >= 10 * 200_000 * 4  # numpy stacks the rows


def test_a_contender_that_is_not_there_or_takes_too_long_is_a_reason(tmp_path, rows):
    with Team(["numpy", "byzpy"], threads=1, limits=Limits(seconds=1.0), peers=tmp_path / "no-python") as team:
        assert "no-python" in team.hellos["byzpy"]["failed"]
        team.open(tmp_path / "rows", *rows.shape)
        numpy = team.workers["numpy"]
        assert numpy.ask("call", rule="median", f=4, repeat=1_000_000) == {"failed": "more than 1 s"}
        assert numpy.ask("call", rule="median", f=4)["cpu_s"] > 0


def test_what_a_contender_raises_is_its_result(team, tmp_path):
    rows = shared.create(tmp_path / "rows", 3, 2000)
    shared.fill(rows, seed=0)
    team.open(tmp_path / "rows", 3, 2000)
    assert re.match(r"ValueError: kth", team.workers["numpy"].ask("call", rule="meamed", f=9)["failed"])


def test_krum_by_a_float32_gram_is_found_out_where_updates_are_small(team):
    records = {r["scenario"]: r for r in accuracy.compare(team, 20, 3000, draws=3) if r["by"] == "numpy"}
    assert records["updates of size 1"]["honest_error"] < 1e-5
    assert records["updates of size 1"]["wrong"] == 0
    assert records["updates 1e-4 of the weights"]["honest_error"] > 1
    assert records["updates 1e-4 of the weights"]["wrong"] > 0
    assert "3 of 3" in report.accuracy_table(records.values())


def record(by, cpu_s, n=10, rule="median", threads=1, **more):
    key = {"threads": threads, "n": n, "d": 1000, "rule": rule, "by": by}
    times = {
        "cpu_s": cpu_s,
        "wall_s": cpu_s,
        "floor_cpu_s": 1e-3,
        "floors": cpu_s / 1e-3,
        "least_floors": 1.0,
        "extra_bytes": 4e6,
    }
    return {**key, **times, "differs": None, "error": 0.0, **more}


def test_the_table_sets_us_beside_the_best_peer_that_did_not_fail():
    records = [
        record("ours", 1.1e-3), record("ours", 0.7e-3, threads=2), record("ours, torch", 5e-3), record("flwr", 0.11),
        record("numpy", 0.022), record("byzpy", 0.033, differs="the lower of two middle values"),
    ]  # fmt: skip
    records.append({"threads": 1, "n": 10, "d": 1000, "rule": "median", "by": "torch", "differs": None, "failed": "no"})
    results = report.Results(records)
    cells = [cell.strip() for cell in report.speed_table(results, 10, 1000).splitlines()[2].split("|")[1:-1]]
    assert cells[:6] == ["median", "1", "1.1", "1.10 (1.00)", "5", "5.00 (1.00)"]
    assert cells[6:14] == ["33 (byzpy †)", "30", "6.6", "22 (numpy)", "20", "4.4", "100", "1.57"]
    assert "33 †" in report.peers_table(results, 10, 1000)
    assert "failed: no" in report.peers_table(results, 10, 1000)
    assert "byzpy median: the lower of two" in "".join(report.footnotes(results))


def test_growth_is_the_slope_in_logarithms_and_is_drawn():
    results = report.Results([record("ours", 1e-3 * n**1.5, n=n, rule="median") for n in (10, 20, 50)])
    assert "n^1.50" in report.growth_table(results)
    names = dict(report.plots(results))
    assert "rules-median-n.svg" in names
    assert all(text.startswith("<svg") for text in names.values())


@pytest.mark.system
def test_the_whole_benchmark_runs_with_the_peers_that_pip_can_install(tmp_path):
    little = ["--n", "11", "--d", "3e3", "--rounds", "1", "--draws", "2", "--threads", "1"]
    folders = ["--peers", str(tmp_path / "peers"), "--out", str(tmp_path / "out")]
    for what in ("speed", "aggregate", "accuracy"):
        command = [sys.executable, str(BENCHMARKS / "rules.py"), what, *little, *folders]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "| --- |" in done.stdout
    records = [json.loads(line) for line in (tmp_path / "out" / "rules.jsonl").read_text().splitlines()]
    speed = {(r["rule"], r["by"]): r for r in records if r["kind"] == "speed"}
    assert {"ours", "ours, torch", "flwr", "numpy", "torch"} <= {by for _, by in speed}
    assert [key for key, r in speed.items() if "failed" in r] == []
    assert [key for key, r in speed.items() if r["error"] is not None and r["error"] > 1e-5] == []
    assert {r["rule"] for r in records if r["kind"] == "aggregate" and "failed" not in r} == set(measure.WHOLE)
