"""The Cavro driver against played-back exchanges: what is repeated, what never, and what a position
says."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from instruments.contracts import PumpSettings
from instruments.errors import (
    DeviceAlarm,
    DeviceRejected,
    InstrumentError,
    Interrupted,
    OutcomeUnknown,
    PortMissing,
    TransportTimeout,
)
from instruments.pumps import cavro, cavro_wire
from instruments.pumps.cavro import MAKE, CavroEntry
from instruments.pumps.readiness import StoppedSince
from instruments.transport import NotSent
from tests.instruments.pumps.test_cavro_wire import oem_answer
from tests.instruments.replay import ReplayTransport

SETTINGS = {  # 3000 steps of 1/3 uL; a speed of 1 is 1200 uL/h
    "make": "cavro",
    "bus": "syringes",
    "syringe_volume_ml": 1.0,
    "steps_per_stroke": 3000,
    "microstep_mode": "fixed",
    "min_speed": 5,
    "max_speed": 6000,
    "min_flow_rate_ul_h": 6000.0,
}


@pytest.fixture(autouse=True, scope="module")
def _no_real_waits():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cavro, "STOP_POLL_S", 0.0)
        yield


def asked(text, said, *, number=None, repeat=False):
    """Return one exchange: DT, or OEM where a sequence number is given; None stays silent."""
    if number is None:
        sent = cavro_wire.encode_dt(0, text)
        return sent, None if said is None else b"/0" + said.encode() + b"\x03\r\n"
    sent = cavro_wire.encode_oem(0, number, text, repeat=repeat)
    return sent, oem_answer("0" + said) if isinstance(said, str) else said


def in_order(*talk, first=1):
    """Return OEM exchanges numbered one after the other, as the driver does."""
    return [
        asked(text, said, number=(first + place - 1) % 7 + 1)
        for place, (text, said) in enumerate(talk)
    ]


def pump_on(pairs, *, one_at_a_time=False, wait_s=time.sleep, **settings):
    wire = ReplayTransport(pairs, one_at_a_time=one_at_a_time)
    return MAKE.build("L1-medium", wire, CavroEntry(**(SETTINGS | settings)), wait_s), wire


IDLE = [("Q", "`"), ("?19", "`1")]
LEARNS = [("?19", "`1"), ("?2", "`1400")]
BUSY = [("Q", "@"), ("?19", "`1")]
PREPARED = [*IDLE, ("?6", "`o"), ("?2", "`10"), ("?", "`2000")]  # 12 000 uL/h is a speed of 10
READY = [("?", "`2000"), *IDLE]
TALKED = len(PREPARED) + len(READY)
GO = "A1700R"  # 100 uL are 300 steps


def prepared_pump(*talk, more=(), dt=False, ready=READY):
    if dt:
        pairs = [asked(*part) for part in [*PREPARED, *ready, *talk]]
        pump, wire = pump_on([*pairs, *more], protocol="dt")
    else:
        pump, wire = pump_on([*in_order(*PREPARED, *ready, *talk), *more])
    assert pump.prepare(12_000, 100.2) == PumpSettings(12_000.0, pytest.approx(100.0))
    return pump, wire


def moves(wire, text=GO):
    return [sent for sent in wire.sent if text.encode() in sent]


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_open_asks_and_sets_nothing(one_at_a_time):
    talk = [*LEARNS, *IDLE, ("&", "`732850-C")]
    pump, wire = pump_on(in_order(*talk), one_at_a_time=one_at_a_time)
    pump.open()
    assert pump.firmware == "732850-C"
    wire.close()


def test_open_repeats_nothing_since_numbers_of_an_earlier_owner_may_be_the_same():
    talk = [*LEARNS[:1], ("?2", None), ("?2", "`1400"), *IDLE, ("&", "b")]
    pump, wire = pump_on(in_order(*talk))
    pump.open()
    assert [sent[3] for sent in wire.sent] == [0x30 + number for number in range(1, 7)]
    wire.close()


def test_prepare_sets_valve_and_speed_where_they_differ_and_reads_them_back():
    talk = [
        *IDLE,
        ("N1R", "`"),
        *IDLE,
        ("?6", "`i"),
        ("OR", "@"),
        *BUSY,
        *IDLE,
        ("?6", "`o"),
        ("?2", "`1400"),
        ("V80R", "@"),
        *IDLE,
        ("?2", "`80"),
        ("?", "`20000"),
    ]
    waited = []
    pump, wire = pump_on(
        in_order(*talk),
        one_at_a_time=True,
        wait_s=waited.append,
        steps_per_stroke=24_000,
        microstep_mode=1,
    )
    assert pump.prepare(12_000, 10) == PumpSettings(12_000.0, pytest.approx(10.0))
    assert waited == [0.1]
    wire.close()


def test_speeds_may_count_other_steps_than_positions():
    pump, _ = pump_on([], steps_per_stroke=24_000, speed_steps_per_stroke=6000)
    settings = pump.quantise(12_000, 10.03)
    assert settings == PumpSettings(12_000.0, pytest.approx(10.0, abs=0.042))
    assert pump.quantise(6000.0, 1).flow_rate_ul_h == 6000.0  # a speed of 10, not of 40


@pytest.mark.parametrize(
    ("after", "said"),
    [(("?6", "`i"), "reads back as i"), (("?2", "`1400"), "reads back as 1400")],
)
def test_setting_that_reads_back_differently_is_refused(after, said):
    begun = [*IDLE, ("?6", "`i"), ("OR", "`"), *IDLE]
    if after[0] == "?2":
        begun += [("?6", "`o"), ("?2", "`1400"), ("V10R", "`"), *IDLE]
    pump, wire = pump_on(in_order(*begun, after))
    with pytest.raises(DeviceRejected, match=said):
        pump.prepare(12_000, 100)
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()


def test_module_that_does_not_report_its_speed_is_told_it_every_time():
    opened = [LEARNS[0], ("?2", "b"), ("?2", "b"), *IDLE, ("&", "b")]
    talk = [*IDLE, ("?6", "`o"), ("V10R", "`"), *IDLE, ("?", "`2000")]
    pump, wire = pump_on(in_order(*opened, *talk, *talk))
    pump.open()
    pump.prepare(12_000, 100)
    pump.prepare(12_000, 100)
    wire.close()


def test_dose_larger_than_what_the_syringe_holds_is_refused():
    pump, wire = pump_on(in_order(*PREPARED))
    with pytest.raises(DeviceRejected, match=r"holds 666\.667 uL.*fill it first"):
        pump.prepare(12_000, 700)
    wire.close()


def test_module_in_another_microstep_mode_is_told():
    pump, _ = pump_on(in_order(*IDLE, ("?", "`16000")))
    with pytest.raises(DeviceRejected, match="microstep mode"):
        pump.status()


@pytest.mark.parametrize(
    ("flow_rate_ul_h", "volume_ul", "said"),
    [
        (5999, 100, "outside 6000"),
        (7_200_001, 100, r"steps/s of L1-medium, outside 5\.\.6000"),
        (12_000, 1000.1, "outside 0..1000"),
        (12_000, 0, "outside 0"),
        (12_000, 0.3, "less than one step of L1-medium, 0.3333 uL"),
        (float("nan"), 100, "outside"),
        (12_000, float("nan"), "outside"),
    ],
)
def test_dose_outside_module_or_syringe_is_refused_before_any_byte_is_sent(
    flow_rate_ul_h, volume_ul, said
):
    pump, wire = pump_on([])
    for ask in (pump.quantise, pump.prepare):
        with pytest.raises(ValueError, match=said):
            ask(flow_rate_ul_h, volume_ul)
    assert not wire.sent


def test_rate_that_the_motor_is_too_fast_for_is_refused_with_its_numbers():
    pump, _ = pump_on([], min_flow_rate_ul_h=1.0)
    with pytest.raises(ValueError, match=r"60 uL/h would be 0.05 steps/s .* 5\.\.6000 \(6000\.\."):
        pump.quantise(60, 100)


def test_flow_range_of_the_bench_holds_for_the_rate_in_whole_steps_too():
    pump, _ = pump_on([], max_flow_rate_ul_h=6700.0)
    with pytest.raises(ValueError, match="becomes 7200"):
        pump.quantise(6650, 100)


@given(st.floats(6000.0, 7_000_000.0), st.floats(0.34, 1000))
def test_quantised_settings_stay_as_they_are_when_quantised_again(flow_rate_ul_h, volume_ul):
    pump, _ = pump_on([])
    once = pump.quantise(flow_rate_ul_h, volume_ul)
    assert pump.quantise(once.flow_rate_ul_h, once.volume_ul) == once
    assert once.volume_ul <= volume_ul * (1 + 1e-9)


def test_busy_module_is_not_prepared():
    pump, wire = pump_on(in_order(*BUSY))
    with pytest.raises(DeviceRejected, match="is busy"):
        pump.prepare(12_000, 100)
    wire.close()


@pytest.mark.parametrize("dt", [False, True])
@pytest.mark.parametrize("status", ["@", "`"])
def test_start_is_one_absolute_move_and_wants_a_prepare_for_each_time(dt, status):
    pump, wire = prepared_pump((GO, status), dt=dt)
    pump.start()
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    assert len(moves(wire)) == 1
    wire.close()


def repeats(*answers, number=TALKED % 7 + 1):
    """Return the move and its repeats, all under one number."""
    return [asked(GO, said, number=number, repeat=place > 0) for place, said in enumerate(answers)]


GARBLED = b"\x020`\x03\x00"


@pytest.mark.parametrize(
    "answers", [(None, "@"), (None, None, None, "@"), (GARBLED, "`"), (b"noise", "@")]
)
def test_lost_answer_to_a_move_is_asked_again_with_its_own_number_and_the_repeat_bit(answers):
    pump, wire = prepared_pump(more=repeats(*answers))
    pump.start()
    sent = moves(wire)
    assert [block[3] & 0x08 for block in sent] == [0] + [8] * (len(sent) - 1)
    assert len({block[3] & 0x07 for block in sent}) == 1
    assert sent[0][3] & 0x07 != wire.sent[TALKED - 1][3] & 0x07  # not that of the block before it
    assert wire.drains >= len(sent)  # a late first answer can not pass for the next
    wire.close()


def test_move_whose_repeats_are_all_lost_is_an_unknown_outcome():
    pump, wire = prepared_pump(more=repeats(*[None] * cavro.MOVE_SENDS))
    with pytest.raises(OutcomeUnknown, match="may have moved") as told:
        pump.start()
    assert told.value.sent == moves(wire)[0]
    wire.close()


@pytest.mark.parametrize(
    "answer", [None, b"garbage", b"/0`\x03", PortMissing("lost"), Interrupted("a stop")]
)
def test_move_in_dt_spelling_is_never_sent_again(answer):
    pump, wire = prepared_pump(more=[(b"/1A1700R\r", answer)], dt=True)
    with pytest.raises(OutcomeUnknown):
        pump.start()
    assert moves(wire) == [b"/1A1700R\r"]
    wire.close()


@pytest.mark.parametrize("trouble", [Interrupted("a stop took the port"), PortMissing("lost")])
def test_move_is_not_repeated_after_a_stop_or_a_lost_port(trouble):
    pump, wire = prepared_pump(more=repeats(trouble))
    with pytest.raises(OutcomeUnknown):
        pump.start()
    wire.close()


def test_repeat_that_did_not_leave_does_not_hide_that_the_move_did():
    pump, wire = prepared_pump(more=repeats(None, NotSent("a stop")))
    with pytest.raises(OutcomeUnknown):
        pump.start()
    wire.close()
    pump, wire = prepared_pump(more=repeats(NotSent("a stop")))
    with pytest.raises(NotSent):
        pump.start()
    assert not moves(wire)


@pytest.mark.parametrize("status", ["b", "c", "d", "k", "O"])
def test_move_that_is_refused_did_not_start(status):
    pump, wire = prepared_pump((GO, status))
    with pytest.raises(DeviceRejected):
        pump.start()
    wire.close()


def test_refusal_of_a_repeat_leaves_open_what_became_of_the_first_sending():
    pump, wire = prepared_pump(more=repeats(None, "O"))
    with pytest.raises(OutcomeUnknown, match="overflow"):
        pump.start()
    wire.close()


def test_overload_in_the_answer_to_a_move_leaves_open_how_far_it_came():
    pump, wire = prepared_pump((GO, "i"))
    with pytest.raises(OutcomeUnknown, match="plunger overload"):
        pump.start()
    wire.close()


def test_module_that_lost_its_power_since_the_prepare_is_not_started():
    pump, wire = prepared_pump(ready=[("?", "`2000"), ("Q", "g")])
    with pytest.raises(DeviceAlarm, match="tells reset") as told:
        pump.start()
    assert told.value.kind == "reset"
    wire.close()
    pump, wire = prepared_pump((GO, "g"))
    with pytest.raises(DeviceAlarm, match="nothing moved"):
        pump.start()
    wire.close()


def test_plunger_that_was_moved_since_the_prepare_is_not_started():
    pump, wire = prepared_pump(ready=[("?", "`2500"), *IDLE])
    with pytest.raises(DeviceRejected, match="stands at 2500, not at 2000"):
        pump.start()
    wire.close()


def test_start_is_not_sent_where_nothing_is_answered_right_before_it():
    pump, wire = prepared_pump(ready=[("?", None), ("?", None)])
    with pytest.raises(NotSent, match="was not started"):
        pump.start()
    wire.close()


def test_start_after_the_port_was_lost_is_not_sent():
    pump, wire = prepared_pump(ready=[])
    wire.generation += 1
    with pytest.raises(NotSent, match="came back"):
        pump.start()
    wire.close()


def test_counter_is_what_is_missing_to_a_full_syringe():
    pump, wire = pump_on(in_order(*BUSY, ("?", "@2985"), *IDLE, ("?", "`1700")))
    status = pump.status()
    assert (status.state, status.restarts, status.alarm) == ("infusing", 0, "")
    assert status.infused_ul == pytest.approx(5.0)
    assert status.resolution_ul == pytest.approx(1 / 3)
    status = pump.status()
    assert (status.state, status.infused_ul) == ("idle", pytest.approx(1300 / 3))
    wire.close()


@pytest.mark.parametrize("position", ["g0", "g"])
def test_module_that_lost_its_power_is_an_alarm_and_one_restart(position):
    pump, wire = pump_on(in_order(*[("Q", "g"), ("?", position)] * 2))
    for _ in range(2):
        status = pump.status()
        assert (status.state, status.alarm, status.restarts) == ("alarm", "reset", 1)
    wire.close()


def test_second_loss_of_power_is_a_second_restart():
    talk = [("Q", "g"), ("?", "g0"), *IDLE, ("?", "`0"), ("Q", "g"), ("?", "g0")]
    pump, wire = pump_on(in_order(*talk))
    assert [pump.status().restarts for _ in range(3)] == [1, 1, 2]
    wire.close()


def test_module_that_tells_its_loss_of_power_only_when_asked_for_it_is_believed():
    pump, wire = pump_on(in_order(("Q", "`"), ("?19", "`0"), ("?", "`0")))
    status = pump.status()
    assert (status.state, status.alarm, status.restarts) == ("alarm", "reset", 1)
    wire.close()


def test_report_that_means_something_else_is_not_asked_for():
    pump, wire = pump_on(in_order(("Q", "`"), ("?", "`0")), initialised_report=False)
    status = pump.status()
    assert (status.state, status.restarts) == ("idle", None)
    wire.close()


def test_module_that_has_no_such_report_is_not_asked_again_and_proves_nothing():
    opened = [("?19", "b"), ("?19", "b"), LEARNS[1], ("Q", "`"), ("&", "b")]
    looks = [("Q", "`"), ("?", "`0")]
    pump, wire = pump_on(in_order(*opened, *looks, *looks, ("Q", "g"), ("?", "g0")))
    pump.open()
    assert [pump.status().restarts for _ in range(3)] == [None, None, 1]
    wire.close()


def test_one_garbled_report_does_not_end_the_proof_of_power():
    garbled = [("?19", "b"), ("?19", "`1")]
    opened = [*garbled, LEARNS[1], *IDLE, ("&", "b")]
    look = [("Q", "`"), *garbled, ("?", "`0")]
    pump, wire = pump_on(in_order(*opened, *look, *IDLE, ("?", "`0")))
    pump.open()
    assert [pump.status().restarts for _ in range(2)] == [0, 0]
    wire.close()


def test_module_that_lost_its_power_can_be_met():
    refused = [("?19", "g"), ("?19", "g"), ("?2", "g"), ("?2", "g")]
    pump, wire = pump_on(in_order(*refused, ("Q", "g"), ("&", "b"), ("Q", "g"), ("?", "g")))
    pump.open()
    assert pump.status().alarm == "reset"
    wire.close()
    assert not pump._silent_on


def test_report_that_is_refused_after_the_opening_is_a_trouble():
    pump, wire = pump_on(in_order(("Q", "`"), ("?19", "b"), ("?19", "b")))
    with pytest.raises(DeviceRejected, match="not valid"):
        pump.status()
    wire.close()
    pump, wire = pump_on(in_order(*IDLE, ("?6", "`o"), ("?2", "b"), ("?2", "b")))
    with pytest.raises(DeviceRejected, match="not valid"):
        pump.prepare(12_000, 100)
    wire.close()


def test_stroke_that_may_be_one_of_larger_steps_is_not_dosed_from():
    """A module in mode 0 shows a full syringe as 3000 where lab.toml speaks of 24000."""
    setting = [*IDLE, ("?6", "`o"), ("?2", "`80")]
    pump, wire = pump_on(in_order(*setting, ("?", "`3000")), steps_per_stroke=24_000)
    with pytest.raises(DeviceRejected, match="8 times larger"):
        pump.prepare(12_000, 10)
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()
    seen = [*setting, ("?", "`3001"), *setting, ("?", "`2000")]
    pump, wire = pump_on(in_order(*seen), steps_per_stroke=24_000)
    for _ in range(2):
        pump.prepare(12_000, 10)
    wire.close()


def test_microstep_mode_is_set_unless_the_module_has_none():
    talk = [*IDLE, ("N0R", "`"), *IDLE, *PREPARED[2:]]
    pump, wire = pump_on(in_order(*talk), microstep_mode=0)
    pump.prepare(12_000, 100)
    wire.close()
    assert CavroEntry(**{k: v for k, v in SETTINGS.items() if k != "microstep_mode"}) == (
        CavroEntry(**SETTINGS | {"microstep_mode": 0})
    )


def test_start_after_a_stop_is_not_sent_and_says_why():
    pump, wire = prepared_pump(ready=[("T", "`"), *IDLE])
    pump.stop()
    with pytest.raises(StoppedSince, match="a stop came since"):
        pump.start()
    wire.close()


@pytest.mark.parametrize(
    ("status", "kind"), [("i", "stall"), ("j", "overload"), ("a", "stall"), ("f", "program")]
)
def test_overload_stays_told_until_the_module_was_initialised(status, kind):
    told = [("Q", status), ("?19", f"{status}1"), ("?", f"{status}1800")]
    talk = [*told, *IDLE, ("?", "`1800"), *IDLE]
    anew = [("Q", "`"), ("?19", "`1"), ("ZR", "@"), *BUSY, *IDLE, *IDLE, *IDLE, ("?", "`0")]
    pump, wire = pump_on(in_order(*talk, *anew), wait_s=lambda s: None)
    for _ in range(2):
        now = pump.status()
        assert (now.state, now.alarm, now.infused_ul) == ("alarm", kind, pytest.approx(400.0))
    with pytest.raises(DeviceAlarm) as refused:
        pump.prepare(12_000, 100)
    assert refused.value.kind == kind
    pump.initialise(to_port="output")
    assert pump.status().state == "idle"
    wire.close()


def test_query_is_not_asked_a_third_time():
    pump, wire = pump_on(in_order(("Q", None), ("Q", None)))
    with pytest.raises(TransportTimeout, match="L1-medium on Q"):
        pump.status()
    wire.close()


def test_clearing_leaves_the_plunger_and_wants_an_idle_module():
    pump, wire = pump_on(in_order(*IDLE))
    pump.clear_counter()
    wire.close()
    pump, wire = pump_on(in_order(*BUSY))
    with pytest.raises(DeviceRejected, match="is busy"):
        pump.clear_counter()
    wire.close()


def test_stop_goes_on_until_the_module_says_that_it_stands():
    talk = [("T", None), ("T", None), *BUSY, *BUSY, ("Q", None), ("Q", None)]
    pump, wire = pump_on(in_order(*talk, ("T", "`"), *BUSY, *IDLE))
    pump.stop()
    wire.close()


def test_module_that_lost_its_power_stands():
    pump, wire = pump_on(in_order(("T", "g"), ("Q", "g")))
    pump.stop()
    wire.close()


@pytest.mark.parametrize("dt", [False, True])
def test_stop_that_nobody_confirms_says_that_the_pump_may_run(dt):
    pump, wire = pump_on([], protocol="dt" if dt else "oem")
    busy = asked("Q", "@1", number=None if dt else 1)[1]
    for answer in (b"", busy):
        wire.exchange = lambda sent, length, answer=answer, **_: _first(answer, length)
        with pytest.raises(InstrumentError, match="MAY STILL RUN"):
            pump.stop()


def test_fill_goes_through_the_input_and_back_to_the_output():
    talk = [
        *IDLE,
        ("?6", "`o"),
        ("IR", "@"),
        *IDLE,
        ("?6", "`i"),
        ("?2", "`10"),
        ("V150R", "@"),
        *IDLE,
        ("?2", "`150"),
        ("?", "`1700"),
        *IDLE,
        ("A3000R", "@"),
        *BUSY,
        *IDLE,
        *IDLE,
        ("?", "`3000"),
        ("?6", "`i"),
        ("OR", "@"),
        *IDLE,
        ("?6", "`o"),
        *IDLE,
        ("?", "`3000"),
    ]
    pump, wire = pump_on(in_order(*talk), wait_s=lambda s: None)
    pump.fill()
    assert pump.status().infused_ul == 0
    wire.close()


def test_module_that_fills_withdraws():
    pump, wire = pump_on(in_order(*BUSY, ("?", "@2000")))
    pump._filling = True
    assert pump.status().state == "withdrawing"
    wire.close()


def test_fill_that_was_stopped_is_told():
    talk = [*IDLE, ("?6", "`i"), ("?2", "`150"), ("?", "`1700"), *IDLE, ("A3000R", "@")]
    pump, wire = pump_on(in_order(*talk, *IDLE, *IDLE, ("?", "`2000")))
    with pytest.raises(DeviceRejected, match="stopped while filling, at 2000 of 3000"):
        pump.fill()
    wire.close()


def test_fill_that_never_ends_is_given_up():
    talk = [*IDLE, ("?6", "`i"), ("?2", "`6000"), ("?", "`1700"), *IDLE, ("A3000R", "@")]
    waited = []
    pump, wire = pump_on(
        in_order(*talk, *BUSY * 22), wait_s=waited.append, fill_speed=6000, protocol="oem"
    )
    with pytest.raises(DeviceRejected, match="still busy"):
        pump.fill()
    assert sum(waited) == pytest.approx(11.0)
    wire.close()


def test_nothing_but_initialise_initialises():
    pump, wire = prepared_pump((GO, "@"))
    pump.start()
    assert not [sent for sent in wire.sent if b"Z" in sent or b"Y" in sent or b"W" in sent]


@pytest.mark.parametrize(
    ("settings", "to_port", "text"),
    [
        ({}, "output", "ZR"),
        ({"initialise_command": "Y"}, "O", "YR"),
        ({"input_port": "I1", "output_port": "O2"}, "output", "Z0,1,2R"),
        ({"input_port": "I1", "output_port": "O2"}, "O6", "Z0,1,6R"),
    ],
)
def test_initialise_says_where_the_liquid_goes(settings, to_port, text):
    pump, wire = pump_on(in_order(("Q", "g"), (text, "@"), *IDLE, *IDLE), **settings)
    pump.initialise(to_port=to_port)
    wire.close()


@pytest.mark.parametrize("to_port", ["input", "I", "waste", "7"])
def test_initialising_to_a_port_that_can_not_be_named_is_refused(to_port):
    pump, wire = pump_on([])
    with pytest.raises(ValueError):
        pump.initialise(to_port=to_port)
    assert not wire.sent


def test_initialising_that_fails_is_an_alarm():
    pump, wire = pump_on(
        in_order(("Q", "g"), ("ZR", "@"), *[("Q", "a"), ("?19", "a0")] * 2), wait_s=lambda s: None
    )
    with pytest.raises(DeviceAlarm):
        pump.initialise()
    wire.close()


def test_another_module_behind_a_port_that_came_back_is_not_spoken_to():
    names = [("&", "`732850-C"), ("&", "`other"), ("&", "`732850-C")]
    pump, wire = pump_on(in_order(*LEARNS, *IDLE, *names))
    pump.open()
    wire.generation += 1
    with pytest.raises(InstrumentError, match="open the bench again"):
        pump.status()
    with pytest.raises(AssertionError, match="nothing more was expected"):
        pump.status()  # met again: the same module is asked for its status
    assert pump._met_generation == wire.generation


def test_close_sends_nothing():
    pump, wire = pump_on([])
    pump.close()
    assert not wire.sent


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": 15},
        {"protocol": "can"},
        {"min_speed": 0},
        {"min_speed": 6000},
        {"fill_speed": 4},
        {"input_port": "O"},
        {"input_port": "I3", "output_port": "O3"},
        {"output_port": "A0"},
        {"microstep_mode": 3},
        {"steps_per_stroke": 0},
        {"syringe_volume_ml": 0},
    ],
)
def test_settings_that_the_module_can_not_have_are_refused(wrong):
    with pytest.raises(ValidationError):
        CavroEntry(**(SETTINGS | wrong))


def test_probe_is_a_query_and_recognises_an_answer():
    assert MAKE.probe is not None
    assert MAKE.probe.query == b"\xff\x0211Q\x03P"
    assert "not initialised" in (MAKE.probe.recognise(oem_answer("0g")) or "")
    assert MAKE.probe.recognise(b"\x02garbage\x03\x00") is None


VERBS = ["open", "prepare", "start", "status", "clear_counter", "stop", "fill", "initialise"]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.text("`@abcdfgijkoADEGIJ0123456789", max_size=5).map(lambda t: oem_answer("0" + t)),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(VERBS),
)
def test_whatever_a_device_answers_only_instrument_errors_come_out(answers, verb):
    pump, wire = pump_on([], wait_s=lambda s: None)
    pump._ready.end(pump._ready.begin(), (2000, 1700))
    coming = itertools.cycle(answers)
    sent = []

    def exchange(data, length, **_):
        sent.append(data)
        assert len(sent) < 1000
        return _first(next(coming), length)

    wire.exchange = exchange
    try:
        getattr(pump, verb)(*((12_000, 100) if verb == "prepare" else ()))
    except InstrumentError:
        pass
    started = [block for block in sent if b"A1700R" in block]
    assert len({block[3] & 0x07 for block in started}) <= 1
    assert [block[3] & 0x08 for block in started[1:]] == [8] * len(started[1:])


def _first(answer, length):
    end = length(answer) if answer else None
    if end is None:
        raise TransportTimeout("nothing")
    return answer[:end]
