"""A single image left out: its chip's readout is the mean of the others, and it can be taken back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays.left_out_images import without_images
from chiploop.measurement import Measurement, Readout
from chiploop.record.long_table import LongRow, long_table
from chiploop.record.record import Record
from chiploop.study import load_study
from flows.cli.main import command_line
from flows.opening import new_run
from tests.flows.conftest import SMALL_STUDY

SET = "small-junction_coverage-cycle1"
VALUES = {"C01": (0.90, 0.70, 0.80), "C02": (0.60,)}


@dataclass(frozen=True)
class Images:
    """A run with images on record."""

    runs: Path
    run_id: str

    def exclude(self, *arguments: str) -> int:
        return command_line(["exclude", self.run_id, "--runs", str(self.runs), *arguments])

    def readouts(self) -> dict[str, Readout]:
        with Record(str(self.runs / "record.sqlite")) as record:
            return {one.chip_id: replace(one, parents=()) for one in record.readouts(self.run_id)}

    def rows(self) -> list[LongRow]:
        """Return the rows of images that stand."""
        with Record(str(self.runs / "record.sqlite")) as record:
            assert record.verify().whole
            found = long_table(record, self.run_id)
        return [one for one in found if one.role == "image" and not one.superseded_by]


@pytest.fixture
def images(tmp_path: Path) -> Images:
    study = load_study(SMALL_STUDY)
    files = new_run(study, tmp_path / "runs", 1, True, False)
    rows = tuple(
        Measurement(
            f"{SET}/image/{chip}/{n}", "calibrated", "junction_coverage", "covered share", value, "1", 36.0,
            chip_id=chip, channel="membrane", role="image", replicate=n, sd=0.02, sd_kind="tech",
            plate=SET, raw_sha256=f"{n:064d}", locator=f"CLX {chip} {n}", cycle=1, reasons=("dim",) * (n == 2),
            qc="warn" if n == 2 else "ok",
        )
        for chip, values in VALUES.items()
        for n, value in enumerate(values, start=1)
    )  # fmt: skip
    derivation, readouts = without_images(rows, {})
    with Record(str(tmp_path / "runs" / "record.sqlite")) as record:
        record.add_run(files.run_id, study, 1, True)
        record.add_readouts(files.run_id, readouts, derivation)
    return Images(tmp_path / "runs", files.run_id)


def test_an_image_left_out_and_taken_in_again(
    images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    before = images.readouts()
    assert images.exclude("--image", f"{SET}:C01/2", "--why", "fold", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["wells"], said["plate"], said["readouts"]) == (["C01/2"], SET, 1)
    own = images.readouts()["C01"]
    assert own.value == pytest.approx(np.mean([0.90, 0.80])) and own.n == 2
    assert own.qc == "warn" and own.reasons == (f"image C01/2 left out by {said['by']}: fold",)
    assert images.readouts()["C02"] == before["C02"]
    out = {(one.chip, one.replicate): one for one in images.rows()}["C01", 2]
    assert (out.value, out.qc, out.excluded_by) == (0.70, "fail", said["by"])
    assert [one.excluded_by for one in images.rows()].count("") == 3
    # taken in again everything is what it was, the image's own doubt too
    assert images.exclude("--image", f"{SET}:C01/2", "--why", "no", "--take-back") == 0
    assert images.readouts() == before
    back = {(one.chip, one.replicate): one for one in images.rows()}["C01", 2]
    assert (back.qc, back.qc_reasons, back.excluded_by) == ("warn", ("dim",), "")


def test_without_its_only_image_a_chip_has_no_value_and_that_is_said(
    images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    assert images.exclude("--image", f"{SET}:C02/01", "--why", "tear") == 0
    own = images.readouts()["C02"]
    assert "C02 has no junction_coverage now" in capsys.readouterr().out
    assert math.isnan(own.value) and (own.qc, own.n) == ("fail", 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image", f"{SET}:C01/4"], "there is no image C01/4"),
        (["--image", f"{SET}:C01"], "is not SET:CHIP/PLACE"),
        (["--image", f"{SET}:C01/0"], "is not SET:CHIP/PLACE"),
        (["--image", "other:C01/1"], f"it has: {SET}"),
        (["--image", f"{SET}:C01/1", "--image", "other:C01/1"], "of 2 sets"),
        (["--image", f"{SET}:C01/1", "--take-back"], "is not left out"),
        (["--image", f"{SET}:C01/1", "--well", f"{SET}:A1"], "not both"),
        (["C01", "--image", f"{SET}:C01/1"], "not both"),
        (["--well", f"{SET}:A1"], "has read no plate"),
    ],
)
def test_what_can_not_be_left_out_is_told_and_nothing_is_added(
    images: Images, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = images.readouts()
    assert images.exclude(*arguments, "--why", "so") == 2
    assert said in capsys.readouterr().err
    assert images.readouts() == before
