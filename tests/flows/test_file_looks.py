"""One look at a folder: which file is of which plate, and what is said of the others. No run, no pump.

Belongs here: looks. Not here: whole runs (test_awaited_files), finished files (test_export_watch).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiploop.assays.plate_map import plate_from_dict
from chiploop.errors import FileNotValid, WaitingForPerson
from chiploop.record.journal import Journal
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.study import Study, load_study
from flows import awaited_files
from flows.awaited_files import MISSING, NOTED, REFUSED, Folder
from flows.laboratory import Laboratory
from flows.opening import fits_the_study
from flows.technician import PersonAtTheBench
from instruments.emulators.reader_files import FILE_WRITERS
from instruments.lab_settings import FileFolder, LabSettings
from tests.flows.conftest import SMALL_STUDY

WINDOW_H = (24.0, 36.0)


@dataclass
class Tissue:
    """Plates on which the second chip has more of everything."""

    lift: float = 0.0

    def absorbance(self, plate: dict[str, Any], wavelength_nm: int) -> np.ndarray:
        """Return OD (8, 12)."""
        od = np.full((8, 12), 0.04)
        rng = np.random.default_rng(5)
        if wavelength_nm not in (450, 490):
            return od
        for well in plate_from_dict(plate):
            level = well.concentration or {"C01": 60.0, "C02": 200.0}.get(well.chip or "", 0.0)
            clean = 0.05 + (2.8 / (1.0 + (180.0 / level) ** 1.1) if level else 0.0)
            od[well.index] = 0.04 + self.lift + clean * (1.0 + 0.01 * rng.standard_normal())
        return od


@dataclass
class Stopwatch:
    """Study time."""

    time_h: float = 36.0

    def now_h(self) -> float:
        """Return it."""
        return self.time_h


@dataclass
class Bench:
    """A laboratory of one folder, without pumps."""

    lab: Laboratory
    said: list[str]
    clock: Stopwatch
    folders: dict[str, Folder] = field(default_factory=dict)

    @property
    def arriving(self) -> Path:
        """The folder that is looked into."""
        return self.lab.file_folders["softmax_pro"]

    def send(self) -> dict[str, Any]:
        """Send the plate away; return what was asked for."""
        awaited_files.send_plate.fn(self.lab, 1, "CCL26", WINDOW_H)
        awaited = awaited_files.noted(self.lab, 1, "CCL26", WINDOW_H)
        return awaited_files.asked_for(self.lab, awaited)

    def write(self, asked: dict[str, Any], name: str = "plate.txt", lift: float = 0.0) -> bytes:
        """Put a file of the plate into the folder."""
        ((_, content),) = FILE_WRITERS["softmax_pro"](asked, Tissue(lift), "")
        (self.arriving / name).write_bytes(content)
        return content

    def look(self) -> int:
        """Look as the flow does; return how many plates are still awaited."""
        self.folders = self.folders or {"softmax_pro": Folder(self.arriving)}
        return len(awaited_files.look_for_files(self.lab, 1, WINDOW_H, self.folders))

    def refused(self) -> list[str]:
        """Return why files were not used."""
        return [e.content["why"] for e in self.lab.record.events(self.lab.run_id, REFUSED)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    kit = "CCL26: {kit: ccl26_elisa, replicates: 2"
    path.write_text(SMALL_STUDY.read_text().replace(kit, f"{kit}, export: softmax_pro"))
    return load_study(path)


@pytest.fixture
def bench(study: Study, tmp_path: Path) -> Iterator[Bench]:
    yield from opened(study, tmp_path, "r1", simulated=True)


def opened(study: Study, folder: Path, run_id: str, simulated: bool) -> Iterator[Bench]:
    """Yield a bench on the record of a folder."""
    said: list[str] = []
    clock = Stopwatch()
    (folder / run_id / "arriving").mkdir(parents=True, exist_ok=True)
    with (
        Record(str(folder / "record.sqlite")) as record,
        Journal(folder / run_id / "journal.sqlite") as journal,
    ):
        record.add_run(run_id, study, 1, simulated)
        lab = Laboratory(
            study=study,
            run_id=run_id,
            folder=folder / run_id,
            seed=1,
            simulated=simulated,
            clock=clock,  # type: ignore[arg-type]
            bench=None,  # type: ignore[arg-type]
            technician=PersonAtTheBench(),
            record=record,
            journal=journal,
            raw=RawFileStore(folder / run_id / "raw"),
            tell=lambda time_h, cycle, what: said.append(what),
            file_folders={"softmax_pro": folder / run_id / "arriving"},
        )
        yield Bench(lab, said, clock)


def test_a_person_is_told_label_layout_wavelengths_and_folder(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = bench.send()
    told = capsys.readouterr().err
    for part in (asked["label"], "small-CCL26-cycle1.json", "450 and 570 nm", str(bench.arriving)):
        assert part in told
    (event,) = bench.lab.record.events("r1", NOTED)
    assert event.content["deadline_h"] == 36.0 + 24.0
    bench.clock.time_h = 40.0
    assert bench.send() == asked  # asked again, with the deadline of the first time
    assert bench.lab.record.events("r1", NOTED) == (event,)


def test_a_file_is_taken_by_its_label_whatever_its_name_and_used_once(bench: Bench) -> None:
    asked = bench.send()
    assert bench.look() == 1
    bench.write(asked | {"label": "CLOTHER000"}, "zz.txt")
    assert bench.look() == 1 and bench.refused() == []
    content = bench.write(asked, "an old name.txt")
    assert bench.look() == 0
    readouts = bench.lab.record.readouts("r1")
    assert [r.chip_id for r in readouts] == ["C01", "C02"]
    assert readouts[0].value == pytest.approx(60.0, rel=0.1)
    assert bench.lab.raw.get(readouts[0].raw_sha256) == content
    assert bench.look() == 0 and len(bench.lab.record.readouts("r1")) == 2


def test_what_is_kept_is_used_again_though_the_lab_has_moved_its_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = bench.send()
    bench.write(asked)
    with monkeypatch.context() as patch:
        patch.setattr("flows.tasks.derive", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            bench.look()
    (bench.arriving / "plate.txt").unlink()
    bench.folders = {}
    assert bench.look() == 0
    assert len(bench.lab.record.readouts("r1")) == 2


def test_two_files_of_one_plate_that_differ_are_both_left_until_one_is_taken_away(
    bench: Bench,
) -> None:
    asked = bench.send()
    bench.write(asked, "a.txt")
    bench.write(asked, "b.txt", lift=0.1)
    assert bench.look() == 1
    assert bench.look() == 1
    assert bench.refused() == ["a.txt and b.txt are both of it and differ; leave one of them there"]
    (bench.arriving / "a.txt").unlink()
    assert bench.look() == 0


def test_a_cut_file_waits_and_is_told_once(bench: Bench) -> None:
    asked = bench.send()
    content = bench.write(asked)
    (bench.arriving / "plate.txt").write_bytes(content[:4000])
    assert [bench.look() for _ in range(3)] == [1, 1, 1]
    assert len([one for one in bench.said if one.startswith("plate.txt waiting: ")]) == 1
    (bench.arriving / "plate.txt").write_bytes(content)
    assert bench.look() == 0


def test_the_file_of_an_earlier_run_is_not_used_even_with_the_label_of_this_one(
    bench: Bench, study: Study, tmp_path: Path
) -> None:
    asked = bench.send()
    content = bench.write(asked)
    assert bench.look() == 0
    for later in opened(study, tmp_path, "r2", simulated=True):
        theirs = later.send()
        assert theirs["label"] != asked["label"]
        (later.arriving / "plate.txt").write_bytes(content)
        assert later.look() == 1 and later.refused() == []
        digest = bench.lab.record.raw_files("r1")[-1].sha256
        with pytest.raises(FileNotValid, match="read before, as r1, plate.txt"):
            awaited_files.tasks.refuse_used_elsewhere(later.lab, "x", digest, "kind", "plate")


def test_the_deadline_is_told_once_and_a_real_run_goes_on_perfusing(
    study: Study, tmp_path: Path
) -> None:
    for real in opened(study, tmp_path, "r1", simulated=False):
        real.send()
        awaited = [awaited_files.noted(real.lab, 1, "CCL26", WINDOW_H)]
        real.clock.time_h = 61.0
        for _ in range(2):
            awaited_files.tell_missing(real.lab, awaited, 1, until_h=64.0)
        assert len([one for one in real.said if "WAITING FOR A PERSON: no SoftMax" in one]) == 1
        assert len(real.lab.record.events("r1", MISSING)) == 1
        with pytest.raises(WaitingForPerson, match="no value takes its place"):
            awaited_files.tell_missing(real.lab, awaited, 1, until_h=math.inf)


def test_a_folder_that_is_gone_is_told_and_looked_for_again(bench: Bench) -> None:
    asked = bench.send()
    bench.arriving.rmdir()
    assert bench.look() == 1
    assert "can not be looked into" in bench.said[-1]
    bench.arriving.mkdir()
    bench.write(asked)
    assert bench.look() == 0


def test_a_bench_without_the_folder_of_a_study_is_refused(study: Study, tmp_path: Path) -> None:
    for folders, told in (
        ({}, "file_folders.softmax_pro is missing"),
        ({"softmax_pro": FileFolder(path=str(tmp_path / "no"))}, "is no folder that can be read"),
    ):
        with pytest.raises(FileNotValid, match=told):
            fits_the_study(LabSettings(file_folders=folders), study, tmp_path / "lab.toml")
