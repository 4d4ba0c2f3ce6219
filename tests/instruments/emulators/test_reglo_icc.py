"""Reglo ICC emulator: published exchanges, modes, refusals, events, counters, power cuts, the ledger."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.emulators.reglo_icc import RegloIcc, RegloIccSettings
from instruments.emulators.reglo_icc_wire import four_digits, scaled_volume, volume1, volume2
from tests.instruments.emulators.bench_clock import Clocks
from tests.instruments.serial_rows import rows

REGLO = "Reglo ICC"


def new_pump(clocks: Clocks | None = None, **options: object) -> RegloIcc:
    clocks = clocks or Clocks()
    return RegloIcc(
        RegloIccSettings(**options),  # type: ignore[arg-type]
        lambda: clocks.physics_h,
        lambda: clocks.wall_s,
    )


def tell(pump: RegloIcc, *requests: str) -> str:
    """Send requests; return the last answer."""
    answer = b""
    for request in requests:
        answer = pump.receive(f"{request}\r".encode())
    return answer.decode()


def after(*requests: str, hours: float = 0.0, **options: object) -> Callable[[], RegloIcc]:
    def make() -> RegloIcc:
        clocks = Clocks()
        pump = new_pump(clocks, **options)
        tell(pump, *requests)
        clocks.physics_h = hours
        return pump

    return make


FULL_SPEED = ("3L", "3S010000", "3H")
JUDGED: dict[bytes, Callable[[], RegloIcc]] = {
    b"0x!\r": after(),
    b"0xE1\r": after(),
    b"3I\r": after(*FULL_SPEED),
    b"1J\r": after("1K"),
    b"4N\r": after(),
    b"4S\r": after("4S001230"),
    b"4f\r": after("4f3250+1"),
    b"2v\r": after("2v1300-3"),
    b"2+\r": after("2+0317"),
    b"1%0000\r": after("1%0003"),
    b"4xU1000+2\r": after(),
    b"2xY\r": after("2xU1000-3", "2S010000"),
    b"0(\r": after(),
    b"0xA\r": after(channels=3),
    b"3xC\r": after(*FULL_SPEED, hours=15.11 / 60),
    b"3xJ\r": after(*FULL_SPEED, hours=1511 / 3600),
    b"1#\r": after(),
    b"1xe\r": after("1Q", "1H"),
}
"""Request -> a pump that answers it as published."""


def test_pump_answers_as_published(shared_data: Path) -> None:
    found = rows(shared_data, REGLO)
    assert {sent for sent, _, _ in found if sent} == set(JUDGED)
    for sent, received, meaning in found:
        if not sent:
            assert received.startswith(b"^U3")  # judged in the test of the keypad
            continue
        assert JUDGED[sent]().receive(sent) == received, meaning
        pump = JUDGED[sent]()
        one_by_one = b"".join(pump.receive(bytes([byte])) for byte in sent)
        assert one_by_one == received, meaning


def test_keypad_start_is_told_as_published(shared_data: Path) -> None:
    (event,) = (received for sent, received, _ in rows(shared_data, REGLO) if not sent)
    pump = after("0xE1", "3O", "3xf1", "3f1000-4", "3v1000+2")()
    pump.press_start(3)
    assert pump.poll() == event
    pump.press_stop(3)
    assert tell(pump, "0E") == "^X3|1\r\n-"


@pytest.mark.parametrize(
    ("value", "text"),
    [("32.5", "3250E+1"), ("0.0013", "1300E-3"), ("0", "0000E+0"), ("9.9996", "1000E+1")],
)
def test_volumes_have_four_digits(value: str, text: str) -> None:
    assert volume1(Decimal(value)) == text
    if value != "9.9996":
        assert volume2(text.replace("E", "")) == Decimal(value)


def test_volumes_in_words() -> None:
    assert [scaled_volume(v) for v in (0, 0.98, 4.983, 12.345, 1500)] == [
        "0.000 ul",
        "980.0 ul",
        "4.983 ml",
        "12.34 ml",
        "1.500 l",
    ]
    assert four_digits(0.1386) == "0.138"


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def pump(clocks: Clocks) -> RegloIcc:
    """A pump whose channel 2 will pump 0.36 mL at 0.1 mL/min: 3.6 min."""
    pump = new_pump(clocks)
    for request in ("2+0013", "2M", "2O", "2J"):
        assert tell(pump, request) == "*"
    assert tell(pump, "2f1000-1") == "1000E-1\r\n"
    assert tell(pump, "2v3600-1") == "3600E-1\r\n"
    return pump


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("2xM", "O\r\n"),
        ("2xD", "J\r\n"),
        ("2xf", "1\r\n"),
        ("2f", "1000E-1\r\n"),
        ("2?", "0.138 ml/min\r\n"),
        ("2!", "0.138 ml/min\r\n"),
        ("2:", "0.000 ul\r\n"),
        ("2xG", "0000000000\r\n"),
        ("2xT", "0\r\n"),
        ("2xT00000105", "*"),
        ("2xT35964001", "#"),
        ("2xT105", "#"),
        ('2"0003', "*"),
        ("2xe", "#"),
        ("2f1000", "#"),
        ("2f1000E-1", "#"),
        ("2S1230", "#"),
        ("2+0014", "#"),
        ("2xf2", "#"),
        ("2Z", "#"),
        ("5H", "#"),
        ("H", "#"),
        ("", "#"),
        ("0:", "#"),
        ("0xNReagent A", "*"),
        ("@3", "*"),
        ("@9", "#"),
        ("@0", "#"),
        ("0xE", "0\r\n"),
        ("1~", "1\r\n"),
        ("A~1", "*"),
        ("0E", "-"),
    ],
)
def test_requests_are_answered_by_the_rules(pump: RegloIcc, request_: str, answer: str) -> None:
    assert tell(pump, request_) == answer


def test_only_the_asked_volume_is_delivered_by_the_asked_channel(
    clocks: Clocks, pump: RegloIcc
) -> None:
    assert tell(pump, "2H") == "*"
    assert (pump.moving, pump.starts, tell(pump, "0E")) == (True, 1, "+")
    clocks.physics_h = 0.03
    assert tell(pump, "2:") == "180.0 ul\r\n"
    assert pump.delivered_ul == pytest.approx(180.0)
    clocks.physics_h = 5.0
    assert tell(pump, "0E") == "-"
    assert tell(pump, "2:") == "360.0 ul\r\n"
    assert (pump.delivered_ul, pump.moving) == (pytest.approx(360.0), False)
    assert [pump.delivered_by_ul(n) for n in (1, 2, 3, 4)] == [0, pytest.approx(360.0), 0, 0]
    assert tell(pump, "2H") == "*"  # a start once more is a dose once more
    clocks.physics_h = 9.0
    assert tell(pump, "2:") == "720.0 ul\r\n"
    assert (pump.starts, pump.delivered_ul) == (2, pytest.approx(720.0))


def test_a_second_start_while_running_changes_nothing(clocks: Clocks, pump: RegloIcc) -> None:
    tell(pump, "2H")
    clocks.physics_h = 0.03
    assert tell(pump, "2H") == "*"
    clocks.physics_h = 9.0
    assert (pump.delivered_ul, pump.starts) == (pytest.approx(360.0), 1)


def test_stop_abandons_and_pause_holds(clocks: Clocks, pump: RegloIcc) -> None:
    assert tell(pump, "2H") == "*"
    clocks.physics_h = 0.03
    assert tell(pump, "2xI") == "*"
    assert pump.moving is False
    clocks.physics_h = 1.0
    assert tell(pump, "2:", "2H") == "*"
    clocks.physics_h = 2.0
    assert (pump.delivered_ul, pump.starts) == (pytest.approx(360.0), 1)
    tell(pump, "2H")
    clocks.physics_h = 2.03
    assert tell(pump, "2I") == tell(pump, "2I") == "*"
    clocks.physics_h = 9.0
    assert tell(pump, "2:") == "540.0 ul\r\n"
    assert (pump.delivered_ul, pump.starts) == (pytest.approx(540.0), 2)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (("2Q",), "C 0000E+1"),
        (("2f0000+0",), "R 1386E-1"),
        (("2f1000+0",), "R 1386E-1"),
        (("2L",), "R 1386E-1"),
        (("2xf0",), "R 1386E-1"),
        (("2v0000+0",), "V 8308E+3"),
        (("2v9000+3",), "V 8308E+3"),
        (("2G",), "R 1386E-1"),
        (("2G", "2xT00000600"), "R 1386E-1"),
        (("2N",), "R 1386E-1"),
    ],
)
def test_what_can_not_be_done_is_refused_with_its_reason(
    pump: RegloIcc, setting: tuple[str, ...], reason: str
) -> None:
    assert tell(pump, *setting, "2H") == "-"
    assert tell(pump, "2xe") == f"{reason}\r\n"
    assert (pump.starts, pump.moving) == (0, False)


@pytest.mark.parametrize(
    ("settings_", "delivered_ul"),
    [
        (("2L", "2S005000"), 0.0693 * 60 * 1000),
        (("2M",), 6000.0),
        (("2G", "2xT00036000"), 360.0),
        (("2N", "2xT00006000"), 1000.0),
        (("2P", "2xT00006000", "2xP00006000", '2"0002'), 2000.0),
        (("2Q", "2xP00006000", '2"0003'), 1080.0),
    ],
)
def test_modes_deliver_what_they_say(
    clocks: Clocks, pump: RegloIcc, settings_: tuple[str, ...], delivered_ul: float
) -> None:
    assert tell(pump, *settings_, "2H") == "*"
    clocks.physics_h = 1.0
    assert pump.delivered_ul == pytest.approx(delivered_ul)
    tell(pump, "2I")
    assert pump.delivered_ul == pytest.approx(delivered_ul)


def test_pauses_of_a_cycle_move_nothing_and_are_told(clocks: Clocks, pump: RegloIcc) -> None:
    tell(pump, "0xE1", "2Q", "2xP00006000", '2"0002', "2H")  # 3.6 min on, 10 min off
    clocks.physics_h = 0.1
    assert pump.poll() == b"^X2|A\r\n"
    assert (pump.delivered_ul, pump.moving, tell(pump, "0E")) == (pytest.approx(360), True, "+")
    clocks.physics_h = 0.25
    assert tell(pump, "2xM") == "^U2|A|0000000816|0000000360|0001\r\nQ\r\n"
    clocks.physics_h = 1.0
    assert tell(pump, "0E") == "^X2|A\r\n-"
    assert pump.delivered_ul == pytest.approx(720.0)


def test_events_come_before_replies_and_not_after_a_host_stop(
    clocks: Clocks, pump: RegloIcc
) -> None:
    tell(pump, "2H")
    clocks.physics_h = 1.0
    assert pump.poll() == b""  # events are off
    assert tell(pump, "0xE1", "2H", "2I") == "*"
    clocks.physics_h = 2.0
    assert pump.poll() == b""
    tell(pump, "2H")
    clocks.physics_h = 3.0
    assert tell(pump, "2:") == "^X2|A\r\n720.0 ul\r\n"


def test_over_current_stops_a_channel_with_cause_3(clocks: Clocks, pump: RegloIcc) -> None:
    tell(pump, "0xE1", "1M", "1f1000-1", "1H", "2H")
    clocks.physics_h = 0.03
    pump.block(2)
    assert pump.poll() == b"^X2|3\r\n"
    assert tell(pump, "0E") == "+"
    clocks.physics_h = 9.0
    assert tell(pump, "2:") == "180.0 ul\r\n"
    pump.block()
    assert tell(pump, "0E") == "^X1|3\r\n-"


def test_running_channel_refuses_what_needs_standstill(pump: RegloIcc) -> None:
    tell(pump, "2H")
    for request in ("2M", "2K", "2v1000+0", "2f1000-2", "2S000100", "2+0317", "2W", "2xT00000001"):
        assert tell(pump, request) == "#", request


def test_rate_of_a_run_without_an_end_may_change(clocks: Clocks, pump: RegloIcc) -> None:
    tell(pump, "2M", "2H")
    clocks.physics_h = 1.0
    assert tell(pump, "2f5000-2") == "5000E-2\r\n"
    assert tell(pump, "2f5000+1") == "#"
    clocks.physics_h = 2.0
    assert tell(pump, "2f") == "5000E-2\r\n"
    assert (pump.delivered_ul, pump.starts) == (pytest.approx(9000.0), 1)


def test_worn_tubing_delivers_less_than_the_pump_shows(clocks: Clocks) -> None:
    pump = new_pump(clocks, true_ml_per_shown_ml=0.8)
    tell(pump, "1M", "1f1000-1", "1O", "1v3600-1", "1H")
    clocks.physics_h = 1.0
    assert tell(pump, "1:") == "360.0 ul\r\n"
    assert pump.delivered_ul == pytest.approx(288.0)


def test_calibration_makes_shown_and_real_volumes_agree(clocks: Clocks) -> None:
    pump = new_pump(clocks, true_ml_per_shown_ml=0.8)
    assert tell(pump, "1M", "1f1000-1", "1xU1000+0") == "1000E+0\r\n"
    assert tell(pump, "1xY") == "*"
    clocks.physics_h = 1.0
    assert pump.delivered_ul == pytest.approx(800.0)
    assert tell(pump, "1xV8000-1") == "8000E-1\r\n"
    assert (tell(pump, "1?"), tell(pump, "1!")) == ("0.138 ml/min\r\n", "0.110 ml/min\r\n")
    tell(pump, "1W", "1O", "1v3600-1", "1H")
    clocks.physics_h = 2.0
    assert tell(pump, "1:") == "360.0 ul\r\n"
    assert pump.delivered_ul == pytest.approx(1160.0)
    assert tell(pump, "1+0013", "1!") == "0.138 ml/min\r\n"


def test_counter_is_cleared_but_not_the_lifetime(clocks: Clocks, pump: RegloIcc) -> None:
    tell(pump, "2v3600+0", "2H")
    clocks.physics_h = 1.0
    assert tell(pump, "2W") == "*"
    assert tell(pump, "2:") == "0.000 ul\r\n"
    assert tell(pump, "2xG") == "0000000003\r\n"
    assert tell(pump, "2xJ") == "0000002160\r\n"
    assert tell(new_pump(takes_W=False), "2W") == "#"


def test_backward_flow_is_no_delivery(clocks: Clocks, pump: RegloIcc) -> None:
    tell(pump, "2K", "2H")
    clocks.physics_h = 1.0
    assert tell(pump, "2:") == "360.0 ul\r\n"
    assert pump.delivered_ul == 0.0
    assert tell(pump, "2J", "2H") == "*"
    clocks.physics_h = 2.0
    assert pump.delivered_ul == pytest.approx(360.0)


def test_power_cut_in_a_dose_loses_the_counter_not_the_lifetime(
    clocks: Clocks, pump: RegloIcc
) -> None:
    tell(pump, "0xE1", "2v3600+0", "2H")
    clocks.physics_h = 0.3
    pump.power_cycle()
    clocks.physics_h = 9.0
    assert tell(pump, "2:") == "0.000 ul\r\n"
    assert tell(pump, "2xG") == "0000000001\r\n"
    assert (tell(pump, "2v"), tell(pump, "0xE")) == ("3600E+0\r\n", "0\r\n")
    assert (pump.delivered_ul, pump.starts, pump.moving) == (pytest.approx(1800.0), 1, False)


def test_what_outlives_a_power_cut_can_be_chosen(clocks: Clocks) -> None:
    pump = new_pump(clocks, counter_persists=True, settings_persist=False, events=True)
    tell(pump, "1M", "1f1000-1", "1*", "1f5000-2", "1H")
    clocks.physics_h = 1.0
    pump.power_cycle()
    assert tell(pump, "1:") == "3.000 ml\r\n"
    assert tell(pump, "1f") == "1000E-1\r\n"
    assert tell(pump, "0xE") == "1\r\n"


def test_an_address_and_a_nought_reset_a_channel(clocks: Clocks, pump: RegloIcc) -> None:
    """``10`` is address 1 and the code that resets, not a setting to 0."""
    tell(pump, "1M", "1f1000-1", "1H")
    clocks.physics_h = 1.0
    assert tell(pump, "10") == "*"
    assert (tell(pump, "1xM"), tell(pump, "1f")) == ("L\r\n", "0000E+0\r\n")
    assert (tell(pump, "2xM"), pump.moving) == ("O\r\n", False)
    assert pump.delivered_ul == pytest.approx(6000.0)


def test_channel_nought_means_every_channel(clocks: Clocks, pump: RegloIcc) -> None:
    tell(pump, "0M")
    assert tell(pump, "0f1000-1") == "1000E-1\r\n"
    assert tell(pump, "0H") == "*"
    clocks.physics_h = 1.0
    assert tell(pump, "0I") == "*"
    assert [pump.delivered_by_ul(n) for n in (1, 2, 3, 4)] == [pytest.approx(6000.0)] * 4


def test_without_channel_addressing_digits_mean_pumps(clocks: Clocks, pump: RegloIcc) -> None:
    assert tell(pump, "A~0") == "*"
    assert tell(pump, "2xM") == ""
    assert tell(pump, "1M") == "*"
    assert tell(pump, "1~1") == "*"
    assert tell(pump, "4xM") == "M\r\n"


REQUESTS = st.sampled_from(
    ["0H", "1H", "1I", "1xI", "1M", "1O", "1Q", "1P", "1N", "1G", "1K", "1J", "1f5000-2", "10"]
    + ["1v1000-1", "1S001000", "1xT00000100", "1xP00000050", '1"0003', "0xE1", "1xY", "1xV9000-1"]
    + ["1xf1", "1W", "1+0317", "A~0", "@2", "1*"]
)
STREAM = st.lists(
    st.one_of(st.binary(max_size=20), REQUESTS.map(lambda text: f"{text}\r".encode())), max_size=14
)


@settings(max_examples=150, deadline=None)
@given(chunks=STREAM, hours=st.floats(0, 10), cut=st.booleans(), reads=st.booleans())
def test_no_bytes_whatever_make_a_pump_raise_or_lose_its_ledger(
    chunks: list[bytes], hours: float, cut: bool, reads: bool
) -> None:
    clocks = Clocks()
    pump = new_pump(clocks, true_ml_per_shown_ml=0.9)
    delivered_ul = 0.0
    for chunk in chunks:
        pump.receive(chunk)
        clocks.physics_h += hours
        if reads:
            pump.poll()
        if cut:
            pump.power_cycle()
        assert pump.delivered_ul >= delivered_ul * (1 - 1e-12)
        delivered_ul = pump.delivered_ul
    if not pump.starts:
        assert delivered_ul == 0.0
