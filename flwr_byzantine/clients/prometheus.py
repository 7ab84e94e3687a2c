"""Prometheus' text format, and a small HTTP endpoint that gives it: for peers and for GuanYu's nodes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self

__all__ = ["METRICS_TYPE", "Family", "Sample", "Status", "StatusServer", "Text", "given", "rejections", "written"]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of Prometheus' text format."""
REQUEST_S = 10.0  # a client that sends nothing holds its thread no longer

Status = Callable[[], Mapping[str, Any]]
"""Gives a status of JSON's types."""
Text = Callable[[Mapping[str, Any]], str]
"""Makes Prometheus' text of a status."""


class Sample(NamedTuple):
    """One number and what it is about."""

    labels: Mapping[str, str]
    value: float


class Family(NamedTuple):
    """The samples of one name."""

    name: str
    kind: str
    about: str
    samples: list[Sample]


def written(families: Iterable[Family], own: Mapping[str, str], *, prefix: str) -> str:
    """The text of these samples; families without any are left out.

    Args:
        families: In the order in which they are written.
        own: Labels that every sample has.
        prefix: Of every name.

    Example:
        >>> family = Family("step", "gauge", "Where it is.", [Sample({}, 4)])
        >>> print(written([family], {"node": "ab"}, prefix="x_"), end="")
        # HELP x_step Where it is.
        # TYPE x_step gauge
        x_step{node="ab"} 4
    """
    lines: list[str] = []
    for name, kind, about, samples in families:
        if not samples:
            continue
        lines += [f"# HELP {prefix}{name} {_escaped(about)}", f"# TYPE {prefix}{name} {kind}"]
        for labels, value in samples:
            pairs = ",".join(f'{key}="{_quoted(text)}"' for key, text in {**own, **labels}.items())
            lines.append(f"{prefix}{name}{{{pairs}}} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def given(fields: Mapping[str, Any], field: str, **labels: str) -> list[Sample]:
    """A number that a status may have."""
    value = fields.get(field)
    return [Sample(labels, value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def rejections(status: Mapping[str, Any]) -> Family:
    """What was left out, by reason and by who sent it."""
    rejected: Mapping[str, Mapping[str, int]] = status.get("rejected", {})
    reasons = [
        Sample({"reason": reason, "sender": sender[:8]}, count)
        for sender, counted in sorted(rejected.items())
        for reason, count in sorted(counted.items())
    ]
    return Family("rejected_total", "counter", "What was left out, by reason and by who sent it.", reasons)


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


class StatusServer:
    """Answers ``GET /metrics`` with Prometheus' text and ``GET /status`` with JSON, until it is closed.

    It has neither password nor TLS, and tells who takes part: keep it on loopback, or behind what guards it.

    Args:
        status: Called once per request, from another thread.
        text: What ``/metrics`` makes of it.
        host: The address to listen on.
        port: Its port, 0 for a free one.

    Raises:
        OSError: If the port is taken.

    Example:
        >>> from urllib.request import urlopen
        >>> with StatusServer(lambda: {"step": 3}, str, host="127.0.0.1", port=0) as server:
        ...     with urlopen(server.url + "/status") as reply:
        ...         json.load(reply)["step"]
        3
    """

    def __init__(self, status: Status, text: Text, *, host: str, port: int) -> None:
        class Handler(_Handler):
            """Answers about this node."""

            def answers(self) -> dict[str, tuple[str, Callable[[], str]]]:
                """By path, the content type and what gives the content."""
                return {
                    "/metrics": (METRICS_TYPE, lambda: text(status())),
                    "/status": ("application/json", lambda: json.dumps(status())),
                }

        self._server = _Server((host, port), Handler)
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:9464``."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that hangs up in the middle is none of the node's business."""


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_S

    def answers(self) -> dict[str, tuple[str, Callable[[], str]]]:
        """By path, the content type and what gives the content."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer one request."""
        found = self.answers().get(self.path)
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND, "there is /metrics and /status")
            return
        kind, content = found
        body = content().encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a scrape a second would bury the node's own log."""
