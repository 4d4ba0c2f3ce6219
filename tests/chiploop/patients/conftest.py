"""Tests of the store do not wait for the disk: what would be lost when power fails is not what they look at."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _disk_that_says_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
