"""Each rule between the parts of a study, broken once."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.plan import notes
from chiploop.study import Study, check_study, load_study
from chiploop.study_checks import RULES
from tests.chiploop.drug_mistakes import TWO_DRUGS

EXAMPLE = Path(__file__).with_name("example_study.yaml")

TRACER = "P_app: {kit: fitc_dextran_permeability, replicates: 1, export: gen5"

BROKEN = [
    ("_chips_are_unique", "C08: D2", "C01: D2", "lines[2].chips.C01", "also on line L1"),
    ("_chips_are_unique", "- {id: L3", "- {id: L1", "lines[2].id", "here twice"),
    (
        "_chips_are_unique",
        "{C04: D1, C05: D2, C06: D3}",
        "{}",
        "lines[1].chips",
        "line L2 has no chip",
    ),
    (
        "_valves_join_known_lines",
        "perfusion:\n",
        "valves: {C99: [L2]}\nperfusion:\n",
        "valves.C99",
        "must be a chip of a line",
    ),
    (
        "_valves_join_known_lines",
        "perfusion:\n",
        "valves: {C01: [L9]}\nperfusion:\n",
        "valves.C01[0]",
        "must be a line of the study",
    ),
    (
        "_valves_join_known_lines",
        "perfusion:\n",
        "valves: {C01: [L2, L2]}\nperfusion:\n",
        "valves.C01[1]",
        "here twice",
    ),
    (
        "_valves_join_known_lines",
        "perfusion:\n",
        "valves: {C01: [L1]}\nperfusion:\n",
        "valves.C01[0]",
        "L1 is the line of C01 already",
    ),
    (
        "_tubing_is_rinsed",
        "turnaround: 4 h",
        "turnaround: 0.9 h",
        "timeline.turnaround",
        "must be rinsed before a valve turns",
    ),
    (
        "_parts_can_be_delivered_to_few",
        "perfusion:\n",
        "valves: {C01: [L2], C02: [L2], C03: [L2]}\n"
        "schedules: {whole: {}, short: {for: 3 h}}\nperfusion:\n",
        "schedules.short",
        "is too short",
    ),
    ("_donors_are_known", "C05: D2", "C05: D9", "lines[1].chips.C05", 'donor "D9"'),
    (
        "_patients_are_donors",
        "stimulus:                 ",
        "patients: {D9: {patient: P-1, file: protocols/patients/P-0107.yaml, drugs: [placebo]}}\nstimulus: ",
        "patients.D9",
        "donor of this study",
    ),
    (
        "_stimulus_is_there",
        "IL-4: 0.5 ng/mL\n  IL-13: 1 ",
        "IL-4: 0 ng/mL\n  IL-13: 0 ",
        "stimulus",
        "nothing to inhibit",
    ),
    (
        "_stimuli_are_of_the_model",
        "  IL-13: 1 ng/mL",
        "  IL-17A: 1 ng/mL",
        "stimulus.IL-17A",
        "known: IL-4, IL-13. It must be a stimulus of skin_chip",
    ),
    (
        "_drugs_are_of_the_model",
        "model: skin_chip ",
        "model: psoriasis_chip ",
        "drug",
        "psoriasis_chip asks for tyk2_block; upadacitinib.yaml does not state it",
    ),
    (
        "_stimuli_are_of_the_model",
        "stocks: ",
        "arms:\n  il17: {IL-17A: 1 ng/mL}\nstocks: ",
        "arms.il17.IL-17A",
        "known: IL-4, IL-13",
    ),
    (
        "_arms_have_free_names",
        "stocks: ",
        "arms:\n  low: {IL-13: 4 ng/mL}\nstocks: ",
        "arms.low",
        "a stock too",
    ),
    (
        "_arms_differ",
        "stocks: ",
        "arms:\n  same: {IL-13: 1 ng/mL, IL-4: 500 pg/mL}\nstocks: ",
        "arms.same",
        'the same as "stimulus"',
    ),
    (
        "_arms_are_known",
        "approval:\n",
        "schedules: {whole: {}, other: {stimulus: il13}}\napproval:\n",
        "schedules.other.stimulus",
        "il13 is not known here",
    ),
    (
        "_goals_ask_about_known_arms",
        "readout: CCL26, effect: 50 %",
        "readout: CCL26, stimulus: il13, effect: 50 %",
        "goals[0].stimulus",
        "il13 is not known here",
    ),
    (
        "_arms_are_given",
        "stocks: ",
        "arms:\n  il13: {IL-13: 4 ng/mL}\nstocks: ",
        "arms.il13",
        "no schedule gives it",
    ),
    (
        "_arms_without_stimulus_are_stimulated",
        "readout: CCL26, effect: 50 %",
        "readout: CCL26, stimulus: rest, effect: 50 %",
        "goals[0].stimulus",
        "no effect to take away",
    ),
    ("_stocks_have_free_names", "  low:  {c", "  medium:  {c", "stocks.medium", "without drug"),
    ("_stocks_have_free_names", "12 uM", "600 nM", "stocks", "same concentration"),
    ("_stocks_can_be_used", "0.12 %", "1 %", "stocks.high.vehicle", "0.3333%"),
    ("_first_doses_fit", "120 nM, 480 nM]", "120 nM]", "first_doses", "3 first doses for 4 lines"),
    ("_first_doses_are_allowed", "480 nM]", "5 uM]", "first_doses[3]", "above limits"),
    ("_first_doses_can_be_made", "480 nM]", "20 uM]", "first_doses[3]", "strongest stock"),
    ("_flow_is_allowed", "flow_rate: 60 ", "flow_rate: 130 ", "perfusion.flow_rate", "120 uL/h"),
    (
        "_volume_limits_leave_room",
        "flow_rate: 120 uL/h",
        "dose_volume: 2.8 mL\n  flow_rate: 120 uL/h",
        "limits.dose_volume",
        "one dose as planned brings 2880 uL",
    ),
    (
        "_volume_limits_leave_room",
        "flow_rate: 120 uL/h",
        "day_volume: 1400 uL\n  flow_rate: 120 uL/h",
        "limits.day_volume",
        "24 h as planned brings 1440 uL",
    ),
    (
        "_volume_limits_leave_room",
        "flow_rate: 120 uL/h",
        "total_volume: 14 mL\n  flow_rate: 120 uL/h",
        "limits.total_volume",
        "all doses as planned brings 14400 uL",
    ),
    (
        "_readouts_are_young_enough",
        "flow_rate: 120 uL/h",
        "readout_age: 3 h\n  flow_rate: 120 uL/h",
        "limits.readout_age",
        "a dose begins 4 h after the last readout",
    ),
    (
        "_every_pump_has_a_syringe",
        "    high:     {v",
        "    top:     {v",
        "perfusion.syringes",
        "high",
    ),
    (
        "_every_pump_has_a_syringe",
        "    high:     {v",
        "    top:     {v",
        "perfusion.syringes.top",
        "neither",
    ),
    (
        "_sampling_is_within_the_exposure",
        "teer: [24 h, 48 h]",
        "teer: [24 h, 49 h]",
        "sampling.teer[1]",
        "after the end",
    ),
    (
        "_sampling_is_within_the_exposure",
        "teer: [24 h, 48 h]",
        "teer: [24 h, 24 h]",
        "sampling.teer",
        "twice",
    ),
    (
        "_sampling_is_within_the_exposure",
        "effluent: [24 h, 48 h]",
        "effluent: [24 h, 50 h]",
        "sampling.effluent[1]",
        "after the exposure",
    ),
    (
        "_assays_are_of_the_model",
        "  CCL26: {kit: ccl26",
        "  ccl26: {kit: ccl26",
        "assays.ccl26",
        'did you mean "CCL26"?',
    ),
    (
        "_assays_are_of_the_model",
        "CCL26: {kit: ccl26_elisa",
        "CCL26: {kit: ldh_release",
        "assays.CCL26.kit",
        "not read by the method of ldh_release",
    ),
    (
        "_variation_is_of_the_model",
        "approval:\n",
        "variation:\n  between_chips: {CXCL8: 10 %}\napproval:\n",
        "variation.between_chips.CXCL8",
        "It must be a readout of skin_chip",
    ),
    (
        "_goals_are_of_the_model",
        "readout: CCL26",
        "readout: viability",
        "goals[0].readout",
        "a readout of skin_chip that a stimulus changes",
    ),
    (
        "_goals_are_measured",
        "  CCL26: {kit: ccl26_elisa, replicates: 2}\n",
        "",
        "goals[0].readout",
        "measured: TEER, viability",
    ),
    ("_goal_names_are_unique", "name: EC50_TEER", "name: EC50_CCL26", "goals[1].name", "twice"),
    (
        "_goal_exposure_is_given",
        "50 %, exposure: 48 h",
        "50 %, exposure: 72 h",
        "goals[0].exposure",
        "longer than",
    ),
    (
        "_keys_stand_together",
        "approval:\n",
        "schedules: {p: {for: 8 h, times: 3}}\napproval:\n",
        "schedules.p.times",
        "it is not said how often",
    ),
    (
        "_keys_stand_together",
        "approval:\n",
        "schedules: {p: {every: 16 h, times: 3}}\napproval:\n",
        "schedules.p.times",
        "how long each lasts",
    ),
    (
        "_keys_stand_together",
        "approval:\n",
        "schedules: {p: {for: 8 h, every: 16 h}}\napproval:\n",
        "schedules.p.every",
        "not said how many times",
    ),
    (
        "_keys_stand_together",
        "approval:\n",
        "schedules: {p: {for: 10 h, every: 8 h, times: 3}}\napproval:\n",
        "schedules.p.every",
        "they overlap",
    ),
    (
        "_keys_stand_together",
        "approval:\n",
        "schedules: {p: {for: 8 h, every: 8 h, times: 3}}\napproval:\n",
        "schedules.p.every",
        'write "for: 24 h"',
    ),
    (
        "_pulses_stay_in_the_exposure",
        "approval:\n",
        "schedules: {p: {for: 8 h, every: 16 h, times: 4}}\napproval:\n",
        "schedules.p",
        "the last pulse ends at 56 h; the exposure ends at 48 h",
    ),
    (
        "_pulses_stay_in_the_exposure",
        "approval:\n",
        "schedules: {p: {from: 40 h, for: 10 h}}\napproval:\n",
        "schedules.p",
        "the drug ends at 50 h",
    ),
    (
        "_pulses_stay_in_the_exposure",
        "approval:\n",
        "schedules: {p: {from: 48 h}}\napproval:\n",
        "schedules.p.from",
        "drug from 48 h on",
    ),
    (
        "_parts_can_be_delivered",
        "approval:\n",
        "schedules: {p: {for: 2 h}}\napproval:\n",
        "schedules.p",
        "2 h with drug, from 0 h to 2 h, is too short: it has come",
    ),
    (
        "_parts_can_be_delivered",
        "approval:\n",
        "schedules: {p: {for: 6 h, every: 8 h, times: 2}}\napproval:\n",
        "schedules.p",
        "2 h without drug, from 6 h to 8 h",
    ),
    (
        "_parts_can_be_delivered",
        "approval:\n",
        "schedules: {p: {from: 1 h}}\napproval:\n",
        "schedules.p",
        "1 h without drug, from 0 h to 1 h",
    ),
    (
        "_schedules_differ",
        "approval:\n",
        "schedules: {p: {for: 24 h}, q: {from: 0 h, for: 1 d}}\napproval:\n",
        "schedules.q",
        'the same as "p"',
    ),
    (
        "_schedules_differ",
        "approval:\n",
        "schedules: {p: {for: 48 h}, whole: {}}\napproval:\n",
        "schedules.whole",
        'the same as "p"',
    ),
    (
        "_whole_is_whole",
        "approval:\n",
        "schedules: {whole: {for: 24 h}}\napproval:\n",
        "schedules.whole",
        '"whole" is the whole exposure in the usual stimulus; this one is not',
    ),
    (
        "_goal_targets_are_of_their_readout",
        "readout: TEER, effect: 50 %",
        "readout: TEER, kind: target_response, target: 50 pg/mL",
        "goals[1].target",
        "TEER is in ohm*cm2; 50 pg/mL is no value of it",
    ),
    (
        "_goals_are_of_known_donors",
        "effect: 50 %, exposure: 48 h}\n\n",
        "effect: 50 %, exposure: 48 h, of: D9}\n\n",
        "goals[1].of",
        "known: population, D1, D2, D3",
    ),
    (
        "_goals_are_of_known_donors",
        "C06: D3}",
        "C06: D1}",
        "goals[0].of",
        "donor D3 is on no chip",
    ),
    (
        "_questions_are_about_goals",
        "approval:\n",
        "stop: {decided: [{goal: EC50, below: 1 nM}]}\napproval:\n",
        "stop.decided[0].goal",
        "known: EC50_CCL26, EC50_TEER",
    ),
    (
        "_questions_are_about_goals",
        "approval:\n",
        "stop: {decided: [{goal: EC50_TEER, above: 10}]}\napproval:\n",
        "stop.decided[0].above",
        "EC50_TEER is a concentration with its unit; 10 is none",
    ),
    (
        "_budget_is_enough_for_one_cycle",
        "approval:\n",
        "stop: {chips: 11}\napproval:\n",
        "stop.chips",
        "11 is less than the 12 chips",
    ),
    (
        "_cost_can_be_set_against_what_is_learned",
        "approval:\n",
        "stop: {cost: true}\napproval:\n",
        "stop.cost",
        "what a nat is worth is not stated",
    ),
    (
        "_misfit_can_be_asked_about",
        "cycles: 5",
        "cycles: 1",
        "stop.ask_on_misfit",
        "no doses are proposed",
    ),
    (
        "_vehicle_lines_are_in_the_plan",
        "fold_step: 4 ",
        "vehicle_lines: 2\n  fold_step: 4 ",
        "first_doses",
        "1 of the first doses are 0 nM; limits.vehicle_lines asks for 2",
    ),
    (
        "_vehicle_lines_are_in_the_plan",
        "fold_step: 4 ",
        "vehicle_lines: 4\n  fold_step: 4 ",
        "limits.vehicle_lines",
        "leave none for drug",
    ),
    (
        "_kits_measure_their_readout",
        "CCL26: {kit: ccl26_elisa",
        "CCL26: {kit: ldh_release",
        "assays.CCL26.kit",
        "measures viability",
    ),
    (
        "_plate_file_differs_by_cycle",
        "ccl26_elisa, replicates: 2}",
        'ccl26_elisa, replicates: 2, plate_file: "p/{assay}.txt"}',
        "assays.CCL26.plate_file",
        "same file",
    ),
    (
        "_plate_file_differs_by_cycle",
        "ccl26_elisa, replicates: 2}",
        'ccl26_elisa, replicates: 2, plate_file: "p/{assay.__class__}_{cycle}.txt"}',
        "assays.CCL26.plate_file",
        "not a template",
    ),
    (
        "_plates_come_one_way",
        "ccl26_elisa, replicates: 2}",
        'ccl26_elisa, replicates: 2, export: gen5, plate_file: "p/{cycle}.txt"}',
        "assays.CCL26.export",
        "plate_file names the file already",
    ),
    (
        "_plates_come_one_way",
        "ccl26_elisa, replicates: 2}",
        "ccl26_elisa, replicates: 2, deadline: 12 h}",
        "assays.CCL26.deadline",
        "nothing is waited for",
    ),
    (
        "_file_holds_the_signal",
        "ccl26_elisa, replicates: 2}",
        "ccl26_elisa, replicates: 2, export: ome_tiff}",
        "assays.CCL26.export",
        "no ome_tiff file of ccl26_elisa, elisa, is read; softmax_pro, gen5",
    ),
    (
        "_file_holds_the_signal",
        "ccl26_elisa, replicates: 2}",
        "ccl26_elisa, replicates: 2}\n  junction_coverage: {kit: junction_stain, replicates: 2}",
        "assays.junction_coverage",
        "no instrument of the bench reads junction_stain",
    ),
    (
        "_tracer_comes_after_the_effluent",
        "ccl26_elisa, replicates: 2}",
        f"ccl26_elisa, replicates: 2}}\n  {TRACER}, dilution: 3}}",
        "sampling.effluent[1]",
        "the tracer of P_app is given from 44 h on",
    ),
    (
        "_tracer_comes_after_the_effluent",
        "ccl26_elisa, replicates: 2}",
        f"ccl26_elisa, replicates: 2}}\n  {TRACER}, dilution: 2}}",
        "assays.P_app.kit",
        "a sample of P_app is 80 uL once it is diluted; its wells need 100 uL",
    ),
    (
        "_plate_has_room",
        "ccl26_elisa, replicates: 2}",
        f"ccl26_elisa, replicates: 2}}\n  {TRACER}, dilution: 3}}",
        "assays.P_app.replicates",
        "need 114 wells",
    ),
    (
        "_plate_has_room",
        "ccl26_elisa, replicates: 2",
        "ccl26_elisa, replicates: 7",
        "assays.CCL26.replicates",
        "need 102 wells",
    ),
    (
        "_effluent_is_enough",
        "effluent: [24 h, 48 h]",
        "effluent: [24 h, 26 h]",
        "sampling.effluent",
        "gives 120 uL",
    ),
]


ALSO = {
    ("_goals_are_of_known_donors", "donor D3 is on no chip"): (
        ("C03: D3", "C03: D1"),
        ("C09: D3", "C09: D1"),
        ("C12: D3", "C12: D1"),
        ("readout: CCL26, effect: 50 %", "readout: CCL26, of: D3, effect: 50 %"),
    ),
    ("_tubing_is_rinsed", "must be rinsed before a valve turns"): (
        ("perfusion:\n", "valves: {C01: [L2], C02: [L2], C03: [L2]}\nperfusion:\n"),
    ),
    ("_arms_without_stimulus_are_stimulated", "no effect to take away"): (
        ("stocks: ", "arms:\n  rest: {IL-13: 0 ng/mL}\nstocks: "),
    ),
    (
        "_tracer_comes_after_the_effluent",
        "a sample of P_app is 80 uL once it is diluted; its wells need 100 uL",
    ): (("effluent: [24 h, 48 h]", "effluent: [24 h, 44 h]"),),
    ("_misfit_can_be_asked_about", "no doses are proposed"): (
        ("approval:\n", "stop: {ask_on_misfit: true}\napproval:\n"),
    ),
}
"""What has to be changed besides, for a rule that needs two places."""


@pytest.mark.parametrize(("rule", "old", "new", "field", "message"), BROKEN)
def test_a_broken_rule_is_told_at_its_place(
    tmp_path: Path, rule: str, old: str, new: str, field: str, message: str
) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    for before, after in ALSO.get((rule, message), ()):
        assert before in text
        text = text.replace(before, after)
    assert old in text
    path = tmp_path / "study.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    found = [p for p in check_study(path) if p.field == field and message in p.message + p.hint]
    assert len(found) == 1
    assert found[0].line is not None


def test_every_rule_is_broken_once_above_or_by_a_study_of_several_drugs() -> None:
    several = {rule for rule, *_ in TWO_DRUGS if rule}
    assert {rule.__name__ for _, rule in RULES} == {case[0] for case in BROKEN} | several


def test_a_first_dose_of_zero_is_allowed() -> None:
    assert "0 nM" in EXAMPLE.read_text(encoding="utf-8")
    assert check_study(EXAMPLE) == []


INDEX = "{name: TI, kind: therapeutic_index, readout: TEER, effect: 50 %, exposure: 48 h}"


def with_goal(tmp_path: Path, goal: str, stop: str = "") -> Path:
    """Return the example with another second goal, and a stop rule."""
    old = "{name: EC50_TEER, readout: TEER, effect: 50 %, exposure: 48 h}"
    text = EXAMPLE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "study.yaml"
    path.write_text(
        text.replace(old, goal).replace("approval:\n", stop + "approval:\n"), encoding="utf-8"
    )
    return path


@pytest.mark.parametrize(
    "goal",
    [
        "{name: EC90, readout: TEER, effect: 90 %, exposure: 24 h}",
        INDEX,
        "{name: T, kind: target_response, readout: TEER, target: 1 kohm*cm2, exposure: 48 h, of: D1}",
        "{name: T, kind: target_response, readout: CCL26, target: 0.05 ng/mL, exposure: 48 h}",
        "{name: P, kind: potency, readout: TEER, effect: 50 %, exposure: 48 h, of: population}",
    ],
)
def test_every_kind_of_goal_can_be_asked_and_survives_the_record(tmp_path: Path, goal: str) -> None:
    study = load_study(with_goal(tmp_path, goal))
    assert Study.model_validate_json(study.model_dump_json()) == study


@pytest.mark.parametrize(
    ("goal", "field", "message"),
    [
        ("{name: T, kind: target_response, readout: TEER, target: 1000, exposure: 48 h}", "goals[1].target",
         "allowed: ohm*cm2, kohm*cm2, pg/mL"),
        ("{name: T, kind: target_response, readout: TEER, exposure: 48 h}", "goals[1]",
         '"target" is missing'),
        ("{name: T, readout: TEER, exposure: 48 h}", "goals[1]", '"effect" is missing'),
        ("{name: T, kind: index, readout: TEER, effect: 50 %, exposure: 48 h}", "goals[1].kind",
         "'therapeutic_index'"),
    ],
)  # fmt: skip
def test_a_goal_that_is_not_whole_is_refused_at_its_place(
    tmp_path: Path, goal: str, field: str, message: str
) -> None:
    found = check_study(with_goal(tmp_path, goal))
    assert [p.field for p in found] == [field]
    assert message in found[0].message
    assert found[0].line is not None


def test_a_question_about_a_ratio_takes_a_plain_number_and_no_dose(tmp_path: Path) -> None:
    fine = "stop: {decided: [{goal: TI, above: 10}]}\n"
    assert check_study(with_goal(tmp_path, INDEX, fine)) == []
    for asked, key in (("above: 10 nM", "above"), ("dose: 10 nM", "dose")):
        stop = f"stop: {{decided: [{{goal: TI, {asked}}}]}}\n"
        found = check_study(with_goal(tmp_path, INDEX, stop))
        assert [p.field for p in found] == [f"stop.decided[0].{key}"]


@pytest.mark.parametrize("kit", ["mtt", "resazurin"])
def test_viability_may_be_read_by_a_dye(kit: str, tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert "viability: {kit: ldh_release" in text
    path = tmp_path / "study.yaml"
    path.write_text(
        text.replace("viability: {kit: ldh_release", f"viability: {{kit: {kit}"), "utf-8"
    )
    assert check_study(path) == []
    study = load_study(path)
    assert study.assays["viability"].kit.method == kit
    noted = [note for note in notes(study) if "kills the cells" in note]
    assert len(noted) == (kit == "mtt")


def test_a_tracer_is_no_readout_of_viability(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    path = tmp_path / "study.yaml"
    changed = text.replace("kit: ldh_release", "kit: fitc_dextran_permeability")
    path.write_text(changed, "utf-8")
    told = " ".join(problem.message for problem in check_study(path))
    assert "not read by the method of fitc_dextran_permeability" in told
