"""What signing and verifying one message takes, in processor time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from flwr_byzantine.signing import (
    Expected,
    Keyring,
    PrivateKey,
    envelope_bytes,
    open_envelope,
    open_sealed,
    seal_envelope,
    sealed_bytes,
    sign_envelope,
)

__all__ = ["crypto_seconds", "processor_time"]


def crypto_seconds(d: int, n: int, *, secret: bool) -> tuple[float, float]:
    """Processor time to sign and to verify one envelope of ``d`` float32 for ``n - 1`` others."""
    keys = [PrivateKey.from_seed(bytes([number]) * 32) for number in range(n)]
    ring = Keyring(key.public() for key in keys)
    tensor = torch.randn(d)
    about = {"run": "benchmark", "round": 1, "kind": "average"}
    most = sealed_bytes(torch.float32, [d], n) if secret else envelope_bytes(torch.float32, [d])
    expected = Expected(
        run="benchmark", kind="average", rounds=range(1, 2), max_bytes=most, peer=keys[0].peer,
        dtype=torch.float32, shape=(d,),
    )  # fmt: skip

    def sign() -> bytes:
        if secret:
            return seal_envelope(keys[0], tensor, to=list(ring.values()), **about)
        return sign_envelope(keys[0], tensor, **about)

    def verify() -> object:
        return open_sealed(data, expected, ring, keys[1]) if secret else open_envelope(data, expected, ring)

    data = sign()
    return processor_time(sign), processor_time(verify)


def processor_time(work: Callable[[], object], repeats: int = 7) -> float:
    """The median of this thread's processor time."""
    torch.set_num_threads(1)
    times = []
    for _ in range(repeats + 1):
        begun = time.thread_time()
        work()
        times.append(time.thread_time() - begun)
    return statistics.median(times[1:])
