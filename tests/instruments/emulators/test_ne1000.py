"""NE-1000 emulator: alarms, numbers, motion to the last uL, safe mode, power cuts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from instruments.emulators.ne1000_bus import Ne1000Bus
from instruments.emulators.ne1000_wire import crc16_xmodem, four_digits, safe_packet
from tests.instruments.emulators.bench_clock import Clocks, tell

DOSE = ("RAT 180 UH", "VOL UL", "VOL 360")


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def pump(clocks: Clocks) -> Ne1000:
    return clocks.ready_pump()


def to_safe_mode(pump: Ne1000, seconds: int = 10) -> None:
    pump.receive(safe_packet(f"{pump.address}SAF{seconds}".encode()))


def test_first_command_after_power_up_is_not_executed(clocks: Clocks) -> None:
    pump = clocks.pump()
    assert tell(pump, "DIA 10.00") == "00A?R"
    assert tell(pump, "DIA") == "00S26.59"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("VOL 12345", "00S?OOR"),
        ("VOL 1.2345", "00S?OOR"),
        ("VOL 123.45", "00S?OOR"),
        ("VOL 1e3", "00S?"),
        ("VOL -1", "00S?"),
        ("VOL .5", "00S"),
        ("RAT 0 UH", "00S?OOR"),
        ("RAT 5 XX", "00S?"),
        ("DIA 51", "00S?OOR"),
        ("DIR UP", "00S?"),
        ("RUN 42", "00S?OOR"),
        ("CLD", "00S?"),
        ("SAF 300", "00S?NA"),
        ("  v o\tl  ", "00S0.000ML"),
    ],
)
def test_commands_are_refused_or_taken_by_the_rules(
    pump: Ne1000, command: str, answer: str
) -> None:
    assert tell(pump, command) == answer


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0.000"),
        (0.5, "0.500"),
        (9.9999, "9.999"),
        (10, "10.00"),
        (8640, "8640"),
        (10001, "1.000"),
    ],
)
def test_values_are_shown_with_four_digits_rounded_down(value: float, shown: str) -> None:
    assert four_digits(value) == shown


def test_diameter_sets_the_volume_unit(pump: Ne1000) -> None:
    assert tell(pump, "DIA 14.00", "VOL") == "00S0.000UL"
    assert tell(pump, "DIA 14.01", "VOL") == "00S0.000ML"
    assert tell(pump, "VOL UL", "VOL") == "00S0.000UL"


def test_only_the_asked_target_is_delivered_then_the_pump_stops(
    clocks: Clocks, pump: Ne1000
) -> None:
    assert tell(pump, *DOSE, "RUN") == "00I"
    clocks.physics_h = 1.0
    assert tell(pump, "DIS") == "00II180.0W0.000UL"
    clocks.physics_h = 50.0
    assert tell(pump, "") == "00S"
    assert tell(pump, "DIS") == "00SI360.0W0.000UL"
    assert pump.plunger.delivered_ul == 360.0
    assert pump.plunger.flow_intervals == [(0.0, 2.0, 180.0)]


def test_pause_and_resume_deliver_the_target_to_the_last_ul(clocks: Clocks, pump: Ne1000) -> None:
    tell(pump, *DOSE, "RUN")
    clocks.physics_h = 0.7
    assert tell(pump, "STP") == "00P"
    clocks.physics_h = 5.0
    assert tell(pump, "RUN") == "00I"
    clocks.physics_h = 100.0
    assert tell(pump, "") == "00S"
    assert pump.plunger.delivered_ul == pytest.approx(360.0, abs=1e-9)
    assert pump.starts == 1
    assert [i[:2] for i in pump.plunger.flow_intervals] == [(0.0, 0.7), (5.0, pytest.approx(6.3))]


def test_stop_twice_abandons_the_target_and_run_begins_a_new_one(
    clocks: Clocks, pump: Ne1000
) -> None:
    tell(pump, *DOSE, "RUN")
    clocks.physics_h = 0.5
    assert tell(pump, "STP", "STP") == "00S"
    assert pump.plunger.delivered_ul == pytest.approx(90.0, abs=1e-9)
    tell(pump, "RUN")
    clocks.physics_h = 100.0
    assert tell(pump, "DIS") == "00SI450.0W0.000UL"
    assert pump.starts == 2


def test_rate_may_change_while_running_but_not_its_unit(clocks: Clocks, pump: Ne1000) -> None:
    tell(pump, *DOSE, "RUN")
    clocks.physics_h = 1.0
    assert tell(pump, "RAT 90 UH") == "00I?NA"
    assert tell(pump, "RAT 90") == "00I"
    clocks.physics_h = 100.0
    pump.poll()
    assert pump.plunger.flow_intervals == [(0.0, 1.0, 180.0), (1.0, 3.0, 90.0)]
    assert pump.plunger.delivered_ul == pytest.approx(360.0, abs=1e-9)


@pytest.mark.parametrize("command", ["DIA 10", "VOL 5", "CLD INF", "RUN", "DIR WDR", "PUR"])
def test_running_pump_refuses_what_needs_standstill(pump: Ne1000, command: str) -> None:
    assert tell(pump, *DOSE, "RUN", command) == "00I?NA"


def test_direction_may_change_while_running_without_a_target(clocks: Clocks, pump: Ne1000) -> None:
    tell(pump, "RAT 10 UH", "VOL 0", "RUN")
    clocks.physics_h = 2.0
    assert tell(pump, "DIR REV") == "00W"
    clocks.physics_h = 3.0
    assert tell(pump, "STP", "VOL UL", "DIS") == "00PI20.00W10.00UL"
    assert pump.plunger.content_ul == pytest.approx(60_000 - 10)


def test_empty_syringe_stalls(clocks: Clocks) -> None:
    pump = clocks.ready_pump(syringe_volume_ul=100.0)
    tell(pump, *DOSE, "RUN")
    clocks.physics_h = 9.0
    assert tell(pump, "RUN") == "00A?S"
    assert tell(pump, "DIS") == "00SI100.0W0.000UL"
    assert pump.plunger.delivered_ul == 100.0


def test_wrong_diameter_delivers_a_wrong_volume_and_shows_the_asked_one(clocks: Clocks) -> None:
    pump = clocks.ready_pump(syringe_diameter_mm=19.13)
    tell(pump, "DIA 26.72", *DOSE, "RUN")
    clocks.physics_h = 9.0
    assert tell(pump, "DIS") == "00SI360.0W0.000UL"
    assert pump.plunger.delivered_ul == pytest.approx(360.0 * (19.13 / 26.72) ** 2)


def test_power_cut_in_a_dose_zeroes_the_counter_and_latches_the_reset_alarm(
    clocks: Clocks, pump: Ne1000
) -> None:
    tell(pump, *DOSE, "RUN")
    clocks.physics_h = 1.0
    pump.power_cycle()
    clocks.physics_h = 9.0
    assert tell(pump, "RUN") == "00A?R"
    assert tell(pump, "DIS") == "00SI0.000W0.000UL"
    assert tell(pump, "VOL") == "00S360.0UL"
    assert pump.plunger.delivered_ul == 180.0
    assert pump.starts == 1


def test_purge_runs_until_stopped(clocks: Clocks, pump: Ne1000) -> None:
    assert tell(pump, "PUR") == "00X"
    clocks.physics_h = 0.001
    assert tell(pump, "STP") == "00S"
    assert pump.plunger.delivered_ul > 1000


def test_a_state_taken_mid_infusion_goes_on_as_if_nothing_had_been(
    clocks: Clocks, pump: Ne1000
) -> None:
    tell(pump, *DOSE, "RUN")
    clocks.physics_h = 0.3
    state = json.loads(json.dumps(pump.state()))
    other = clocks.pump()
    other.restore(state)
    assert other.state() == pump.state()
    for hours in (0.3, 1.9, 7.0):
        clocks.physics_h = hours
        assert tell(other, "DIS") == tell(pump, "DIS")
    assert other.plunger.flow_intervals == pump.plunger.flow_intervals == [(0.0, 2.0, 180.0)]


def test_published_checksum_is_met() -> None:
    assert crc16_xmodem(b"SAF0") == 0x5543
    assert safe_packet(b"SAF0") == b"\x02\x08SAF0UC\x03"


def test_a_silent_host_stops_the_pump(clocks: Clocks, pump: Ne1000) -> None:
    tell(pump, "RAT 180 UH", "VOL 0")
    to_safe_mode(pump)
    pump.receive(safe_packet(b"0RUN"))
    clocks.physics_h, clocks.wall_s = 1.0, 9.9
    assert pump.poll() == b""
    clocks.wall_s = 10.1
    assert pump.poll() == safe_packet(b"00A?T")
    clocks.physics_h = 5.0
    assert pump.plunger.delivered_ul == 180.0
    assert pump.receive(safe_packet(b"0")) == safe_packet(b"00A?T")
    assert pump.receive(safe_packet(b"0")) == safe_packet(b"00S")


def test_watchdog_waits_for_the_first_packet_after_power_up(clocks: Clocks, pump: Ne1000) -> None:
    to_safe_mode(pump)
    pump.power_cycle()
    assert pump.poll() == safe_packet(b"00A?R")
    clocks.wall_s = 1e6
    assert pump.poll() == b""
    assert pump.receive(safe_packet(b"0")) == safe_packet(b"00A?R")


def test_packets_for_another_pump_do_not_feed_the_watchdog(clocks: Clocks, pump: Ne1000) -> None:
    to_safe_mode(pump)
    clocks.wall_s = 8.0
    assert pump.receive(safe_packet(b"1")) == b""
    clocks.wall_s = 11.0
    assert pump.poll() == safe_packet(b"00A?T")


def test_damaged_packet_is_refused_and_not_carried_out(pump: Ne1000) -> None:
    tell(pump, *DOSE)
    to_safe_mode(pump)
    damaged = bytearray(safe_packet(b"0RUN"))
    damaged[-2] ^= 0x10
    assert pump.receive(bytes(damaged)) == safe_packet(b"00S?COM")
    assert pump.starts == 0


def test_half_a_packet_is_dropped_after_half_a_second(clocks: Clocks, pump: Ne1000) -> None:
    to_safe_mode(pump)
    whole = safe_packet(b"0VER")
    assert pump.receive(whole[:4]) == b""
    clocks.wall_s = 0.6
    assert pump.receive(whole[4:]) == b""
    assert pump.receive(whole) == safe_packet(b"00SNE1000V3.61")


def test_safe_mode_ignores_bare_commands(pump: Ne1000) -> None:
    tell(pump, *DOSE)
    to_safe_mode(pump)
    assert pump.receive(b"0RUN\r") == b""
    assert pump.starts == 0


def test_packet_whose_checksum_looks_like_a_frame_end_is_read_by_its_length(pump: Ne1000) -> None:
    to_safe_mode(pump, 255)
    packets = [safe_packet(f"0VOL{volume}".encode()) for volume in range(3000)]
    tricky = [packet for packet in packets if set(packet[-3:-1]) & set(b"\x02\x03\r")]
    assert len(tricky) > 20
    for packet in tricky:
        assert pump.receive(packet) == safe_packet(b"00S")


def bus_of(clocks: Clocks, count: int) -> Ne1000Bus:
    pumps = [
        Ne1000(Ne1000Settings(address=a), lambda: clocks.physics_h, lambda: clocks.wall_s)
        for a in range(count)
    ]
    return Ne1000Bus(pumps, lambda: clocks.wall_s)


def test_only_the_addressed_pump_answers(clocks: Clocks) -> None:
    bus = bus_of(clocks, 13)
    for address in (0, 3, 12):
        assert bus.receive(f"{address}\r".encode()) == f"\x02{address:02d}A?R\x03".encode()
    assert bus.receive(b"77\r") == b""
    assert bus.receive(b"VER\r") == b"\x0200SNE1000V3.61\x03"
    assert bus.receive(b"3VER\r12\r") == b"\x0203SNE1000V3.61\x03\x0212S\x03"


def test_a_command_to_all_pumps_collides(clocks: Clocks) -> None:
    bus = bus_of(clocks, 3)
    answer = bus.receive(b"*RESET\r")
    assert answer == b"\x0200A?R\x03"
    assert bus.receive(b"*RESET\r") == b"\x0200S\x03"
    assert [pump.address for pump in bus.pumps] == [0, 0, 0]


COMMANDS = st.sampled_from(
    [
        b"0RUN\r",
        b"0STP\r",
        b"0VOL 5\r",
        b"0RAT 5 MH\r",
        b"*RESET\r",
        b"0DIR REV\r",
        b"1\r",
        b"0DIA 9\r",
    ]
    + [safe_packet(p) for p in (b"0SAF9", b"SAF0", b"0RUN", b"1DIS", b"0PUR", b"\xff\x80")]
)
STREAM = st.lists(st.one_of(st.binary(max_size=20), COMMANDS), max_size=12)


@settings(max_examples=150, deadline=None)
@given(chunks=STREAM, hours=st.floats(0, 100), seconds=st.floats(0, 20))
def test_no_bytes_whatever_make_a_pump_raise_or_lose_its_ledger(
    chunks: list[bytes], hours: float, seconds: float
) -> None:
    clocks = Clocks()
    bus = bus_of(clocks, 2)
    for chunk in chunks:
        bus.receive(chunk)
        clocks.physics_h += hours
        clocks.wall_s += seconds
        bus.poll()
    for pump in bus.pumps:
        now_ul = 60_000 - pump.plunger.content_ul
        pump.plunger.halt()
        flown_ul = sum((end - start) * rate for start, end, rate in pump.plunger.flow_intervals)
        assert now_ul == pytest.approx(flown_ul, rel=1e-6, abs=1e-3)
        assert 0 <= pump.plunger.content_ul <= 60_000
        fresh = clocks.pump()
        fresh.restore(json.loads(json.dumps(pump.state())))
        assert fresh.state() == pump.state()


# --- programmes of phases

SECOND = ("PHN 2", "FUN RAT", "RAT 90 UH", "VOL 30", "PHN 1")


def test_settings_go_to_the_selected_phase(pump: Ne1000) -> None:
    for command in (*DOSE, *SECOND):
        assert tell(pump, command) == "00S"
    assert [tell(pump, query) for query in ("PHN", "FUN", "RAT", "VOL")] == [
        "00S01",
        "00SRAT",
        "00S180.0UH",
        "00S360.0UL",
    ]
    tell(pump, "PHN 2")
    assert [tell(pump, query) for query in ("PHN", "RAT", "VOL")] == [
        "00S02",
        "00S90.00UH",
        "00S30.00UL",
    ]
    tell(pump, "PHN 3")
    assert tell(pump, "FUN") == "00SSTP"


def test_run_begins_at_phase_1_and_goes_on_through_later_phases(
    clocks: Clocks, pump: Ne1000
) -> None:
    for command in (*DOSE, *SECOND, "PHN 2", "RUN"):
        tell(pump, command)
    clocks.physics_h += 2.0
    assert pump.moving and pump.delivered_ul == pytest.approx(360.0)
    clocks.physics_h += 1.0
    assert not pump.moving and pump.delivered_ul == pytest.approx(390.0)
    assert pump.starts == 1


def test_phases_outlive_the_process_that_emulates_them(clocks: Clocks, pump: Ne1000) -> None:
    for command in (*DOSE, *SECOND, "PHN 2"):
        tell(pump, command)
    other = clocks.pump()
    other.restore(json.loads(json.dumps(pump.state())))
    for command in ("PHN", "RAT", "PHN 1", "RAT"):
        assert tell(other, command) == tell(pump, command)


def test_phase_and_function_are_refused_by_the_rules(pump: Ne1000) -> None:
    refused = {"PHN 0": "00S?OOR", "PHN 42": "00S?OOR", "PHN x": "00S?", "FUN XYZ": "00S?"}
    for command, answer in refused.items():
        assert tell(pump, command) == answer
    for command in (*DOSE, "RUN"):
        tell(pump, command)
    assert (tell(pump, "PHN 2"), tell(pump, "FUN STP")) == ("00I?NA", "00I?NA")
