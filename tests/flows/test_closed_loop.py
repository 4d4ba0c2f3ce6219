"""The whole loop on virtual chips: people who decide, devices that fail, plates that come as files.

Belongs here: what a run does when something happens to it. Not here: kills (test_crash_and_resume),
what is printed (cli/test_simulate).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiploop.measurement import AbsorbancePlate
from chiploop.record.record import Record
from chiploop.study import load_study
from chiploop.virtual_lab import VirtualLab
from instruments.emulators.control import ControlChannel
from tests.flows.conftest import LONGEST_S, SMALL_STUDY, Running, Warm, edited
from tests.flows.run_checks import (
    check_volumes,
    journal_of,
    only_run,
    pump_truth,
    wait_until_nobody_is_left,
)

WAITING = "WAITING FOR A PERSON"
BY_PERSON = [("by: auto", "by: person")]


@contextmanager
def control_of(folder: Path) -> Iterator[ControlChannel]:
    """Yield a second connection to the virtual lab of a run."""
    place = json.loads((folder / "virtual_lab" / "ports.json").read_text())["control"]
    channel = ControlChannel(place["host"], place["port"])
    try:
        yield channel
    finally:
        channel.close()


def waiting_run(warm: Warm, folder: Path) -> tuple[Running, Path, str]:
    """Start a study that waits for the approval of its first doses; return it, runs and run id."""
    study = edited(SMALL_STUDY, folder, BY_PERSON)
    running = warm.start("simulate", study, "--runs", folder / "runs", "--json")
    wait_for_proposals(folder / "runs", 1, running)
    return running, folder / "runs", only_run(folder / "runs")


def wait_for_proposals(runs: Path, count: int, running: Running) -> None:
    """Return once a run has made so many proposals and waits for a decision."""
    until_s = time.monotonic() + LONGEST_S
    while time.monotonic() < until_s and not running.ended:
        if (runs / "record.sqlite").exists() and list(runs.glob("*/virtual_lab/ports.json")):
            with Record(str(runs / "record.sqlite")) as record:
                known = record.run(only_run(runs))
                if (
                    known is not None
                    and len(record.proposals(known.run_id)) >= count
                    and known.state == "waiting for a person"
                ):
                    return
        time.sleep(0.01)
    pytest.fail(f"no proposal {count}: {running.text('err')}")


def approve(warm: Warm, runs: Path, run_id: str) -> None:
    """Approve what is open, in another process."""
    ended = warm.run("approve", run_id, "--runs", runs)
    assert ended.code == 0, ended.err


# --- people


def test_nothing_flows_before_a_person_has_approved_and_every_dose_waits_for_one(
    warm: Warm, tmp_path: Path
) -> None:
    running, runs, run_id = waiting_run(warm, tmp_path)
    with control_of(runs / run_id) as lab:
        assert {pump["starts"] for pump in lab.call("truth")["pumps"].values()} == {0}
    approve(warm, runs, run_id)
    wait_for_proposals(runs, 2, running)
    with journal_of(runs, run_id) as journal:
        doses = {
            action.intent.programme_key
            for action in journal.actions(run_id)
            if action.intent.programme_key.endswith("/dose")
        }
    assert doses == {f"{run_id}/c01/L1/dose", f"{run_id}/c01/L2/dose"}
    approve(warm, runs, run_id)
    ended = running.wait()
    assert ended.code == 0, ended.err
    assert ended.json["cycles"][0]["decision"]["action"] == "approve"
    assert ended.json["cycles"][0]["decision"]["by"] != "auto"
    check_volumes(runs, run_id)


def test_rejected_doses_are_not_proposed_again_and_a_kill_meanwhile_changes_nothing(
    warm: Warm, tmp_path: Path
) -> None:
    running, runs, run_id = waiting_run(warm, tmp_path)
    approve(warm, runs, run_id)
    wait_for_proposals(runs, 2, running)
    ended = warm.run("reject", run_id, "--runs", runs, "--why", "too little is known")
    assert ended.code == 0, ended.err
    wait_for_proposals(runs, 3, running)
    running.kill()
    assert running.wait().code == -9
    wait_until_nobody_is_left(runs / run_id)
    approve(warm, runs, run_id)
    done = warm.run("resume", run_id, "--runs", runs)
    assert done.code == 0, done.err
    with Record(str(runs / "record.sqlite")) as record:
        _, first, second = record.proposals(run_id)
    given = [
        {(dose["line"], dose["asked_nm"]) for dose in proposal.content["doses"]}
        for proposal in (first, second)
    ]
    assert {dose for dose in given[0] & given[1] if dose[1] > 0} == set()
    check_volumes(runs, run_id)


def test_rejected_first_doses_end_the_run_with_7_and_nothing_was_sent(
    warm: Warm, tmp_path: Path
) -> None:
    running, runs, run_id = waiting_run(warm, tmp_path)
    assert warm.run("reject", run_id, "--runs", runs, "--why", "wrong drug").code == 0
    ended = running.wait()
    assert ended.code == ended.json["error"]["exit_code"] == 7
    assert "wrong drug" in ended.err and "Traceback" not in ended.err
    assert {pump.starts for pump in pump_truth(runs / run_id).values()} == {0}


# --- devices that fail at a dose; the exposure of cycle 1 lasts from 12 to 36 h

SURVIVED = {
    "the answer to a start is lost": {
        "port": "pumps", "kind": "drop_reply", "matching": "RUN", "skip": 3
    },
    "a start never arrives": {
        "port": "pumps", "kind": "drop_command", "matching": "RUN", "skip": 3
    },
    "the answer to a status is garbled": {
        "port": "pumps", "kind": "flip_bit", "matching": "DIS", "skip": 9, "at_byte": 3
    },
    "a pump that stands still loses power before its dose": {
        "pump": "L2-low", "kind": "power_cut", "at_h": 6.0
    },
}  # fmt: skip


USUAL = (
    "the answer to a start is lost",
    "the answer to a status is garbled",
    "the drug pump stalls",
)
"""The others in the slow tests."""


def faults(among: dict[str, dict[str, Any]]) -> list[Any]:
    """Return a test's cases: a fault each, by its name."""
    return [
        pytest.param(fault, id=name, marks=() if name in USUAL else pytest.mark.slow)
        for name, fault in among.items()
    ]


@pytest.mark.parametrize("fault", faults(SURVIVED))
def test_a_lost_or_garbled_answer_costs_no_dose_and_holds_no_line(
    fault: dict[str, Any], warm: Warm, tmp_path: Path
) -> None:
    running, runs, run_id = waiting_run(warm, tmp_path)
    with control_of(runs / run_id) as lab:
        lab.call("fault", **fault)
    approve(warm, runs, run_id)
    wait_for_proposals(runs, 2, running)
    approve(warm, runs, run_id)
    ended = running.wait()
    assert ended.code == 0, ended.err
    assert ended.json["held"] == {}
    check_volumes(runs, run_id)


HELD = {
    "the drug pump stalls": {"pump": "L2-low", "kind": "block", "at_h": 20.0},
    "the drug pump loses power": {"pump": "L2-low", "kind": "power_cut", "at_h": 20.0},
    "the stimulus pump stalls": {"pump": "L2-stimulus", "kind": "block", "at_h": 20.0},
}  # fmt: skip


@pytest.mark.parametrize("fault", faults(HELD))
def test_a_pump_that_can_not_tell_holds_its_line_and_the_other_line_goes_on(
    fault: dict[str, Any], warm: Warm, tmp_path: Path
) -> None:
    running, runs, run_id = waiting_run(warm, tmp_path)
    with control_of(runs / run_id) as lab:
        lab.call("fault", **fault)
    approve(warm, runs, run_id)
    wait_for_proposals(runs, 2, running)
    approve(warm, runs, run_id)
    ended = running.wait()
    assert ended.code == 7, ended.err
    assert "line L2 is held" in ended.err and "Traceback" not in ended.err
    told = ended.json
    assert list(told["held"]) == ["L2"]
    assert told["state"] == "finished"
    assert len(told["cycles"]) == 2
    assert [dose["line"] for dose in told["cycles"][0]["proposal"]["doses"]] == ["L1"]
    second = {chip["chip"]: chip["outcome"] for chip in told["cycles"][1]["delivered"]}
    assert second == {"C01": "delivered", "C02": "not given"}
    # Of the held chip only the TEER before the first dose says something that is understood:
    # 3 of TEER before and after, plate and plate; then 3 of the other chip in each cycle.
    n_readouts = [cycle["diagnostics"]["n_readouts"] for cycle in told["cycles"]]
    assert n_readouts == [2 + 3, 2 + 3 + 3]


# --- plates that come as files


def softmax_pro(plate: AbsorbancePlate) -> bytes:
    """Return a plate as SoftMax Pro 7 exports it: UTF-16, one block, one grid per wavelength."""
    wavelengths = sorted(plate.absorbance)
    fields = ["Plate:", plate.plate_id, "1.3", "PlateFormat", "Endpoint", "Absorbance", "Raw"]
    fields += ["FALSE", "1", "", "", "", "", "", str(len(wavelengths))]
    fields += [" ".join(map(str, wavelengths)) + " ", "1", "12", "96", "1", "8", "", ""]
    columns = [str(number) for number in range(1, 13)]
    heads = [cell for _ in wavelengths for cell in (*columns, "")]
    lines = ["##BLOCKS= 1", "\t".join(fields), "\t".join(["", "Temperature(¡C)", *heads, ""])]
    for row in range(8):
        cells = ["", "25.0" if row == 0 else ""]
        for wavelength in wavelengths:
            cells += [f"{value:.6f}" for value in plate.absorbance[wavelength][row]] + [""]
        lines.append("\t".join([*cells, ""]))
    lines += ["", "~End", "Original Filename: test; Date Last Saved: 2026-01-01 10:00:00", ""]
    return b"\xff\xfe" + "\r\n".join(lines).encode("utf-16-le")


def write_export(runs: Path, run_id: str, path: Path, length: int | None = None) -> None:
    """Read the CCL26 plate of cycle 1 as the virtual reader would, and write it as a file."""
    folder = runs / run_id
    state = json.loads((folder / "virtual_lab" / "state.json").read_text())["parts"]
    lab = VirtualLab(load_study(folder / "study.json"), seed=1, matched=False)
    lab.restore(state["tissue"])
    with Record(str(runs / "record.sqlite")) as record:
        (asked,) = [file for file in record.raw_files(run_id) if file.kind == "plate map"]
    plate = json.loads(next((folder / "raw").glob(f"*/{asked.sha256}")).read_bytes())
    absorbance = {nm: np.asarray(lab.absorbance(plate, nm)) for nm in (450, 570)}
    content = softmax_pro(AbsorbancePlate(plate["plate_id"], 0.0, absorbance))
    path.write_bytes(content[:length])


def test_a_plate_file_is_waited_for_refused_while_it_is_cut_and_then_the_run_goes_on(
    warm: Warm, tmp_path: Path
) -> None:
    kit = "CCL26: {kit: ccl26_elisa,"
    changes = [("cycles: 2", "cycles: 1"), (kit, f"{kit} plate_file: 'ccl26_{{cycle}}.txt',")]
    study = edited(SMALL_STUDY, tmp_path, changes)
    runs, export = tmp_path / "runs", tmp_path / "ccl26_1.txt"
    waiting = warm.run("simulate", study, "--runs", runs)
    run_id = only_run(runs)
    assert waiting.code == 7, waiting.err
    assert "ccl26_1.txt" in waiting.err and "chiploop resume" in waiting.err
    assert "Traceback" not in waiting.err
    before = pump_truth(runs / run_id)

    write_export(runs, run_id, export, length=3001)
    cut = warm.run("resume", run_id, "--runs", runs)
    assert cut.code == 3, cut.err
    assert "ccl26_1.txt" in cut.err and "Traceback" not in cut.err
    assert pump_truth(runs / run_id) == before

    write_export(runs, run_id, export)
    done = warm.run("resume", run_id, "--runs", runs)
    assert done.code == 0, done.err
    check_volumes(runs, run_id)
    with Record(str(runs / "record.sqlite")) as record:
        files = record.raw_files(run_id)
        (kept,) = [file for file in files if file.kind == "reader export of small-CCL26-cycle1"]
    assert kept.size_bytes == export.stat().st_size

    from_reader = tmp_path / "reader"
    from_reader.mkdir()
    plain = edited(SMALL_STUDY, from_reader, changes[:1])
    assert warm.run("simulate", plain, "--runs", from_reader).code == 0
    assert values(runs, run_id) == pytest.approx(
        values(from_reader, only_run(from_reader)), rel=1e-4
    )


def values(runs: Path, run_id: str) -> dict[str, float]:
    """Return chip -> CCL26 of cycle 1."""
    with Record(str(runs / "record.sqlite")) as record:
        return {r.chip_id: r.value for r in record.readouts(run_id, 1) if r.readout == "CCL26"}


def test_a_plate_file_that_is_a_folder_leaves_with_3(warm: Warm, tmp_path: Path) -> None:
    study = edited(
        SMALL_STUDY,
        tmp_path,
        [("CCL26: {kit: ccl26_elisa,", "CCL26: {kit: ccl26_elisa, plate_file: there,")],
    )
    (tmp_path / "there").mkdir()
    ended = warm.run("simulate", study, "--runs", tmp_path / "runs")
    assert ended.code == 3, ended.err
    assert "there" in ended.err and "Traceback" not in ended.err


def test_the_export_of_an_earlier_run_is_refused_and_nothing_is_learned_from_it(
    warm: Warm, tmp_path: Path
) -> None:
    kit = "CCL26: {kit: ccl26_elisa,"
    changes = [("cycles: 2", "cycles: 1"), (kit, f"{kit} plate_file: 'ccl26_{{cycle}}.txt',")]
    study = edited(SMALL_STUDY, tmp_path, changes)
    runs, export = tmp_path / "runs", tmp_path / "ccl26_1.txt"
    assert warm.run("simulate", study, "--runs", runs).code == 7
    first = only_run(runs)
    write_export(runs, first, export)
    assert warm.run("resume", first, "--runs", runs).code == 0
    again = warm.run("simulate", study, "--runs", runs, "--seed", "2")
    assert again.code == 3, again.err
    assert first in again.err and "read before" in again.err


def test_a_stalled_diluent_stops_the_drug_at_the_next_look_and_plain_medium_keeps_the_line_alive(
    warm: Warm, tmp_path: Path
) -> None:
    running, runs, run_id = waiting_run(warm, tmp_path)
    with control_of(runs / run_id) as lab:
        lab.call("fault", pump="L2-stimulus", kind="block", at_h=20.0)
    approve(warm, runs, run_id)
    wait_for_proposals(runs, 2, running)
    with control_of(runs / run_id) as lab:
        pumps = lab.call("truth")["pumps"]
    asked_ul = 24.0 * 60.0 * 240.0 / 600.0  # the whole exposure of 240 nM from the low stock
    until_looked = (24.0 - 12.0) / 24.0  # the dose began at 12 h; the look after 20 h is at 24 h
    assert pumps["L2-low"]["delivered_ul"] == pytest.approx(asked_ul * until_looked, rel=0.01)
    medium = pumps["L2-medium"]["flow_intervals"]
    assert [interval[0] for interval in medium][:2] == [0.0, 24.0]
    assert "line L2: held" in (runs / run_id / "run.log").read_text()
    approve(warm, runs, run_id)
    assert running.wait().code == 7
