"""What runs a sweep: nothing is lost, nothing is done twice, and a failure ends nothing."""

import json
import multiprocessing
import os
import signal
import threading
import time

import pytest

from flwr_byzantine.bench import identity, load_results, run_sweep
from flwr_byzantine.bench.journal import Journal, read_lines
from flwr_byzantine.clients.functions import executor
from tests.bench.jobs import Note, ran

DOES = {2: "raises", 3: "is refused"}
JOBS = [Note(number, "ran", DOES.get(number, "ends")) for number in range(5)]


@pytest.fixture(scope="module")
def one_process():
    with executor("processes", workers=1, options={"threads": 1}) as where:
        yield where


def statuses(path):
    return {line["settings"]["number"]: line["status"] for line in read_lines(path) if "settings" in line}


def test_each_job_runs_once_and_only_the_failed_one_again(tmp_path):
    results = tmp_path / "results.jsonl"
    assert run_sweep(JOBS, results, folder=tmp_path) == 1
    assert ran(tmp_path) == [0, 1, 2, 3, 4]
    assert statuses(results) == {0: "done", 1: "done", 2: "failed", 3: "refused", 4: "done"}
    assert run_sweep(JOBS, results, folder=tmp_path) == 1
    assert ran(tmp_path) == [0, 1, 2, 3, 4, 2]
    failed = [line for line in read_lines(results) if line.get("status") == "failed"]
    assert failed[0]["error"] == "RuntimeError: note 2 <broke>"


def test_progress_counts_what_was_there_and_estimates_the_rest(tmp_path):
    results, told = tmp_path / "results.jsonl", []
    run_sweep(JOBS[:2], results, folder=tmp_path)
    run_sweep(JOBS, results, folder=tmp_path, tell=told.append)
    assert [(p.finished, p.total, p.failed) for p in told] == [(2, 5, 0), (3, 5, 1), (4, 5, 1), (5, 5, 1)]
    assert told[0].left_s is None
    assert [p.left_s >= 0 for p in told[1:]] == [True] * 3
    assert told[-1].left_s == 0


def test_an_interrupted_sweep_keeps_what_is_finished_and_goes_on(tmp_path):
    results = tmp_path / "results.jsonl"
    stopped = [*JOBS[:2], Note(9, "ran", "is interrupted"), JOBS[4]]
    with pytest.raises(KeyboardInterrupt):
        run_sweep(stopped, results, folder=tmp_path)
    assert statuses(results) == {0: "done", 1: "done"}
    run_sweep([*JOBS[:2], JOBS[4]], results, folder=tmp_path)
    assert ran(tmp_path) == [0, 1, 9, 4]


def test_a_line_torn_by_a_kill_is_cut_and_its_job_runs_again(tmp_path):
    results = tmp_path / "results.jsonl"
    run_sweep(JOBS[:2], results, folder=tmp_path)
    whole = results.read_bytes()
    for cut in (1, 20):
        results.write_bytes(whole[:-cut])
        run_sweep(JOBS[:2], results, folder=tmp_path)
        assert statuses(results) == {0: "done", 1: "done"}
    assert ran(tmp_path) == [0, 1, 1, 1]


def test_a_result_that_json_cannot_hold_is_a_failure_of_its_job_only(tmp_path):
    jobs = [Note(0, "ran", "gives NaN"), Note(1, "ran")]
    assert run_sweep(jobs, tmp_path / "results.jsonl", folder=tmp_path) == 1
    assert statuses(tmp_path / "results.jsonl") == {0: "failed", 1: "done"}


def test_the_settings_are_the_identity():
    assert identity(Note(1, "a")) == identity(Note(1, "a"))
    assert len({identity(job) for job in (Note(1, "a"), Note(2, "a"), Note(1, "b"))}) == 3


def test_results_tell_versions_machine_and_command(tmp_path):
    results = tmp_path / "results.jsonl"
    run_sweep(JOBS[:1], results, folder=tmp_path, command="flwr-byzantine bench x.toml")
    session, line = read_lines(results)
    assert session["command"] == "flwr-byzantine bench x.toml"
    assert {"python", "torch", "flwr"} <= session["versions"].keys()
    assert session["machine"]["cores"] >= 1
    assert line["session"] == session["id"]


def test_two_sweeps_cannot_write_one_file(tmp_path):
    with Journal(tmp_path / "results.jsonl"), pytest.raises(ValueError, match="another sweep is writing it"):
        run_sweep(JOBS, tmp_path / "results.jsonl", folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json\n{}\n", "line 1 is no JSON"),
        ("{}\n[1]\n", "line 2 must be an obj"),
        ("somebody's notes", "is this a file of results"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(text, said, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        run_sweep(JOBS, file, folder=tmp_path)
    assert file.read_text() == text


def test_results_with_pieces_missing_are_refused_in_a_sentence(tmp_path):
    file = tmp_path / "results.jsonl"
    file.write_text(json.dumps({"kind": "cell", "id": "1", "settings": {"rule": "mean"}}) + "\n")
    with pytest.raises(ValueError, match=r"results\.jsonl: no results of a sweep: KeyError"):
        load_results(file)


@pytest.mark.system
def test_a_worker_that_dies_fails_its_job_only(one_process, tmp_path):
    jobs = [Note(0, "ran"), Note(1, "ran", "dies"), Note(2, "ran")]
    assert run_sweep(jobs, tmp_path / "results.jsonl", executor=one_process, folder=tmp_path) == 1
    assert statuses(tmp_path / "results.jsonl") == {0: "done", 1: "failed", 2: "done"}


@pytest.mark.system
def test_an_interrupt_does_not_wait_for_what_runs(one_process, tmp_path):
    def interrupt(progress):
        if progress.finished == 1:
            raise KeyboardInterrupt

    jobs = [Note(0, "ran"), Note(1, "ran", "hangs"), Note(2, "ran", "hangs")]
    with pytest.raises(KeyboardInterrupt):
        run_sweep(jobs, tmp_path / "results.jsonl", executor=one_process, folder=tmp_path, tell=interrupt)
    assert statuses(tmp_path / "results.jsonl") == {0: "done"}


def sweep_of_notes(folder):
    run_sweep([*JOBS[:2], Note(7, "ran", "hangs")], folder / "results.jsonl", folder=folder)


@pytest.mark.system
def test_a_killed_sweep_goes_on_where_it_was(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=sweep_of_notes, args=(tmp_path,))
    process.start()
    limit = time.monotonic() + 120
    while ran(tmp_path) != [0, 1, 7]:
        assert process.exitcode is None
        assert time.monotonic() < limit
        threading.Event().wait(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    run_sweep([*JOBS[:2], Note(7, "ran")], tmp_path / "results.jsonl", folder=tmp_path)
    assert ran(tmp_path) == [0, 1, 7, 7]
    assert statuses(tmp_path / "results.jsonl") == {0: "done", 1: "done", 7: "done"}


@pytest.mark.system
@pytest.mark.filterwarnings("ignore")
def test_ray_runs_the_same_jobs(tmp_path):
    pytest.importorskip("ray", reason="Ray is installed by the extra 'simulation'")
    options = {"init": {"address": "local", "num_cpus": 1}}
    with executor("ray", workers=1, options=options) as where:
        assert run_sweep(JOBS, tmp_path / "results.jsonl", executor=where, folder=tmp_path) == 1
    assert statuses(tmp_path / "results.jsonl") == {0: "done", 1: "done", 2: "failed", 3: "refused", 4: "done"}
