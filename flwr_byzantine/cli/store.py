"""``flwr-byzantine store``: build what a store needs, and run one."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from flwr_byzantine import native
from flwr_byzantine.cli._running import until_interrupted

if TYPE_CHECKING:
    from flwr_byzantine.stores._config import ServerOptions

__all__ = ["add_to"]

POLL_S = 0.2
UNITS = {"": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``store`` and its subcommands."""
    store = commands.add_parser("store", help="tensor stores: build what they need, run one")
    actions = store.add_subparsers(metavar="ACTION", required=True)

    build = actions.add_parser("build", help="compile the server module and its TorchScript backend for this torch")
    build.set_defaults(run=_build)

    up = actions.add_parser("up", help="run a store in the foreground, until Ctrl-C or SIGTERM")
    up.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s); beyond loopback: with TLS")
    up.add_argument("--port", type=int, help="TCP port, 0 for a free one; without it: a Unix socket alone")
    up.add_argument("--socket", type=_path, help="path of the Unix socket (in a private directory)")
    up.add_argument("--directory", type=_path, help="for what the store keeps (a private one, removed at the end)")
    up.add_argument("--persist", action="store_true", help="keep on disk what was acknowledged; needs --directory")
    up.add_argument("--server", type=Path, help="the server's program ($FLWR_BYZANTINE_SERVER, or the packaged one)")
    up.add_argument("--tls-cert", type=_path, help="certificate of the server, PEM")
    up.add_argument("--tls-key", type=_path, help="its private key, PEM")
    up.add_argument("--tls-ca", type=_path, help="authority whose certificates clients must have, PEM")
    up.add_argument("--aclfile", type=_path, help="users, in the server's format, instead of owner with a new password")
    up.add_argument("--max-memory", type=_bytes, metavar="BYTES", help="refuse to take more, such as 8gb")
    up.set_defaults(run=_up)


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()  # the server has another working directory


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([kmg]b)?", text.lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes, such as 500mb or 8gb")
    return int(match[1]) * UNITS[match[2] or ""]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _build(_: argparse.Namespace) -> int:
    for build in (native.module, native.backend):
        print(build(progress=_say), flush=True)
    return 0


def _up(arguments: argparse.Namespace) -> int:
    options = _server_options(arguments)
    with until_interrupted():
        return _serve(options)
    return 0


def _serve(options: ServerOptions) -> int:
    from flwr_byzantine.stores._server import Server

    server = Server(options, _module())
    try:
        print(server.url, flush=True)
        _say(f"the store runs as process {server.pid}; Ctrl-C stops it")
        while server.runs:
            time.sleep(POLL_S)
    finally:
        server.stop()
    _say(f"the server ended by itself{f'; see {options.directory}/server.log' if options.directory else ''}")
    return 1


def _module() -> list[str]:
    """What the server loads: as much as can be had here."""
    from flwr_byzantine.stores._module import module_arguments

    for build_backend in (True, False):
        try:
            return module_arguments(_say, build_backend=build_backend)
        except native.BuildError as error:
            _say(f"{'no TorchScript backend' if build_backend else 'no module, a plain server'}: {error}")
    return []


def _server_options(arguments: argparse.Namespace) -> ServerOptions:
    from flwr_byzantine.stores._config import ServerOptions, Tls

    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise ValueError("--tls-cert and --tls-key go together")
    if arguments.tls_ca is not None and arguments.tls_cert is None:
        raise ValueError("--tls-ca needs --tls-cert and --tls-key")
    tls = Tls(arguments.tls_cert, arguments.tls_key, arguments.tls_ca) if arguments.tls_cert is not None else None
    return ServerOptions(
        directory=arguments.directory,
        socket=arguments.socket,
        host=arguments.host,
        port=arguments.port,
        persist=arguments.persist,
        max_memory_bytes=arguments.max_memory,
        server=arguments.server,
        acl_file=arguments.aclfile,
        tls=tls,
    )
