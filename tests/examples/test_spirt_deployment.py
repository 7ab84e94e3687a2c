"""Peers as real Flower nodes, each with a store of its own, and a SuperLink that dies while they train."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from flwr_byzantine.stores import EmbeddedStore
from tests.examples.app import EXAMPLES
from tests.examples.deployment import WithStores, until

PEERS, ROUNDS = 4, 60
MAX_BYTES = 1 << 20


@pytest.fixture
def stores() -> Iterator[list[EmbeddedStore]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(EmbeddedStore(threads=1)) for _ in range(PEERS)]


@pytest.mark.system
def test_the_death_of_the_superlink_does_not_stop_the_peers(stores):
    def all_have(key: str) -> bool:
        return all(store.read(key, max_bytes=MAX_BYTES) is not None for store in stores)

    log: list[str] = []
    with WithStores([f"store='{store.url}'" for store in stores]) as flower:
        flower.deploy(PEERS)
        settings = {"num-peers": PEERS, "num-server-rounds": ROUNDS, "attack": "none"}
        app = EXAMPLES / "spirt-digits"
        run = threading.Thread(target=flower.run, args=(app, settings), kwargs={"on_line": log.append})
        run.start()
        try:
            until(lambda: all_have("average:3"), 240, f"round 3 of every peer, {log[-5:]}")
            assert not any(store.read(f"model:{ROUNDS + 1}", max_bytes=MAX_BYTES) for store in stores)
            flower.kill_superlink()
            until(lambda: all_have(f"model:{ROUNDS + 1}"), 240, "the last model of every peer")
        finally:
            flower.stop()
            run.join()
    assert any("one long message" in line for line in log)
