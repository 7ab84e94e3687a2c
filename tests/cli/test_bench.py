"""``flwr-byzantine bench`` and ``report``: the file of a sweep, and what the commands print."""

import io
from pathlib import Path

import pytest

from flwr_byzantine.bench import Progress, ProgressLine, load_results
from flwr_byzantine.cli import main
from flwr_byzantine.cli._sweep_file import SweepFile

SWEEP = """# a comment
[sweep]
rules = ["median", "bulyan"]
attacks = ["none", "alie"]
f = [1]

[training]
honest = 4
rounds = 2
local-steps = 1

[kappa]
evaluations = 16
"""


@pytest.fixture
def sweep(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP)
    return path


def changed(path, old, new):
    assert old in SWEEP
    path.write_text(SWEEP.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("attacks =", "attcks =", "sweep.toml: [sweep] attacks is missing: it must be a list"),
        (
            'rules = ["median", ',
            'rulez = 1\nrules = ["median", ',
            "line 3: [sweep] rulez is no setting; did you mean 'rules'?",
        ),
        ("[kappa]", "[capa]", "line 12: the table capa is no setting; did you mean 'kappa'?"),
        ('"median"', '"medain"', "line 3: [sweep] rules: there is no rule 'medain'; did you mean 'median'?"),
        ('"alie"', '"ali"', "line 4: [sweep] attacks: there is no attack 'ali'; did you mean 'alie'?"),
        ("f = [1]", "f = [1.5]", "line 5: [sweep] f must be a list of whole numbers, got 1.5"),
        ("f = [1]", "f = [-1]", "line 5: [sweep] f must be at least 0, got -1"),
        ("f = [1]", "f = []", "f is empty"),
        (
            "f = [1]",
            'f = [1]\nheterogeneity = ["x"]',
            "line 6: [sweep] heterogeneity: 'x': it is iid, dirichlet:ALPHA",
        ),
        ("f = [1]", 'f = [1]\nsystems = ["x"]', "line 6: [sweep] systems may hold strategy, guanyu, peers, got 'x'"),
        ("f = [1]", 'f = [1]\npre-aggregators = ["median"]', "line 6: [sweep] pre-aggregators: 'median >> mean': "),
        ("rounds = 2", "rounds = 0", "[training] rounds must be at least 1, got 0"),
        ("rounds = 2", 'rounds = "2"', "line 9: [training] rounds must be a whole number, got '2'"),
        ("rounds = 2", 'momentum = "1"', "line 9: [training] momentum must be a number, got '1'"),
        ("[kappa]", '[task]\nname = "x"\n[kappa]', "line 13: [task] name must be digits, mnist or module:function"),
        ("[kappa]", '[servers]\nattack = "x"\n[kappa]', "line 13: [servers] attack must be one of random, reversed"),
        (
            "[kappa]",
            '[run]\nexecutor = "x"\n[kappa]',
            "line 13: [run] executor must be one of in-process, processes, ray",
        ),
        ("rounds = 2", "weight-decay = nan", "[training] learning_rate must be > 0"),
        ("[kappa]", "[task]\noptions = { day = 2026-01-01 }\n[kappa]", "[task] options may hold texts, finite numbers"),
        ("f = [1]", "f = [1", "sweep.toml: "),
    ],
)
def test_a_mistake_in_the_file_is_a_sentence_with_its_place(old, new, said, sweep, capsys):
    assert main(["bench", str(changed(sweep, old, new))]) == 1
    assert said in capsys.readouterr().err
    assert not sweep.with_suffix(".jsonl").exists()


def test_whole_numbers_do_for_rates(sweep):
    file = SweepFile.load(changed(sweep, "rounds = 2", "learning-rate = 1"))
    assert file.sweep.training.learning_rate == 1.0


@pytest.mark.parametrize("name", ["sweep", "systems", "byzfl-mnist"])
def test_the_examples_are_sweeps(name):
    file = SweepFile.load(Path(__file__).parents[2] / "examples" / "sweep" / f"{name}.toml")
    assert len(list(file.sweep.jobs())) > 10


def test_list_names_every_job_and_runs_none(sweep, capsys):
    assert main(["bench", str(sweep), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[-1] == "strategy: bulyan, alie, f = 1, iid, seed 0"
    assert not sweep.with_suffix(".jsonl").exists()


def test_a_sweep_runs_tells_the_worst_attack_and_writes_its_report(sweep, capsys):
    page = sweep.with_name("page.html")
    assert main(["bench", str(sweep), "--report", str(page)]) == 0
    told = capsys.readouterr()
    assert "digits, strategy, iid, f = 1: the worst attack on each rule" in told.out
    assert told.err.splitlines()[0] == "0 of 6"
    assert any("bulyan, alie, f = 1, iid, seed 0: refused: ToleranceError" in line for line in told.err.splitlines())
    found = load_results(sweep.with_suffix(".jsonl"))
    assert [cell.status for cell in found.cells] == ["done", "done", "refused", "refused"]
    assert "Accuracy under each attack" in page.read_text()

    again = sweep.with_name("again.html")
    assert main(["report", str(sweep.with_suffix(".jsonl")), "-o", str(again)]) == 0
    assert again.read_text() == page.read_text()
    assert main(["bench", str(sweep)]) == 0
    assert "6 of 6" in capsys.readouterr().err


def test_a_failed_job_is_said_and_makes_the_exit_code_1(sweep, capsys):
    broken = changed(sweep, "[training]", '[task]\nname = "nowhere:made"\n[training]')
    assert main(["bench", str(broken)]) == 1
    assert "2 failed" in capsys.readouterr().err


def test_a_report_of_no_results_is_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path / "none.jsonl"), "-o", str(tmp_path / "x.html")]) == 1
    assert "none.jsonl" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_and_what_failed_stays_above_it():
    screen = Terminal()
    line = ProgressLine(screen)
    line(Progress(0, 4, 0, None))
    line(Progress(1, 4, 1, 180.0, {"status": "failed", "error": "broke", "seconds": 60.0}, "krum"))
    line(Progress(4, 4, 1, 0.0, {"status": "done", "final": 0.5, "seconds": 60.0}, "mean"))
    line.close()
    shown = screen.getvalue().split("\r\x1b[K")
    assert shown[1] == "[........................] 0 of 4"
    assert shown[2] == "krum: failed: broke\n"
    assert shown[3].startswith("[######..................] 1 of 4, 1 failed, 3:00 left")
    assert shown[4].startswith("[########################] 4 of 4, 1 failed, 0:00 left; mean: accuracy 0.500")
