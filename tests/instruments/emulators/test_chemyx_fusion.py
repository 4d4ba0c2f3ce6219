"""Chemyx Fusion emulator: lines and dialects, settings, runs, stalls, power cuts.

No byte exchange of a Fusion is published with the reference data (asserted below): the lines of
the transcript and the vendor's texts that the emulator's head names are held here.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.emulators.chemyx_fusion import ChemyxFusion, ChemyxFusionSettings

DOSE = ("set units 2", "set rate 10", "set volume 100")
"""10 uL/min, 100 uL: ten minutes."""


@dataclass
class Bench:
    """One pump, and a study clock moved by hand."""

    pump: ChemyxFusion
    now_min: float = 0.0

    def lines(self, command: str) -> list[str]:
        """Send one command; return the lines between echo and prompt."""
        got = self.pump.receive(f"{command}\r".encode()).decode()
        echo, prompt = f"{command}\r\n", ">"
        assert got.startswith(echo) and got.endswith(prompt)
        return got[len(echo) : -len(prompt)].split("\r\n")[:-1]

    def tell(self, *commands: str) -> str:
        """Send commands; return the last answer's line."""
        said: list[str] = []
        for command in commands:
            said = self.lines(command)
        assert len(said) <= 1
        return said[0] if said else ""

    def shown(self) -> tuple[str, str]:
        """Return status and counter."""
        return self.tell("pump status"), self.tell("dispensed volume").split(" = ")[1]


def bench(**settings: object) -> Bench:
    """Return a pump as it is after power-up."""
    found: list[Bench] = []
    pump = ChemyxFusion(
        ChemyxFusionSettings(**settings),  # type: ignore[arg-type]
        lambda: found[0].now_min / 60 if found else 0.0,
        lambda: 0.0,
    )
    found.append(Bench(pump))
    return found[0]


def running(**settings: object) -> Bench:
    """Return a pump in the middle of its dose."""
    at = bench(**settings)
    assert at.tell(*DOSE, "start") == "Pump start running..."
    at.now_min = 5.0
    return at


def test_no_published_exchange_waits_to_be_judged(shared_data: Path) -> None:
    with (shared_data / "serial_exchanges.csv").open(encoding="utf-8", newline="") as file:
        devices = {row["device"] for row in csv.DictReader(file)}
    assert not [device for device in devices if "chemyx" in device.lower()]


# --- lines


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("1 status", "0"),
        ("1 set units 0", "units = 0"),
        ("1 set diameter 20", "diameter = 20.000"),
        ("set volume 0.11", "volume = 0.110000"),
        ("1 set rate 0.65", "rate = 0.650000"),
        ("1 start ", "Pump start running..."),
        ("stop", "Pump stop!"),
        (" 1 set units 0", "Invalid Command!"),
    ],
)
def test_lines_of_the_transcript(command: str, line: str) -> None:
    assert bench().tell(command) == line


@pytest.mark.parametrize(
    ("echo", "prompt", "answer"),
    [
        (True, ">", b"pump status\r\n0\r\n>"),
        (True, "", b"pump status\r\n0\r\n"),
        (False, ">", b"0\r\n>"),
        (False, "", b"0\r\n"),
    ],
)
def test_echo_and_prompt_are_dialects(echo: bool, prompt: str, answer: bytes) -> None:
    sent = b"pump status\r"
    assert bench(echo=echo, prompt=prompt).pump.receive(sent) == answer
    pump = bench(echo=echo, prompt=prompt).pump
    assert b"".join(pump.receive(bytes([byte])) for byte in sent) == answer
    assert pump.receive(b"\n" + sent + b"\n" + sent) == 2 * answer
    assert pump.poll() == b""


def test_echo_can_be_switched() -> None:
    pump = bench().pump
    assert pump.receive(b"echo off\rpump status\r") == b">0\r\n>"
    assert pump.receive(b"echo on\r\r") == b"echo on\r\n>\r\n>"


@pytest.mark.parametrize(
    "command",
    [
        "START",
        "set rate",
        "set rate x",
        "set rate 1e3",
        "set rate 1,2",
        "set  rate 1",
        "set colour 1",
        "start 1",
        "help",
        "2 pump status",
        "3 start",
        "0 start",
        "1",
        "12 start",
    ],
)
def test_what_is_no_command_is_invalid(command: str) -> None:
    at = bench()
    assert at.tell(command) == "Invalid Command!"
    assert at.pump.starts == 0


@given(st.binary(max_size=80))
def test_any_bytes_leave_the_pump_answering(noise: bytes) -> None:
    at = bench()
    at.pump.receive(noise)
    at.pump.receive(b"\rset units 2\r")
    assert at.tell("set units 0") == "units = 0"


# --- settings


def test_digits_that_are_not_shown_are_dropped() -> None:
    at = bench()
    assert at.tell("set diameter 14.5678") == "diameter = 14.567"
    assert at.tell("set rate 0.12345678") == "rate = 0.123456"
    assert at.tell("set volume -.5") == "volume = -0.500000"


@pytest.mark.parametrize(
    ("command", "keep", "clamp"),
    [
        ("set diameter 41", "diameter = 14.500", "diameter = 40.000"),
        ("set diameter 0", "diameter = 14.500", "diameter = 0.103"),
        ("set units 4", "units = 0", "units = 0"),
        ("set rate 30", "rate = 1.000000", "rate = 29.426159"),
        ("set rate 0", "rate = 1.000000", "rate = 1.000000"),
        ("set rate 0.00001", "rate = 1.000000", "rate = 0.000050"),
        ("set volume 25", "volume = 1.000000", "volume = 24.769494"),
        ("set volume -25", "volume = 1.000000", "volume = -24.769494"),
        ("set delay -1", "delay = 0.000000", "delay = 0.000000"),
    ],
)
def test_out_of_range_is_told_by_the_value_in_force(command: str, keep: str, clamp: str) -> None:
    assert bench().tell(command) == keep
    assert bench(out_of_range="clamp").tell(command) == clamp
    assert bench(out_of_range="silent").lines(command) == []


def test_limits_fit_those_of_a_real_pump() -> None:
    assert bench().tell("set diameter 30", "read limit parameter").split() == [
        "125.9622",
        "0.0002",
        "106.0288",
        "0.0141",
    ]
    other = bench(limit_order="volume_first")
    assert other.tell("set diameter 30", "read limit parameter").split()[0] == "106.0288"
    assert bench().tell("set units 2", "read limit parameter").split()[0] == "29426.1596"


def test_units_leave_the_numbers_as_they_are() -> None:
    at = bench()
    at.tell("set rate 2", "set volume 3", "set units 3")
    assert at.lines("view parameter")[0].split(" \n\r") == [
        "",
        "unit = 3",
        "dia = 14.500",
        "rate = 2.000000",
        "time = 1.500000",
        "volume = 3.000000",
        "delay = 0.000000",
    ]


def test_a_time_sets_the_rate() -> None:
    at = bench()
    at.tell("set units 2", "set volume 100")
    assert at.lines("set time 4") == ["rate = 25.000000", "time = 4.000000"]
    assert at.tell("set time 0") == "time = 4.000000"


@pytest.mark.parametrize("state", ["start", "pause"])
def test_settings_are_refused_while_a_run_lasts(state: str) -> None:
    at = running()
    at.tell(state)
    for command in ("set rate 5", "set diameter 10", "set units 0", "set volume 1"):
        assert at.tell(command) == "Invalid Command!"
    assert at.tell("stop", "set rate 5") == "rate = 5.000000"


def test_a_run_outside_the_limits_does_not_start() -> None:
    at = bench()
    assert at.tell("set rate 20", "set diameter 5", "start") == "Invalid Command!"
    assert at.tell("restart") == "Invalid Command!"
    assert at.pump.starts == 0 and at.tell("pump status") == "0"


# --- runs


def test_the_pump_stops_at_its_target() -> None:
    at = running()
    assert at.shown() == ("1", "50.0000") and at.pump.moving
    assert at.tell("elapsed time") == "elapsed time = 5.00000"
    at.now_min = 60.0
    assert at.shown() == ("0", "100.0000") and not at.pump.moving
    assert at.tell("elapsed time") == "elapsed time = 10.00000"
    assert at.pump.delivered_ul == pytest.approx(100.0)
    assert at.pump.starts == 1


def test_a_second_start_changes_nothing_while_the_pump_runs() -> None:
    at = running()
    assert at.tell("start") == "Pump start running..."
    at.now_min = 60.0
    assert at.pump.delivered_ul == pytest.approx(100.0) and at.pump.starts == 1


def test_a_paused_run_goes_on_to_its_target() -> None:
    at = running()
    assert at.tell("pause") == "Pump pause!"
    at.now_min = 20.0
    assert at.shown() == ("2", "50.0000")
    assert at.tell("start") == "Pump start running..."
    at.now_min = 22.0
    assert at.tell("elapsed time") == "elapsed time = 7.00000"
    at.now_min = 60.0
    assert at.shown() == ("0", "100.0000")
    assert at.pump.starts == 1
    assert at.tell("pause", "pump status") == "0"


@pytest.mark.parametrize(("resumes", "delivered_ul"), [(False, 150.0), (True, 100.0)])
def test_restart_begins_a_paused_run_anew_or_goes_on(resumes: bool, delivered_ul: float) -> None:
    at = running(restart_resumes=resumes)
    assert at.tell("pause", "restart") == "Pump restart!"
    at.now_min = 60.0
    assert at.pump.delivered_ul == pytest.approx(delivered_ul)


@pytest.mark.parametrize(("per_run", "counter"), [(True, "100.0000"), (False, "150.0000")])
def test_a_stopped_run_is_lost_and_the_next_one_is_whole(per_run: bool, counter: str) -> None:
    at = running(counter_per_run=per_run)
    assert at.tell("stop", "stop") == "Pump stop!"
    assert at.shown() == ("0", "50.0000")
    at.tell("start")
    at.now_min = 60.0
    assert at.shown() == ("0", counter)
    assert at.pump.delivered_ul == pytest.approx(150.0) and at.pump.starts == 2


def test_a_delay_comes_before_the_run() -> None:
    at = bench()
    assert at.tell(*DOSE, "set delay 2", "start") == "Pump delay..."
    assert at.shown() == ("3", "0.0000") and not at.pump.moving
    at.now_min = 5.0
    assert at.shown() == ("1", "30.0000")
    assert at.tell("elapsed time") == "elapsed time = 3.00000"
    at.now_min = 60.0
    assert at.shown() == ("0", "100.0000")
    assert at.pump.channels[0].plunger.flow_intervals == [
        (pytest.approx(2 / 60), pytest.approx(12 / 60), pytest.approx(600.0))
    ]


def test_stop_during_a_delay_delivers_nothing() -> None:
    at = bench()
    at.tell(*DOSE, "set delay 2", "start", "stop")
    at.now_min = 60.0
    assert at.shown() == ("0", "0.0000") and at.pump.delivered_ul == 0.0


def test_a_negative_volume_withdraws() -> None:
    at = bench()
    at.tell(*DOSE, "start")
    at.now_min = 20.0
    at.tell("set volume -60", "start")
    at.now_min = 40.0
    assert at.shown() == ("0", "60.0000")
    assert at.pump.delivered_ul == pytest.approx(100.0)
    assert at.pump.channels[0].plunger.content_ul == pytest.approx(9960.0)


def test_a_wrong_diameter_delivers_a_wrong_volume_and_shows_the_asked_one() -> None:
    at = bench(syringe_diameter_mm=14.5, told_diameter_mm="29")
    at.tell(*DOSE, "start")
    at.now_min = 60.0
    assert at.shown() == ("0", "100.0000")
    assert at.pump.delivered_ul == pytest.approx(25.0)


# --- stalls and power


def test_block_stalls_a_moving_pump_only() -> None:
    at = running()
    at.pump.block()
    at.now_min = 60.0
    assert at.shown() == ("4", "50.0000")
    assert at.pump.delivered_ul == pytest.approx(50.0) and not at.pump.moving
    assert at.tell("stop", "pump status") == "0"
    at.pump.block()
    assert at.tell("pump status") == "0"


def test_an_empty_syringe_stalls() -> None:
    at = running(syringe_volume_ul=80.0)
    at.now_min = 60.0
    assert at.shown() == ("4", "80.0000")
    assert at.pump.delivered_ul == pytest.approx(80.0)


def test_a_power_cut_ends_the_run_and_clears_the_counter() -> None:
    at = running()
    at.pump.receive(b"sta")
    at.pump.power_cycle()
    at.now_min = 60.0
    assert at.shown() == ("0", "0.0000")
    assert at.tell("elapsed time") == "elapsed time = 0.00000"
    assert at.pump.delivered_ul == pytest.approx(50.0)
    assert "rate = 10.000000" in at.lines("view parameter")[0]
    at.tell("start")
    at.now_min = 120.0
    assert at.pump.delivered_ul == pytest.approx(150.0)


def test_counter_and_settings_may_live_otherwise() -> None:
    at = running(counter_persists=True, settings_persist=False)
    at.pump.power_cycle()
    assert at.tell("dispensed volume") == "dispensed volume = 0.0500"
    assert "rate = 1.000000" in at.lines("view parameter")[0]


# --- two channels


def test_a_dual_pump_has_two_channels() -> None:
    at = bench(dual=True)
    at.tell(*(f"2 {command}" for command in DOSE), "2 start")
    at.now_min = 60.0
    assert at.tell("2 dispensed volume") == "dispensed volume = 100.0000"
    assert at.tell("1 dispensed volume") == "dispensed volume = 0.0000"
    assert at.pump.delivered_ul == 0.0 and at.pump.starts == 0
    assert at.pump.channels[1].plunger.delivered_ul == pytest.approx(100.0)
    assert at.lines("view parameter 1")[0].count("Pump ") == 2


def test_without_a_number_runs_mean_both_channels_and_the_rest_the_first() -> None:
    at = bench(dual=True)
    at.tell(*DOSE, "2 set units 2", "2 set rate 5", "2 set volume 50", "start")
    at.now_min = 5.0
    at.tell("1 pause")
    assert (at.tell("pump status"), at.tell("2 pump status")) == ("2", "1")
    at.tell("stop")
    assert [channel.plunger.delivered_ul for channel in at.pump.channels] == [
        pytest.approx(50.0),
        pytest.approx(25.0),
    ]
