"""Cavro / TriContinent emulator: published blocks, exactly once, motion, valve, power cuts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import xor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.emulators.cavro import Cavro, CavroSettings
from instruments.emulators.cavro_wire import Command, commands
from tests.instruments.serial_rows import rows

DT, OEM = "TriContinent/Cavro DT", "TriContinent/Cavro OEM"
MOVE = "A3000R"


@dataclass
class Bench:
    """One pump, and a study clock moved by hand."""

    pump: Cavro
    now_s: float = 0.0

    def dt(self, text: str) -> str:
        """Send one string in DT; return status character and data."""
        got = self.pump.receive(f"/{self.pump.settings.address}{text}\r".encode())
        assert got[:2] == b"/0" and got[-3:] == b"\x03\r\n"
        return got[2:-3].decode()

    def do(self, text: str) -> str:
        """Send a string and wait for its end; return what Q then says."""
        self.dt(text)
        return self.after(3600.0)

    def after(self, seconds: float) -> str:
        """Let time pass; return what Q says."""
        self.now_s += seconds
        return self.dt("Q")


def bench(**settings: object) -> Bench:
    """Return a pump as it is after power-up."""
    found: list[Bench] = []
    pump = Cavro(
        CavroSettings(**settings),  # type: ignore[arg-type]
        lambda: found[0].now_s / 3600 if found else 0.0,
        lambda: 0.0,
    )
    found.append(Bench(pump))
    return found[0]


def ready(*strings: str, **settings: object) -> Bench:
    """Return a pump that is initialised and has carried out strings."""
    at = bench(**settings)
    for text in ("ZR", *strings):
        at.do(text)
    return at


def filled(steps: int = 3000, **settings: object) -> Bench:
    """Return a pump filled from the reservoir, its valve at the chip."""
    return ready(f"IA{steps}OR", **settings)


def oem(text: str, sequence: int = 1, repeat: bool = False, address: str = "1") -> bytes:
    """Return an OEM block, built apart from the emulator."""
    block = b"\x02" + address.encode() + bytes([0x30 | repeat << 3 | sequence])
    block += text.encode() + b"\x03"
    return b"\xff" + block + bytes([reduce(xor, block)])


def oem_answer(status: str, data: str = "") -> bytes:
    block = b"\x020" + status.encode() + data.encode() + b"\x03"
    return block + bytes([reduce(xor, block)])


# --- published blocks


def overloaded() -> Bench:
    at = filled()
    at.dt("A0R")
    at.pump.block()
    return at


def moving() -> Bench:
    at = ready()
    at.dt(MOVE)
    return at


ROWS: dict[tuple[bytes, bytes], Callable[[], Bench]] = {
    (b"/1ZR\r", b"/0@\x03\r\n"): bench,
    (b"/1Q\r", b"/0`\x03\r\n"): ready,
    (b"/1A3000R\r", b"/0@\x03\r\n"): ready,
    (b"/1?\r", b"/0`3000\x03\r\n"): filled,
    (b"/1Q\r", b"/0i\x03\r\n"): overloaded,
    (b"/1Q\r", b"/0g\x03\r\n"): bench,
    (b"/1QQQ\r", b"/0b\x03\r\n"): ready,
}
OEM_QUERIES = (b"\xff\x0211Q\x03P", b"\xff\x0219Q\x03X")


def judge(new: Callable[[], Bench], sent: bytes, received: bytes) -> None:
    assert new().pump.receive(sent) == received
    pump = new().pump
    assert b"".join(pump.receive(bytes([byte])) for byte in sent) == received


def test_every_published_block_is_judged(shared_data: Path) -> None:
    assert {row[:2] for row in rows(shared_data, DT)} == set(ROWS)
    assert tuple(row[0] for row in rows(shared_data, OEM)) == OEM_QUERIES


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_answers_as_published(row: tuple[bytes, bytes]) -> None:
    judge(ROWS[row], *row)


@pytest.mark.parametrize("sent", OEM_QUERIES, ids=str)
def test_published_oem_blocks_are_understood(sent: bytes) -> None:
    judge(ready, sent, oem_answer("`"))
    judge(moving, sent, oem_answer("@"))
    judge(bench, sent, oem_answer("g"))


# --- blocks


def test_bytes_between_blocks_are_skipped_and_a_start_mark_begins_anew() -> None:
    at = ready()
    assert at.pump.receive(b"\n\xff?Q\r/1A3/1Q\r\n") == b"/0`\x03\r\n"
    assert at.pump.receive(b"\x0211A30" + oem("Q")) == oem_answer("`")
    assert at.pump.receive(b"/1Q\r/1?\r") == b"/0`\x03\r\n/0`0\x03\r\n"


def test_blocks_for_others_are_not_answered() -> None:
    at = ready(address="2")
    assert at.pump.receive(b"/1Q\r" + oem("Q")) == b""
    assert at.dt("Q") == "`"
    assert at.pump.receive(oem("Q", address="2")) == oem_answer("`")


@pytest.mark.parametrize("protocol", ["dt", "oem"])
def test_a_pump_may_know_one_protocol_only(protocol: str) -> None:
    at = bench(protocol=protocol)
    assert (at.pump.receive(b"/1Q\r") == b"") == (protocol == "oem")
    assert (at.pump.receive(oem("Q")) == b"") == (protocol == "dt")


def test_a_bad_checksum_is_told_and_nothing_is_carried_out() -> None:
    at = filled()
    bad = oem("D300R")[:-1] + b"\x00"
    assert at.pump.receive(bad) == oem_answer("d")
    assert (at.dt("Q"), at.dt("Q")) == ("d", "`")
    assert at.after(60) == "`" and at.pump.delivered_ul == 0.0
    silent = filled(answers_bad_checksum=False)
    assert silent.pump.receive(bad) == b"" and silent.dt("Q") == "`"


@given(st.binary(max_size=60))
def test_any_bytes_leave_the_pump_answering(noise: bytes) -> None:
    at = bench()
    at.pump.receive(noise)
    said = at.pump.receive(b"\r\x03\x03\x03" + oem("?19", 5))[-6:]
    assert said[:2] == b"\x020" and said[3:5] == b"0\x03"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", []),
        ("IA3000O", [Command("I"), Command("A", (3000,)), Command("O")]),
        ("Z2,1,3", [Command("Z", (2, 1, 3))]),
        ("A-5", None),
        ("A1.5", None),
        ("?6", None),
        ("3A", None),
        ("A\u0663", None),
    ],
)
def test_strings_are_letters_with_numbers(text: str, meant: list[Command] | None) -> None:
    assert commands(text) == meant


# --- exactly once


@pytest.mark.parametrize("repeat_answer", ["stored", "fresh"])
def test_a_repeated_block_is_acknowledged_but_not_carried_out_again(repeat_answer: str) -> None:
    at = filled(repeat_answer=repeat_answer)
    starts = at.pump.starts
    assert at.pump.receive(oem("D300R", 3)) == oem_answer("@")
    assert at.pump.receive(oem("D300R", 3, repeat=True)) == oem_answer("@")
    at.now_s += 60
    late = at.pump.receive(oem("D300R", 3, repeat=True))
    assert late == oem_answer("@" if repeat_answer == "stored" else "`")
    at.now_s += 60
    assert at.pump.starts == starts + 1
    assert at.pump.delivered_ul == pytest.approx(100.0)


def test_a_repeated_query_answers_the_same_or_anew() -> None:
    for repeat_answer, shown in (("stored", "3000"), ("fresh", "2700")):
        at = filled(repeat_answer=repeat_answer)
        assert at.pump.receive(oem("?", 2)) == oem_answer("`", "3000")
        at.do("D300R")
        assert at.pump.receive(oem("?", 2, repeat=True)) == oem_answer("`", shown)


def test_a_repeat_whose_first_never_came_is_carried_out() -> None:
    at = filled()
    at.pump.receive(oem("Q", 3))
    assert at.pump.receive(oem("D300R", 4, repeat=True)) == oem_answer("@")
    at.now_s += 60
    assert at.pump.delivered_ul == pytest.approx(100.0)


def test_a_repeat_after_a_garbled_first_is_carried_out_once() -> None:
    at = filled()
    at.pump.receive(oem("Q", 3))
    at.pump.receive(oem("D300R", 4)[:-1] + b"\x00")
    at.pump.receive(oem("D300R", 4, repeat=True))
    at.pump.receive(oem("D300R", 4, repeat=True))
    at.now_s += 60
    assert at.pump.delivered_ul == pytest.approx(100.0)


def test_the_same_number_without_the_flag_is_carried_out_twice() -> None:
    at = filled()
    for _ in range(2):
        at.pump.receive(oem("D300R", 1))
        at.now_s += 60
    assert at.pump.delivered_ul == pytest.approx(200.0)


def test_dt_has_no_such_protection() -> None:
    at = filled()
    at.do("D300R")
    at.do("D300R")
    assert at.pump.delivered_ul == pytest.approx(200.0)
    at.do("A2400R")
    at.do("A2400R")
    assert at.pump.delivered_ul == pytest.approx(200.0)


def test_the_sequence_number_does_not_outlive_a_power_cut() -> None:
    at = filled()
    at.pump.receive(oem("ZR", 3))
    at.pump.power_cycle()
    assert at.pump.receive(oem("ZR", 3, repeat=True)) == oem_answer("@")
    assert at.pump.initialisations == 3


# --- motion


def test_the_position_follows_speed_and_time() -> None:
    at = filled()
    at.dt("V100A0R")
    assert at.after(3.0) == "@"
    assert at.dt("?") == "@2700" and at.pump.moving
    assert at.pump.delivered_ul == pytest.approx(100.0)
    assert at.after(26.9) == "@"
    assert at.after(0.2) == "`" and not at.pump.moving
    assert at.dt("?") == "`0"
    assert at.pump.delivered_ul == pytest.approx(1000.0)
    ((_, _, rate_ul_h),) = at.pump.flow_intervals
    assert rate_ul_h == pytest.approx(100 / 3000 * 1000 * 3600)


def test_only_what_leaves_through_the_chips_port_is_delivered() -> None:
    at = filled()
    at.do("ID900R")
    assert at.pump.delivered_ul == 0.0
    at.do("OD900R")
    assert at.pump.delivered_ul == pytest.approx(300.0)
    at.do("P900R")
    assert at.pump.delivered_ul == pytest.approx(300.0)
    assert at.pump.flow_intervals[-1][2] < 0
    assert at.pump.content_ul == pytest.approx(700.0)


def test_a_string_goes_on_by_itself_each_command_when_the_last_has_ended() -> None:
    at = ready()
    at.dt("V300IA3000OA0IA1500R")
    assert at.after(40) == "`"
    assert at.pump.delivered_ul == pytest.approx(1000.0)
    assert at.dt("?") == "`1500"
    (interval,) = at.pump.flow_intervals
    assert interval[1] - interval[0] == pytest.approx(10 / 3600)


def test_a_string_without_r_waits_for_it() -> None:
    at = filled()
    assert at.dt("D300") == "`"
    assert at.dt("F") == at.dt("?10") == "`1"
    assert at.after(60) == "`" and at.pump.delivered_ul == 0.0
    assert at.dt("R") == "@"
    assert at.after(60) == "`" and at.dt("F") == "`0"
    assert at.pump.delivered_ul == pytest.approx(100.0)
    assert at.do("R") == "`"
    assert at.pump.delivered_ul == pytest.approx(100.0)


@pytest.mark.parametrize("text", ["A0R", "A0", "IR", "v100R", "ZR", "R", "N1R"])
def test_a_busy_pump_takes_only_queries_t_and_v(text: str) -> None:
    at = moving()
    assert at.dt(text) == "O"
    assert at.dt("Q") == "@"
    assert at.after(60) == "`" and at.dt("?") == "`3000"


def test_v_changes_the_speed_under_way() -> None:
    at = filled()
    at.dt("V100A0R")
    at.after(10)
    assert at.dt("V10R") == "@"
    at.after(10)
    assert at.dt("?") == "@1900"
    assert at.after(190) == "`"
    assert at.pump.starts == 2
    assert at.pump.delivered_ul == pytest.approx(1000.0)


def test_t_stops_at_once_and_r_goes_on_with_the_rest() -> None:
    at = filled()
    at.dt("V100A1500IR")
    at.after(5)
    assert at.dt("T") == "`"
    assert at.after(100) == "`" and at.dt("?") == "`2500" and at.dt("?6") == "`o"
    assert at.dt("R") == "@"
    assert at.after(100) == "`" and at.dt("?") == "`1500" and at.dt("?6") == "`i"
    assert at.pump.delivered_ul == pytest.approx(500.0)


def test_t_may_forget_the_rest() -> None:
    at = filled(resumes_after_terminate=False)
    at.dt("V100A1500IR")
    at.after(5)
    at.dt("T")
    assert at.do("R") == "`" and at.dt("?") == "`2500"
    assert at.dt("T") == "`"


def test_t_ends_a_delay_but_not_a_turning_valve() -> None:
    at = filled()
    at.dt("M30000D300R")
    assert at.after(1) == "@" and at.dt("TR") == "`"
    at.dt("IM10R")
    assert at.dt("T") == "@" and at.after(1) == "`" and at.pump.valve_at == "left"


def test_block_latches_an_overload_until_initialised_again() -> None:
    at = overloaded()
    assert at.dt("Q") == at.dt("Q") == "i"
    assert at.dt("D300R") == "i"
    assert at.do("ZR") == "`"
    assert at.do("IA300R") == "`"
    at.pump.block()
    assert at.dt("Q") == "`"


def test_the_refusal_after_an_overload_is_an_option() -> None:
    at = filled(refusal_after_overload=1)
    at.dt("A0R")
    at.pump.block()
    assert at.dt("A0R") == "a"


def test_a_blocked_initialisation_fails() -> None:
    at = filled()
    at.dt("ZR")
    at.pump.block()
    assert at.dt("Q") == "a" and at.dt("?19") == "a0"
    assert at.dt("A0R") == "g"


# --- refusals


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("A3001R", "c"),
        ("P1R", "c"),
        ("D3001R", "c"),
        ("AR", "c"),
        ("A1,2R", "c"),
        ("V4R", "c"),
        ("V6001R", "c"),
        ("N3R", "c"),
        ("v0R", "c"),
        ("ER", "c"),
        ("I2R", "c"),
        ("Z1,1,4R", "c"),
        ("a0R", "b"),
        ("XR", "b"),
        ("gA0A100G5R", "b"),
        ("RA0", "b"),
        ("?99", "b"),
        ("A0" * 130 + "R", "o"),
    ],
)
def test_bad_strings_are_refused_and_told_once_by_q(text: str, code: str) -> None:
    at = filled()
    assert at.dt(text) == code
    assert (at.dt("Q"), at.dt("Q")) == (code, "`")
    assert at.pump.delivered_ul == 0.0 and at.dt("?") == "`3000"


def test_a_string_runs_up_to_its_bad_operand() -> None:
    at = filled()
    assert at.dt("A2700A3500A0R") == "@"
    assert at.after(60) == "c" and at.dt("?") == "`2700"


def test_errors_may_show_only_in_q() -> None:
    at = filled(errors_only_in_q=True)
    assert at.dt("A4000R") == "@"
    assert at.dt("Q") == "c"
    assert at.dt("QQQ") == "b"


def test_the_plunger_does_not_move_in_bypass() -> None:
    at = filled()
    at.do("BR")
    assert at.dt("?6") == "`b"
    assert at.dt("A0R") == "k" and at.dt("WR") == "k"
    assert at.do("OA0R") == "`"


def test_reports_may_hide_that_the_pump_is_busy() -> None:
    at = filled(reports_show_idle=True)
    at.dt("A0R")
    assert at.dt("?") == "`3000" and at.dt("Q") == "@"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?", "`3000"),
        ("?R", "`3000"),
        ("?4", "`3000"),
        ("?1", "`900"),
        ("?2", "`1400"),
        ("?3", "`900"),
        ("?7", "`14"),
        ("?6", "`o"),
        ("?19", "`1"),
        ("?29", "`"),
        ("&", "`P/N 20736 Rev B"),
        ("?23", "`P/N 20736 Rev B"),
    ],
)
def test_reports(query: str, said: str) -> None:
    assert filled().dt(query) == said


# --- microsteps, valves


def test_microsteps_count_eight_to_a_step() -> None:
    at = filled()
    assert at.do("N1R") == "`" and at.dt("?") == "`24000"
    at.do("D1R")
    assert at.dt("?") == "`23999"
    assert at.pump.delivered_ul == pytest.approx(1000 / 24000)
    assert at.dt("?2") == "`1400"
    at.do("N2R")
    assert at.dt("?2") == "`11200"
    assert at.do("V5R") == "`" and at.dt("?2") == "`5"
    at.dt("D10R")
    assert at.after(1) == "@" and at.dt("?") == "@23994"
    assert at.after(1) == "`" and at.do("N0R") == "`" and at.dt("?") == "`2998"


def test_y_makes_the_left_side_the_output() -> None:
    at = ready("YR", chip_port="left")
    assert at.dt("?6") == "`o" and at.pump.valve_at == "left"
    at.do("IA3000OA0R")
    assert at.pump.delivered_ul == pytest.approx(1000.0)
    wrong = ready("YR")
    wrong.do("IA3000OA0R")
    assert wrong.pump.delivered_ul == 0.0
    kept = ready("YR", y_mirrors=False)
    assert kept.dt("?6") == "`i"
    kept.do("IA3000OA0R")
    assert kept.pump.delivered_ul == pytest.approx(1000.0)


def test_a_fourth_port() -> None:
    at = ready("IA3000R", ports=4, chip_port="extra")
    at.do("EA0R")
    assert at.dt("?6") == "`e" and at.pump.delivered_ul == pytest.approx(1000.0)


def test_numbered_ports() -> None:
    at = ready("I1A3000R", valve="numbers", ports=6, chip_port="4")
    assert at.dt("?6") == "`1"
    assert at.dt("IR") == at.dt("I7R") == at.dt("BR") == "c"
    at.do("O4D1500R")
    assert at.dt("?6") == "`4" and at.pump.delivered_ul == pytest.approx(500.0)
    at.do("Z0,1,4R")
    assert at.pump.delivered_ul == pytest.approx(1000.0)
    at.do("Y0R")
    assert at.pump.valve_at == "1" and at.dt("?6") == "`6"
    at.do("I3R")
    assert at.pump.valve_at == "4"


def test_settings_know_their_ports() -> None:
    with pytest.raises(ValueError, match="chip_port 'extra'"):
        CavroSettings(chip_port="extra")


# --- power and initialisation


def test_moves_are_refused_until_the_pump_is_initialised() -> None:
    at = bench(start_position_steps=1500)
    assert at.dt("?19") == "g0" and at.dt("?") == "g0"
    assert at.pump.position_steps == 1500
    for text in ("A0R", "P10R", "IR"):
        assert at.dt(text) == "g"
    assert at.dt("V100R") == "`"
    assert at.pump.delivered_ul == 0.0


def test_error_7_may_show_only_when_a_move_was_refused() -> None:
    at = bench(status_shows_uninitialised=False)
    assert at.dt("Q") == "`" and at.dt("?19") == "`0"
    assert at.dt("A0R") == "g" and at.dt("Q") == "g" and at.dt("Q") == "`"


@pytest.mark.parametrize(
    ("text", "delivered_ul"), [("ZR", 500.0), ("YR", 0.0), ("WR", 500.0), ("Z0R", 500.0)]
)
def test_initialising_expels_the_syringe_through_the_output(text: str, delivered_ul: float) -> None:
    at = filled(1500)
    at.pump.power_cycle()
    assert at.dt("Q") == "g"
    assert at.pump.position_steps == 1500
    assert at.dt(text) == "@"
    assert at.after(0.5) == "@" and at.after(60) == "`"
    assert at.dt("?") == "`0" and at.dt("?19") == "`1"
    assert at.pump.delivered_ul == pytest.approx(delivered_ul)
    assert at.pump.initialisations == 2 and at.pump.starts == 1


def test_a_power_cut_stops_the_plunger_where_it_is() -> None:
    at = filled()
    at.dt("V100A0R")
    at.after(10)
    at.pump.power_cycle()
    at.now_s += 3600
    assert at.dt("Q") == "g" and at.dt("?2") == "g1400" and at.dt("F") == "g0"
    assert at.pump.position_steps == 2000
    assert at.pump.delivered_ul == pytest.approx(1000 / 3)
    assert at.do("R") == "g"


def test_a_terminated_initialisation_leaves_the_pump_uninitialised() -> None:
    at = filled()
    at.dt("ZR")
    at.after(2)
    at.dt("T")
    assert at.dt("Q") == "g" and at.dt("A0R") == "g"
    assert 0 < at.pump.delivered_ul < 1000


def test_the_ledger_takes_nothing_back() -> None:
    at = filled()
    last = 0.0
    for text in ("D600R", "P300R", "T", "YR", "IA3000R", "OA100R", "ZR"):
        at.dt(text)
        for _ in range(4):
            at.after(0.7)
            assert at.pump.delivered_ul >= last
            last = at.pump.delivered_ul
        at.pump.poll()
        at.after(100)
