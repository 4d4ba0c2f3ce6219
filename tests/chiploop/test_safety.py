"""Every rule refuses with its limit and value, and nothing is clipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chiploop.dosing import PumpProgramme, PumpStep, make_programme, remaining_ul
from chiploop.errors import SafetyRefusal
from chiploop.measurement import Readout
from chiploop.record.actions import JournalTotals
from chiploop.safety import check_before_wire, check_dose, newest_toxicity_h
from chiploop.study import Study, load_study
from chiploop.study_limits import drug_limit_ng

STUDY_FILE = Path(__file__).parents[2] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"
NOTHING = JournalTotals()
LATER = JournalTotals(highest_dose_nm=480.0)
READ_H = 124.0
"""When toxicity was last read before the doses of these tests, which begin at 128 h."""


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY_FILE)


def programme(study: Study, asked_nm: float) -> PumpProgramme:
    return make_programme(
        study,
        "L1",
        "dose",
        asked_nm,
        48.0,
        lambda _, rate, volume: (rate, volume),
        remaining_ul(study, {}),
    )


def verdict(study: Study, asked_nm: float, **facts: Any) -> Any:
    given = {
        "highest_read_nm": 480.0,
        "overdose_risk": 0.1,
        "start_h": 128.0,
        **facts,
    }
    given.setdefault(
        "newest_toxicity_h",
        None if given["highest_read_nm"] is None else min(124.0, given["start_h"] - 2.0),
    )
    return check_dose(study, programme(study, asked_nm), **given)


def test_a_dose_within_all_limits_is_allowed(study: Study) -> None:
    found = verdict(study, 1000.0)
    assert found.allowed
    assert found.reasons == ()


def test_at_the_cold_start_only_the_first_doses_of_the_study_are_allowed(study: Study) -> None:
    for first_nm in study.first_doses_nm:
        assert verdict(study, first_nm, highest_read_nm=None, overdose_risk=None).allowed
    refused = verdict(study, 100.0, highest_read_nm=None, overdose_risk=0.01)
    assert "only the first doses (0, 30, 120, 480 nM)" in refused.reasons[0]


@pytest.mark.parametrize(("asked_nm", "allowed"), [(1920.0, True), (1921.0, False)])
def test_no_dose_goes_above_the_fold_step_over_the_highest_dose_read(
    study: Study, asked_nm: float, allowed: bool
) -> None:
    found = verdict(study, asked_nm)
    assert found.allowed is allowed
    if not allowed:
        assert "the limit is 4 times" in found.reasons[0]


def test_a_read_vehicle_alone_is_no_dose_to_step_up_from(study: Study) -> None:
    assert not verdict(study, 100.0, highest_read_nm=0.0).allowed


@pytest.mark.parametrize(
    ("risk", "allowed"),
    [(0.25, True), (0.26, False), (None, False), (float("nan"), False), (-0.1, False)],
)
def test_a_missing_or_strange_overdose_risk_refuses(
    study: Study, risk: float | None, allowed: bool
) -> None:
    assert verdict(study, 480.0, overdose_risk=risk).allowed is allowed


def test_without_a_toxicity_readout_only_the_first_doses_are_given_whatever_the_fit_says(
    study: Study,
) -> None:
    for asked_nm in (1.0, 100.0, 479.0):
        refused = verdict(study, asked_nm, overdose_risk=0.0, newest_toxicity_h=None)
        assert "toxicity has not been read out yet" in refused.reasons[0]
        with pytest.raises(SafetyRefusal, match="toxicity has not been read out yet"):
            check_before_wire(study, programme(study, asked_nm), LATER, 128.0, None)
    assert verdict(study, 480.0, overdose_risk=0.0, newest_toxicity_h=None).allowed


def test_no_drug_needs_no_overdose_risk(study: Study) -> None:
    assert verdict(study, 0.0, overdose_risk=None).allowed


def test_a_dose_before_the_turnaround_is_over_is_refused(study: Study) -> None:
    totals = JournalTotals(last_dose_end_h={"L1": 72.0})
    assert verdict(study, 480.0, totals=totals, start_h=76.0).allowed
    refused = verdict(study, 480.0, totals=totals, start_h=73.0)
    assert "shortest interval is 4 h" in refused.reasons[0]
    other_line = JournalTotals(last_dose_end_h={"L2": 72.0})
    assert verdict(study, 480.0, totals=other_line, start_h=73.0).allowed


def test_a_syringe_that_does_not_hold_the_dose_refuses(study: Study) -> None:
    refused = verdict(study, 480.0, totals=JournalTotals(drawn_ul={"L1-low": 13_000.0}))
    assert "L1-low needs 6912 uL, its syringe has 6000 uL to give" in refused.reasons[0]


def test_cumulative_drug_per_chip_is_bounded_by_the_planned_exposures(study: Study) -> None:
    # 12 uM x uL x g/mol: what the strong stock has given to the line's three chips already.
    per_ul_ng = 12_000.0 * study.drug.molecular_weight_g_mol * 1e-6
    given_ul = 3.0 * drug_limit_ng(study, study.drug) / per_ul_ng
    totals = JournalTotals(delivered_ul={"L1-high": given_ul - 1.0})
    refused = verdict(study, 480.0, totals=totals)
    assert "ng drug per chip in all is above the limit" in refused.reasons[0]
    assert verdict(study, 0.0, totals=totals).allowed


def test_several_broken_limits_are_all_told(study: Study) -> None:
    refused = verdict(
        study, 2000.0, overdose_risk=0.9, totals=JournalTotals(drawn_ul={"L1-high": 1e5})
    )
    assert len(refused.reasons) == 3


def test_the_wire_check_passes_what_is_within_limits(study: Study) -> None:
    check_before_wire(study, programme(study, 1000.0), LATER, 128.0, READ_H)
    check_before_wire(study, programme(study, 480.0), NOTHING, 24.0, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"delivered_nm": 30.0}, "the programme says 30 nM and its steps make 480 nM"),
        ({"asked_nm": 30.0}, "30 nM was approved and the steps make 480 nM"),
        ({"purpose": "stimulus"}, "carries no drug"),
        ({"duration_h": 24.0}, "would run for 48 h in a programme of 24 h"),
        ({"steps": ()}, "at least one pump"),
        ({"line": "L2"}, "not the pump of"),
        ({"line": "L9"}, "there is no line L9"),
    ],
)
def test_a_programme_that_is_not_what_it_says_does_not_reach_the_wire(
    study: Study, change: dict[str, Any], reason: str
) -> None:
    changed = replace(programme(study, 480.0), **change)
    with pytest.raises(SafetyRefusal, match=reason):
        check_before_wire(study, changed, LATER, 128.0, READ_H)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((PumpStep("L1-high", "high", 180.0, 8640.0),), "12000 nM is above the limit of 4000 nM"),
        (
            (PumpStep("L1-low", "low", 1800.0, 86_400.0),),
            "flow 600 uL/h per chip is above the limit of 120",
        ),
        ((PumpStep("L1-acid", "acid", 180.0, 8640.0),), "no stock of the study"),
        ((PumpStep("L1-low", "low", -180.0, -8640.0),), "is asked for"),
    ],
)
def test_limits_hold_for_the_steps_whatever_the_programme_claims(
    study: Study, steps: tuple[PumpStep, ...], reason: str
) -> None:
    changed = replace(programme(study, 480.0), steps=steps)
    with pytest.raises(SafetyRefusal, match=reason):
        check_before_wire(study, changed, LATER, 128.0, READ_H)


def test_the_wire_check_knows_the_fold_step_from_the_journal_alone(study: Study) -> None:
    with pytest.raises(SafetyRefusal, match="times the highest dose delivered"):
        check_before_wire(study, programme(study, 2000.0), LATER, 128.0, READ_H)
    with pytest.raises(SafetyRefusal, match="only the first doses"):
        check_before_wire(study, programme(study, 500.0), NOTHING, 24.0, None)
    # A line that is late may still begin its first dose.
    low = JournalTotals(highest_dose_nm=30.0)
    check_before_wire(study, programme(study, 480.0), low, 80.0, None)


def test_vehicle_above_its_limit_does_not_reach_the_wire(study: Study) -> None:
    limits = study.limits.model_copy(update={"vehicle_fraction": 1e-5})
    tight = study.model_copy(update={"limits": limits})
    with pytest.raises(SafetyRefusal, match="vehicle 0.0048 % is above the limit of 0.001 %"):
        check_before_wire(tight, programme(study, 480.0), LATER, 128.0, READ_H)


def readout(name: str, time_h: float, qc: str = "ok") -> Readout:
    return Readout("C01", name, 0.9, "", 0.01, "linear", time_h, qc=qc)  # type: ignore[arg-type]


def test_the_newest_toxicity_readout_is_the_last_viability_that_passed(study: Study) -> None:
    read = [
        readout("TEER", 120.0),
        readout("ldh_release", 72.0),
        readout("ldh_release", 124.0, "fail"),
        readout("CCL26", 130.0),
    ]
    assert newest_toxicity_h(study, read) == 72.0
    assert newest_toxicity_h(study, read[:1]) is None
    assert newest_toxicity_h(study, []) is None


def test_a_study_without_an_assay_of_viability_is_judged_by_its_barrier(study: Study) -> None:
    no_viability = study.model_copy(update={"assays": {"CCL26": study.assays["CCL26"]}})
    read = [readout("TEER", 120.0), readout("CCL26", 130.0)]
    assert newest_toxicity_h(no_viability, read) == 120.0
