"""A small twin for tests that ask what is said, not how well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chiploop.twin.teaching import advice

FEW = 300


@pytest.fixture(autouse=True)
def few_virtual_patients(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Let the twin of a case have few virtual patients, but where a test is a slow one."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(advice, "VIRTUAL", FEW)
    yield
    if request.node.get_closest_marker("slow") is not None:
        advice.known_as.cache_clear()
