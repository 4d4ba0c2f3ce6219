"""The virtual reader elsewhere: files as vendors' programs write them, once per plate, at their hour."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.exports import read_export_bytes
from chiploop.exports.fluorescence import fluorescence_plate
from chiploop.file_kinds import FILE_KINDS
from chiploop.microscopy.field_file import read_field
from instruments.emulators.reader_elsewhere import (
    CUT_FOR_H,
    FILE_FAULTS,
    READ_AFTER_H,
    ReaderElsewhere,
)
from instruments.emulators.reader_files import FILE_WRITERS

WELLS = [
    {"well": "A1", "kind": "standard", "concentration": 1000.0, "chip": None},
    {"well": "B1", "kind": "standard", "concentration": 500.0, "chip": None},
    {"well": "A2", "kind": "standard", "concentration": 1000.0, "chip": None},
    {"well": "B2", "kind": "standard", "concentration": 500.0, "chip": None},
    {"well": "C1", "kind": "blank", "concentration": 0.0, "chip": None},
    {"well": "C2", "kind": "blank", "concentration": 0.0, "chip": None},
    {"well": "D1", "kind": "sample", "concentration": None, "chip": "C01"},
    {"well": "E1", "kind": "sample", "concentration": None, "chip": "C01"},
]
PLATE = {
    "plate_id": "study-CCL26-cycle1", "assay": "CCL26", "label": "CLABCDEFGH", "wells": WELLS,
    "wavelengths_nm": [450, 570],
}  # fmt: skip


class Tissue:
    """A plate whose OD tells well and wavelength."""

    def absorbance(self, plate: dict[str, Any], wavelength_nm: int) -> np.ndarray:
        """Return OD (8, 12), to six digits."""
        return np.arange(96.0).reshape(8, 12) / 100.0 + wavelength_nm * 1e-6

    def fluorescence(self, plate: dict[str, Any]) -> np.ndarray:
        """Return counts (8, 12) that tell the well."""
        return np.arange(96.0).reshape(8, 12) + 400.0

    def monolayer(self, chip: str, time_h: float, place: int) -> Any:
        """Return an image that tells the place."""
        plane = np.full((8, 8), place, np.uint16)
        settings = SimpleNamespace(pixel_size_um=0.325)
        return SimpleNamespace(junctions=plane, nuclei=plane, settings=settings)


@pytest.mark.parametrize("kind", ["softmax_pro", "gen5"])
def test_a_written_file_is_read_to_its_last_well_with_label_and_layout(kind: str) -> None:
    ((name, content),) = FILE_WRITERS[kind](PLATE, Tissue(), "")
    export = read_export_bytes(content, name)
    assert export.format == kind
    assert FILE_KINDS[kind].labels(export) == ("CLABCDEFGH",)
    assert name == "CLABCDEFGH.txt"
    found: dict[tuple[int, str], float] = {}
    for row in export.rows:
        if row.wavelength_nm is not None and row.statistic in ("Raw", "Results"):
            found[row.wavelength_nm, row.readout.well] = row.readout.value
    assert len(found) == 2 * 96
    assert found[450, "A1"] == pytest.approx(0.00045, abs=1e-9)
    assert found[570, "H12"] == pytest.approx(0.95057, abs=1e-9)
    samples = {
        row.readout.well: row.readout.sample
        for row in export.rows
        if row.readout.well and row.readout.sample
    }
    assert samples == {
        "A1": "STD1", "A2": "STD1", "B1": "STD2", "B2": "STD2", "C1": "BLK", "C2": "BLK",
        "D1": "SPL1", "E1": "SPL1",
    }  # fmt: skip


def test_a_tracer_plate_is_written_as_the_reader_of_fluorescence_writes_it() -> None:
    asked = PLATE | {"wavelengths_nm": [520], "excitation_nm": 490}
    ((name, content),) = FILE_WRITERS["gen5"](asked, Tissue(), "")
    export = read_export_bytes(content, name)
    plate = fluorescence_plate(export, "p", 1.0, "CLABCDEFGH", 490.0, 520.0)
    assert np.array_equal(plate.absorbance[520], Tissue().fluorescence({}))
    ((_, turned),) = FILE_WRITERS["gen5"](asked, Tissue(), "turned")
    seen = fluorescence_plate(read_export_bytes(turned, name), "p", 1.0, "CLABCDEFGH", 490.0, 520.0)
    assert seen.absorbance[520][0, 0] == 495.0


@pytest.mark.parametrize("fault", ["", "lost", "cut"])
def test_what_happens_to_a_set_of_images_happens_to_its_first(fault: str, tmp_path: Path) -> None:
    reader = ReaderElsewhere(Tissue())
    reader.faults += [fault] if fault else []
    places = [
        {"well": w, "kind": "image", "chip": "C01", "window_h": [36.0, 36.0]} for w in ("A1", "B1")
    ]
    images = {
        "plate_id": "set", "assay": "coverage", "label": "CLX", "wells": places,
        "names": ["CLX C01 1", "CLX C01 2"], "channels": ["ZO-1", "nuclei"],
    }  # fmt: skip
    reader.send({"plate": images, "kind": "ome_tiff", "folder": str(tmp_path)}, 36.0)
    reader.write_due(40.0)
    first, second = (tmp_path / f"CLX_C01_{place}.ome.tiff" for place in (1, 2))
    assert read_field(second.read_bytes(), "x").planes["ZO-1"][0, 0] == 2
    assert first.exists() == (fault != "lost")
    if fault == "cut":
        with pytest.raises(FileNotValid):
            read_field(first.read_bytes(), "x")
        reader.write_due(40.0 + CUT_FOR_H)
    if fault != "lost":
        assert read_field(first.read_bytes(), "x").title == "CLX C01 1"


def test_every_kind_that_a_study_may_name_is_written() -> None:
    assert set(FILE_WRITERS) == set(FILE_KINDS)


def sent(tmp_path: Path, fault: str = "") -> ReaderElsewhere:
    """Return a reader that was sent the plate at 36 h."""
    reader = ReaderElsewhere(Tissue())
    reader.faults += [fault] if fault else []
    reader.send({"plate": PLATE, "kind": "gen5", "folder": str(tmp_path / "in")}, 36.0)
    return reader


def test_a_plate_that_is_sent_twice_is_read_once_and_at_its_hour(tmp_path: Path) -> None:
    reader = sent(tmp_path)
    assert list(reader.due_h()) == [36.0 + READ_AFTER_H]
    reader.send({"plate": PLATE, "kind": "gen5", "folder": str(tmp_path / "in")}, 37.0)
    assert list(reader.due_h()) == [36.0 + READ_AFTER_H]
    assert not reader.write_due(36.0 + READ_AFTER_H - 0.01)
    assert not (tmp_path / "in").exists()
    assert reader.write_due(36.0 + READ_AFTER_H)
    file = tmp_path / "in" / "CLABCDEFGH.txt"
    first = file.read_bytes()
    file.unlink()
    reader.send({"plate": PLATE, "kind": "gen5", "folder": str(tmp_path / "in")}, 40.0)
    assert list(reader.due_h()) == [] and not reader.write_due(50.0)
    assert not file.exists()
    again = ReaderElsewhere(Tissue())
    again.restore(sent(tmp_path).state())
    assert again.write_due(40.0) and file.read_bytes() == first


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_what_happens_to_one_file_does_not_happen_to_the_next(fault: str, tmp_path: Path) -> None:
    reader = sent(tmp_path, fault)
    reader.write_due(40.0)
    name = "CLABCDEFG0.txt" if fault == "other label" else "CLABCDEFGH.txt"
    file = tmp_path / "in" / name
    ((_, good),) = FILE_WRITERS["gen5"](PLATE, Tissue(), "")
    assert file.exists() == (fault != "lost")
    assert not file.exists() or file.read_bytes() != good
    if fault == "cut":
        assert list(reader.due_h()) == [40.0 + CUT_FOR_H]
        reader.write_due(41.0)
        assert file.read_bytes() == good
    reader.send(
        {"plate": PLATE | {"label": "CLNEXT"}, "kind": "gen5", "folder": str(tmp_path)}, 50.0
    )
    reader.write_due(60.0)
    assert (tmp_path / "CLNEXT.txt").read_bytes() == good.replace(b"CLABCDEFGH", b"CLNEXT")


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    reader = ReaderElsewhere(Tissue())
    with pytest.raises(ValueError, match="label"):
        reader.send({"plate": {"plate_id": "p"}, "kind": "gen5", "folder": "x"}, 0.0)
    with pytest.raises(ValueError, match="softmax_pro, gen5"):
        reader.send({"plate": PLATE, "kind": "csv", "folder": "x"}, 0.0)
    with pytest.raises(ValueError, match="lost, cut, turned"):
        reader.check_fault({"kind": "burnt"})
