"""Holds of a cycle: the number after each, and the newest one is gone on with after an interruption."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flows import turns
from flows.cycle_holds import next_number


@pytest.mark.parametrize(
    ("phase", "number"),
    [
        ("", 2),
        ("hold", 2),
        ("hold-plain", 2),
        ("hold-2", 3),
        ("hold-2-plain", 3),
        ("files-2", 3),
        ("files-11-plain", 12),
    ],
)
def test_the_next_hold_has_the_next_number_though_plain_medium_stands_in(
    phase: str, number: int
) -> None:
    hold: list[Any] = [SimpleNamespace(programme_key=f"r/c01/L1/{phase}")] if phase else []
    assert next_number(hold) == number


def test_a_reading_that_waits_goes_on_under_the_next_hold_where_every_line_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab: Any = SimpleNamespace(say=lambda cycle, what: None)
    monkeypatch.setattr(turns.perfusion, "finish_pumps", lambda *_: None)
    hold: list[Any] = [SimpleNamespace(programme_key="r/c01/L1/hold-2-plain")]
    begun: list[str] = []
    turns.next_of(lab, 1, hold, lambda lab, cycle, phase: begun.append(phase) or [])  # type: ignore[func-returns-value]
    assert begun == ["hold-3"]
