"""The last look before the pumps asks the record when toxicity was last read, each time anew."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.dosing import PumpProgramme, make_programme, remaining_ul
from chiploop.errors import SafetyRefusal
from chiploop.measurement import Readout
from chiploop.record.actions import JournalTotals
from chiploop.study import load_study
from flows.perfusion import guard
from flows.readouts_at_hand import ReadoutsAtHand

STUDY = load_study(Path(__file__).with_name("small_study.yaml"))
GIVEN = JournalTotals(highest_dose_nm=240.0, last_dose_end_h={"L1": 36.0})


def laboratory(read: list[Readout]) -> Any:
    record: Any = SimpleNamespace(is_file=True, readouts=lambda run_id: tuple(read))
    return SimpleNamespace(study=STUDY, at_hand=ReadoutsAtHand(record, "run-1"))


def viability(time_h: float, qc: Any = "ok") -> Readout:
    return Readout("C01", "ldh_release", 0.9, "", 0.01, "linear", time_h, qc=qc)


def dose(asked_nm: float) -> PumpProgramme:
    def exactly(_: str, rate: float, volume: float) -> tuple[float, float]:
        return rate, volume

    full = remaining_ul(STUDY, {})
    return make_programme(STUDY, "L1", "dose", asked_nm, 24.0, exactly, full)


def test_only_first_doses_begin_before_toxicity_was_read_and_others_afterwards() -> None:
    read: list[Readout] = []
    look = guard(laboratory(read), 2)
    look(dose(60.0), GIVEN, 38.0)
    with pytest.raises(SafetyRefusal, match="toxicity has not been read out yet"):
        look(dose(300.0), GIVEN, 38.0)
    read.append(viability(36.0, "fail"))
    with pytest.raises(SafetyRefusal, match="toxicity has not been read out yet"):
        look(dose(300.0), GIVEN, 38.0)
    read.append(viability(36.0))
    look(dose(300.0), GIVEN, 38.0)


def test_a_dose_that_comes_a_cycle_after_its_readouts_is_refused() -> None:
    look = guard(laboratory([viability(36.0)]), 2)
    with pytest.raises(SafetyRefusal, match="28 h old when the dose begins, the limit is 26 h"):
        look(dose(300.0), GIVEN, 64.0)
    look(dose(0.0), GIVEN, 64.0)
