"""``peer.toml``: what it may say, and how a mistake in it is told."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from flwr_byzantine.cli import main
from flwr_byzantine.cli._node_stores import connector
from flwr_byzantine.cli._peer_file import PeerFile
from flwr_byzantine.cli._task import made
from tests.cli.folder import MEMBER


def test_a_file_is_read_with_everything_beside_it(folder):
    file = PeerFile.load(folder.write("alice", members={"bob": 1234, "alice": 1}, training="rounds = 3"))
    assert (file.node.name, file.node.key.peer, file.training.rounds) == ("alice", folder.keys["alice"].peer, 3)
    assert [listed.peer for listed in file.others] == [folder.keys["bob"].peer]
    assert file.others[0].url == "redis://reader:a%20pass%2Fword@127.0.0.1:1234"
    assert "word" not in repr(file)
    assert file.node.status == folder.path / "alice.status"


def test_tls_files_go_into_the_urls_of_stores_behind_tls(folder):
    for name in ("ca", "crt", "key"):
        (folder.path / name).touch()
    path = folder.write("alice", members={"bob": 1}, peer='tls = {ca = "ca", cert = "crt", key = "key"}')
    path.write_text(path.read_text().replace("redis://", "rediss://"))
    at = str(folder.path).replace("/", "%2F")
    query = f"ssl_ca_certs={at}%2Fca&ssl_certfile={at}%2Fcrt&ssl_keyfile={at}%2Fkey"
    assert PeerFile.load(path).others[0].url.partition("?")[2] == query


MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "no key": (lambda text: text.replace("alice.pem", "nobody.pem"), r"\[peer\] key must name a file that is there"),
    "a key of another type": (lambda text: text.replace('"alice.pem"', "7"), r"\[peer\] key must be a text, got 7"),
    "a key that is none": (lambda text: text.replace("alice.pem", "ring.toml"), "no private key can be read"),
    "an unknown key": (lambda text: text.replace("[peer]", "[peer]\nkye = 1"), r"\[peer\] kye .* mean 'key'\?"),
    "an unknown table": (lambda text: text.replace("[status]", "[statsu]"), "statsu is no setting; did you mean"),
    "no ring": (lambda text: text.replace('file = "ring.toml"', ""), r"\[ring\] file must name a file"),
    "an unknown setting": (
        lambda text: text.replace("rule", "rul"),
        r"\[training\] there is no setting 'rul'; did you",
    ),
    "a setting out of range": (lambda text: text.replace("= 0.5", "= -1.0"), r"\[training\] learning_rate must be > 0"),
    "no such rule": (lambda text: text.replace("trimmed-mean", "trimed-mean"), r"\[training\] .*trimed_mean"),
    "a port that is none": (lambda text: text.replace("port = 0", "port = 99999"), r"\[store\] port must be in"),
    "a store in the clear": (
        lambda t: t.replace("port = 0", 'port = 0\nhost = "0.0.0.0"'),
        r"\[store\] .* in the clear",
    ),
    "a task that is no function": (lambda text: text.replace("task:", "task."), "must be 'module:function'"),
    "an unknown member": (
        lambda text: text.replace('"bob"', '"bbo"'),
        r"members\]\] number 1: peer must be a name",
    ),
    "no scheme": (lambda text: text.replace("redis://", ""), r"\[\[members\]\] number 1: url must begin with redis://"),
    "a member twice": (lambda t: t + MEMBER.format(name="bob", port=1), "number 2: peer ........ is there once more"),
    "a password twice": (lambda t: t.replace("reader@", "reader:x@"), "must name a user, and no password"),
    "joining from nowhere": (lambda t: t.replace("[peer]", "[peer]\njoin = true"), r"\[peer\] address is missing"),
    "no TOML": (lambda text: "[peer", "alice.toml: "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_file_is_a_sentence_that_says_where(folder, mistake, capsys):
    spoil, said = MISTAKES[mistake]
    path = folder.write("alice", members={"bob": 1})
    path.write_text(spoil(path.read_text()))
    assert main(["peer", "--config", str(path)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("flwr-byzantine: ")
    assert "alice.toml: " in error or "ring.toml: " in error
    assert re.search(said, error)


def test_a_file_that_is_not_there_is_named(capsys):
    assert main(["peer", "--config", "/nowhere/peer.toml"]) == 1
    assert "/nowhere/peer.toml" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--result", "--model"])
def test_a_result_that_could_not_be_written_is_told_before_the_first_round(folder, option, capsys):
    config = folder.write("alice", members={})
    assert main(["peer", "--config", str(config), option, str(folder.path / "none" / "file")]) == 1
    assert "there is no folder" in capsys.readouterr().err


def test_a_config_is_needed():
    with pytest.raises(SystemExit) as raised:
        main(["peer"])
    assert raised.value.code == 2


@pytest.mark.parametrize(
    ("task", "said"),
    [("wrong", "must return .gradients, model"), ("failing", "KeyError"), ("none", "AttributeError")],
)
def test_a_task_that_is_none_is_a_sentence(folder, task, said):
    with pytest.raises(ValueError, match=rf"alice.toml: \[task\] gradients 'task:{task}'.*{said}"):
        made(PeerFile.load(folder.write("alice", members={}, task=task)).node)


def test_a_task_gives_gradients_and_a_model(folder):
    gradients, model = made(PeerFile.load(folder.write("alice", members={})).node)
    assert model.tolist() == [0.0] * 10
    assert [gradient.tolist() for gradient in gradients(model, 1)] == [[-3.0] * 10] * 2


@pytest.mark.parametrize(
    "address",
    ["redis://host:1?ssl_certfile=/etc/passwd", "unix:///tmp/s", "rediss://host:1", "http://host", "", "redis://"],
)
def test_the_address_of_one_who_joins_names_a_server_and_no_file(folder, address):
    connect = connector(PeerFile.load(folder.write("alice", members={})).node.files, timeout_s=1)
    with pytest.raises(ValueError, match="has the address"):
        connect("ab" * 32, address)
