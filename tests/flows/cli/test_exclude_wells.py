"""A single well left out: the plate is calculated again without it, everywhere, and it can be taken back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chiploop.measurement import Readout
from chiploop.record.journal import Journal
from chiploop.record.long_table import LongRow, long_table
from chiploop.record.record import Record
from chiploop.toxicity_closures import Toxicity
from flows import standing_harm
from flows.cli.main import command_line
from tests.flows.test_revising import PLATE, Case, case, export_again

__all__ = ["case"]


def exclude(case: Case, *arguments: str) -> int:
    return command_line(["exclude", case.run_id, "--runs", str(case.runs), *arguments])


def readouts(case: Case) -> dict[str, Readout]:
    with Record(str(case.runs / "record.sqlite")) as record:
        return {one.chip_id: replace(one, parents=()) for one in record.readouts(case.run_id)}


def rows(case: Case) -> tuple[LongRow, ...]:
    with Record(str(case.runs / "record.sqlite")) as record:
        assert record.verify().whole
        return long_table(record, case.run_id)


def of_well(case: Case, stage: str, well: str) -> list[LongRow]:
    """Return the rows of a well at the wavelength that counts, as they stand."""
    return [
        row
        for row in rows(case)
        if row.stage == stage and row.well == (well,) and not row.superseded_by
        if stage != "raw" or "450" in row.quantity
    ]


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_replicate_left_out_is_missing_in_its_chip_alone_and_its_number_stays(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    before = readouts(case)
    well = before["C01"].wells[0]
    (raw,) = of_well(case, "raw", well)
    name = f"{PLATE}:{well[0]}{int(well[1:]):02d}"
    assert exclude(case, "--well", name, "--why", "air bubble", "--json") == 0
    said = told(capsys)
    assert (said["wells"], said["revision"], said["readouts"]) == ([well], 2, 1)
    after = readouts(case)
    assert after["C02"] == before["C02"]
    own = after["C01"]
    assert own.n == 1 and own.value != before["C01"].value and own.sd > before["C01"].sd
    # it is what the other well says by itself: the curve has not moved
    (alone,) = of_well(case, "calibrated", before["C01"].wells[1])
    assert own.value == pytest.approx(alone.value, rel=1e-12)
    assert own.qc == "warn" and f"well {well} left out by" in own.reasons[0]
    assert "air bubble" in own.reasons[0]
    (stays,) = of_well(case, "raw", well)
    assert stays.value == raw.value and stays.qc == "fail" and stays.excluded_by == said["by"]
    assert raw.excluded_by == ""


def test_without_its_only_replicate_a_reading_is_missing_and_that_is_said(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    wells = readouts(case)["C02"].wells
    assert exclude(case, "--well", f"{PLATE}:{wells[0]}", "--why", "spilt") == 0
    assert "has no" not in capsys.readouterr().out
    assert exclude(case, "--well", f"{PLATE}:{wells[1]}", "--why", "spilt too", "--json") == 0
    assert told(capsys)["missing"] == ["C02"]
    own = readouts(case)["C02"]
    assert math.isnan(own.value) and own.qc == "fail" and own.n == 0
    assert own.reasons[-1] == "no well with a signal" and "spilt too" in str(own.reasons)
    assert exclude(case, "--well", f"{PLATE}:{wells[1]}", "--why", "no", "--take-back") == 0
    assert readouts(case)["C02"].n == 1


def test_no_plate_calculated_again_is_a_way_around_harm_that_closes_doses(
    case: Case,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def all_gone(study: Any, schedules: Any, before: Any, after: Any, reopened: Any) -> Any:
        asked.append([one.n for one in after if one.chip_id == "C02"])
        return (Toxicity("C02", 1, 36.0, 240.0, 0.5),)

    monkeypatch.setattr(standing_harm, "harm_taken_away", all_gone)
    before = readouts(case)
    with Journal(case.runs / case.run_id / "journal.sqlite"):
        pass  # something was dosed
    well = f"{PLATE}:{before['C02'].wells[0]}"
    assert exclude(case, "--well", well, "--why", "spilt") == 5
    assert "viability 0.50 of C02 at 240 nM" in capsys.readouterr().err
    assert readouts(case) == before and asked == [[before["C02"].n - 1]]
    assert case.revise("--file", export_again(case, tmp_path, lift=0.3)) == 5
    told = capsys.readouterr().err
    assert "calculated so the record would no longer show harm" in told and "reopen" in told
    assert readouts(case) == before


def test_a_standard_left_out_moves_the_curve_and_with_it_every_chip(case: Case) -> None:
    before = readouts(case)
    standards = [w["well"] for w in case.asked["wells"] if w["kind"] == "standard"]
    assert exclude(case, "--well", f"{PLATE}:{standards[2]}", "--why", "pipette") == 0
    after = readouts(case)
    assert all(after[chip].value != one.value for chip, one in before.items())
    assert all(after[chip].n == one.n for chip, one in before.items())


def test_taken_in_again_every_reading_is_what_it_was(case: Case) -> None:
    before = readouts(case)
    wells = [w["well"] for w in case.asked["wells"] if w["kind"] == "standard"][:2]
    written = [text for well in wells for text in ("--well", f"{PLATE}:{well}")]
    assert exclude(case, *written, "--why", "doubt") == 0
    assert readouts(case)["C01"].value != before["C01"].value
    assert exclude(case, *written, "--why", "no doubt", "--take-back") == 0
    for chip, one in readouts(case).items():
        assert (one.value, one.sd, one.n, one.reasons) == (
            before[chip].value, before[chip].sd, before[chip].n, before[chip].reasons,
        )  # fmt: skip
    with Record(str(case.runs / "record.sqlite")) as record:
        said = record.well_exclusions(case.run_id)
    assert [(one.well, one.excluded, one.why) for one in said] == [
        (wells[0], True, "doubt"), (wells[1], True, "doubt"),
        (wells[0], False, "no doubt"), (wells[1], False, "no doubt"),
    ]  # fmt: skip


def test_a_plate_that_is_revised_later_stays_without_the_well(case: Case) -> None:
    well = readouts(case)["C01"].wells[0]
    assert exclude(case, "--well", f"{PLATE}:{well}", "--why", "bubble") == 0
    assert case.revise() == 1  # comes out as it is on record
    assert readouts(case)["C01"].n == 1


def test_a_well_is_left_out_of_the_layout_that_was_named_last(case: Case, tmp_path: Path) -> None:
    swap = {"C01": "C02", "C02": "C01"}
    lines = ["well,role,concentration,chip,time"]
    for well in case.asked["wells"]:
        chip, kind = swap.get(well["chip"], ""), well["kind"]
        level = f"{well['concentration']} pg/mL" if kind == "standard" else ""
        lines.append(f"{well['well']},{kind},{level},{chip},{'36 h' if chip else ''}")
    layout = tmp_path / "layout.csv"
    layout.write_text("\n".join(lines) + "\n")
    assert case.revise("--layout", str(layout)) == 0
    swapped = readouts(case)
    assert exclude(case, "--well", f"{PLATE}:{swapped['C01'].wells[0]}", "--why", "bubble") == 0
    after = readouts(case)
    assert after["C02"] == swapped["C02"] and after["C01"].n == 1


def test_what_can_not_be_left_out_is_told_and_nothing_is_added(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    before = case.bench.lab.record.verify().rows
    first = f"{PLATE}:A1"
    for arguments, said in (
        (["--well", f"{PLATE}:H12"], "nothing stood in H12"),
        (["--well", f"{PLATE}:J1"], "is not PLATE:WELL"),
        (["--well", "B07"], "is not PLATE:WELL"),
        (["--well", "p9:A1"], f"it has read: {PLATE}"),
        (["--well", first, "--well", "p9:A1"], "of 2 plates"),
        (["--well", first, "--take-back"], "is not left out"),
        (["C01", "--well", first], "not both"),
        ([], "name the chip"),
    ):
        assert exclude(case, *arguments, "--why", "so") == 2, arguments
        assert said in capsys.readouterr().err
    assert exclude(case, "--well", first, "--why", " ") == 2
    assert case.bench.lab.record.verify().rows == before
