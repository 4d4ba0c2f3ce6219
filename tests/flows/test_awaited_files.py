"""Plates that are read elsewhere: asked for once, taken once, and a file that is not there is no value.

Belongs here: whole runs with the virtual lab's files. Not here: folders (test_export_watch), the files' bytes
(tests/instruments/emulators), identity (tests/chiploop/assays).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chiploop.assays import derived_from_plate
from chiploop.assays.plate_map import plate_from_dict
from chiploop.measurement import AbsorbancePlate
from chiploop.plan import exposure_read
from chiploop.record.record import Record
from chiploop.study import load_study
from chiploop.virtual_lab import VirtualLab
from flows.awaited_files import LOST, MISSING, NOTED, REFUSED
from flows.fault_points import FILE_FAULT_POINTS
from flows.late_plates import late_plates
from tests.flows.conftest import SMALL_STUDY, Warm, edited
from tests.flows.run_checks import (
    check_volumes,
    journal_of,
    only_run,
    pump_truth,
    science,
    wait_until_nobody_is_left,
)
from tests.flows.test_closed_loop import approve, control_of, wait_for_proposals
from tests.flows.warm_chiploop import PASSAGES

KIT = "CCL26: {kit: ccl26_elisa, replicates: 2"
ONE_CYCLE = ("cycles: 2", "cycles: 1")
SHORT_HOLD = ("turnaround: 2 h", "turnaround: 1 h")
"""It ends before the file comes, 1.25 h after it was asked for."""
PLATE, SECOND = "small-CCL26-cycle1", "small-CCL26-cycle2"


def study_of(folder: Path, export: str, *changes: tuple[str, str]) -> Path:
    """Write the small study with a CCL26 plate that is read elsewhere."""
    folder.mkdir(exist_ok=True)
    return edited(SMALL_STUDY, folder, [(KIT, f"{KIT}, export: {export}"), *changes])


@dataclass(frozen=True)
class Undisturbed:
    """Two cycles that nobody interrupted."""

    study: Path
    runs: Path
    run_id: str
    passages: Counter[str]

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.runs / self.run_id


@pytest.fixture(scope="module")
def undisturbed(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("files")
    study, runs = study_of(folder, "softmax_pro", SHORT_HOLD), folder / "runs"
    ended = warm.run("simulate", study, "--runs", runs, **{PASSAGES: folder / "passages"})
    assert ended.code == 0, ended.err
    run_id = only_run(runs)
    check_volumes(runs, run_id)
    passages = Counter((folder / "passages").read_text().split())
    return Undisturbed(study, runs, run_id, passages)


def values(runs: Path) -> dict[tuple[str, int], float]:
    """Return chip and cycle -> CCL26."""
    with Record(str(runs / "record.sqlite")) as record:
        found = record.readouts(only_run(runs))
    return {(r.chip_id, r.cycle): r.value for r in found if r.readout == "CCL26"}


def test_a_study_whose_elisa_comes_as_files_reads_what_stood_on_the_plate(
    undisturbed: Undisturbed,
) -> None:
    runs, run_id, folder = undisturbed.runs, undisturbed.run_id, undisturbed.folder
    study = load_study(folder / "study.json")
    lab = VirtualLab(study, seed=1, matched=False)
    state = json.loads((folder / "virtual_lab" / "state.json").read_text())["parts"]
    lab.restore(state["tissue"])
    for cycle in (1, 2):
        plate = json.loads((folder / "plates" / f"small-CCL26-cycle{cycle}.json").read_text())
        seen = {nm: lab.absorbance(plate, nm) for nm in (450, 570)}
        read = AbsorbancePlate(plate["plate_id"], 0.0, seen)
        kit = study.assays["CCL26"].kit
        _, expected = derived_from_plate(read, plate_from_dict(plate), kit, cycle)
        wanted = {(r.chip_id, cycle): r.value for r in expected}
        found = {key: value for key, value in values(runs).items() if key[1] == cycle}
        assert found == pytest.approx(wanted, rel=1e-4) and len(found) == 2
    with Record(str(runs / "record.sqlite")) as record:
        labels = [event.content["label"] for event in record.events(run_id, NOTED)]
        (kept,) = [f for f in record.raw_files(run_id) if f.name == f"{labels[0]}.txt"]
        raw = [m for m in record.measurements(run_id) if m.raw_sha256 == kept.sha256][0]
    arrived = sorted(path.name for path in (folder / "arriving").iterdir())
    assert arrived == sorted(f"{label}.txt" for label in labels)
    assert kept.kind == f"reader export of {PLATE}"
    line, column = raw.locator.removeprefix("Raw!").split(",")
    text = (folder / "arriving" / kept.name).read_text(encoding="utf-16").splitlines()
    assert float(text[int(line) - 1].split("\t")[int(column) - 1]) == raw.value


def test_chips_are_perfused_for_as_long_as_a_file_is_awaited(undisturbed: Undisturbed) -> None:
    with journal_of(undisturbed.runs, undisturbed.run_id) as journal:
        keys = {a.intent.programme_key for a in journal.actions(undisturbed.run_id)}
    assert {k.rsplit("/", 1)[1] for k in keys} == {"medium", "dose", "hold", "files-2"}


@pytest.mark.slow
def test_killed_around_a_file_the_plate_is_neither_lost_nor_asked_for_twice(
    warm: Warm, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    command: list[str | Path] = ["simulate", undisturbed.study]
    for point in FILE_FAULT_POINTS:
        assert undisturbed.passages[point] == 2
        killed = warm.run(*command, "--runs", tmp_path, CHIPLOOP_FAULT=point)
        assert killed.code == -9, killed.err
        run_id = only_run(tmp_path)
        wait_until_nobody_is_left(tmp_path / run_id)
        command = ["resume", run_id]
    assert warm.run(*command, "--runs", tmp_path).code == 0
    check_volumes(tmp_path, run_id)
    ours, theirs = science(tmp_path, run_id), science(undisturbed.runs, undisturbed.run_id)
    for name in ("state", "proposals", "decisions", "goals", "outlook"):
        assert ours[name] == theirs[name], name
    assert [digest_free(one) for one in ours["readouts"]] == [
        digest_free(one) for one in theirs["readouts"]
    ]
    with Record(str(tmp_path / "record.sqlite")) as record:
        assert len(record.events(run_id, NOTED)) == 2
        assert record.events(run_id, MISSING) == record.events(run_id, REFUSED) == ()
    assert len(list((tmp_path / run_id / "arriving").iterdir())) == 2


def digest_free(readout: str) -> str:
    """Return a readout without the digest of its file, which holds the label of its own run."""
    head, _, rest = readout.partition("'raw_sha256': '")
    return head + rest[64:]


# --- what happens to files


def faulty_run(warm: Warm, folder: Path, kind: str, *changes: tuple[str, str]) -> Any:
    """Run one cycle in which something happens to the file; return how it ended, runs and run id."""
    study = study_of(folder, "softmax_pro", ONE_CYCLE, ("by: auto", "by: person"), *changes)
    running = warm.start("simulate", study, "--runs", folder / "runs")
    wait_for_proposals(folder / "runs", 1, running)
    run_id = only_run(folder / "runs")
    with control_of(folder / "runs" / run_id) as lab:
        lab.call("fault", file="next", kind=kind)
    approve(warm, folder / "runs", run_id)
    return running.wait(), folder / "runs", run_id


def test_no_file_by_the_deadline_is_told_and_held_and_then_a_person_says_that_it_is_lost(
    warm: Warm, tmp_path: Path
) -> None:
    ended, runs, run_id = faulty_run(warm, tmp_path, "lost", (f"{KIT},", f"{KIT}, deadline: 6 h,"))
    assert ended.code == 7, ended.err
    assert f"plate {PLATE}" in ended.err and "by 42 h" in ended.err and "chiploop lost" in ended.err
    assert "Traceback" not in ended.err
    before = pump_truth(runs / run_id)
    with Record(str(runs / "record.sqlite")) as record:
        recorded = record.run(run_id)
        assert recorded is not None and recorded.state == "waiting for a person"
        assert [e.content["plate"] for e in record.events(run_id, MISSING)] == [PLATE]
        assert [r for r in record.readouts(run_id) if r.plate == PLATE] == []
        assert record.calibrations(run_id) == ()
    again = warm.run("resume", run_id, "--runs", runs)
    assert again.code == 7 and pump_truth(runs / run_id) == before
    assert warm.run("lost", run_id, "--runs", runs, "--why", "dropped", "--plate", "p9").code == 2
    said = warm.run("lost", run_id, "--runs", runs, "--why", "dropped", "--json")
    assert said.code == 0 and said.json["plate"] == PLATE
    assert warm.run("lost", run_id, "--runs", runs, "--why", "dropped").code == 2
    done = warm.run("resume", run_id, "--runs", runs)
    assert done.code == 0, done.err
    with Record(str(runs / "record.sqlite")) as record:
        (event,) = record.events(run_id, LOST)
        assert event.content["why"] == "dropped" and event.content["by"]
        assert {r.readout for r in record.readouts(run_id)} == {"TEER", "ldh_release"}
        assert len(record.events(run_id, MISSING)) == 1


def test_a_plate_that_stood_the_wrong_way_round_is_not_used_and_the_right_file_is_waited_for(
    warm: Warm, tmp_path: Path
) -> None:
    ended, runs, run_id = faulty_run(warm, tmp_path, "turned")
    assert ended.code == 7, ended.err
    assert "turned by 180 degrees" in ended.err
    with Record(str(runs / "record.sqlite")) as record:
        (refused,) = record.events(run_id, REFUSED)
        assert refused.content["plate"] == PLATE
        assert [r for r in record.readouts(run_id) if r.plate == PLATE] == []


def test_a_plate_that_comes_later_is_learned_from_by_the_cycle_in_which_it_is_there(
    warm: Warm, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    study = study_of(tmp_path, "softmax_pro, deadline: 1 h", SHORT_HOLD)  # it comes after 1.25 h
    runs = tmp_path / "runs"
    assert warm.run("simulate", study, "--runs", runs).code == 7
    run_id = only_run(runs)
    said = warm.run("lost", run_id, "--runs", runs, "--comes-later", "--why", "queue", "--json")
    assert said.code == 0 and said.json["comes_later"] is True, said.err
    assert warm.run("lost", run_id, "--runs", runs, "--comes-later", "--why", "again").code == 2
    ended = warm.run("resume", run_id, "--runs", runs)
    assert ended.code == 7, ended.err  # the second plate is late as well, and stays away
    with Record(str(runs / "record.sqlite")) as record:
        assert [(one.cycle, one.assay) for one in late_plates(record, run_id)] == [(1, "CCL26")]
        assert [c.cycle for c in record.calibrations(run_id)] == [1]
    assert warm.run("lost", run_id, "--runs", runs, "--why", "gone", "--plate", SECOND).code == 0
    done = warm.run("resume", run_id, "--runs", runs)
    assert done.code == 0, done.err
    check_volumes(runs, run_id)
    with Record(str(runs / "record.sqlite")) as record:
        late = [r for r in record.readouts(run_id) if r.plate == PLATE]
        assert late_plates(record, run_id) == ()
    on_time = {
        chip: value for (chip, cycle), value in values(undisturbed.runs).items() if cycle == 1
    }
    assert {r.chip_id: r.value for r in late} == on_time
    assert {(r.cycle, exposure_read(r), r.window_start_h, r.time_h) for r in late} == {
        (2, 1, 24.0, 36.0)
    }
    # two chips: TEER before and after, LDH; then both again, and the late plate
    for cycle, used in (("1", 6), ("2", 12)):
        again = warm.run("fit", run_id, "--runs", runs, "--cycle", cycle, "--no-review", "--json")
        assert again.json["readouts"]["used"] == used
        assert again.json["same_as_loop"] is True


@pytest.mark.slow
def test_gen5_files_do_as_well(warm: Warm, undisturbed: Undisturbed, tmp_path: Path) -> None:
    study = study_of(tmp_path, "gen5", ONE_CYCLE)
    ended = warm.run("simulate", study, "--runs", tmp_path / "runs")
    assert ended.code == 0, ended.err
    wanted = {key: value for key, value in values(undisturbed.runs).items() if key[1] == 1}
    assert values(tmp_path / "runs") == pytest.approx(wanted, rel=1e-9)


@pytest.mark.slow
def test_a_file_that_hangs_half_written_is_waited_for_and_then_taken(
    warm: Warm, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    ended, runs, _ = faulty_run(warm, tmp_path, "cut")
    assert ended.code == 0, ended.err
    assert "waiting: " in ended.err and "incomplete" in ended.err
    wanted = {key: value for key, value in values(undisturbed.runs).items() if key[1] == 1}
    assert values(runs) == pytest.approx(wanted, rel=1e-9)
