"""``chiploop simulate``, ``run`` and ``resume`` as a person and as a program see them.

Belongs here: what is printed, exit codes, files that are wrong. Not here: crashes
(test_crash_and_resume), doses and devices that fail (test_closed_loop).
"""

from __future__ import annotations

import json
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from chiploop.record.record import Record
from flows.cli.main import command_line
from flows.cli.progress import summary_lines
from flows.engine import came_of_ctrl_c
from flows.stop_mark import is_stopped, mark_stopped
from tests.flows.conftest import SMALL_STUDY, Ended, Warm, edited
from tests.flows.run_checks import check_volumes, only_run, science, wait_until_nobody_is_left

NUMBER = (int, float)
GOAL = {
    "name": str,
    "unit": str,
    "median": NUMBER,
    "lower": NUMBER,
    "upper": NUMBER,
    "level": NUMBER,
}
CONTRACT: dict[str, Any] = {
    "study": str,
    "run_id": str,
    "simulated": bool,
    "seed": int,
    "wall_s": NUMBER,
    "study_h": NUMBER,
    "report": str,
    "record": str,
    "cycles": [
        {
            "cycle": int,
            "time_h": NUMBER,
            "goal": GOAL,
            "goals": [GOAL],
            "truth": {"name": str, "unit": str, "value": NUMBER},
            "diagnostics": {"passed": bool, "ess": NUMBER},
            "proposal": {
                "drug": str,
                "concentration_nM": NUMBER,
                "chips": [str],
                "risk": NUMBER,
                "eig_nats": NUMBER,
            },
            "decision": {"by": str, "action": str},
            "delivered": [
                {"chip": str, "asked_ul": NUMBER, "delivered_ul": NUMBER, "outcome": str}
            ],
        }
    ],
}
"""What programs rely on; more keys may stand beside these."""


def meets(value: Any, wanted: Any, place: str = "") -> None:
    """AssertionError, naming the place, where a JSON value is not of the wanted shape."""
    if isinstance(wanted, dict):
        assert isinstance(value, dict), place
        for key, inner in wanted.items():
            assert key in value, f"{place}.{key} is missing"
            meets(value[key], inner, f"{place}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(value, list) and value, place
        for index, one in enumerate(value):
            meets(one, wanted[0], f"{place}[{index}]")
    else:
        assert isinstance(value, wanted), f"{place} is {value!r}"
        assert not (wanted is NUMBER and isinstance(value, bool)), place


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def simulated(warm: Warm, runs: Path) -> Ended:
    """An ordinary simulation of the small study, asked for JSON."""
    ended = warm.run("simulate", SMALL_STUDY, "--runs", runs, "--json")
    assert ended.code == 0, ended.err
    return ended


def test_json_is_one_object_of_the_promised_shape(simulated: Ended, runs: Path) -> None:
    meets(simulated.json, CONTRACT)
    assert simulated.json["simulated"] is True
    assert simulated.json["run_id"] == only_run(runs)
    assert [cycle["cycle"] for cycle in simulated.json["cycles"]] == [1, 2]
    assert {goal["name"] for goal in simulated.json["cycles"][0]["goals"]} == {
        "EC50_CCL26",
        "EC50_TEER",
    }
    assert Path(simulated.json["report"]).is_file()
    assert Path(simulated.json["record"]).is_file()


def test_every_delivered_volume_is_the_emulators_own_count(simulated: Ended, runs: Path) -> None:
    assert check_volumes(runs, simulated.json["run_id"]) > 0
    for cycle in simulated.json["cycles"]:
        for chip in cycle["delivered"]:
            assert chip["outcome"] == "delivered"
            slack_ul = sum(2 * pump["resolution_ul"] for pump in chip["pumps"])
            assert chip["delivered_ul"] == pytest.approx(chip["asked_ul"], abs=slack_ul)


def test_messages_do_not_mix_with_the_object_and_devices_talk_to_the_run_log(
    simulated: Ended, runs: Path
) -> None:
    assert simulated.err == ""
    log = (runs / simulated.json["run_id"] / "run.log").read_text()
    assert "alarm reset" in log
    assert "reading the CCL26 plate" in log


def test_resuming_a_finished_run_says_the_same_and_starts_no_pump(
    warm: Warm, simulated: Ended, runs: Path
) -> None:
    run_id = simulated.json["run_id"]
    before = science(runs, run_id), check_volumes(runs, run_id)
    again = warm.run("resume", run_id, "--runs", runs, "--json")
    assert again.code == 0, again.err
    assert {**again.json, "wall_s": 0} == {**simulated.json, "wall_s": 0}
    assert (science(runs, run_id), check_volumes(runs, run_id)) == before


def test_a_run_is_resumed_by_its_folder_from_anywhere(
    warm: Warm, simulated: Ended, runs: Path
) -> None:
    again = warm.run("resume", runs / simulated.json["run_id"], "--json")
    assert again.json["run_id"] == simulated.json["run_id"]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(
    warm: Warm, simulated: Ended, runs: Path, tmp_path: Path
) -> None:
    first = science(runs, simulated.json["run_id"])
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        assert warm.run("simulate", SMALL_STUDY, "--runs", folder, "--seed", str(seed)).code == 0
        assert (science(folder, only_run(folder)) == first) is (seed == 1)


def test_the_table_fits_80_columns_and_is_marked(warm: Warm, tmp_path: Path) -> None:
    ended = warm.run("simulate", SMALL_STUDY, "--runs", tmp_path, COLUMNS="80")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    table = [
        line for line in lines if not line.startswith(("SIMULATED  Report", "SIMULATED  Record"))
    ]
    assert max(map(len, table)) < 80
    assert lines[0].startswith("SIMULATED  ")
    assert any(line.startswith("SIMULATED  Report: ") for line in lines)
    for said in ("cycle 1", "EC50_CCL26, nM", "hidden truth", "next doses, nM", "ESS"):
        assert any(said in line for line in lines), said
    assert "SIMULATED" in ended.err
    assert "Traceback" not in ended.err


def test_long_lists_of_doses_and_reasons_are_wrapped_below_their_label() -> None:
    doses = [{"line": f"L{i}", "concentration_nM": 1234.5} for i in range(20)]
    goal = {"name": "EC50_CCL26", "unit": "nM", "median": 1e6, "lower": 310.0, "upper": 1e6}
    summary = {
        "simulated": True,
        "run_id": "r",
        "seed": 1,
        "ended_because": "EC50_CCL26: 90 % interval 1.9-fold, at most 2-fold " * 3,
        "held": {"L3": "L3-low: " + "the counter moved by another volume than asked " * 3},
        "cycles": [
            {
                "cycle": 1,
                "time_h": 72.0,
                "goals": [goal],
                "truths": [{"name": "EC50_CCL26", "unit": "nM", "value": 12.0}],
                "proposal": {"doses": doses, "notes": ["edited by nora, " + "L1 3 -> 4 nM, " * 9]},
                "decision": None,
                "diagnostics": {
                    "passed": False,
                    "ess": 3.0,
                    "starts": 8,
                    "starts_at_mode": 2,
                    "failures": ["ESS 3 is below 100"],
                    "warnings": ["TEER: p 0.001"],
                },
            }
        ],
    }
    lines = summary_lines(summary)
    assert max(map(len, lines)) < 80
    text = "\n".join(lines)
    assert "310 to >1e+06" in text
    assert "OUTSIDE" in text
    assert "FAILED" in text and "ESS 3 is below 100" in text
    assert "line L3 HELD" in text
    assert "note            edited by nora" in text
    assert "ended because   EC50_CCL26: 90 % interval" in text


# --- stopping


def test_ctrl_c_stops_with_130_and_the_run_goes_on_as_if_undisturbed(
    warm: Warm, simulated: Ended, runs: Path, tmp_path: Path
) -> None:
    running = warm.start("simulate", SMALL_STUDY, "--runs", tmp_path)
    running.wait_until("fitting the model")  # a dose is done, stimulus flows
    running.send(signal.SIGINT)
    ended = running.wait()
    run_id = only_run(tmp_path)
    assert ended.code == 130, ended.err
    told = ended.err.splitlines()
    assert told[-1].startswith("CL-130: stopped.")
    assert told[-1].endswith(f"chiploop resume {run_id} --runs {tmp_path}")
    assert "Traceback" not in ended.err
    wait_until_nobody_is_left(tmp_path / run_id)
    assert warm.run("resume", run_id, "--runs", tmp_path).code == 0
    check_volumes(tmp_path, run_id)
    assert science(tmp_path, run_id) == science(runs, simulated.json["run_id"])


def test_an_error_that_the_flow_engine_makes_of_ctrl_c_is_known_as_ctrl_c() -> None:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise ValueError("Task run is not set") from None
    except ValueError as made:
        assert came_of_ctrl_c(made)
    assert not came_of_ctrl_c(ValueError("Task run is not set"))


def test_a_run_that_somebody_works_on_is_not_resumed_by_another(warm: Warm, tmp_path: Path) -> None:
    study = edited(SMALL_STUDY, tmp_path, [("by: auto", "by: person")])
    running = warm.start("simulate", study, "--runs", tmp_path)
    running.wait_until("WAITING FOR A PERSON")
    folder = tmp_path / only_run(tmp_path)
    mark_stopped(folder, "somebody stops it just now")
    second = warm.run("resume", only_run(tmp_path), "--runs", tmp_path)
    assert second.code == 4
    assert is_stopped(folder), "that is for its owner to lift"
    assert second.err.splitlines()[-1].startswith("CL-403: ")
    assert f"process {running.pid}" in second.err
    running.kill()
    assert running.wait().code == -9
    wait_until_nobody_is_left(tmp_path / only_run(tmp_path))


# --- trouble: one message, its exit code, no traceback


def trouble(ended: Ended, code: int, *said: str) -> None:
    """AssertionError where a command did not end in one clear message."""
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert len([line for line in ended.err.splitlines() if line.startswith("CL-")]) == 1, ended.err
    for text in said:
        assert text in ended.err, ended.err


LAB = """
[buses.pumps]
url = "{pumps}"
[plate_readers.reader]
make = "spectramax"
url = "{reader}"
[impedance_meters.teer]
make = "emstat_pico"
url = "{meter}"
[impedance_meters.teer.channels]
C01 = 0
C02 = 1

"""


def whole_lab(pumps: str, reader: str, meter: str) -> str:
    """Return a lab.toml that fits the small study."""
    sizes = {
        "medium": (26.72, 60),
        "stimulus": (26.72, 60),
        "low": (19.13, 20),
        "high": (19.13, 20),
    }
    names = [(f"{line}-{role}", *size) for line in ("L1", "L2") for role, size in sizes.items()]
    entries = [
        f'[pumps.{name}]\nmake = "new_era_ne1000"\nbus = "pumps"\naddress = {address}\n'
        f"syringe_diameter_mm = {diameter}\nsyringe_volume_ml = {volume}\n"
        "min_flow_rate_ul_h = 3.0\n"
        for address, (name, diameter, volume) in enumerate(names)
    ]
    return LAB.format(pumps=pumps, reader=reader, meter=meter) + "\n".join(entries)


def test_a_wrong_study_a_missing_one_and_a_folder_leave_with_3(warm: Warm, tmp_path: Path) -> None:
    wrong = edited(SMALL_STUDY, tmp_path, [("600 nM", "600 nm")])
    for path, said in (
        (wrong, 'did you mean "600 nM"?'),
        (tmp_path / "none.yaml", "there is no such file"),
        (tmp_path, str(tmp_path)),
    ):
        trouble(warm.run("simulate", path, "--runs", tmp_path / "runs"), 3, said)
    assert not (tmp_path / "runs").exists()


def test_an_unknown_run_leaves_with_2_and_names_those_there_are(
    warm: Warm, simulated: Ended, runs: Path, tmp_path: Path
) -> None:
    trouble(warm.run("resume", "r9", "--runs", runs), 2, "no run r9", simulated.json["run_id"])
    trouble(warm.run("resume", "r9", "--runs", tmp_path), 2, "there are: none")


def test_a_virtual_study_is_not_run_on_instruments_unless_a_lab_is_named(
    warm: Warm, tmp_path: Path
) -> None:
    ended = warm.run("run", SMALL_STUDY, "--yes", "--runs", tmp_path / "runs")
    trouble(ended, 2, "chiploop simulate", "--lab")


def test_a_lab_file_that_is_missing_or_wrong_leaves_with_3(warm: Warm, tmp_path: Path) -> None:
    for content in (None, "[pumps", '[pumps.P1]\nmake = "acme"\n'):
        lab = tmp_path / "lab.toml"
        if content is not None:
            lab.write_text(content)
        ended = warm.run(
            "run", SMALL_STUDY, "--lab", lab, "--yes", "--here", "--runs", tmp_path / "runs"
        )
        trouble(ended, 3, "lab.toml")
    assert not (tmp_path / "runs").exists()


def test_without_a_terminal_nothing_moves_before_yes(warm: Warm, tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text(whole_lab("/dev/none1", "/dev/none2", "/dev/none3"))
    ended = warm.run("run", SMALL_STUDY, "--lab", lab, "--runs", tmp_path / "runs")
    trouble(ended, 2, "--yes")


def test_a_missing_port_leaves_with_4_and_says_how_to_go_on(warm: Warm, tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text(whole_lab(*(str(tmp_path / f"ttyUSB{n}") for n in (7, 8, 9))))
    ended = warm.run(
        "run", SMALL_STUDY, "--lab", lab, "--yes", "--here", "--runs", tmp_path / "runs"
    )
    run_id = only_run(tmp_path / "runs")
    trouble(ended, 4, "ttyUSB7", "ttyUSB8", "ttyUSB9", f"chiploop resume {run_id}")
    again = warm.run("resume", run_id, "--here", "--runs", tmp_path / "runs")
    trouble(again, 4, "ttyUSB7")


def test_instruments_of_another_computer_are_refused_before_anything_is_opened(
    warm: Warm, tmp_path: Path
) -> None:
    lab, runs = tmp_path / "lab.toml", tmp_path / "runs"
    content = whole_lab(*(str(tmp_path / f"ttyUSB{n}") for n in (7, 8, 9)))
    lab.write_text('[computer]\nname = "bench-pc-2"\n' + content)
    asked = ("run", SMALL_STUDY, "--lab", lab, "--yes", "--here", "--runs", runs)
    ended = warm.run(*asked)
    trouble(ended, 4, "bench-pc-2", "nothing was sent to any instrument")
    assert "ttyUSB7" not in ended.err and not runs.exists()
    # a run whose folder was begun there and is taken up here
    lab.write_text(content)
    warm.run(*asked)
    run_id = only_run(runs)
    (runs / run_id / "lab.toml").write_text('[computer]\nname = "bench-pc-2"\n' + content)
    again = warm.run("resume", run_id, "--here", "--runs", runs)
    trouble(again, 4, "bench-pc-2")
    assert "ttyUSB7" not in again.err


def test_a_port_that_another_process_holds_leaves_with_4(warm: Warm, tmp_path: Path) -> None:
    study = edited(SMALL_STUDY, tmp_path, [("by: auto", "by: person")])
    running = warm.start("simulate", study, "--runs", tmp_path / "runs")
    running.wait_until("WAITING FOR A PERSON")
    run_id = only_run(tmp_path / "runs")
    ended = warm.run(
        "run",
        SMALL_STUDY,
        "--yes",
        "--here",
        "--lab",
        tmp_path / "runs" / run_id / "lab.toml",
        "--runs",
        tmp_path / "others",
    )
    trouble(ended, 4, f"held by process {running.pid}")
    running.kill()
    assert running.wait().code == -9


@pytest.mark.slow
def test_a_listening_port_that_is_no_pump_leaves_with_4(warm: Warm, tmp_path: Path) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        lab = tmp_path / "lab.toml"
        lab.write_text(
            whole_lab(*(f"socket://127.0.0.1:{port.getsockname()[1]}" for port in silent))
        )
        ended = warm.run(
            "run", SMALL_STUDY, "--lab", lab, "--yes", "--here", "--runs", tmp_path / "runs"
        )
    trouble(ended, 4, "L1-medium")


def test_a_folder_of_runs_that_can_not_be_written_leaves_with_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for runs in (tmp_path / "file", tmp_path / "file" / "runs"):
        assert command_line(["simulate", str(SMALL_STUDY), "--runs", str(runs)]) == 2
        shown = capsys.readouterr()
        assert "--runs" in shown.err and "Traceback" not in shown.err


def test_a_damaged_record_leaves_with_3_and_is_left_as_it_is(warm: Warm, tmp_path: Path) -> None:
    garbage = b"this is no database" * 1000
    (tmp_path / "record.sqlite").write_bytes(garbage)
    trouble(warm.run("simulate", SMALL_STUDY, "--runs", tmp_path), 3, "record.sqlite")
    assert (tmp_path / "record.sqlite").read_bytes() == garbage


@pytest.mark.parametrize("name", ["journal.sqlite", "run.json", "study.json"])
def test_a_run_with_a_damaged_file_leaves_with_3_and_names_it(
    name: str, warm: Warm, tmp_path: Path
) -> None:
    ended = warm.run("simulate", SMALL_STUDY, "--runs", tmp_path, CHIPLOOP_FAULT="line_started")
    assert ended.code == -9
    folder = tmp_path / only_run(tmp_path)
    for part in folder.glob(f"{name}*"):
        part.unlink()
    (folder / name).write_bytes(b'{"half ' * 1000)
    trouble(warm.run("resume", folder.name, "--runs", tmp_path), 3, name)


def test_trouble_in_json_mode_is_one_object(warm: Warm, tmp_path: Path) -> None:
    ended = warm.run("resume", "r9", "--runs", tmp_path, "--json")
    assert json.loads(ended.out)["error"]["exit_code"] == ended.code == 2


def test_the_record_knows_that_the_run_was_simulated(simulated: Ended, runs: Path) -> None:
    with Record(str(runs / "record.sqlite")) as record:
        run = record.run(simulated.json["run_id"])
    assert run is not None and run.simulated and run.state == "finished"
