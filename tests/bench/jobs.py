"""Jobs that take no time, for tests of what runs them; here, so that other processes can import them."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass

from flwr_byzantine.errors import ToleranceError


@dataclass(frozen=True)
class Note:
    """Leaves a line in a file each time that it runs."""

    number: int
    file: str
    does: str = "ends"

    kind = "kappa"

    @property
    def settings(self):
        return asdict(self)

    @property
    def label(self):
        return f"note {self.number}"

    def run(self, folder):
        with open(folder / self.file, "a") as file:
            file.write(f"{self.number}\n")
        match self.does:
            case "raises":
                raise RuntimeError(f"note {self.number} <broke>")
            case "is refused":
                raise ToleranceError("n = 1 is too few")
            case "dies":
                os._exit(3)
            case "is interrupted":
                raise KeyboardInterrupt
            case "hangs":
                import time

                time.sleep(600)
        return {"found": math.nan if self.does == "gives NaN" else float(self.number)}


def ran(folder, file="ran"):
    """The numbers of the notes that ran, in order."""
    path = folder / file
    return [int(line) for line in path.read_text().split()] if path.exists() else []
