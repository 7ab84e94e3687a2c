"""A headless Chromium, driven over the pipe of its DevTools protocol: no driver, no package, no port."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 120.0
# Chromium reads commands from file 3 and answers on file 4.
LAUNCH = (
    "import os, sys; r, w = map(int, sys.argv[1:3]); os.dup2(r, 3); os.dup2(w, 4); os.execv(sys.argv[3], sys.argv[3:])"
)


def found() -> str | None:
    """The path of a browser; None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page, with all that it logged and asked for."""

    def __init__(self, profile: Path) -> None:
        command_read, self._write = os.pipe()
        self._read, answer_write = os.pipe()
        for end in (command_read, answer_write):
            os.set_inheritable(end, True)
        self._process = subprocess.Popen(
            [
                sys.executable, "-c", LAUNCH, str(command_read), str(answer_write), found() or "",
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
            ],
            pass_fds=(command_read, answer_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(command_read)
        os.close(answer_write)
        self._buffer, self._number, self._session = b"", 0, None
        self.logged: list[str] = []
        self.requested: list[str] = []
        self.events: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def show(self, page: Path, *, width: int, dark: bool = False) -> None:
        """Load a page afresh."""
        self.logged.clear(), self.requested.clear(), self.events.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        self._ask("Page.navigate", url=page.as_uri())
        self._until(lambda: "Page.loadEventFired" in self.events)

    def value(self, expression: str):
        """What a script in the page gives."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, to: Path) -> None:
        """The whole page as PNG."""
        data = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        to.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """End it; a browser that does not end is killed."""
        try:
            self._session = None
            self._ask("Browser.close")
            self._process.wait(20)
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def _ask(self, method: str, **parameters: object) -> dict:
        self._number += 1
        number = self._number
        about = {} if self._session is None else {"sessionId": self._session}
        os.write(
            self._write, json.dumps({"id": number, "method": method, "params": parameters, **about}).encode() + b"\0"
        )
        answers: dict = {}
        self._until(lambda: number in answers, answers)
        assert "error" not in answers[number], (method, answers[number])
        return answers[number]["result"]

    def _until(self, condition, answers: dict | None = None) -> None:
        limit = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < limit, "the browser does not answer"
            message = self._next(limit)
            if "id" in message and answers is not None:
                answers[message["id"]] = message
            else:
                self._note(message)

    def _next(self, limit: float) -> dict:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, limit - time.monotonic()))
            assert ready, "the browser does not answer"
            chunk = os.read(self._read, 1 << 16)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        data, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(data)

    def _note(self, message: dict) -> None:
        method, given = message.get("method", ""), message.get("params", {})
        self.events.append(method)
        if method == "Network.requestWillBeSent":
            self.requested.append(given["request"]["url"])
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.logged.append(json.dumps(given)[:500])
