"""The fault matrix holds for every make, and finds the reconcilers that would give a dose twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from instruments import delivery
from instruments.drivers import DRIVERS
from tests.instruments import fault_matrix
from tests.instruments.fault_matrix import MAKES, cases_of, own_session, run_matrix

EVERY_BYTE = 1
LEAST_CASES = 2_000
SAMPLE = 11
"""The usual run takes every eleventh fault on the wire, so that all kinds come at all places."""


def test_every_pump_make_stands_in_the_matrix() -> None:
    makes = {make.make for make in MAKES.values()}
    assert makes == {name for name, make in DRIVERS.items() if make.kind == "pump"}


def test_usual_run_has_enough_cases() -> None:
    with own_session() as journal:
        n = sum(1 for make in MAKES.values() for _ in cases_of(make, journal, every=SAMPLE))
    assert n >= LEAST_CASES


@pytest.mark.parametrize("name", MAKES)
def test_what_is_on_record_is_what_flowed_or_a_person_is_asked(name: str) -> None:
    counts = run_matrix([MAKES[name]], every=SAMPLE)
    ends = Counter(end for (_, _, end), n in counts.items() for _ in range(n))
    assert min(ends["delivered"], ends["held"], ends["not begun"]) > 0, ends


@pytest.mark.slow
def test_matrix_at_every_byte_is_what_the_docs_say(pytestconfig: pytest.Config) -> None:
    told = fault_matrix.table(run_matrix(MAKES.values(), every=EVERY_BYTE))
    page = pytestconfig.rootpath / "docs" / "fault_matrix.md"
    assert told in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("broken", ["resend on timeout", "clear the counter first"])
def test_matrix_finds_a_broken_reconciler(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = delivery._settle

    def planted(
        journal: Any, pump: Any, key: str, time_h: float, look_again: Any, patient: bool = False
    ) -> str:
        action = journal.action(key)
        in_doubt = action.sent_h and action.started_h is None
        if broken == "resend on timeout" and in_doubt:
            return "not started"
        if broken == "clear the counter first" and in_doubt and pump.status().state == "idle":
            pump.clear_counter()
        return str(real(journal, pump, key, time_h, look_again, patient))

    monkeypatch.setattr(delivery, "_settle", planted)
    with pytest.raises(AssertionError, match="for one intent|flowed"):
        run_matrix([MAKES["NE-1000 basic"]], every=SAMPLE)
