"""Protocol 11 emulator: recorded exchanges, targets, stalls, power cuts, a shared line, the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.emulators.protocol_11 import Protocol11, Protocol11Bus, Protocol11Settings
from tests.instruments.emulators.bench_clock import Clocks
from tests.instruments.serial_rows import rows

LEGATO, ELITE = "KDS Legato 101", "Pump 11 Elite"
XON = b"\x11"


def new_pump(clocks: Clocks | None = None, **options: object) -> Protocol11:
    clocks = clocks or Clocks()
    return Protocol11(
        Protocol11Settings(**options),  # type: ignore[arg-type]
        lambda: clocks.physics_h,
        lambda: clocks.wall_s,
    )


def tell(pump: Protocol11, *commands: str) -> str:
    """Send commands; return the last answer without XON."""
    answer = b""
    for command in commands:
        answer = pump.receive(f"{command}\r\n".encode())
    return answer.removesuffix(XON).decode()


def polled(*commands: str, **options: object) -> Protocol11:
    """Return a Legato with polling on that has heard commands."""
    pump = new_pump(**options)
    tell(pump, "@poll on", *commands)
    return pump


def after(*commands: str, diameter_mm: str = "20.45") -> Callable[[], Protocol11]:
    return lambda: polled(f"diameter {diameter_mm}", "svolume 20 ml", *commands)


SMALL = ("diameter 7.262", "svolume 8.6284 ml")
RAMP = "110 ul/min 417 ul/min 7.036"
JUDGED: dict[tuple[str, bytes, str], Callable[[], Protocol11]] = {
    (LEGATO, b"@poll on\r\n", ""): new_pump,
    (LEGATO, b"@load qs iw\r\n", ""): after(),
    (LEGATO, b"@irun\r\n", ""): after(),
    (LEGATO, b"@ivolume\r\n", ""): after(),
    (LEGATO, b"@civolume\r\n", ""): after(),
    (LEGATO, b"@cwvolume\r\n", ""): after(),
    (LEGATO, b"@force\r\n", ""): after("force 15"),
    (LEGATO, b"@addr 0\r\n", ""): after("addr 2"),
    (LEGATO, b"@load\r\n", "Infuse Only"): after("load qs i"),
    (LEGATO, b"@load\r\n", "Infuse/Withdraw"): after("load qs iw"),
    (LEGATO, b"@irate 199.49 ul/min\r\n", ""): after(),
    (LEGATO, b"@irate\r\n", ""): after("irate 1 ml/min"),
    (LEGATO, b"@irate lim\r\n", ""): after(*SMALL),
    (LEGATO, b"@iramp\r\n", ""): after(f"iramp {RAMP}"),
    (LEGATO, b"@cttime\r\n", ""): after(),
    (LEGATO, b"@wrate\r\n", ""): after("wrate 199.49 ul/min"),
    (LEGATO, b"@wrate 1 ml/min\r\n", ""): after(),
    (LEGATO, f"@wramp {RAMP}\r\n".encode(), ""): after(),
    (LEGATO, b"@wramp\r\n", ""): after(f"wramp {RAMP}", "wrate 1 ml/min"),
    (LEGATO, b"@svolume\r\n", ""): after(*SMALL),
    (LEGATO, b"@diameter\r\n", ""): after(*SMALL),
    (LEGATO, b"@syrmanu HOSHI ?\r\n", ""): after(),
    (LEGATO, b"@syrmanu\r\n", ""): after("syrmanu HOSHI 20 ml "),
    (LEGATO, b"@ttime\r\n", "30 seconds"): after("ttime 30"),
    (LEGATO, b"@ttime\r\n", "01:30:00"): after("ttime 01:30:00"),
    (LEGATO, b"@ttime\r\n", "not set"): after("ttime 30", "cttime"),
    (LEGATO, b"@ttime 01:30:00\r\n", ""): after(),
    (LEGATO, b"@wvolume\r\n", ""): after(),
    (LEGATO, b"@tvolume\r\n", "not set"): after("tvolume 1 ml", "ctvolume"),
    (LEGATO, b"@tvolume\r\n", "1 ml"): after("tvolume 1 ml"),
    (LEGATO, b"@tvolume 2 l\r\n", ""): after(),
    (LEGATO, b"@dim 15\r\n", ""): after(),
    (ELITE, b"0VER \r\n", ""): new_pump,
    (ELITE, b"0irate lim\r\n", ""): lambda: new_pump(stored_diameter_mm="7.262"),
}
"""(device, sent, part of what was received) -> a pump that answers just that."""
NOT_JUDGED = {
    b"T*": "a prompt alone: see test_target_is_reached_and_its_prompt_stays",
    b">*": "a prompt alone: see test_limit_switch_or_stall_ends_an_empty_syringe",
}
"""Received without anything sent -> why it is not compared as it stands."""


def key_of(device: str, sent: bytes, received: bytes) -> tuple[str, bytes, str] | None:
    keys = [k for k in JUDGED if k[:2] == (device, sent) and k[2].encode() in received]
    return max(keys, key=lambda key: len(key[2])) if keys else None


@pytest.mark.parametrize("device", [LEGATO, ELITE])
def test_pump_answers_as_recorded(shared_data: Path, device: str) -> None:
    judged = set()
    for sent, received, meaning in rows(shared_data, device):
        if not sent:
            assert received in NOT_JUDGED
            continue
        key = key_of(device, sent, received)
        assert key is not None, meaning
        assert JUDGED[key]().receive(sent) == received, meaning
        pump = JUDGED[key]()
        one_by_one = b"".join(pump.receive(bytes([byte])) for byte in sent)
        assert one_by_one == received, meaning
        judged.add(key)
    assert judged == {key for key in JUDGED if key[0] == device}


DOSE = ("irate 180 ul/hr", "tvolume 360 ul")


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def pump(clocks: Clocks) -> Protocol11:
    pump = new_pump(clocks)
    tell(pump, "poll on")
    return pump


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("", "\n:"),
        ("ver", "\n11 ELITE I/W Single 3.0.4\r\n:"),
        ("VERS", "\nFirmware:      v3.0.4\r\nPump address:  0\r\nSerial number: D101754\r\n:"),
        ("poll", "\nON\r\n:"),
        ("echo", "\nOFF\r\n:"),
        ("nvram none", "\n:"),
        ("nvram off", "\nArgument error: off\r\n   Unknown argument\r\n:"),
        ("addr", "\nPump address is 0\r\n:"),
        ("xyz", "\nCommand error:\r\n   Unknown command\r\n:"),
        ("ira", "\nCommand error:\r\n   Unknown command\r\n:"),
        ("irat", "\n1 ml/min\r\n:"),
        ("irate 5", "\nArgument error: \r\n   Missing argument\r\n:"),
        ("irate 5 apples", "\nArgument error: apples\r\n   Unknown units\r\n:"),
        ("irate 1e3 ul/min", "\nArgument error: 1e3\r\n   Invalid number\r\n:"),
        ("irate 0 ul/min", "\nArgument error: 0\r\n   Out of range\r\n:"),
        ("irate 9999 ml/min", "\nArgument error: 9999\r\n   Out of range\r\n:"),
        ("diameter 99", "\nArgument error: 99\r\n   Out of range\r\n:"),
        ("tvolume 0 ul", "\nArgument error: 0\r\n   Target volume out of range\r\n:"),
        ("syrmanu HOSHI 200 ml ", "\nArgument error: 200\r\n   Unknown syringe\r\n:"),
        ("time 05/08/23 14:48:23", "\n05/08/23 2:48:23 PM\r\n:"),
        ("status", "\n0 0 0 i...I\r\n:"),
        ("force 0100000", "\nArgument error: 0100000\r\n   Out of range\r\n:"),
        ("force 0", "\nArgument error: 0\r\n   Out of range\r\n:"),
    ],
)
def test_commands_are_answered_by_the_rules(pump: Protocol11, command: str, answer: str) -> None:
    assert tell(pump, f"@{command}") == tell(pump, command) == answer


def test_metrics_name_the_pump(pump: Protocol11) -> None:
    assert "Pump type string   11 ELITE I/W Single" in tell(pump, "metrics")


def test_date_goes_on_with_the_wall_clock(clocks: Clocks, pump: Protocol11) -> None:
    tell(pump, "time 05/08/23 23:59:59")
    clocks.wall_s += 2
    assert tell(pump, "time") == "\n05/09/23 12:00:01 AM\r\n:"


def test_echo_repeats_what_it_hears_before_the_answer(pump: Protocol11) -> None:
    tell(pump, "echo on")
    assert pump.receive(b"irate\r\n") == b"irate\r\n1 ml/min\r\n:\x11\n"


def test_rates_may_be_set_to_their_limits_and_back(pump: Protocol11) -> None:
    assert tell(pump, "diameter 7.262", "irate max", "irate") == "\n26.0035 ml/min\r\n:"
    assert tell(pump, "irate min", "irate") == "\n25.0404 nl/min\r\n:"
    assert tell(pump, "irate 3.2 u/m", "irate") == "\n3.2 ul/min\r\n:"


def test_target_is_reached_and_its_prompt_stays(clocks: Clocks, pump: Protocol11) -> None:
    assert tell(pump, *DOSE, "irun") == "\n>"
    assert (pump.starts, pump.moving) == (1, True)
    clocks.physics_h = 1.0
    assert tell(pump, "ivolume") == "\n180 ul\r\n>"
    assert tell(pump, "status") == "\n50000000 3600 180000000000 I...I\r\n>"
    clocks.physics_h = 50.0
    assert tell(pump, "ivolume") == "\n360 ul\r\nT*"
    assert tell(pump, "stp") == "\nT*"
    assert tell(pump, "status") == "\n0 7200 360000000000 i...I\r\nT*"
    assert pump.plunger.flow_intervals == [(0.0, 2.0, 180.0)]
    assert (pump.delivered_ul, pump.moving) == (360.0, False)
    assert tell(pump, "irun") == "\nT*"  # the counter has reached the target already
    assert (pump.delivered_ul, pump.starts) == (360.0, 1)
    assert tell(pump, "civolume") == "\n:"
    assert tell(pump, "irun") == "\n>"
    clocks.physics_h = 100.0
    assert tell(pump, "ivolume") == "\n360 ul\r\nT*"
    assert (pump.delivered_ul, pump.starts) == (720.0, 2)


def test_a_target_may_count_from_the_start_of_a_run(clocks: Clocks) -> None:
    pump = new_pump(clocks, target_counts_from="run", status_style="legato")
    tell(pump, *DOSE, "irun")
    clocks.physics_h = 5.0
    assert tell(pump, "status") == "\nT*\n0 7200000 360000000000 i...IT\r\nT*"
    tell(pump, "irun")
    clocks.physics_h = 10.0
    assert tell(pump) == "" and tell(pump, "ivolume").startswith("\nT*\n720 ul")
    assert (pump.delivered_ul, pump.starts) == (720.0, 2)


def test_without_polling_the_pump_says_that_it_has_stopped(clocks: Clocks) -> None:
    pump = new_pump(clocks)
    assert tell(pump, *DOSE, "irun") == "\n>"
    assert pump.poll() == b""
    clocks.physics_h = 2.0
    assert (pump.poll(), pump.poll()) == (b"\nT*", b"")


def test_target_time_stops_the_pump_too(clocks: Clocks, pump: Protocol11) -> None:
    tell(pump, *DOSE, "ttime 01:00:00", "irun")
    clocks.physics_h = 9.0
    assert tell(pump, "ivolume") == "\n180 ul\r\nT*"
    assert tell(pump, "cttime", "ttime") == "\nTarget time not set\r\n:"


def test_without_a_target_the_pump_runs_until_stopped(clocks: Clocks, pump: Protocol11) -> None:
    tell(pump, "irate 180 ul/hr", "irun")
    clocks.physics_h = 3.0
    assert tell(pump, "stop") == "\n:"
    clocks.physics_h = 4.0
    assert tell(pump, "ivol") == "\n540 ul\r\n:"


def test_withdrawing_and_reversing_count_apart(clocks: Clocks, pump: Protocol11) -> None:
    tell(pump, "irate 100 ul/hr", "wrate 50 ul/hr", "irun")
    clocks.physics_h = 4.0
    assert tell(pump, "stp", "rrun") == "\n<"
    clocks.physics_h = 6.0
    assert tell(pump, "stp", "wvolume") == "\n100 ul\r\n:"
    assert tell(pump, "cwvolume", "ivolume") == "\n400 ul\r\n:"
    assert tell(pump, "cvolume", "ivolume") == "\n0 ul\r\n:"
    assert (pump.delivered_ul, pump.plunger.content_ul) == (400.0, 9700.0)


@pytest.mark.parametrize(
    ("hours", "shown"),
    [(1e-6, "180 pl"), (1e-5, "1.8 nl"), (0.0093901666, "1.69023 ul"), (20.0, "3.6 ml")],
)
def test_counter_is_shown_in_the_unit_that_fits(
    clocks: Clocks, pump: Protocol11, hours: float, shown: str
) -> None:
    tell(pump, "irate 180 ul/hr", "irun")
    clocks.physics_h = hours
    assert tell(pump, "ivolume") == f"\n{shown}\r\n>"


def test_rate_may_change_while_running_and_the_target_holds(
    clocks: Clocks, pump: Protocol11
) -> None:
    tell(pump, *DOSE, "irun")
    clocks.physics_h = 1.0
    assert tell(pump, "irate 90 ul/hr") == "\n>"
    clocks.physics_h = 100.0
    assert tell(pump, "ivolume") == "\n360 ul\r\nT*"
    assert pump.plunger.flow_intervals == [(0.0, 1.0, 180.0), (1.0, 3.0, 90.0)]
    assert pump.starts == 1


@pytest.mark.parametrize(
    "command",
    ["diameter 10", "tvolume 5 ul", "ctvolume", "civolume", "irun", "rrun", "addr 4", "load qs w"],
)
def test_running_pump_refuses_what_needs_standstill(pump: Protocol11, command: str) -> None:
    answer = tell(pump, *DOSE, "irun", command)
    assert answer == "\nCommand error:\r\n   Pump is running\r\n>"
    assert pump.starts == 1


def test_stall_stays_until_the_next_run_or_clear(clocks: Clocks, pump: Protocol11) -> None:
    tell(pump, *DOSE, "irun")
    clocks.physics_h = 1.0
    pump.block()
    clocks.physics_h = 9.0
    assert tell(pump, "stp") == "\n*"
    assert tell(pump, "ivolume") == "\n180 ul\r\n*"
    assert tell(pump, "status") == "\n0 3600 180000000000 i.S.I\r\n*"
    assert tell(pump, "irun") == "\n>"
    clocks.physics_h = 99.0
    assert tell(pump, "ivolume") == "\n360 ul\r\nT*"
    assert pump.delivered_ul == 360.0


def test_a_stall_may_need_a_person(clocks: Clocks) -> None:
    pump = new_pump(clocks, stall_needs_a_person=True)
    tell(pump, "poll on", *DOSE, "irun")
    pump.block()
    assert tell(pump, "civolume", "irun") == "\nCommand error:\r\n   Pump stalled\r\n*"
    pump.press_display()
    assert tell(pump, "irun") == "\n>"


@pytest.mark.parametrize(("switches", "prompt"), [(False, "*"), (True, ">*")])
def test_limit_switch_or_stall_ends_an_empty_syringe(
    clocks: Clocks, switches: bool, prompt: str
) -> None:
    pump = new_pump(clocks, syringe_volume_ul=100.0, limit_switches=switches)
    tell(pump, "poll on", *DOSE, "irun")
    clocks.physics_h = 9.0
    assert tell(pump, "ivolume") == f"\n100 ul\r\n{prompt}"
    assert pump.delivered_ul == 100.0


def test_wrong_diameter_delivers_a_wrong_volume_and_shows_the_asked_one(clocks: Clocks) -> None:
    pump = new_pump(clocks, stored_diameter_mm="28.854")
    tell(pump, "poll on", *DOSE, "irun")
    clocks.physics_h = 9.0
    assert tell(pump, "ivolume") == "\n360 ul\r\nT*"
    assert pump.delivered_ul == pytest.approx(90.0)


def test_power_cut_in_a_dose_loses_counter_target_and_polling(
    clocks: Clocks, pump: Protocol11
) -> None:
    tell(pump, *DOSE, "irun")
    clocks.physics_h = 1.0
    pump.power_cycle()
    clocks.physics_h = 9.0
    assert pump.receive(b"ivolume\r") == b"\n0 ul\r\n:"
    assert tell(pump, "tvolume") == "\nTarget volume not set\r\n:"
    assert tell(pump, "irate") == "\n180 ul/hr\r\n:"
    assert (pump.delivered_ul, pump.starts, pump.moving) == (180.0, 1, False)


def test_what_outlives_a_power_cut_can_be_chosen(clocks: Clocks) -> None:
    pump = new_pump(clocks, poll_persists=True, counters_persist=True, targets_persist=True)
    tell(pump, "poll on", *DOSE, "irun")
    clocks.physics_h = 1.0
    pump.power_cycle()
    assert pump.receive(b"ivolume\r") == b"\n180 ul\r\n:\x11"
    assert tell(pump, "tvolume") == "\n360 ul\r\n:"


def test_without_nvram_a_power_cut_brings_the_old_settings_back(pump: Protocol11) -> None:
    tell(pump, "nvram none", "diameter 7.262", "irate 5 ul/min")
    pump.power_cycle()
    assert tell(pump, "diameter") == "\n14.4270 mm\r\n:"
    assert tell(pump, "irate") == "\n1 ml/min\r\n:"


def test_touch_screen_models_run_only_in_quick_start(clocks: Clocks) -> None:
    pump = new_pump(clocks, needs_quick_start=True)
    refusal = "\nCommand error:\r\n   Not available in this mode\r\n:"
    assert tell(pump, "irun") == refusal
    assert tell(pump, "load qs i", "wrun") == refusal
    assert tell(pump, "irun") == "\n>"
    pump.power_cycle()
    assert tell(pump, "irun") == refusal


def test_a_run_with_a_ramp_is_refused(pump: Protocol11) -> None:
    assert "Ramp not available" in tell(pump, f"iramp {RAMP}", "irun")
    assert tell(pump, "irate 1 ml/min", "irun") == "\n>"


@pytest.mark.parametrize(("separator", "between"), [("none", ""), ("colon", ":")])
def test_only_the_addressed_pump_answers(clocks: Clocks, separator: str, between: str) -> None:
    pumps = [new_pump(clocks, address=a, address_separator=separator) for a in (0, 2, 12)]
    bus = Protocol11Bus(pumps)
    assert bus.receive(b"irate\r\n") == b"\n1 ml/min\r\n:"
    assert bus.receive(f"2{between}irate\r\n".encode()) == b"\n02:1 ml/min\r\n02:"
    assert bus.receive(f"12{between}irun\r\n".encode()) == b"\n12>"
    assert bus.receive(f"12{between}@irate\r\n@12{between}irate\r".encode()) == (
        b"\n12:1 ml/min\r\n12>" * 2
    )
    assert bus.receive(f"7{between}irate\r\n".encode()) == b""
    assert bus.receive(f"02{between}nonsense\r".encode()) == (
        b"\n02:Command error:\r\n02:   Unknown command\r\n02:"
    )
    assert [pump.starts for pump in pumps] == [0, 0, 1]
    clocks.physics_h = 99.0
    assert bus.poll() == b"\n12*"
    bus.power_cycle()
    assert bus.receive(f"12{between}\r".encode()) == b"\n12:"


def test_the_other_address_dialect_is_not_understood(clocks: Clocks) -> None:
    colon = Protocol11Bus([new_pump(clocks, address=a, address_separator="colon") for a in (0, 2)])
    assert b"Unknown command" in colon.receive(b"2irun\r")
    none = Protocol11Bus([new_pump(clocks, address=a) for a in (0, 2)])
    for line in (b"2:irun\r", b"22:irun\r"):
        assert b"Unknown command" in none.receive(line)
    assert not any(pump.starts for bus in (colon, none) for pump in bus.pumps)


def test_a_pump_alone_on_its_port_needs_no_address(pump: Protocol11) -> None:
    assert tell(pump, "addr 2") == "\nPump address set to 2\r\n02:"
    assert tell(pump, "irate") == tell(pump, "2irate") == "\n02:1 ml/min\r\n02:"
    assert tell(pump, "3irate") == ""


LINES = st.sampled_from(
    ["irun", "wrun", "rrun", "stp", "tvolume 5 ul", "ttime 9", "irate 5 ml/min", "cvolume"]
    + ["diameter 9", "2irun", "poll on", "status", "irate max", "ctvolume", "cttime", "iramp"]
)
STREAM = st.lists(
    st.one_of(st.binary(max_size=20), LINES.map(lambda line: f"{line}\r\n".encode())), max_size=12
)


@settings(max_examples=150, deadline=None)
@given(chunks=STREAM, hours=st.floats(0, 100), cut=st.booleans())
def test_no_bytes_whatever_make_a_pump_raise_or_lose_its_ledger(
    chunks: list[bytes], hours: float, cut: bool
) -> None:
    clocks = Clocks()
    pump = new_pump(clocks)
    delivered_ul = 0.0
    for chunk in chunks:
        pump.receive(chunk)
        clocks.physics_h += hours
        pump.poll()
        if cut:
            pump.power_cycle()
        assert pump.delivered_ul >= delivered_ul
        delivered_ul = pump.delivered_ul
    now_ul = 10_000 - pump.plunger.content_ul
    pump.plunger.halt()
    flown_ul = sum((end - start) * rate for start, end, rate in pump.plunger.flow_intervals)
    assert now_ul == pytest.approx(flown_ul, rel=1e-6, abs=1e-3)
    assert -1e-6 <= pump.plunger.content_ul <= 10_000 + 1e-6
