"""The Reglo ICC driver against played-back exchanges: what is sent again, what never, and how one
channel is known to stand."""

import itertools
import time
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from instruments.contracts import PumpSettings
from instruments.errors import (
    DeviceRejected,
    InstrumentError,
    Interrupted,
    OutcomeUnknown,
    PortMissing,
    SyringeDiffers,
    TransportTimeout,
)
from instruments.pumps import reglo_icc
from instruments.pumps.readiness import StoppedSince
from instruments.pumps.reglo_icc import MAKE, RegloIccEntry
from instruments.transport import NotSent
from tests.instruments.replay import ReplayTransport

SETTINGS = {
    "make": "reglo_icc",
    "bus": "peristaltic",
    "channel": 2,
    "tubing_id_mm": 1.02,
    "reservoir_ml": 50,
    "calibrated_on": date(2026, 11, 1),
    "min_flow_rate_ul_h": 30,
    "max_flow_rate_ul_h": 6000.0,
}
OK = b"*"


def line(text: str) -> bytes:
    return text.encode("latin-1") + b"\r\n"


def look(runs: bool, counter: str = "0.000 ml", seconds: int = 1511, channel: int = 2):
    """Return the three exchanges by which a channel is looked at."""
    return [
        (b"%dE\r" % channel, b"+" if runs else b"-"),
        (b"%d:\r" % channel, line(counter)),
        (b"%dxJ\r" % channel, line(f"{seconds:010d}")),
    ]


def pump_on(pairs, *, one_at_a_time=False, wire=None, wait_s=time.sleep, **settings):
    wire = wire or ReplayTransport(pairs, one_at_a_time=one_at_a_time)
    entry = RegloIccEntry(**(SETTINGS | settings))
    return MAKE.build("L1-medium", wire, entry, wait_s), wire


ADDRESSED = (b"1~\r", line("1"))
IDENTITY = [(b"0#\r", line("REGLO ICC 0208 306")), (b"0(\r", line("0114"))]
TUBING = (b"2+\r", line("1.02 mm"))
MET = [ADDRESSED, *IDENTITY, (b"0xA\r", line("4")), (b"0xE1\r", OK)]
DISARMED = [(b'2"\r', line("0")), (b"2xM\r", line("Q"))]
STANDS = [
    TUBING,
    *DISARMED,
    (b"2xD\r", line("J")),
    (b"2xf\r", line("1")),
    (b"2f\r", line("1000E-3")),
    (b"2v\r", line("7200E-1")),
]
READY = [  # right before H: addressing, the other channel that is known, and the own one armed
    ADDRESSED,
    (b"1:\r", line("1.000 ml")),
    (b"1E\r", b"-"),
    (b"2xM\r", line("Q")),
    (b"2O\r", OK),
    (b"2xM\r", line("O")),
]
OTHERS = [(b"1I\r", OK), (b"1:\r", line("1.000 ml"))]
STARTED = [(b"2H\r", OK), *OTHERS, (b"2E\r", b"+")]
PREPARED = [*look(False), *STANDS]  # everything already stands as asked: 60 uL/h, 720 uL


def prepared_pump(pairs, **options):
    pump, wire = pump_on([*PREPARED, *pairs], **options)
    assert pump.prepare(60, 720) == PumpSettings(60.0, 720.0)
    return pump, wire


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_open_turns_channel_addressing_and_events_on_and_moves_nothing(one_at_a_time):
    pump, wire = pump_on(
        [(b"1~\r", line("0")), (b"1~1\r", OK), *MET, TUBING], one_at_a_time=one_at_a_time
    )
    pump.open()
    assert pump.identity == "REGLO ICC 0208 306 (0114)"
    assert not {sent for sent in wire.sent if sent[1:2] in b"HIWO"}
    wire.close()


def test_pump_with_fewer_channels_is_refused():
    pump, _ = pump_on([ADDRESSED, *IDENTITY, (b"0xA\r", line("1"))])
    with pytest.raises(InstrumentError, match="channel 2 of a pump that has 1"):
        pump.open()


def test_another_device_is_refused():
    pump, _ = pump_on([ADDRESSED, *[(b"0#\r", line("ISM 404"))] * 2])
    with pytest.raises(InstrumentError, match="not the name of a Reglo ICC"):
        pump.open()


def test_tubing_that_differs_bars_opening_and_preparing_until_a_person_confirms_it():
    other = (b"2+\r", line("2.06 mm"))
    pump, wire = pump_on(
        [*MET, other, *look(False), other]
        + [*MET, *look(False), other, (b"2+0102\r", OK), TUBING, *PREPARED]
    )
    with pytest.raises(SyringeDiffers, match="tubing of 2.06 mm, lab.toml says 1.02 mm"):
        pump.open()
    with pytest.raises(SyringeDiffers):
        pump.prepare(60, 720)
    pump.confirm_syringe()
    pump.prepare(60, 720)
    wire.close()


def test_tubing_that_the_pump_does_not_take_is_told():
    other = (b"2+\r", line("2.06 mm"))
    pump, wire = pump_on([*MET, *look(False), other, (b"2+0102\r", b"#")])
    with pytest.raises(DeviceRejected, match="did not carry it out"):
        pump.confirm_syringe()
    wire.close()


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_prepare_sets_only_what_differs_and_reads_it_back(one_at_a_time):
    pump, wire = pump_on(
        [
            *look(False),
            TUBING,
            (b'2"\r', line("5")),
            (b'2"0000\r', OK),
            (b'2"\r', line("0")),
            (b"2xM\r", line("L")),
            (b"2Q\r", OK),
            (b"2xM\r", line("Q")),
            (b"2xD\r", line("K")),
            (b"2J\r", OK),
            (b"2xD\r", line("J")),
            (b"2xf\r", line("0")),
            (b"2xf1\r", OK),
            (b"2xf\r", line("1")),
            (b"2f\r", line("3250E+1")),
            (b"2f1000-3\r", line("1000E-3")),
            (b"2f\r", line("1000E-3")),
            (b"2v\r", line("1300E-3")),
            (b"2v7200-1\r", line("7200E-1")),
            (b"2v\r", line("7200E-1")),
        ],
        one_at_a_time=one_at_a_time,
    )
    assert pump.prepare(60.001, 720.04) == PumpSettings(60.0, 720.0)
    wire.close()


def test_rate_that_the_pump_holds_otherwise_is_refused():
    pump, wire = pump_on(
        [
            *look(False),
            *STANDS[:5],
            (b"2f\r", line("3250E+1")),
            (b"2f1017-3\r", line("1000E-3")),
            (b"2f\r", line("1000E-3")),
        ]
    )
    with pytest.raises(DeviceRejected, match="reads back as 0.001"):
        pump.prepare(61, 720)
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()


@pytest.mark.parametrize(
    ("flow_rate_ul_h", "volume_ul", "said"),
    [
        (29, 720, "30..6000"),
        (6001, 720, "30..6000"),
        (6e6 + 1, 720, "30..6000"),
        (60, 50_001, "50000"),
        (60, 0, "outside 0"),
        (60, 1e-9, "does not fit"),
        (float("nan"), 720, "outside"),
        (60, float("nan"), "outside"),
    ],
)
def test_dose_outside_pump_or_reservoir_is_refused_before_any_byte_is_sent(
    flow_rate_ul_h, volume_ul, said
):
    pump, wire = pump_on([])
    for ask in (pump.quantise, pump.prepare):
        with pytest.raises(ValueError, match=said):
            ask(flow_rate_ul_h, volume_ul)
    assert not wire.sent


@given(st.floats(30.1, 5990.0), st.floats(0.001, 50_000))
def test_quantised_settings_stay_as_they_are_when_quantised_again(flow_rate_ul_h, volume_ul):
    pump, _ = pump_on([])
    once = pump.quantise(flow_rate_ul_h, volume_ul)
    assert pump.quantise(once.flow_rate_ul_h, once.volume_ul) == once
    assert once.volume_ul <= volume_ul * (1 + 1e-9)


def test_start_is_sent_once_and_wants_a_prepare_for_each_time():
    pump, wire = prepared_pump([*READY, *STARTED, *look(True)])
    pump.start()
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    assert pump.status().state == "infusing"
    wire.close()


def test_event_that_comes_with_the_answer_to_a_start_does_not_hide_it():
    pump, wire = prepared_pump([*READY, (b"2H\r", b"^X1|A\r\n*"), *STARTED[1:]])
    pump.start()
    wire.close()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"garbage",
        b"\x00\xff\n",
        b"^X1|A\r\n",
        PortMissing("port replay was lost"),
        Interrupted("a stop took the port"),
    ],
)
def test_start_whose_answer_is_lost_or_strange_is_never_sent_again(answer):
    pump, wire = prepared_pump([*READY, (b"2H\r", answer), *OTHERS])
    with pytest.raises(OutcomeUnknown) as told:
        pump.start()
    assert told.value.sent == b"2H\r"
    assert wire.sent.count(b"2H\r") == 1
    wire.close()


@pytest.mark.parametrize("answer", [b"+", b"4.983 ml\r\n"])
def test_start_that_is_answered_with_something_else_is_never_sent_again(answer):
    pump, wire = prepared_pump([*READY, (b"2H\r", answer), *STARTED[1:]])
    with pytest.raises(OutcomeUnknown, match="was answered with"):
        pump.start()
    assert wire.sent.count(b"2H\r") == 1
    wire.close()


def test_channel_that_moves_at_the_start_of_another_is_stopped_and_named():
    moved = [(b"1I\r", OK), (b"1:\r", line("1.001 ml"))]
    pump, wire = prepared_pump([*READY, (b"2H\r", OK), *moved, (b"2E\r", b"+")])
    with pytest.raises(OutcomeUnknown, match="channel 1 of the pump moved.*was stopped"):
        pump.start()
    wire.close()


def test_start_after_which_the_other_channels_can_not_be_seen_is_an_unknown_outcome():
    for lost in ([(b"1I\r", None)] * 2, [(b"1I\r", NotSent("a stop takes the port"))]):
        pump, wire = prepared_pump([*READY, (b"2H\r", OK), *lost])
        with pytest.raises(OutcomeUnknown, match="nobody could see"):
            pump.start()
        wire.close()


def test_start_that_is_acknowledged_while_nothing_runs_is_an_unknown_outcome():
    pump, wire = prepared_pump([*READY, *STARTED[:-1], (b"2E\r", b"-")])
    with pytest.raises(OutcomeUnknown, match="nothing runs"):
        pump.start()
    wire.close()


def test_start_that_is_refused_while_something_runs_is_stopped_and_unknown():
    """A garbled start of all channels: this one ran off, another one had the word."""
    pump, wire = prepared_pump([*READY, (b"2H\r", b"-"), *STARTED[1:], (b"2I\r", OK)])
    with pytest.raises(OutcomeUnknown, match="something runs"):
        pump.start()
    wire.close()


def test_channel_that_may_be_running_its_dose_is_left_alone_by_the_start_of_another():
    running = [READY[0], READY[1], (b"1E\r", b"+"), (b"1xJ\r", line("7")), *READY[3:]]
    pump, wire = prepared_pump([*running, (b"2H\r", OK), (b"2E\r", b"+")])
    pump.start()
    assert b"1I\r" not in wire.sent
    wire.close()


def test_channel_that_its_driver_has_shown_to_stand_is_stopped_though_others_run():
    wire = ReplayTransport(
        [*look(False, "1.000 ml", channel=1), (b'1"\r', line("0")), (b"1xM\r", line("Q"))]
        + [*PREPARED, *READY[:2], (b"1E\r", b"+"), (b"1xJ\r", line("1511")), *READY[3:], *STARTED]
    )
    other, pump = (pump_on([], wire=wire, channel=channel)[0] for channel in (1, 2))
    other.status()
    pump.prepare(60, 720)
    pump.start()
    wire.close()


def test_channel_that_can_not_be_armed_is_not_started():
    pump, wire = prepared_pump([*READY[:-1], (b"2xM\r", line("Q"))])
    with pytest.raises(DeviceRejected, match="reads back as Q"):
        pump.start()
    pump, wire = prepared_pump([*READY[:3], (b"2xM\r", None), (b"2xM\r", None)])
    with pytest.raises(NotSent, match="was not started"):
        pump.start()
    wire.close()


def test_channel_is_disarmed_once_its_dose_has_ended():
    ended = [(b'2"\r', line("0")), (b"2xM\r", line("O")), (b"2Q\r", OK), (b"2xM\r", line("Q"))]
    pump, wire = prepared_pump(
        [*READY, *STARTED, *look(True), *look(False, "0.720 ml"), *ended, *look(False, "0.720 ml")]
    )
    pump.start()
    assert [pump.status().state for _ in range(3)] == ["infusing", "idle", "idle"]
    wire.close()


def test_channel_that_can_not_be_disarmed_is_told_to_again_at_the_next_look():
    pump, wire = pump_on([*look(False), (b'2"\r', b"#"), *look(False), *DISARMED, *look(False)])
    assert [pump.status().state for _ in range(3)] == ["idle", "idle", "idle"]
    wire.close()


def test_start_that_the_pump_can_not_carry_out_is_refused_with_its_reason():
    pump, wire = prepared_pump(
        [*READY, (b"2H\r", b"-"), *OTHERS, (b"2E\r", b"-"), (b"2xe\r", line("R 1380E-1"))],
        one_at_a_time=True,
    )
    with pytest.raises(DeviceRejected, match="above the largest, mL/min 0.138"):
        pump.start()
    wire.close()
    for answer, pairs in ((b"-", [(b"2xe\r", None)] * 2), (b"#", [])):
        talk = [(b"2H\r", answer), *OTHERS, (b"2E\r", b"-")]
        pump, wire = prepared_pump([*READY, *talk, *pairs])
        with pytest.raises(DeviceRejected):
            pump.start()
        wire.close()


@pytest.mark.parametrize("addressing", ["0", "2"])
def test_pump_that_left_channel_addressing_is_not_started(addressing):
    """The same bytes would start every channel of pump 2."""
    pump, wire = prepared_pump([(b"1~\r", line(addressing))])
    with pytest.raises(NotSent, match="left channel addressing"):
        pump.start()
    wire.close()


def test_start_after_the_port_was_lost_is_not_sent():
    pump, wire = prepared_pump([])
    wire.generation += 1
    with pytest.raises(NotSent, match="came back"):
        pump.start()
    assert b"2H\r" not in wire.sent


def test_start_that_never_left_is_not_an_unknown_outcome():
    pump, wire = prepared_pump([*READY, (b"2H\r", NotSent("record is full"))])
    with pytest.raises(NotSent):
        pump.start()
    assert b"2H\r" not in wire.sent


def test_pump_of_which_nothing_runs_is_idle():
    pump, wire = pump_on([*look(False, "4.983 ml"), *DISARMED])
    status = pump.status()
    assert (status.state, status.infused_ul, status.resolution_ul) == ("idle", 4983.0, 1.0)
    assert status.restarts is None
    wire.close()


def test_channel_that_nothing_shows_to_stand_counts_as_infusing_while_others_run():
    pump, wire = pump_on([*look(True)] * 2)
    assert pump.status().state == "infusing"
    with pytest.raises(DeviceRejected, match="must be shown to stand"):
        pump.prepare(60, 720)
    wire.close()


def test_channel_once_shown_to_stand_stays_idle_until_its_counters_grow():
    pump, wire = pump_on(
        [
            *look(False, "1.000 ml"),
            *DISARMED,
            *look(True, "1.000 ml"),
            *look(True, "1.000 ml", 1512),
        ]
        + look(True, "1.000 ml", 1512)
    )
    assert [pump.status().state for _ in range(4)] == ["idle", "idle", "infusing", "infusing"]
    wire.close()


def test_channel_is_shown_to_stand_by_its_stop_though_others_run():
    pump, wire = pump_on(
        [(b"2I\r", OK), *look(True), (b"2I\r", OK), *look(True), *DISARMED, *look(True), *STANDS]
    )
    pump.stop()
    pump.prepare(60, 720)
    wire.close()


def test_event_of_the_channel_shows_that_it_stands_and_event_of_another_does_not():
    running = [(b"2E\r", b"^X1|A\r\n+"), *look(True, "0.720 ml")[1:]]
    ended = [(b"2E\r", b"^X2|A\r\n+"), *look(True, "0.719 ml")[1:]]
    for looked, state in ((running, "infusing"), ([*ended, *DISARMED], "idle")):
        pump, wire = pump_on(looked)
        assert pump.status().state == state
        wire.close()


def test_events_of_another_channel_are_kept_for_its_own_driver():
    wire = ReplayTransport(
        [(b"1E\r", b"^X2|A\r\n^X3|2\r\n+"), *look(True, channel=1)[1:]]
        + [*look(True), *DISARMED, *look(True, channel=3)]
        + [(b'3"\r', line("0")), (b"3xM\r", line("Q"))]
    )
    first, second, third = (pump_on([], wire=wire, channel=channel)[0] for channel in (1, 2, 3))
    assert first.status().state == "infusing"
    assert second.status().state == "idle"
    status = third.status()
    assert (status.state, status.alarm) == ("alarm", "overload")
    wire.close()


def test_events_that_come_after_an_answer_are_picked_up_at_the_next_look():
    pump, wire = pump_on(
        [(b"2I\r", OK + b"^X2|1\r\n"), *look(False), *DISARMED]
        + [(b"2I\r", b"^X2|2\r\n*"), *look(False), *DISARMED]
    )
    pump.stop()
    pump.stop()
    wire.close()


def test_paused_channel_says_so():
    event = b"^U2|B|0000000000|0000100000|0000\r\n"
    pump, wire = pump_on([(b"2E\r", event + b"+"), *look(True)[1:], *look(True)])
    assert [pump.status().state for _ in range(2)] == ["paused", "paused"]
    wire.close()


def test_channel_whose_counter_has_come_to_its_target_is_idle_though_others_run():
    pump, wire = prepared_pump(
        [*READY, *STARTED, *look(True, "0.719 ml"), *look(True, "0.720 ml"), *DISARMED]
        + [*look(True, "0.720 ml"), *look(True, "0.900 ml")]
    )
    pump.start()
    assert [pump.status().state for _ in range(4)] == ["infusing", "idle", "idle", "infusing"]
    wire.close()


def test_start_whose_answer_was_lost_does_not_make_other_channels_pass_for_this_one():
    pump, wire = prepared_pump(
        [*READY, (b"2H\r", None), *OTHERS] + [*look(True), *DISARMED, *look(True, "0.001 ml", 1512)]
    )
    with pytest.raises(OutcomeUnknown):
        pump.start()
    assert [pump.status().state for _ in range(2)] == ["idle", "infusing"]
    wire.close()


@pytest.mark.parametrize(("seconds", "state"), [(1511, "idle"), (1513, "infusing")])
def test_live_lifetime_seconds_tell_by_two_looks_whether_a_channel_runs(seconds, state):
    waited = []
    pump, wire = pump_on(
        [*look(True), *look(True, seconds=seconds)]
        + [*(DISARMED if state == "idle" else []), *look(True, seconds=seconds)],
        wait_s=waited.append,
        lifetime_seconds="live",
    )
    assert pump.status().state == state
    assert pump.status().state == state
    assert waited == [reglo_icc.LOOK_APART_S]
    wire.close()


@pytest.mark.parametrize("lost", [None, b"4.98\x00 ml\r\n", b"*"])
def test_query_whose_answer_is_lost_is_asked_once_more_after_the_line_is_quiet(lost):
    first, counter, last = look(False, "4.983 ml")
    pump, wire = pump_on([first, (counter[0], lost), counter, last, *DISARMED])
    assert pump.status().infused_ul == 4983.0
    assert wire.drains == 2
    wire.close()


def test_query_is_not_asked_a_third_time():
    pump, wire = pump_on([(b"2E\r", None), (b"2E\r", None)])
    with pytest.raises(TransportTimeout, match="L1-medium"):
        pump.status()
    wire.close()


def test_stop_goes_on_until_the_pump_says_done():
    pump, wire = pump_on(
        [
            (b"2I\r", None),
            (b"2I\r", None),
            (b"1~1\r", OK),
            (b"2I\r", b"#"),
            (b"1~1\r", OK),
            (b"2I\r", OK),
            *look(False),
            *DISARMED,
        ]
    )
    pump.stop()
    wire.close()


@pytest.mark.parametrize("answer", [None, b"#", b"???\r\n"])
def test_stop_that_nobody_confirms_says_that_the_pump_may_run(answer):
    pump, _ = pump_on([])
    pump._transport.exchange = lambda sent, length, **_: _first(answer, length)
    with pytest.raises(InstrumentError, match="MAY STILL RUN"):
        pump.stop()


def test_stop_after_a_prepare_takes_the_prepare_back():
    pump, wire = prepared_pump([(b"2I\r", OK), *look(False), *DISARMED])
    pump.stop()
    with pytest.raises(StoppedSince, match="a stop came since"):
        pump.start()
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()


def test_counter_is_cleared_only_while_idle_and_looked_at_afterwards():
    pump, wire = pump_on([*look(False, "1.000 ml"), (b"2W\r", OK), *look(False)])
    pump.clear_counter()
    wire.close()
    pump, wire = pump_on(look(True, "1.000 ml"))
    with pytest.raises(DeviceRejected, match="must be shown to stand"):
        pump.clear_counter()
    wire.close()


def test_lost_answer_to_a_clear_is_settled_by_the_counter_and_never_sent_again():
    full = look(False, "1.000 ml")
    pump, wire = pump_on([*full, (b"2W\r", None), *look(False)])
    pump.clear_counter()
    wire.close()
    pump, wire = pump_on([*full, (b"2W\r", None), *full])
    with pytest.raises(TransportTimeout):
        pump.clear_counter()
    wire.close()
    pump, wire = pump_on([*full, (b"2W\r", b"#")])
    with pytest.raises(DeviceRejected):
        pump.clear_counter()
    wire.close()


@pytest.mark.parametrize(
    "back",
    [
        [(b"1~\r", line("0"))],
        [ADDRESSED, (b"0#\r", line("REGLO ICC 0208 999")), IDENTITY[1]],
    ],
)
def test_another_pump_behind_a_port_that_came_back_is_not_spoken_to(back):
    pump, wire = pump_on([*MET, TUBING, *back])
    pump.open()
    wire.generation += 1
    with pytest.raises(InstrumentError, match="Open the bench again"):
        pump.status()
    wire.close()


def test_same_pump_behind_a_port_that_came_back_is_met_without_changing_anything():
    pump, wire = pump_on([*MET, TUBING, *PREPARED, ADDRESSED, *IDENTITY, *look(False)])
    pump.open()
    pump.prepare(60, 720)
    wire.generation += 1
    assert pump.status().state == "idle"
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()


def test_close_sends_nothing():
    pump, wire = pump_on([])
    pump.close()
    assert not wire.sent


def test_age_of_a_calibration_is_judged_by_the_date_that_is_given():
    entry = RegloIccEntry(**SETTINGS)
    assert entry.overdue(date(2026, 11, 1)) == ""
    assert entry.overdue(date(2026, 12, 1)) == ""
    assert "31 days ago; allowed are 30" in entry.overdue(date(2026, 12, 2))
    assert "after 2026-10-31" in entry.overdue(date(2026, 10, 31))


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": 5},
        {"channel": 0},
        {"tubing_id_mm": 1.025},
        {"tubing_id_mm": 3.2},
        {"reservoir_ml": 0},
        {"direction": "forward"},
        {"address": 9},
    ],
)
def test_settings_that_the_pump_can_not_have_are_refused(wrong):
    with pytest.raises(ValidationError):
        RegloIccEntry(**(SETTINGS | wrong))


def test_channels_of_one_pump_are_places_of_their_own():
    entry = RegloIccEntry(**SETTINGS)
    assert (entry.place(), entry.content_ul()) == ("channel 2", 50_000.0)


def test_probe_recognises_a_reglo_and_nothing_else():
    assert MAKE.probe is not None
    assert MAKE.probe.recognise(line("REGLO ICC 0208 306")) == "REGLO ICC 0208 306"
    assert MAKE.probe.recognise(b"*") is None


VERBS = ["open", "prepare", "start", "status", "clear_counter", "confirm_syringe", "stop"]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.sampled_from(VERBS))
def test_whatever_a_device_answers_only_instrument_errors_come_out(answers, verb):
    pump, wire = pump_on([])
    pump._ready.end(pump._ready.begin(), 720.0)
    pump._still_at = (0.0, 1511)
    coming = itertools.cycle(answers)
    sent = []

    def exchange(data, length, **_):
        sent.append(data)
        assert len(sent) < 100
        return _first(next(coming), length)

    wire.exchange = exchange
    try:
        getattr(pump, verb)(*((60, 720) if verb == "prepare" else ()))
    except InstrumentError:
        pass
    assert sent.count(b"2H\r") <= 1


def _first(answer, length):
    end = length(answer) if answer else None
    if end is None:
        raise TransportTimeout("nothing")
    return answer[:end]
