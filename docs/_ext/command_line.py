"""The page of the command line, from what ``--help`` prints."""

from __future__ import annotations

import argparse

import tables

from flwr_byzantine.cli import COMMANDS

__all__ = ["cli_page"]


def cli_page() -> str:
    """What ``--help`` prints, for every subcommand."""
    lines = [*tables.title("Command line"), "``flwr-byzantine COMMAND --help`` says the same.", ""]
    return "\n".join([*lines, *(line for parser in _parsers(_command_line()) for line in _help(parser))])


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flwr-byzantine")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return parser


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found += _parsers(below)
    return found


def _help(parser: argparse.ArgumentParser) -> list[str]:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=100)  # whatever the terminal's width
    body = ["   " + line for line in parser.format_help().rstrip().splitlines()]
    return [*tables.title(parser.prog, "-"), ".. code-block:: text", "", *body, ""]
