"""``flwr-byzantine new``: the code it writes is that of the examples, whose own tests run it; `flwr run` does too."""

import tomllib

import pytest

from flwr_byzantine.cli import main
from flwr_byzantine.cli.new import TEMPLATES, app_files
from tests.examples.app import EXAMPLES, LocalFlower, imported

EXAMPLE_OF = {"multi-krum": "quickstart-pytorch-robust", "guanyu": "guanyu-mnist", "spirt": "spirt-digits"}
PACKAGE_OF = {"multi-krum": "pytorchexample", "guanyu": "guanyu_mnist", "spirt": "spirt_digits"}


@pytest.mark.parametrize("strategy", TEMPLATES)
def test_the_code_and_settings_are_those_of_the_example(strategy):
    example, theirs = EXAMPLES / EXAMPLE_OF[strategy], PACKAGE_OF[strategy]
    for path, text in app_files("my-app", strategy).items():
        if path == "README.md":
            continue
        expected = (example / path.replace("my_app", theirs)).read_text()
        assert text == expected.replace(theirs, "my_app").replace(EXAMPLE_OF[strategy], "my-app"), (
            f"{path}: change the example {example.name} and flwr_byzantine/cli/templates/{strategy} alike"
        )


@pytest.mark.parametrize("strategy", TEMPLATES)
def test_no_place_is_left_unfilled(strategy):
    for path, text in app_files("my-app", strategy).items():
        assert not [word for word in ("@name@", "@package@", "@about@", "@nodes@") if word in text], path


def test_a_written_app_imports(tmp_path, capsys):
    assert main(["new", "my-app", "--into", str(tmp_path)]) == 0
    assert f'flwr run {tmp_path / "my-app"} --stream --federation-config "num-supernodes=10' in capsys.readouterr().out
    with imported(tmp_path / "my-app") as app:
        assert app.server.app is not None
    settings = tomllib.loads((tmp_path / "my-app" / "pyproject.toml").read_text())
    assert settings["tool"]["flwr"]["app"]["components"]["serverapp"] == "my_app.server_app:app"


@pytest.mark.parametrize("name", ["My-App", "1app", "my_app", "my--app", "app-", "../app", "", "a" * 51])
def test_what_is_no_name_is_refused(name, tmp_path, capsys):
    assert main(["new", name, "--into", str(tmp_path)]) == 1
    assert "an app's name has at most 50 lower-case letters" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["torch", "flwr-byzantine", "json", "class"])
def test_a_name_that_would_hide_a_package_is_refused(name, tmp_path, capsys):
    assert main(["new", name, "--into", str(tmp_path)]) == 1
    assert "would hide" in capsys.readouterr().err


def test_what_is_there_is_left_alone(tmp_path, capsys):
    (tmp_path / "my-app").mkdir()
    assert main(["new", "my-app", "--into", str(tmp_path)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert list((tmp_path / "my-app").iterdir()) == []


@pytest.mark.system
def test_flwr_builds_all_and_runs_the_first(tmp_path):
    for strategy in TEMPLATES:
        assert main(["new", f"my-{strategy}", "--strategy", strategy, "--into", str(tmp_path)]) == 0
    log: list[str] = []
    with LocalFlower() as flower:
        for strategy in TEMPLATES:
            built = flower.command("build", "--app", str(tmp_path / f"my-{strategy}"), cwd=tmp_path)
            assert built.returncode == 0, built.stdout + built.stderr
        nodes = TEMPLATES["multi-krum"].nodes
        status = flower.run(tmp_path / "my-multi-krum", {}, num_supernodes=nodes, on_line=log.append)
    assert status == "finished:completed", "\n".join(log[-40:])
    assert any("Aggregated 8 of 10 replies, tolerating f = 2" in line for line in log)
