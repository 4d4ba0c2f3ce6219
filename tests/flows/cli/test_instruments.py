"""The verbs at the bench, against emulated devices over TCP: what is said, what moves, what is on record."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import serial
from serial.tools import list_ports
from serial.urlhandler import protocol_socket

from chiploop.record.actions import Action
from chiploop.record.journal import Journal
from flows.cli import instruments_lab, instruments_prime
from flows.cli.main import command_line
from instruments.drivers import DRIVERS
from instruments.errors import InstrumentError
from instruments.port_lock import PortLock
from tests.flows.cli.bench_world import Nobody, Terminal, World, open_dose, world

PUMP = {"P1": "new_era_ne1000"}
PRIME = ("--pump", "P1", "--volume", "300 uL", "--rate", "6 mL/h")


@pytest.fixture(autouse=True)
def own_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Locks of this test alone, quick closing of sockets, no colours, a person who is not there."""
    locks = tmp_path / "locks"
    monkeypatch.setattr(instruments_lab, "LOCKS", locks)
    monkeypatch.setattr(instruments_prime, "LOOK_S", 0.02)
    quick = SimpleNamespace(time=time.time, sleep=lambda s: None)
    monkeypatch.setattr(protocol_socket, "time", quick)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdin", Nobody())
    monkeypatch.setenv("CHIPLOOP_LOG", str(tmp_path / "bug.log"))
    return locks


@pytest.fixture
def one_pump(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, PUMP) as made:
        yield made


@pytest.fixture
def set_pump(one_pump: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A pump that is set for its syringe."""
    answer(monkeypatch, "yes")
    assert one_pump.instruments("confirm") == 0
    answer(monkeypatch, None)
    return one_pump


def answer(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """Put a person with one answer at the terminal; nobody for None."""
    monkeypatch.setattr("sys.stdin", Nobody() if text is None else Terminal(f"{text}\n"))


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def bench_actions(made: World) -> list[Action]:
    with Journal(made.runs / "journal.sqlite") as journal:
        return journal.actions("bench")


# --- the group


def test_help_names_every_verb_and_loads_nothing_heavy(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys\nfrom flows.cli.main import command_line\n"
        "command_line(['instruments', '--help'])\n"
        "print({'numpy', 'serial', 'sqlalchemy', 'prefect'} & set(sys.modules))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    shown = capfd.readouterr().out
    for verb in (
        "list",
        "scan",
        "test",
        "confirm",
        "prime",
        "valve",
        "enter-teer",
        "stop",
        "emulate",
    ):
        assert f"  {verb} " in shown
    assert shown.splitlines()[-1] == "set()"
    assert "..." not in shown.partition("Commands:")[2]


# --- list


def test_makes_are_listed_with_what_is_unconfirmed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["instruments", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {make} " in shown for make in DRIVERS)
    assert "Opened no port" in shown
    assert max(map(len, shown.splitlines())) <= 110
    assert command_line(["instruments", "list", "--json"]) == 0
    makes = {make["make"]: make for make in printed(capsys)["makes"]}
    assert set(makes) == set(DRIVERS)
    assert makes["new_era_ne1000"]["unconfirmed"] == list(DRIVERS["new_era_ne1000"].unconfirmed)


def test_devices_are_listed_with_who_holds_them_and_nothing_is_sent(
    one_pump: World, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["instruments", "list", str(one_pump.lab)]
    assert command_line(words) == 0
    assert "free" in capsys.readouterr().out
    lock = PortLock(one_pump.urls["P1"], own_locks, {"run": "/runs/one"})
    assert command_line([*words, "--json"]) == 0
    lock.release()
    (shown,) = printed(capsys)["devices"]
    assert shown["held_by"] == f"process {os.getpid()}, run one"
    assert (shown["name"], shown["holds"]) == ("P1", "20 mL, 19.13 mm")
    assert one_pump.sent() == []


def test_a_wrong_lab_toml_is_told_with_its_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text('[pumps.P1]\nmake = "nonsense"\n', encoding="utf-8")
    for verb in ("list", "test", "confirm", "stop"):
        assert command_line(["instruments", verb, str(lab)]) == 3
        assert "line 2, pumps.P1.make" in capsys.readouterr().err


# --- test


def test_every_device_that_failed_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    makes = {**PUMP, "P2": "chemyx_fusion", "R1": "spectramax", "M1": "emstat_pico"}
    with world(tmp_path, makes) as made:
        made.wires["R1"].unplug()
        made.wires["P2"].unplug()
        assert made.instruments("test", "--json") == 4
        found = {one["name"]: one for one in printed(capsys)["devices"]}
        assert {name: one["state"] for name, one in found.items()} == {
            "P1": "failed",
            "P2": "failed",
            "R1": "failed",
            "M1": "ok",
        }
        assert "set for a syringe of 26.59 mm, lab.toml says 19.13" in found["P1"]["told"]
        assert f"confirm {made.lab} --pump P1" in found["P1"]["told"]
        assert all("port" in found[name]["told"] for name in ("R1", "P2"))
        assert any("reset" in remark for remark in found["P1"]["remarks"])
        assert made.devices["P1"].starts == 0


def test_a_good_bench_leaves_with_0_and_says_how_it_stands(
    set_pump: World, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert set_pump.instruments("test") == 0
    shown = capsys.readouterr().out
    assert "NE1000V3.61; idle, counter 0 uL; set for 19.13 mm" in shown
    assert "No liquid was moved" in shown


@pytest.mark.parametrize("verb", ["test", "confirm", "prime"])
def test_a_pump_with_an_open_dose_gets_no_byte(
    one_pump: World, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    open_dose(one_pump, "P1")
    more = (*PRIME, "--yes") if verb == "prime" else ()
    assert one_pump.instruments(verb, *more) == 7
    shown = capsys.readouterr()
    assert "chiploop resume study_1" in shown.out + shown.err
    assert one_pump.sent() == []


def test_others_are_tested_beside_an_open_dose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path, {**PUMP, "R1": "spectramax"}) as made:
        open_dose(made, "P1")
        assert made.instruments("test", "--json") == 7
        states = {one["name"]: one["state"] for one in printed(capsys)["devices"]}
    assert states == {"P1": "not asked", "R1": "ok"}


def test_an_unknown_pump_is_wrong_use(one_pump: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert one_pump.instruments("test", "--pump", "P9") == 2
    assert "its pumps: P1" in capsys.readouterr().err


def test_a_module_that_is_not_initialised_is_told_with_what_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path, {"P1": "cavro"}) as made:
        assert made.instruments("test") == 4
        assert "prime" in capsys.readouterr().out


# --- confirm


@pytest.mark.parametrize(("said", "code"), [(None, 2), ("no", 2), ("y", 2), ("yes", 0)])
def test_a_pump_is_set_only_where_a_person_typed_yes(
    one_pump: World, monkeypatch: pytest.MonkeyPatch, said: str | None, code: int
) -> None:
    answer(monkeypatch, said)
    assert one_pump.instruments("confirm") == code
    was_set = any(b"DIA 19.13" in sent or b"DIA19.13" in sent for sent in one_pump.sent())
    assert was_set == (code == 0)
    if code == 0:
        with Journal(one_pump.runs / "journal.sqlite") as journal:
            (note,) = journal.events("bench/confirm/P1")
        assert "19.13 mm" in note.body["text"] and note.body["by"]


def test_a_pump_that_is_set_already_needs_nobody(
    set_pump: World, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert set_pump.instruments("confirm", "--json") == 0
    (pump,) = printed(capsys)["pumps"]
    assert pump["state"] == "ok"


# --- prime


def test_a_priming_is_what_left_the_pump_and_is_on_record(
    set_pump: World, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert set_pump.instruments("prime", *PRIME, "--yes", "--json") == 0
    done = printed(capsys)
    pump = set_pump.devices["P1"]
    assert (done["delivered_ul"], pump.delivered_ul) == (pytest.approx(300), pytest.approx(300))
    assert (pump.starts, pump.moving) == (1, False)
    (action,) = bench_actions(set_pump)
    assert action.intent.key == done["key"]
    assert action.intent.programme.purpose == "prime"
    assert action.end is not None and action.end.kind == "outcome"
    with Journal(set_pump.runs / "journal.sqlite") as journal:
        assert journal.verify().whole
        assert journal.totals("study_1").delivered_ul == {}


def test_a_pump_that_is_set_for_another_syringe_primes_nothing_and_says_what_helps(
    one_pump: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert one_pump.instruments("prime", *PRIME, "--yes") == 4
    assert f"chiploop instruments confirm {one_pump.lab} --pump P1" in capsys.readouterr().err
    assert one_pump.devices["P1"].starts == 0


def test_two_primings_are_two(set_pump: World) -> None:
    for _ in range(2):
        assert set_pump.instruments("prime", *PRIME, "--yes") == 0
    assert set_pump.devices["P1"].delivered_ul == pytest.approx(600)
    assert len(bench_actions(set_pump)) == 2


@pytest.mark.parametrize("said", [None, "no"])
def test_nothing_is_primed_unless_a_person_says_that_no_chip_is_there(
    set_pump: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: str | None,
) -> None:
    answer(monkeypatch, said)
    assert set_pump.instruments("prime", *PRIME) == 2
    assert set_pump.devices["P1"].starts == 0
    assert "nothing moved" in capsys.readouterr().err


def test_a_person_who_says_yes_primes(
    set_pump: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "yes")
    assert set_pump.instruments("prime", *PRIME) == 0
    shown = capsys.readouterr()
    assert "Is NO chip connected to P1" in shown.err
    assert "primed 300 uL. It stands still" in shown.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--volume", "300 uL"), "needs both"),
        ((), "say how much"),
        (("--volume", "300", "--rate", "6 mL/h"), "has no unit"),
        (("--volume", "300 uL", "--rate", "6 mL"), "--rate 6 mL"),
        (("--volume", "21 mL", "--rate", "6 mL/h"), "outside 0..20000 uL"),
        (("--volume", "300 uL", "--rate", "1 uL/h"), "outside 3"),
        (("--fill",), "neither initialises nor fills"),
        (("--volume", "300 uL", "--rate", "6 mL/h", "--run", "none_1"), "there is no run none_1"),
    ],
)
def test_a_priming_that_makes_no_sense_moves_nothing(
    set_pump: World, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    assert set_pump.instruments("prime", "--pump", "P1", *words, "--yes") == 2
    assert told in capsys.readouterr().err
    assert set_pump.devices["P1"].starts == 0
    assert bench_actions(set_pump) == []


def test_ctrl_c_stops_the_pump_and_its_counter_says_what_it_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path, PUMP, speed=600.0) as made:
        answer(monkeypatch, "yes")
        assert made.instruments("confirm") == 0

        def interrupted(seconds: float) -> None:
            time.sleep(0.3)
            raise KeyboardInterrupt

        clock = SimpleNamespace(monotonic=time.monotonic, sleep=interrupted)
        monkeypatch.setattr(instruments_prime, "time", clock)
        volume = ("--pump", "P1", "--volume", "10 mL", "--rate", "6 mL/h")
        assert made.instruments("prime", *volume, "--yes") == 130
        pump = made.devices["P1"]
        assert not pump.moving
        (action,) = bench_actions(made)
        assert action.end is not None and action.end.kind == "abandoned"
        assert action.end.body["delivered_ul"] == pytest.approx(pump.delivered_ul, abs=2.0)
        assert 0 < pump.delivered_ul < 10_000
    assert "by its counter" in capsys.readouterr().err


def test_a_lost_start_answer_primes_once(set_pump: World) -> None:
    from instruments.emulators.faults import Fault

    set_pump.wires["P1"].arm(Fault("drop_reply", matching=b"RUN"))
    assert set_pump.instruments("prime", *PRIME, "--yes") == 0
    assert set_pump.devices["P1"].starts == 1
    assert set_pump.devices["P1"].delivered_ul == pytest.approx(300)


def test_a_pump_that_stalls_is_stopped_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path, PUMP, speed=600.0) as made:
        answer(monkeypatch, "yes")
        assert made.instruments("confirm") == 0
        pump = made.devices["P1"]

        def block(seconds: float) -> None:
            time.sleep(0.05)
            if pump.moving:
                pump.block()

        clock = SimpleNamespace(monotonic=time.monotonic, sleep=block)
        monkeypatch.setattr(instruments_prime, "time", clock)
        volume = ("--pump", "P1", "--volume", "10 mL", "--rate", "6 mL/h")
        assert made.instruments("prime", *volume, "--yes") == 4
        assert not pump.moving
        (action,) = bench_actions(made)
        assert not action.open
    assert "stall" in capsys.readouterr().err


def test_a_pump_that_does_not_confirm_a_stop_stays_open_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path, PUMP, speed=600.0) as made:
        answer(monkeypatch, "yes")
        assert made.instruments("confirm") == 0

        def wedge(seconds: float) -> None:
            made.wires["P1"].unplug()
            raise KeyboardInterrupt

        clock = SimpleNamespace(monotonic=time.monotonic, sleep=wedge)
        monkeypatch.setattr(instruments_prime, "time", clock)
        volume = ("--pump", "P1", "--volume", "10 mL", "--rate", "6 mL/h")
        assert made.instruments("prime", *volume, "--yes") == 4
        told = capsys.readouterr().err
        assert "MAY STILL RUN" in told and "chiploop settle bench --pump P1" in told
        (action,) = bench_actions(made)
        assert action.open and action.held
        assert made.instruments("test") == 7


def test_a_module_initialises_and_fills_on_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path, {"P1": "cavro"}) as made:
        words = (
            "--pump",
            "P1",
            "--initialise",
            "--fill",
            "--volume",
            "100 uL",
            "--rate",
            "60 mL/h",
        )
        assert made.instruments("prime", *words, "--yes", "--json") == 0
        did = printed(capsys)["did"]
        assert did[:2] == ["initialised", "filled"] and did[2].startswith("primed 100")
        with Journal(made.runs / "journal.sqlite") as journal:
            texts = [e.body["text"] for e in journal.events() if e.kind == "note"]
        assert texts == ["begins", "initialised", "begins", "filled"]
        assert made.devices["P1"].delivered_ul == pytest.approx(100, abs=1)


# --- valve


def test_a_valve_turns_to_where_it_is_sent_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path, {"V1": "runze_sv06"}) as made:
        words = ("--valve", "V1", "--json")
        assert made.instruments("valve", *words) == 0
        assert printed(capsys)["position"] == 1
        assert made.instruments("valve", *words, "--to", "4") == 2  # nobody there to ask
        capsys.readouterr()
        assert made.instruments("valve", *words, "--to", "4", "--yes") == 0
        assert printed(capsys)["position"] == 4
        assert made.instruments("valve", "--valve", "V1", "--to", "7", "--yes") == 2
        assert made.instruments("valve", "--valve", "V9") == 2
        with Journal(made.runs / "journal.sqlite") as journal:
            notes = [event.body["text"] for event in journal.events("bench/valve/V1")]
    assert notes[:2] == ["turns to 4", "stands at 4"]


# --- scan


@pytest.fixture
def no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_ports, "comports", lambda: [])


@pytest.mark.usefixtures("no_ports")
def test_a_scan_asks_nothing_unless_a_person_agreed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["instruments", "scan"]) == 0
    assert "No serial port" in capsys.readouterr().out
    with world(tmp_path, {"R1": "spectramax"}) as made:
        words = ("instruments", "scan", "--tcp", made.urls["R1"].removeprefix("socket://"))
        assert made.do(*words) == 0
        assert "Nothing was asked" in capsys.readouterr().out
        answer(monkeypatch, "n")
        assert made.do(*words) == 0
        assert made.urls["R1"] in capsys.readouterr().err  # the question names the ports
        assert made.sent() == []
        answer(monkeypatch, "y")
        assert made.do(*words) == 0
        shown = capsys.readouterr().out
        assert "spectramax: status CLOSED IDLE" in shown
        assert 'make = "spectramax"' in shown
        assert "Nothing was moved or set" in shown


@pytest.mark.usefixtures("no_ports")
def test_a_scan_leaves_held_ports_and_open_doses_alone(
    tmp_path: Path, own_locks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path, {**PUMP, "P2": "chemyx_fusion"}) as made:
        open_dose(made, "P1")
        (made.runs / "study_1").mkdir()
        (made.runs / "study_1" / "lab.toml").write_text(made.lab.read_text(), encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as other:
            held = f"socket://127.0.0.1:{other.getsockname()[1]}"
            lock = PortLock(held, own_locks)
            ports = ("--port", made.urls["P1"], "--port", held)
            assert made.do("instruments", "scan", *ports, "--yes", "--json") == 0
            lock.release()
        shown = printed(capsys)
        assert [port["asked"] for port in shown["ports"]] == [False, False]
        assert "chiploop resume study_1" in shown["ports"][0]["why_not"]
        assert f"process {os.getpid()}" in shown["ports"][1]["why_not"]
        assert "new_era_ne1000" in shown["not_asked_for"]
        assert made.sent() == []
        (made.runs / "study_1" / "lab.toml").unlink()
        assert made.do("instruments", "scan", "--port", made.urls["P2"], "--yes") == 2
    assert command_line(["instruments", "scan", "--tcp", "nowhere"]) == 2


# --- emulate


def test_an_emulated_device_is_simulated_in_the_banner_and_ends_by_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["instruments", "emulate", "new_era_ne1000", "--seconds", "0.05", "--speed", "60"]
    assert command_line([*words, "--faults", "drop_reply:skip=3"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("SIMULATED  New Era NE-1000 family. No liquid moves")
    assert "one second is 60 s of the study" in shown
    assert "drop_reply, after 3 that go well, once" in shown
    assert "started 0 times and gave 0 uL" in shown


def test_an_emulated_device_answers_on_the_port_that_was_asked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["instruments", "emulate", "spectramax", "--tcp-port", str(port), "--json"]
    start = "import sys; from flows.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", start, *words], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert (told["simulated"], told["tcp"]) == (True, f"socket://127.0.0.1:{port}")
            assert told["tcp"] in told["lab_toml"] or told["pty"] in told["lab_toml"]
            with serial.serial_for_url(told["tcp"], timeout=5) as line:
                line.write(b"!STATUS\r")
                assert line.read(2) == b"OK"
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("nonsense",), 2, "emulated are new_era_ne1000"),
        (("manual_teer",), 2, "there is no wire"),
        (("spectramax", "--faults", "nonsense"), 3, "is not one of"),
        (("spectramax", "--speed", "0"), 2, "--speed 0"),
    ],
)
def test_what_can_not_be_emulated_is_told(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, told: str
) -> None:
    assert command_line(["instruments", "emulate", *words, "--seconds", "0"]) == code
    assert told in capsys.readouterr().err


# --- words


def test_the_trouble_of_one_device_is_told_without_the_list_around_it() -> None:
    bench = InstrumentError("the bench did not open; 1 failed:\n  P1: P1 is set for another")
    assert instruments_lab.plain_trouble(bench, "P1") == "is set for another"
    assert instruments_lab.plain_trouble(InstrumentError("silent"), "P1") == "silent"


def test_open_doses_of_the_bench_are_settled_and_not_resumed() -> None:
    dose = instruments_lab.OpenDose("bench", "bench/none/1/P1", held=False)
    assert "chiploop settle bench --pump P1" in dose.told("P1")
    assert "chiploop resume r" in replace(dose, run="r").told("P1")
