"""Prometheus' text format 0.0.4, read as strictly as it is defined."""

from __future__ import annotations

import re
from typing import NamedTuple

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{(?P<labels>.*)\} (?P<value>\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)')
ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


class Parsed(NamedTuple):
    kinds: dict[str, str]
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Parsed:
    """The samples of a text in Prometheus' format 0.0.4; anything that is not in it fails."""
    assert not text or text.endswith("\n")
    result = Parsed({}, {})
    for line in text.split("\n")[:-1]:
        if line.startswith("# "):
            word, name, rest = line[2:].split(" ", 2)
            assert word in ("HELP", "TYPE")
            assert NAME.fullmatch(name)
            if word == "TYPE":
                assert name not in result.kinds
                assert rest in ("counter", "gauge")
                result.kinds[name] = rest
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert match["name"] in result.kinds, "a sample comes after its type"
        key = (match["name"], labels(match["labels"]))
        assert key not in result.samples, "no sample twice"
        result.samples[key] = float(match["value"])
    return result


def labels(text: str) -> tuple[tuple[str, str], ...]:
    found, at = [], 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, text
        found.append((match[1], re.sub(r'\\[\\"n]', lambda escape: ESCAPES[escape[0]], match[2])))
        at = match.end()
    assert len(dict(found)) == len(found), "no label twice"
    return tuple(found)


def value(text: str, name: str, /, **wanted: str) -> float:
    """The one sample of a name that has these labels."""
    samples = parsed(text).samples.items()
    found = [number for (known, pairs), number in samples if known == name and wanted.items() <= dict(pairs).items()]
    assert len(found) == 1, (name, wanted, found)
    return found[0]
