"""Loading a study: canonical numbers, references, every problem at once, and the way back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chiploop.protocols_path import protocols_folder
from chiploop.study import Study, StudyNotValid, check_study, load_study, schema_text

EXAMPLE = Path(__file__).with_name("example_study.yaml")
SCHEMA = protocols_folder() / "schema" / "chiploop-study-1.schema.json"

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def example() -> Study:
    return load_study(EXAMPLE)


@pytest.fixture
def edited(tmp_path: Path) -> Write:
    """Write the example study with some of its text replaced, and return its path."""

    def write(*replacements: tuple[str, str]) -> Path:
        text = EXAMPLE.read_text(encoding="utf-8")
        for old, new in replacements:
            assert old in text, f"the example study does not hold {old!r}"
            text = text.replace(old, new)
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_example_study_is_valid_and_in_canonical_units(example: Study) -> None:
    assert check_study(EXAMPLE) == []
    assert example.perfusion.flow_rate_ul_h == 60.0
    assert example.stocks["high"].concentration_nm == 12000.0
    assert example.stocks["high"].vehicle_fraction == 0.0012
    assert example.perfusion.syringes["low"].volume_ul == 20000.0
    assert example.first_doses_nm == (0.0, 30.0, 120.0, 480.0)
    assert example.limits.concentration_nm == 4000.0
    assert example.goals[0].effect_fraction == 0.5
    assert example.drug.molecular_weight_g_mol == 380.4
    assert example.chip.area_cm2 == 0.33
    assert example.assays["CCL26"].kit.standards is not None
    assert example.assays["CCL26"].kit.standards.concentrations_pg_ml[-1] == 7.8125


def test_chips_donors_and_times_can_be_asked_for(example: Study) -> None:
    assert example.chip_ids[:4] == ("C01", "C02", "C03", "C04")
    assert len(example.chip_ids) == 12
    assert example.donor_of("C03").flg == "heterozygous"
    assert example.line_of("C05").id == "L2"
    assert example.line_flow_rate_ul_h("L1") == 180.0
    assert example.pump_roles("L1") == ("medium", "stimulus", "low", "high")
    assert example.exposure_start_h(1) == 24.0
    assert example.exposure_start_h(2) == 24.0 + 48.0 + 4.0
    assert example.teer_times_h(2) == (100.0, 124.0)
    assert example.effluent_window_h(1) == (48.0, 72.0)
    assert example.end_h == 280.0


def test_cytokines_in_nm_follow_from_their_molar_masses(example: Study) -> None:
    # 50 ng/mL are 3.3 nM of IL-4 (15 kDa) and 4.0 nM of IL-13 (12.6 kDa).
    fifty = example.model_copy(update={"stimulus_ng_ml": {"IL-4": 50.0, "IL-13": 50.0}})
    assert fifty.stimulus_nm == pytest.approx({"IL-4": 3.333, "IL-13": 3.968}, abs=1e-3)


def test_optional_parts_have_defaults_and_partial_ones_keep_the_other_defaults(
    example: Study, edited: Write
) -> None:
    assert example.stop is None
    assert example.assays["CCL26"].dilution == 1.0
    assert example.assays["CCL26"].plate_path("CCL26", 2) is None
    assert example.variation.between_chips == {"TEER": 0.10, "CCL26": 0.15, "viability": 0.02}
    assert example.variation.between_donors == {"TEER": 0.15, "CCL26": 0.20}
    assert example.variation.between_readings == {"TEER": 0.03, "CCL26": 0.05}
    study = load_study(
        edited(
            (
                "approval:\n",
                "stop: {fold: 1.2}\nvariation:\n  between_chips: {TEER: 12 %}\napproval:\n",
            ),
            (
                "{kit: ccl26_elisa, replicates: 2}",
                '{kit: ccl26_elisa, replicates: 2, dilution: 4, plate_file: "{assay}_{cycle}.txt"}',
            ),
        )
    )
    assert study.stop is not None and study.stop.fold == 1.2
    assert study.variation.between_chips == {"TEER": 0.12, "CCL26": 0.15, "viability": 0.02}
    assert study.assays["CCL26"].dilution == 4.0
    assert study.assays["CCL26"].plate_path("CCL26", 2) == "CCL26_2.txt"


def test_a_study_survives_the_way_through_json(example: Study, tmp_path: Path) -> None:
    assert Study.model_validate_json(example.model_dump_json()) == example
    resolved = tmp_path / "resolved.json"
    resolved.write_text(example.model_dump_json(), encoding="utf-8")
    assert load_study(resolved) == example


def test_a_damaged_resolved_study_is_refused(example: Study, tmp_path: Path) -> None:
    resolved = tmp_path / "resolved.json"
    resolved.write_text(example.model_dump_json().replace('"cycles":5', '"cycles":"5"'))
    with pytest.raises(StudyNotValid) as refusal:
        load_study(resolved)
    assert [p.field for p in refusal.value.problems] == ["timeline.cycles"]
    assert [p.message for p in check_study(tmp_path / "none.json")] != []


def test_the_digest_is_that_of_the_file(edited: Write) -> None:
    one, other = load_study(edited()), load_study(edited(("cycles: 5", "cycles: 6")))
    assert one.sha256 != other.sha256
    assert one.source_path == other.source_path


def test_a_study_can_not_be_changed(example: Study) -> None:
    with pytest.raises(ValueError, match="frozen"):
        example.timeline.cycles = 9  # type: ignore[misc]


def test_all_problems_come_at_once_in_the_order_of_the_lines(edited: Write) -> None:
    path = edited(
        ("cycles: 5", "cycels: 5"),
        ("flow_rate: 60 uL/h", "flow_rate: 60 ul/h"),
        ("C05: D2", "C05: D9"),
        ("concentration: 600 nM", "concentration: 600 nm"),
        ("{kit: ldh_release, ", "{kit: ldh, "),
        ("by: auto", "by: robot"),
    )
    problems = check_study(path)
    assert [p.field for p in problems] == [
        "stocks.low.concentration",
        "lines[1].chips.C05",
        "perfusion.flow_rate",
        "timeline.cycles",
        "timeline.cycels",
        "assays.viability.kit",
        "approval.by",
    ]
    lines = path.read_text().splitlines()
    assert "600 nm" in lines[(problems[0].line or 0) - 1]
    assert problems[0].hint == 'did you mean "600 nM"?'
    assert problems[4].hint == 'did you mean "cycles"?'
    assert "ldh_release" in problems[5].hint
    with pytest.raises(StudyNotValid, match="7 problems in .*study.yaml. Nothing was sent"):
        load_study(path)


SHAPE = [
    ("cycles: 5", "cycles: 0", "timeline.cycles", "must be 1 or more"),
    ("cycles: 5", "cycles: 2.5", "timeline.cycles", "whole number"),
    ("cycles: 5", "cycles: five", "timeline.cycles", "whole number"),
    ("cycles: 5", "cycles:", "timeline.cycles", "nothing stands here"),
    ("cycles: 5", "cycles: true", "timeline.cycles", "whole number"),
    ("exposure: 48 h  ", "exposure: 0 h  ", "timeline.exposure", "must be above 0"),
    ("exposure: 48 h  ", "exposure: 48  ", "timeline.exposure", "has no unit"),
    ("replicates: 2}\n  via", "replicates: 0}\n  via", "assays.CCL26.replicates", "1 or more"),
    ("viability: 0.8", "viability: 80", "limits.viability", "must be 1 (that is 100 %) or less"),
    ("effect: 50 %", "effect: 150 %", "goals[0].effect", "must be 100 % or less"),
    ("vehicle: 0.1 %", "vehicle: 0.1", "limits.vehicle", "has no unit"),
    (
        "IL-13: 1 ng/mL",
        "IL-31: 1 ng/mL",
        "stimulus.IL-31",
        "known: IL-4, IL-13. It must be a stimulus",
    ),
    ("fold_step: 4 ", "fold_step: 1 ", "limits.fold_step", "must be above 1"),
    (
        "flow_rate: 120 uL/h",
        "dose_volume: 3 ml\n  flow_rate: 120 uL/h",
        "limits.dose_volume",
        "is not a unit of volume",
    ),
    (
        "flow_rate: 120 uL/h",
        "readout_age: 0 h\n  flow_rate: 120 uL/h",
        "limits.readout_age",
        "must be above 0",
    ),
    ("fold_step: 4 ", "fold_step: .inf ", "limits.fold_step", "must be a number"),
    ("[24 h, 48 h]\n  eff", "24 h\n  eff", "sampling.teer", "must be a list"),
    ("effluent: [24 h, 48 h]", "effluent: [24 h]", "sampling.effluent[1]", "missing"),
    ("effluent: [24 h, 48 h]", "effluent: [48 h, 24 h]", "sampling.effluent", "must end later"),
    ("- {id: L2,", "- {id: 2,", "lines[1].id", "not text"),
    ("C02: D2", '"C 02": D2', "lines[0].chips.C 02", "holds space"),
    ("name: ad_jak_dose_finding", "name: 17", "name", "not text"),
    (
        "CCL26: {kit",
        "TEER: {kit",
        "assays.TEER",
        "known: CCL26, viability, CCL17, TSLP, IL-8, P_app, ",
    ),
]


@pytest.mark.parametrize(("old", "new", "field", "message"), SHAPE)
def test_a_wrong_value_is_told_with_its_field_and_what_is_allowed(
    edited: Write, old: str, new: str, field: str, message: str
) -> None:
    problems = {p.field: p for p in check_study(edited((old, new)))}
    assert field in problems
    assert message in problems[field].message
    assert problems[field].line is not None


VERSION = [
    ("chiploop: 1 ", "chiploop: 2 ", "version 2 is not read here"),
    ("chiploop: 1 ", "chiploop: 1.0 ", "version 1.0 is not read here"),
    ("chiploop: 1 ", "chiploop: true ", "version True is not read here"),
    ("chiploop: 1 ", "name: a ", "version is missing"),
    ("name: ad", "title: x\nname: ad", "here twice"),
]


@pytest.mark.parametrize(("old", "new", "message"), VERSION)
def test_only_the_known_format_version_is_read(
    edited: Write, old: str, new: str, message: str
) -> None:
    assert any(message in p.message for p in check_study(edited((old, new))))


def test_another_version_is_the_only_problem_told(edited: Write) -> None:
    assert len(check_study(edited(("chiploop: 1 ", "chiploop: 9 "), ("cycles", "turns")))) == 1


def test_the_version_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: a\nchiploop: 1\n")
    assert [(p.line, p.hint) for p in check_study(path)] == [(2, "move this line to the top")]


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"a: \xff\n", b"[1, 2]\n", b"a: [\n"])
def test_a_file_that_is_no_study_gives_one_problem(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    assert len(check_study(path)) == 1


@pytest.mark.parametrize("word", ["{}", "[]", "null", "{", "*a", "1e9 nM", "!!int", "\t", "\u202e"])
def test_a_slip_on_any_line_is_told_and_never_raises(tmp_path: Path, word: str) -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    path = tmp_path / "study.yaml"
    for position in range(0, len(lines), 3):
        slipped = lines[position].partition(":")[0] + ": " + word
        edited = [*lines[:position], slipped, *lines[position + 1 :]]
        path.write_text("\n".join(edited), encoding="utf-8")
        assert all(problem.message for problem in check_study(path))


def test_a_projects_own_protocols_come_before_the_shipped_ones(
    edited: Write, tmp_path: Path
) -> None:
    drugs = tmp_path / "protocols" / "drugs"
    drugs.mkdir(parents=True)
    shipped = (protocols_folder() / "drugs" / "upadacitinib.yaml").read_text()
    (drugs / "upadacitinib.yaml").write_text(shipped.replace("380.4", "381.5"))
    assert load_study(edited()).drug.molecular_weight_g_mol == 381.5


def test_donors_are_found_from_the_study_file_and_with_either_slash(
    edited: Write, tmp_path: Path
) -> None:
    shutil.copy(protocols_folder() / "donors" / "D1.yaml", tmp_path / "mine.yaml")
    path = edited(
        ("- protocols/donors/D1.yaml", "- mine.yaml"),
        ("- protocols/donors/D2.yaml", r"- protocols\donors\D2.yaml"),
    )
    assert list(load_study(path).donors) == ["D1", "D2", "D3"]


def test_a_problem_in_a_named_file_tells_that_file_and_its_line(
    edited: Write, tmp_path: Path
) -> None:
    donor = tmp_path / "bad.yaml"
    donor.write_text("chiploop: 1\nid: D1\nflg: wildtype\n")
    (problem,) = check_study(edited(("protocols/donors/D1.yaml", "bad.yaml")))
    assert f"{donor} (line 3, flg)" in problem.message
    assert problem.field == "donors[0]"


def test_missing_files_are_told_with_what_there_is(edited: Write) -> None:
    problems = {
        p.field: p
        for p in check_study(
            edited(
                ("drug: upadacitinib ", "drug: upadacitinip "),
                ("model: skin_chip ", "model: skin_chop "),
                ("instruments: virtual ", "instruments: lab.toml "),
                ("protocols/donors/D3.yaml", "protocols/donors/D7.yaml"),
            )
        )
    }
    assert set(problems) == {"drug", "model", "instruments", "donors[2]"}
    assert "upadacitinib" in problems["drug"].hint


def test_a_laboratory_file_is_found_beside_the_study(edited: Write, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text("")
    study = load_study(edited(("instruments: virtual ", "instruments: lab.toml ")))
    assert Path(study.instruments) == (tmp_path / "lab.toml").resolve()


def test_a_name_can_not_leave_the_protocols_folder(edited: Write) -> None:
    (problem,) = check_study(edited(("drug: upadacitinib ", "drug: ../drugs/upadacitinib ")))
    assert problem.field == "drug"


def test_the_schema_in_the_repository_is_in_step() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), (
        "write it again: chiploop schema -o protocols/schema/chiploop-study-1.schema.json"
    )
