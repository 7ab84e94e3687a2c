"""``flwr-byzantine``, the command line. Each subcommand is a module of this package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from flwr_byzantine.cli import bench, guanyu, keys, new, peer, peers, recommend, store
from flwr_byzantine.errors import StoreError
from flwr_byzantine.native import BuildError

__all__ = ["main"]

COMMANDS = (new, recommend, keys, store, peer, peers, guanyu, bench)
REPORTED = (StoreError, BuildError, ValueError, OSError)  # what a user can do something about


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code: 0, 1 for what went wrong, 2 for a mistake in the arguments."""
    parser = argparse.ArgumentParser(
        prog="flwr-byzantine", description="Byzantine-robust aggregation for Flower, and the stores that it runs in."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except REPORTED as error:
        print(f"flwr-byzantine: {error}", file=sys.stderr)
        return 1
