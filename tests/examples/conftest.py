"""What the tests of the example apps share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.examples.app import LocalFlower


@pytest.fixture(scope="module")
def flower() -> Iterator[LocalFlower]:
    """Flower's own servers, which leave nothing behind."""
    with LocalFlower() as running:
        yield running
    assert running.pids() == set()
