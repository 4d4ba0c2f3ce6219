"""A programme on record meets the study's limits again before a pump that has not started starts.

Belongs here: what the guard is asked on a resume, and what a refusal leaves running. Not here: the
limits themselves (tests/chiploop/test_safety_rules), kills (test_delivery).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chiploop.dosing import PumpProgramme, PumpStep
from chiploop.record.actions import JournalTotals
from chiploop.record.journal import Journal
from chiploop.safety import check_before_wire
from chiploop.study import Study, load_study
from instruments import delivery
from instruments.delivery import Guard, resume_programme, start_programme
from instruments.fault_points import fault
from tests.instruments import fake_pumps as fakes

STUDY = load_study(Path(__file__).parents[2] / "protocols" / "studies" / "ad_jak_dose_finding.yaml")
RUN, KEY, PROGRAMME = "run-1", fakes.KEY, fakes.PROGRAMME
MEDIUM = PumpProgramme(
    "L1", "medium", 0.0, 0.0, 24.0, (PumpStep("L1-medium", "medium", 180.0, 4320.0),), 0.0, 0.0
)


class Killed(BaseException):
    """Stands in for the end of the process."""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def with_limits(**limits: float) -> Study:
    return STUDY.model_copy(update={"limits": STUDY.limits.model_copy(update=limits)})


def guard_of(study: Study, read_h: float | None = None) -> Guard:
    def look(programme: PumpProgramme, totals: JournalTotals, time_h: float) -> None:
        check_before_wire(study, programme, totals, time_h, read_h)

    return look


def kill_at(
    monkeypatch: pytest.MonkeyPatch, journal: Journal, world: Any, place: str, passage: int
) -> None:
    """Start the dose of 480 nM and die at one passage of a place."""
    left = [passage]

    def die(name: str) -> None:
        left[0] -= name == place
        if left[0] == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "fault", die)
        with pytest.raises(Killed):
            start_programme(
                journal,
                fakes.pumps_of(world),
                RUN,
                KEY,
                PROGRAMME,
                24.0,
                guard_of(STUDY),
                lambda: None,
            )
    assert delivery.fault is fault


def resume(journal: Journal, world: Any, guard: Guard, time_h: float = 24.0) -> Any:
    pumps = fakes.pumps_of(world)
    return resume_programme(journal, pumps, RUN, KEY, time_h, guard, lambda: None)


def starts(world: Any) -> dict[str, int]:
    return {name: pump["starts"] for name, pump in world.load()["pumps"].items() if pump["starts"]}


TIGHTER: dict[str, tuple[dict[str, float], str]] = {
    "concentration": ({"concentration_nm": 470.0}, "above the limit of 470 nM"),
    "dose volume": ({"dose_volume_ul": 2000.0}, "the limit is 2000 uL in one dose"),
    "day volume": ({"day_volume_ul": 1400.0}, "the limit is 1400 uL"),
    "all doses": ({"total_volume_ul": 2800.0}, "the limit is 2800 uL"),
    "flow": ({"flow_rate_ul_h": 59.0}, "above the limit of 59 uL/h"),
}


@pytest.mark.parametrize(("limits", "reason"), TIGHTER.values(), ids=TIGHTER.keys())
def test_a_programme_on_record_that_passes_a_limit_by_now_starts_no_pump(
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, float],
    reason: str,
) -> None:
    world = fakes.World(tmp_path)
    kill_at(monkeypatch, journal, world, "after_intent", 1)
    progress = resume(journal, world, guard_of(with_limits(**limits)))
    assert progress.held
    assert reason in progress.reason
    assert starts(world) == {}


def test_a_refusal_between_two_pumps_keeps_the_drug_pump_off_and_the_stimulus_running(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = fakes.World(tmp_path)
    kill_at(monkeypatch, journal, world, "before_sent", 2)
    assert starts(world) == {"L1-stimulus": 1}
    progress = resume(journal, world, guard_of(with_limits(concentration_nm=470.0)))
    assert progress.held and progress.running
    assert starts(world) == {"L1-stimulus": 1}


def test_what_else_flowed_into_the_chips_since_then_is_counted(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = fakes.World(tmp_path)
    kill_at(monkeypatch, journal, world, "after_intent", 1)
    medium = f"{RUN}/c01/L1/dose-plain"
    start_programme(
        journal,
        fakes.pumps_of(world),
        RUN,
        medium,
        MEDIUM,
        24.0,
        lambda *_: None,
        lambda: None,
    )
    progress = resume(journal, world, guard_of(with_limits(day_volume_ul=2000.0)))
    assert progress.held
    assert "each chip would get 2880 uL within 24 h, the limit is 2000 uL" in progress.reason
    assert starts(world) == {"L1-medium": 1}


def test_a_dose_whose_readouts_have_grown_old_meanwhile_is_not_begun(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = fakes.World(tmp_path)
    kill_at(monkeypatch, journal, world, "after_intent", 1)
    progress = resume(journal, world, guard_of(STUDY, read_h=24.0), time_h=80.0)
    assert progress.held
    assert "56 h old when the dose begins, the limit is 52 h" in progress.reason
    assert starts(world) == {}


def test_the_programmes_own_intents_do_not_count_against_it(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each limit leaves room for this dose once: counted twice it would be refused.
    once = with_limits(
        dose_volume_ul=2881.0, day_volume_ul=1441.0, total_volume_ul=2881.0, concentration_nm=480.0
    )
    world = fakes.World(tmp_path)
    kill_at(monkeypatch, journal, world, "before_sent", 2)
    progress = resume(journal, world, guard_of(once))
    assert not progress.held, progress.reason
    assert starts(world) == {"L1-low": 1, "L1-stimulus": 1}
    others = journal.totals(RUN, without=KEY)
    assert (others.moved, others.last_dose_end_h) == ({}, {})
    assert sum(one.volume_ul for one in journal.totals(RUN).moved["L1"]) == pytest.approx(8640.0)
