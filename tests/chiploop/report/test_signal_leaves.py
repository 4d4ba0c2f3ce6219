"""A page of raw signals has the signals of its chips, and no page lacks one: nothing is drawn here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chiploop.assays.barrier_analysis import BarrierSetup
from chiploop.measurement import Derivation, Measurement, Readout
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.rows import RawFile
from chiploop.record.signal_index import MOST_IMAGES, MOST_SPECTRA, signal_leaf
from chiploop.report.signal_parts import Signals, images, spectra
from chiploop.study import load_study

STUDY = Path(__file__).parents[2] / "flows" / "small_study.yaml"
RUN = "r"
READ = MOST_SPECTRA + 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signals]:
    """A run whose first chip was read more often than a page has room for, and its second once."""
    folder = tmp_path_factory.mktemp("signals")
    study = load_study(STUDY)
    places = [("C01", n) for n in range(1, MOST_IMAGES + 2)] + [("C02", 1)]
    rows = tuple(
        Measurement(
            f"set/image/{chip}/{n}", "calibrated", "ZO", "covered share", 0.5, "1", 30.0, chip_id=chip,
            role="image", replicate=n, plate="set", locator=f"CL {chip} {n}", cycle=1,
        )
        for chip, n in places
    )  # fmt: skip
    with Record(str(folder / "record.sqlite")) as record:
        record.add_run(RUN, study, 1, True)
        for n in range(READ):
            record.add_raw_file(RawFile(RUN, f"{n:064d}", f"s{n}", "impedance spectrum", 1, 0.0))
        teer = [
            Readout(chip, "TEER", 900.0, "ohm*cm2", 0.02, "log", 30.0 + n, cycle=1, raw_sha256=f"{n:064d}")
            for chip, n in [("C02", 0), *(("C01", n) for n in range(READ))]
        ]  # fmt: skip
        record.add_readouts(RUN, teer, Derivation(rows))
        yield Signals(record, RawFileStore(folder), RUN, study, BarrierSetup(area_cm2=0.5))


def titles(run: Signals, chips: tuple[str, ...], part: int = 0) -> tuple[list[str], list[str]]:
    """Return titles of spectra, and of images by their cell borders."""
    seen = [one.title for one in images(run, 1, chips, part)]
    return [one.title for one in spectra(run, 1, chips, part)], seen[::2]


def test_a_cycle_shows_the_last_spectrum_and_the_first_image_of_the_chips_of_a_page(
    run: Signals,
) -> None:
    last = f"TEER of C01 at {30 + READ - 1} h"
    assert titles(run, ("C01", "C02")) == (
        ["TEER of C02 at 30 h", last],
        ["C01, place 1, cycle 1: covered cell borders", "C02, place 1, cycle 1: covered cell borders"],
    )  # fmt: skip
    assert titles(run, ("C01",))[0] == [last]


def test_one_chip_shows_all_that_it_has_page_after_page(run: Signals) -> None:
    assert signal_leaf(run.record, RUN, 1, "C01", 9).leaf.page == 2
    assert signal_leaf(run.record, RUN, 1, "C02").leaf.pages == 1
    found = [titles(run, ("C01",), part) for part in (1, 2)]
    assert [(len(one), len(other)) for one, other in found] == [(MOST_SPECTRA, MOST_IMAGES), (2, 1)]
    assert (
        len({title for pair in found for part in pair for title in part}) == READ + MOST_IMAGES + 1
    )
