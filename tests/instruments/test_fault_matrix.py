"""The fault matrix holds for every make, and finds the reconcilers that would give a dose twice."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import pytest

from chiploop.record import reconcile
from instruments import delivery
from instruments.drivers import DRIVERS
from instruments.emulators.faults import Fault
from instruments.fault_points import FAULT_POINTS
from tests.instruments import fault_matrix
from tests.instruments.fault_matrix import (
    MAKES,
    NO_CASE,
    Case,
    cases_of,
    cell,
    cells_of,
    clean_exchanges,
    kill_cases,
    own_session,
    run_cases,
    run_matrix,
)
from tests.instruments.matrix_makes import MatrixMake

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
def test_what_is_on_record_is_what_flowed_or_a_person_is_asked(
    name: str, pytestconfig: pytest.Config
) -> None:
    counts = run_matrix([MAKES[name]], every=SAMPLE)
    ends = Counter(end for (_, _, end), n in counts.items() for _ in range(n))
    assert min(ends["delivered"], ends["held"], ends["not begun"]) > 0, ends
    page = pytestconfig.rootpath / "docs" / "fault_matrix.md"
    told = {kind: cell for kind, cell in cells_of(page, name).items() if cell != NO_CASE}
    assert told == {kind: cell(counts, name, kind) for kind in told}
    assert set(told) == {kind for _, kind, end in counts if counts[name, kind, end]}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MAKES)
def test_every_case_of_the_matrix_holds(name: str) -> None:
    run_matrix([MAKES[name]], every=EVERY_BYTE)


def break_it(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant one bug in the way from a lost answer to the journal."""
    real, rules = delivery._settle, reconcile.RULES

    def planted(
        journal: Any, pump: Any, key: str, time_h: float, look_again: Any, patient: bool = False
    ) -> str:
        action = journal.action(key)
        in_doubt = action.sent_h and action.started_h is None
        if broken == "resend on timeout" and in_doubt:
            return "not started"
        if broken == "clear the counter first" and in_doubt and pump.status().state == "idle":
            pump.clear_counter()
            return "not started" if pump.status().infused_ul == 0 else "unknown"
        return str(real(journal, pump, key, time_h, look_again, patient))

    if broken == "a hold stops nothing":
        driver = MatrixMake.driver

        def unstoppable(self: MatrixMake, *arguments: Any) -> Any:
            pump = driver(self, *arguments)
            pump.stop = lambda: None
            return pump

        monkeypatch.setattr(MatrixMake, "driver", unstoppable)
    elif broken == "an unmoved counter is believed":
        rules = tuple(rule for rule in rules if "nothing proves" not in rule[2])
    elif broken == "nothing is ever unknown":
        rules = tuple(rule for rule in rules if rule[1] != "unknown")
    else:
        monkeypatch.setattr(delivery, "_settle", planted)
    monkeypatch.setattr(
        delivery, "reconcile", lambda intent, seen: reconcile.reconcile(intent, seen, rules)
    )


@pytest.mark.parametrize(
    "broken",
    [
        "resend on timeout",
        pytest.param("clear the counter first", marks=pytest.mark.slow),
        "an unmoved counter is believed",
        pytest.param("nothing is ever unknown", marks=pytest.mark.slow),
        "a hold stops nothing",
    ],
)
def test_matrix_finds_a_broken_reconciler(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = MAKES["NE-1000 basic"]
    with own_session() as journal:
        cases = [
            *islice(cases_of(make, journal, every=SAMPLE), 0, None, 3),
            *islice(kill_cases(make), 0, None, 3),
        ]
        break_it(broken, monkeypatch)
        with pytest.raises(AssertionError, match="for one intent|flowed|and the pump moves"):
            run_cases(cases, journal)


def test_power_cut_at_any_exchange_brings_no_other_diameter_into_a_dose() -> None:
    """Its targets outlive a power cut and its diameter does not: the worst of both."""
    with own_session() as journal:
        n = len(clean_exchanges(MAKES["Elite"], journal))
        cases = [
            Case("Elite", kind, f"exchange {at + 1}", (Fault(kind, skip=at),))
            for at in range(n)
            for kind in ("power_cut_before", "power_cut_after")
        ]
        run_cases(cases, journal)


def test_every_step_at_which_a_controller_may_die_is_passed() -> None:
    with own_session() as journal:
        for name in FAULT_POINTS:
            case = Case("NE-1000 basic", "killed", name, killed_at=name, counter="full")
            assert fault_matrix.run_case(case, journal) != fault_matrix.NOT_PASSED, name
