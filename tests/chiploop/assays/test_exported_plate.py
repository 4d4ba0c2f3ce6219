"""A plate that was read elsewhere is taken by its label, and only where its signal fits the map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays.exported_plate import labelled_plate, problems_of_plate
from chiploop.assays.layout_map import layout_of, map_of
from chiploop.assays.plate_layout import LayoutWell, PlateLayout
from chiploop.assays.plate_map import PlateMap
from chiploop.errors import FileNotValid
from chiploop.exports import read_export
from chiploop.measurement import AbsorbancePlate
from chiploop.plan import plate_map
from chiploop.study import Study, load_study
from tests.chiploop.assays.kits import ELISA

STUDY_FILE = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY_FILE)


def read(study: Study, assay: str) -> tuple[AbsorbancePlate, PlateMap]:
    """Return a plate as its map says, samples anywhere between blank and the highest."""
    wells = plate_map(study, assay, 1).wells
    kit = study.assays[assay].kit
    rng = np.random.default_rng(11)
    signal = np.full((8, 12), 0.05)
    for one in wells:
        level = one.concentration or 0.0
        od = {"max_release": 1.7, "sample": float(rng.uniform(0.1, 1.5)), "blank": 0.05}.get(
            one.kind
        )
        signal[one.index] = (od or 0.05 + 2.8 * level / (level + 180.0)) + 0.01 * rng.uniform()
    nm = (round(kit.wavelength_nm), round(kit.reference_wavelength_nm))
    return AbsorbancePlate("p", 72.0, {nm[0]: signal, nm[1]: np.full((8, 12), 0.04)}), wells


def turned(plate: AbsorbancePlate) -> AbsorbancePlate:
    grids = {nm: grid[::-1, ::-1] for nm, grid in plate.absorbance.items()}
    return replace(plate, absorbance=grids)


@pytest.mark.parametrize("assay", ["CCL26", "viability"])
def test_a_good_plate_passes_and_a_turned_one_is_named(assay: str, study: Study) -> None:
    plate, wells = read(study, assay)
    kit = study.assays[assay].kit
    assert problems_of_plate(plate, wells, kit) == ()
    (problem,) = problems_of_plate(turned(plate), wells, kit)
    assert "turned by 180 degrees" in problem


def test_what_the_program_flags_is_the_assays_to_judge_and_a_gap_is_not(study: Study) -> None:
    plate, wells = read(study, "CCL26")
    kit = study.assays["CCL26"].kit
    highest = next(one for one in wells if one.concentration == 1000.0)
    flagged = {(450, highest.well): "saturated", (450, wells[-1].well): "masked"}
    grid = plate.absorbance[450].copy()
    grid[highest.index] = grid[wells[-1].index] = np.nan
    gaps = replace(plate, absorbance={**plate.absorbance, 450: grid})
    assert problems_of_plate(replace(gaps, flags=flagged), wells, kit) == ()
    (problem,) = problems_of_plate(gaps, wells, kit)
    assert "2 wells of the layout have no number" in problem


def test_a_plate_of_gen5_is_read_at_its_wavelength_with_the_cells_of_its_file(
    shared_data: Path,
) -> None:
    path = shared_data / "vendor_exports" / "gen5_absorbance_stdcurve_singleplate.txt"
    plate = labelled_plate(read_export(path), "Plate 1", "p1", 72.0, ELISA)
    assert list(plate.absorbance) == [630]
    assert plate.absorbance[630][0, :2].tolist() == [3.337, 3.394]
    assert plate.absorbance[630][7, 11] == 0.194
    line, column = plate.locators[630, "B2"].removeprefix("Results!").split(",")
    cells = path.read_text(encoding="latin-1").splitlines()[int(line) - 1].split("\t")
    assert float(cells[int(column) - 1]) == plate.absorbance[630][1, 1] == 1.131
    with pytest.raises(FileNotValid, match="no absorbance plate named 'CLOTHER'"):
        labelled_plate(read_export(path), "CLOTHER", "p1", 72.0, ELISA)


def test_a_file_of_no_absorbance_reader_is_refused(shared_data: Path) -> None:
    path = shared_data / "vendor_exports" / "luminex_xponent_example02.csv"
    with pytest.raises(FileNotValid, match="an absorbance plate of softmax_pro or gen5 is needed"):
        labelled_plate(read_export(path), "x", "p1", 72.0, ELISA)


# --- layouts and maps


@pytest.mark.parametrize("assay", ["CCL26", "viability"])
def test_a_map_comes_back_from_its_layout(assay: str, study: Study) -> None:
    wells = plate_map(study, assay, 1).wells
    layout = layout_of(wells, "p1", "CL1")
    assert (layout.name, layout.barcode, layout.wells) == ("p1", "CL1", 96)
    assert sorted({one.replicate for one in layout.contents if one.role == "sample"}) == [1, 2]
    assert map_of(layout, study.chip_ids, [(0.0, 24.0), (48.0, 72.0)]) == wells


def test_a_time_may_be_left_out_where_there_is_one_window_alone(study: Study) -> None:
    layout = PlateLayout("p1", "", 96, (LayoutWell("A1", "sample", chip="C01"),))
    (well,) = map_of(layout, study.chip_ids, [(48.0, 72.0)])
    assert well.window_h == (48.0, 72.0)
    with pytest.raises(FileNotValid, match="A1: no time; effluent was collected until 24 h, 72 h"):
        map_of(layout, study.chip_ids, [(0.0, 24.0), (48.0, 72.0)])


def test_every_well_that_has_no_place_in_a_map_is_named(study: Study) -> None:
    contents = (
        LayoutWell("A1", "sample", chip="C77", time_h=72.0),
        LayoutWell("A2", "control", concentration_pg_ml=50.0),
        LayoutWell("A3", "sample", chip="C01", time_h=60.0),
        LayoutWell("A4", "empty"),
    )
    layout = PlateLayout("p1", "", 384, contents)
    with pytest.raises(FileNotValid) as told:
        map_of(layout, study.chip_ids, [(48.0, 72.0)])
    for part in ("of 384 wells", "A1: chip 'C77'", "A2: controls", "A3: time 60 h"):
        assert part in str(told.value)
    assert "A4" not in str(told.value)
