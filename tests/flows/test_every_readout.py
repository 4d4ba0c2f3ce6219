"""A study of TEER, ELISA, LDH, permeability and microscopy: what comes as a file is read from that file.

Belongs here: whole runs of ``ad_jak_all_readouts``. Not here: one assay (tests/chiploop/assays), the files' bytes
(tests/instruments/emulators), waiting for plates (test_awaited_files).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from chiploop.measurement import Measurement, Readout
from chiploop.record.journal import Journal
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.rows import RawFile
from chiploop.report.html_report import write_report
from chiploop.report.image_overlays import end_point_rows, image_of_chips
from chiploop.study import Study, load_study
from chiploop.virtual_lab import VirtualLab
from flows.awaited_files import MISSING
from tests.flows.conftest import Warm, edited
from tests.flows.run_checks import only_run
from tests.flows.test_closed_loop import approve, control_of, wait_for_proposals

STUDY = Path(__file__).parents[2] / "protocols" / "studies" / "ad_jak_all_readouts.yaml"
FROM_FILES = ("CCL26", "P_app", "junction_coverage")
CYCLES = (1, 2)


@dataclass(frozen=True)
class Run:
    """A run and its record, as they are at its end."""

    runs: Path
    run_id: str
    study: Study
    readouts: tuple[Readout, ...]
    measurements: dict[str, Measurement]
    """By whole key."""
    raw_files: dict[str, RawFile]
    """By digest."""
    truth: VirtualLab

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.runs / self.run_id

    def of(self, readout: str) -> list[Readout]:
        """Return one kind of readout."""
        return [one for one in self.readouts if one.readout == readout]


@pytest.fixture(scope="module")
def run(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs = tmp_path_factory.mktemp("every_readout") / "runs"
    ended = warm.run("simulate", STUDY, "--runs", runs)
    assert ended.code == 0, ended.err
    assert "tracer now: 100 uL of 200 ug/mL above the tissue" in ended.err
    assert "refused" not in ended.err  # files of three kinds in one folder are each its own kind's
    run_id = only_run(runs)
    study = load_study(runs / run_id / "study.json")
    truth = VirtualLab(study, seed=1, matched=False)
    state = json.loads((runs / run_id / "virtual_lab" / "state.json").read_text())["parts"]
    truth.restore(state["tissue"])
    with Record(str(runs / "record.sqlite")) as record:
        assert record.verify().faults == ()
        return Run(
            runs,
            run_id,
            study,
            record.readouts(run_id),
            {one.key: one for one in record.measurements(run_id)},
            {one.sha256: one for one in record.raw_files(run_id)},
            truth,
        )


def test_every_chip_and_cycle_has_every_readout(run: Run) -> None:
    wanted = {(chip, cycle) for chip in run.study.chip_ids for cycle in CYCLES}
    for name in (*FROM_FILES, "ldh_release", "TEER"):
        assert {(one.chip_id, one.cycle) for one in run.of(name)} >= wanted, name
    for name in ("P_app", "junction_coverage"):
        found = run.of(name)
        assert len(found) == len(wanted)
        assert {(one.cycle, one.time_h) for one in found} == {(1, 72.0), (2, 124.0)}
        assert {one.qc for one in found} <= {"ok", "warn"}


def test_what_comes_as_a_file_names_the_file_that_arrived(run: Run) -> None:
    arrived = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path.name
        for path in (run.folder / "arriving").iterdir()
    }
    used = set()
    for one in (r for name in FROM_FILES for r in run.of(name)):
        assert one.parents, one
        parents = [run.measurements[f"{run.run_id}/{key}"] for key in one.parents]
        while parents[0].parents:
            parents = [run.measurements[key] for parent in parents for key in parent.parents]
        digests = {parent.raw_sha256 for parent in parents}
        files = 1 if one.readout != "junction_coverage" else 2
        assert len(digests) == files
        for digest in digests:
            assert run.raw_files[digest].name == arrived[digest]
            assert (
                hashlib.sha256(RawFileStore(run.folder / "raw").get(digest)).hexdigest() == digest
            )
        if one.readout == "junction_coverage":
            assert all(f" {one.chip_id} " in parent.locator for parent in parents)
        used |= digests
    assert used == set(arrived) and len(arrived) == 2 * (1 + 1 + 8)


def test_a_well_of_the_tracer_plate_stands_where_its_row_says(run: Run) -> None:
    raw = next(
        one
        for one in run.measurements.values()
        if one.readout == "P_app" and one.role == "sample" and one.cycle == 2
    )
    assert (raw.unit, raw.quantity) == ("RFU", "fluorescence 520 nm")
    file = run.folder / "arriving" / run.raw_files[raw.raw_sha256].name
    line, column = raw.locator.removeprefix("Results!").split(",")
    cells = file.read_text(encoding="ascii").splitlines()[int(line) - 1].split("\t")
    assert float(cells[int(column) - 1]) == raw.value
    assert cells[-1] == "tracer:490/20,520/20"


@pytest.mark.parametrize("name", ["P_app", "junction_coverage"])
def test_values_agree_with_the_hidden_truth_within_their_sd(run: Run, name: str) -> None:
    found = run.of(name)
    true = [run.truth.value(one.chip_id, name, one.time_h) for one in found]
    values = np.array([one.value for one in found])
    sds = np.array([one.sd for one in found])
    log = found[0].scale == "log"
    gaps = np.log(values / true) if log else values - np.array(true)
    # 8 values: one sample in 500 lies outside of each end
    low, high = chi2.ppf([0.002, 0.998], len(gaps))
    assert low < float(((gaps / sds) ** 2).sum()) < high
    # the hidden truth of another chip is told apart: the check can fail
    others = np.roll(true, 1)
    wrong = np.log(values / others) if log else values - others
    assert float(((wrong / sds) ** 2).sum()) > high
    assert sds.max() < (0.15 if log else 0.04)


def test_the_fit_has_learned_from_both_with_a_parameter_of_each(run: Run) -> None:
    with Record(str(run.runs / "record.sqlite")) as record:
        last = record.calibrations(run.run_id)[-1].content["info"]
    assert last["n_readouts"] == sum(one.qc != "fail" for one in run.readouts)
    names = run.study.tissue.estimated_for(run.study.tissue.measured(run.study.assays))
    assert {"P_open", "J_loss"} <= {spec.name for spec in names}


def test_an_image_of_each_chip_of_the_last_cycle_is_drawn_on(run: Run) -> None:
    store = RawFileStore(run.folder / "raw")
    shown = image_of_chips(list(run.measurements.values()), run.study.assays, store, simulated=True)
    assert [(one.chip, one.cycle, one.places) for one in shown] == [
        (chip, 2, 2) for chip in run.study.chip_ids
    ]
    for one in shown:
        assert not one.drawn.problem and "SIMULATED" in one.drawn.svg
        assert f"border covered: {one.value.split(' ')[0]}" in one.drawn.svg
    rows = end_point_rows(run.readouts)
    assert len(rows) == 16 and all(row["sd"] not in ("", "–") for row in rows)


@pytest.mark.slow
def test_the_report_shows_every_measure_and_the_images(run: Run) -> None:
    with (
        Record(str(run.runs / "record.sqlite")) as record,
        Journal(run.folder / "journal.sqlite") as journal,
    ):
        text = write_report(record, journal, run.study, run.run_id, run.folder).read_text("utf-8")
    for name in ("P_app", "junction_coverage", "TEER", "CCL26"):
        assert f'<figure id="chips-{name}">' in text
    assert text.count("SIMULATED image of a virtual chip") == 4
    assert 'class="broken"' not in text.partition('id="end-points"')[2].partition("<h2")[0]


# --- an image that is not there


@pytest.mark.slow
def test_an_image_that_never_comes_is_a_state_and_no_value(warm: Warm, tmp_path: Path) -> None:
    text = STUDY.read_text(encoding="utf-8")
    images = text[text.index("  junction_coverage:") : text.index("\nfirst_doses")]
    study = edited(
        STUDY,
        tmp_path,
        [
            (images, ""),  # a fault is the next file's: the images come first here
            ("assays:\n", f"assays:\n{images}".replace("deadline: 24 h", "deadline: 6 h")),
            ("cycles: 2", "cycles: 1"),
            ("by: auto", "by: person"),
        ],
    )
    runs = tmp_path / "runs"
    running = warm.start("simulate", study, "--runs", runs)
    wait_for_proposals(runs, 1, running)
    run_id = only_run(runs)
    with control_of(runs / run_id) as lab:
        lab.call("fault", file="next", kind="lost")
    approve(warm, runs, run_id)
    ended = running.wait()
    assert ended.code == 7, ended.err
    plate = "ad_jak_all_readouts-junction_coverage-cycle1"
    with Record(str(runs / "record.sqlite")) as record:
        recorded = record.run(run_id)
        assert recorded is not None and recorded.state == "waiting for a person"
        (missing,) = record.events(run_id, MISSING)
        label = missing.content["label"]
        assert missing.content["plate"] == plate
        assert {one.readout for one in record.readouts(run_id)} == {
            "TEER", "CCL26", "ldh_release", "P_app",
        }  # fmt: skip
        assert record.calibrations(run_id) == ()
    told = f"image set {plate} (named {label} C01 1) in"
    assert told in ended.err and "by 78 h" in ended.err
    assert warm.run("lost", run_id, "--runs", runs, "--why", "out of focus").code == 0
    done = warm.run("resume", run_id, "--runs", runs)
    assert done.code == 0, done.err
    with Record(str(runs / "record.sqlite")) as record:
        found = [one for one in record.readouts(run_id) if one.readout == "junction_coverage"]
    # what came is used: the chip without its first image has the other one alone
    assert {one.chip_id: one.n for one in found} == {"C01": 1, "C02": 2, "C03": 2, "C04": 2}
    assert all(0.3 < one.value < 1.0 for one in found)
