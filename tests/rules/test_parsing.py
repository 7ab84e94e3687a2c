"""Parsing, wherever other threads do the same."""

import ast
import threading

import pytest

from flwr_byzantine.rules.parsing import ATTEMPTS, parsed


def disturbed(times):
    """A parser that CPython's mistake hits a number of times."""
    left = iter(range(times))

    def parse():
        if next(left, None) is not None:
            raise SystemError("AST constructor recursion depth mismatch (before=60, after=53)")
        return ast.literal_eval("(1, 2)")

    return parse


def test_what_another_thread_disturbs_is_parsed_again():
    assert parsed(disturbed(ATTEMPTS - 1)) == (1, 2)


def test_what_never_succeeds_says_why():
    with pytest.raises(SystemError, match="recursion depth"):
        parsed(disturbed(ATTEMPTS))


def test_a_wrong_text_is_parsed_once():
    calls = []

    def parse():
        calls.append(1)
        return ast.literal_eval("(1, ")

    with pytest.raises(SyntaxError):
        parsed(parse)
    assert calls == [1]


def test_one_thread_at_a_time_parses():
    inside, most = [], []

    def parse():
        inside.append(1)
        most.append(len(inside))
        ast.literal_eval("[" + "1, " * 2000 + "]")
        inside.pop()

    threads = [threading.Thread(target=lambda: [parsed(parse) for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 20
    assert set(most) == {1}
