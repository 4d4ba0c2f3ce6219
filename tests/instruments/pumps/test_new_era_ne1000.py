"""The NE-1000 driver against played-back exchanges: what is sent again, and what never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.errors import (
    DeviceAlarm,
    DeviceRejected,
    InstrumentError,
    OutcomeUnknown,
    PortMissing,
    SyringeDiffers,
    TransportTimeout,
)
from instruments.pumps.new_era_ne1000 import NewEraNE1000
from instruments.pumps.new_era_wire import encode_command
from instruments.pumps.readiness import StoppedSince
from instruments.transport import NotSent
from tests.instruments.replay import ReplayTransport


def reply(payload: str, *, safe: bool = False) -> bytes:
    """Return an answer frame in either mode."""
    if safe:
        return encode_command(None, payload, True)
    return b"\x02" + payload.encode() + b"\x03"


def basic_pump(pairs, *, address=0, one_at_a_time=False):
    wire = ReplayTransport(pairs, one_at_a_time=one_at_a_time)
    pump = NewEraNE1000(
        "L1-low",
        wire,
        address=address,
        syringe_diameter_mm=19.13,
        syringe_volume_ul=20_000,
        min_flow_rate_ul_h=3.0,
        max_flow_rate_ul_h=1000.0,
        safe_mode=False,
        watchdog_s=0,
    )
    return pump, wire


def safe_pump(pairs, *, address=3):
    wire = ReplayTransport(pairs)
    pump = NewEraNE1000(
        "L1-high",
        wire,
        address=address,
        syringe_diameter_mm=19.13,
        syringe_volume_ul=20_000,
        min_flow_rate_ul_h=3.0,
        safe_mode=True,
        watchdog_s=120,
    )
    return pump, wire


def safe(text: str, address: int = 3) -> bytes:
    return encode_command(address, text, True)


IDLE = (b"0DIS\r", reply("00SI0.000W0.000ML"))
PHASE = [(b"0PHN\r", reply("00S01")), (b"0FUN\r", reply("00SRAT"))]
PREPARED = [  # everything already stands as asked: 60 uL/h, 720 uL
    IDLE,
    (b"0DIA\r", reply("00S19.13")),
    *PHASE,
    (b"0DIR\r", reply("00SINF")),
    (b"0RAT\r", reply("00S60.00UH")),
    (b"0VOL\r", reply("00S720.0UL")),
]


def prepared_pump(pairs, **options):
    pump, wire = basic_pump([*PREPARED, *pairs], **options)
    pump.prepare(60, 720)
    return pump, wire


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_prepare_sets_only_what_differs_and_reads_it_back(one_at_a_time):
    pump, wire = basic_pump(
        [
            IDLE,
            (b"0DIA\r", reply("00S19.13")),
            *PHASE,
            (b"0DIR\r", reply("00SWDR")),
            (b"0DIR INF\r", reply("00S")),
            (b"0DIR\r", reply("00SINF")),
            (b"0RAT\r", reply("00S60.00UH")),
            (b"0VOL\r", reply("00S0.500ML")),
            (b"0VOL UL\r", reply("00S")),
            (b"0VOL 720.0\r", reply("00S")),
            (b"0VOL\r", reply("00S720.0UL")),
        ],
        one_at_a_time=one_at_a_time,
    )
    settings = pump.prepare(60.001, 720.04)
    assert (settings.flow_rate_ul_h, settings.volume_ul) == (60.0, 720.0)
    wire.close()


def test_setting_that_reads_back_differently_is_refused():
    pump, wire = basic_pump(
        [
            IDLE,
            (b"0DIA\r", reply("00S19.13")),
            *PHASE,
            (b"0DIR\r", reply("00SWDR")),
            (b"0DIR INF\r", reply("00S")),
            (b"0DIR\r", reply("00SWDR")),
        ]
    )
    with pytest.raises(DeviceRejected, match="reads back as WDR"):
        pump.prepare(60, 720)
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()


def test_value_that_the_pump_calls_out_of_range_is_refused():
    pump, wire = basic_pump(
        [
            *PREPARED[:5],
            (b"0RAT\r", reply("00S60.00UH")),
            (b"0RAT 4.000 UH\r", reply("00S?OOR")),
        ]
    )
    with pytest.raises(DeviceRejected, match="out of range"):
        pump.prepare(4, 720)
    wire.close()


@pytest.mark.parametrize(
    ("flow_rate_ul_h", "volume_ul", "said"),
    [
        (2.9, 720, "3..1000"),
        (1000.1, 720, "3..1000"),
        (60, 20_001, "20000"),
        (60, 0, "outside 0"),
        (60, 0.0009, "does not fit"),
        (float("nan"), 720, "outside"),
        (60, float("nan"), "outside"),
        (-60, 720, "outside"),
    ],
)
def test_dose_outside_pump_or_syringe_is_refused_before_any_byte_is_sent(
    flow_rate_ul_h, volume_ul, said
):
    pump, wire = basic_pump([])
    for ask in (pump.quantise, pump.prepare):
        with pytest.raises(ValueError, match=said):
            ask(flow_rate_ul_h, volume_ul)
    assert not wire.sent


@given(st.floats(3.0, 1000.0), st.floats(0.001, 20_000))
def test_quantised_settings_stay_as_they_are_when_quantised_again(flow_rate_ul_h, volume_ul):
    pump, _ = basic_pump([])
    once = pump.quantise(flow_rate_ul_h, volume_ul)
    assert pump.quantise(once.flow_rate_ul_h, once.volume_ul) == once
    assert once.volume_ul <= volume_ul * (1 + 1e-9)


def test_running_or_paused_pump_is_not_prepared():
    for status in "IWPX":
        pump, wire = basic_pump([(b"0DIS\r", reply(f"00{status}I0.000W0.000ML"))])
        with pytest.raises(DeviceRejected, match="must stand idle"):
            pump.prepare(60, 720)
        wire.close()


def test_counter_that_could_not_count_the_dose_is_refused():
    pump, _ = basic_pump([(b"0DIS\r", reply("00SI9.500W0.000ML"))])
    with pytest.raises(ValueError, match="clear the counter"):
        pump.prepare(60, 720)


def test_start_is_sent_once_and_wants_a_prepare_for_each_time():
    pump, wire = prepared_pump([(b"0RUN\r", reply("00I"))])
    pump.start()
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"\x0200",
        b"garbage",
        b"\x0200I?ZZ\x03",
        b"\x0200S\x03",
        b"\x0200W\x03",
        b"\x0200II0.500W0.000ML\x03",
        reply("00I", safe=True),
        PortMissing("port replay was lost"),
    ],
)
def test_start_whose_answer_is_lost_or_strange_is_never_sent_again(answer):
    pump, wire = prepared_pump([(b"0RUN\r", answer)])
    with pytest.raises(OutcomeUnknown) as told:
        pump.start()
    assert told.value.sent == b"0RUN\r"
    assert wire.sent.count(b"0RUN\r") == 1
    wire.close()


def test_start_that_never_left_is_not_an_unknown_outcome():
    pump, wire = prepared_pump([(b"0RUN\r", NotSent("record is full"))])
    with pytest.raises(NotSent):
        pump.start()
    assert b"0RUN\r" not in wire.sent


@pytest.mark.parametrize("kind", ["R", "S", "T", "E", "O"])
def test_start_that_meets_an_alarm_did_not_start_and_is_not_sent_again(kind):
    pump, wire = prepared_pump([(b"0RUN\r", reply(f"00A?{kind}"))])
    with pytest.raises(DeviceAlarm, match="not carried out"):
        pump.start()
    wire.close()


@pytest.mark.parametrize("error", ["", "NA", "OOR", "COM", "IGN"])
def test_start_that_is_refused_did_not_start_and_is_not_sent_again(error):
    pump, wire = prepared_pump([(b"0RUN\r", reply(f"00S?{error}"))])
    with pytest.raises(DeviceRejected):
        pump.start()
    wire.close()


@pytest.mark.parametrize("lost", [None, b"\x02 no\x03", b"\x0200S?COM\x03"])
def test_query_whose_answer_is_lost_is_asked_once_more_after_the_line_is_quiet(lost):
    pump, wire = basic_pump([(b"0DIS\r", lost), (b"0DIS\r", reply("00II1.500W0.000ML"))])
    status = pump.status()
    assert (status.state, status.infused_ul, status.resolution_ul) == ("infusing", 1500.0, 1.0)
    # what is silent or incomplete the transport counts itself
    assert len(wire.no_good) == (lost is not None and b"COM" in lost)
    wire.close()


def test_query_is_not_asked_a_third_time():
    pump, wire = basic_pump([(b"0DIS\r", None), (b"0DIS\r", None)])
    with pytest.raises(TransportTimeout, match="L1-low"):
        pump.status()
    wire.close()


def test_reset_alarm_is_acknowledged_and_stays_told_as_a_restart():
    pump, wire = basic_pump(
        [(b"0DIS\r", reply("00A?R")), IDLE, IDLE],
    )
    for _ in range(2):
        status = pump.status()
        assert (status.state, status.restarts, status.alarm) == ("idle", 1, "")
    wire.close()


def test_stall_is_told_by_status_though_a_heartbeat_met_it():
    stopped = (b"0DIS\r", reply("00SI0.100W0.000ML"))
    pump, wire = basic_pump(
        [(b"0\r", reply("00A?S")), (b"0\r", reply("00S")), stopped, stopped]
        + [(b"0STP\r", reply("00S?NA")), stopped, stopped, stopped]
    )
    pump.heartbeat()
    for _ in range(2):
        status = pump.status()
        assert (status.state, status.alarm, status.infused_ul) == ("alarm", "stall", 100.0)
    pump.stop()
    assert pump.status().alarm == "stall"
    with pytest.raises(DeviceAlarm, match="nobody has acknowledged"):
        pump.prepare(60, 720)
    pump.acknowledge()
    assert pump.status().state == "idle"
    wire.close()


def test_query_of_a_prepare_that_meets_a_stall_does_not_lead_to_a_start():
    pump, wire = basic_pump([*PREPARED[:-1], (b"0VOL\r", reply("00A?S")), PREPARED[-1]])
    with pytest.raises(DeviceAlarm, match="stall"):
        pump.prepare(60, 720)
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()


def test_watchdog_alarm_ends_with_a_stop():
    pump, wire = basic_pump(
        [*MET, PREPARED[1], (b"0DIS\r", reply("00A?T")), IDLE, (b"0STP\r", reply("00S")), IDLE]
    )
    pump.open()
    assert pump.status().alarm == "timeout"
    pump.stop()
    assert pump.status().state == "idle"
    wire.close()


def test_phase_of_a_keypad_programme_is_put_back_to_a_plain_first_phase():
    pump, wire = basic_pump(
        [
            *PREPARED[:2],
            (b"0PHN\r", reply("00S03")),
            (b"0PHN 1\r", reply("00S")),
            (b"0PHN\r", reply("00S01")),
            (b"0FUN\r", reply("00SJMP03")),
            (b"0FUN RAT\r", reply("00S")),
            (b"0FUN\r", reply("00SRAT")),
            *PREPARED[4:],
        ]
    )
    pump.prepare(60, 720)
    wire.close()


@pytest.mark.parametrize("told", ["00S03", "00S1x", "00S?NA"])
def test_phase_that_can_not_be_chosen_bars_the_dose(told):
    pump, wire = basic_pump(
        [
            *PREPARED[:2],
            (b"0PHN\r", reply("00S03")),
            (b"0PHN 1\r", reply("00S")),
            (b"0PHN\r", reply(told)),
        ]
    )
    with pytest.raises(InstrumentError):
        pump.prepare(60, 720)
    with pytest.raises(ValueError):
        pump.start()
    wire.close()


@pytest.mark.parametrize(
    ("stops", "said"),
    [
        ([(b"1STP\r", reply("01P")), (b"1STP\r", reply("01S"))], "it was stopped"),
        ([(b"1STP\r", None), (b"1STP\r", reply("01S?NA"))], "it was stopped"),
        ([(b"1STP\r", None)] * 6, "MAY STILL RUN"),
        ([(b"1STP\r", NotSent("a stop takes the port"))], "MAY STILL RUN"),
    ],
)
def test_other_pump_that_answers_to_a_start_is_stopped_and_named(stops, said):
    pump, wire = prepared_pump([(b"0RUN\r", reply("01I")), *stops])
    with pytest.raises(OutcomeUnknown, match=f"pump at address 1.*{said}") as told:
        pump.start()
    assert told.value.sent == b"0RUN\r"
    wire.close()


@pytest.mark.parametrize("late", ["01II0.500W0.000ML", "01I?NA", "01S?"])
def test_other_pump_that_did_not_start_is_left_alone(late):
    pump, wire = prepared_pump([(b"0RUN\r", reply(late))])
    with pytest.raises(OutcomeUnknown):
        pump.start()
    assert not [sent for sent in wire.sent if b"STP" in sent]
    wire.close()


def test_start_after_a_stop_is_not_sent_and_says_why():
    pump, wire = prepared_pump([(b"0STP\r", reply("00S"))])
    pump.stop()
    with pytest.raises(StoppedSince, match="a stop came since"):
        pump.start()
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()


def test_setting_that_meets_an_alarm_is_not_silently_sent_again():
    pump, wire = basic_pump(
        [*PREPARED[:5], (b"0RAT\r", reply("00S1.000UH")), (b"0RAT 60.00 UH\r", reply("00A?S"))]
    )
    with pytest.raises(DeviceAlarm):
        pump.prepare(60, 720)
    wire.close()


def test_stop_goes_on_until_the_pump_says_that_it_stands():
    pump, wire = basic_pump(
        [
            (b"0STP\r", None),
            (b"0STP\r", reply("00P")),
            (b"0STP\r", reply("00A?S")),
            (b"0STP\r", reply("00I")),
            (b"0STP\r", reply("00S")),
        ]
    )
    pump.stop()
    wire.close()


def test_stop_of_a_pump_in_the_other_mode_finds_it():
    pump, wire = basic_pump(
        [
            *[(b"0STP\r", None)] * 2,
            (safe("STP", 0), reply("00P", safe=True)),
            (safe("STP", 0), reply("00S", safe=True)),
        ]
    )
    pump.stop()
    wire.close()


def test_stop_that_nobody_confirms_says_that_the_pump_may_run():
    lost = [(b"0STP\r", None)] * 2
    pump, wire = basic_pump([*lost, *[(safe("STP", 0), None)] * 2, *lost])
    with pytest.raises(InstrumentError, match="MAY STILL RUN"):
        pump.stop()
    wire.close()


def test_stop_of_a_pump_that_was_not_met_looks_for_its_mode_in_a_hurry():
    pump, wire = safe_pump([*[(safe("STP"), None)] * 2, (b"3STP\r", reply("03S"))])
    allowed_s = []
    exchange = wire.exchange
    wire.exchange = lambda sent, length, *, deadline_s, inter_byte_s: (
        allowed_s.append(deadline_s)
        or exchange(sent, length, deadline_s=deadline_s, inter_byte_s=inter_byte_s)
    )
    pump.stop()
    assert sum(allowed_s) < 1
    wire.close()


def test_counter_is_cleared_only_while_idle_and_looked_at_afterwards():
    pump, wire = basic_pump([IDLE, (b"0CLD INF\r", reply("00S")), IDLE])
    pump.clear_counter()
    wire.close()
    pump, wire = basic_pump([(b"0DIS\r", reply("00II1.000W0.000ML"))])
    with pytest.raises(DeviceRejected, match="must stand idle"):
        pump.clear_counter()
    wire.close()


def test_lost_answer_to_a_clear_is_settled_by_the_counter():
    full = (b"0DIS\r", reply("00SI1.000W0.000ML"))
    pump, wire = basic_pump([full, (b"0CLD INF\r", None), IDLE])
    pump.clear_counter()
    wire.close()
    pump, wire = basic_pump([full, (b"0CLD INF\r", None), full])
    with pytest.raises(TransportTimeout):
        pump.clear_counter()
    wire.close()


OPENED_SAFE = [
    (safe("SAF"), reply("03I120", safe=True)),
    (safe("VER"), reply("03INE1000V3.61", safe=True)),
    (safe("DIA"), reply("03I19.13", safe=True)),
]


def test_open_enters_safe_mode_and_leaves_a_running_infusion_alone():
    pump, wire = safe_pump([(safe("SAF120"), reply("03I", safe=True)), *OPENED_SAFE])
    pump.open()
    assert pump.firmware == "NE1000V3.61"
    assert not {
        frame for frame in wire.sent if b"STP" in frame or b"CLD" in frame or b"RUN" in frame
    }
    wire.close()


def test_open_of_a_pump_that_was_switched_on_in_basic_mode_notes_the_restart():
    pump, wire = safe_pump(
        [
            (safe("SAF120"), reply("03A?R")),  # in the old mode
            (safe("SAF120"), reply("03S", safe=True)),
            *OPENED_SAFE,
            (safe("DIS"), reply("03SI0.000W0.000ML", safe=True)),
        ]
    )
    pump.open()
    assert pump.status().restarts == 1
    wire.close()


def test_watchdog_alarm_met_at_open_does_not_bar_the_pump():
    pump, wire = safe_pump(
        [
            (safe("SAF120"), reply("03A?T", safe=True)),
            (safe("SAF120"), reply("03S", safe=True)),
            *OPENED_SAFE,
            (safe("DIS"), reply("03SI0.000W0.000ML", safe=True)),
        ]
    )
    pump.open()
    assert pump.status().state == "idle"
    wire.close()


def test_open_in_basic_mode_brings_back_a_pump_left_in_safe_mode():
    pump, wire = basic_pump(
        [
            (b"0\r", None),
            (b"0\r", None),
            (safe("SAF0", 0), reply("00S")),
            (b"0VER\r", reply("00SNE1000V3.61")),
            (b"0DIA\r", reply("00S19.13")),
        ]
    )
    pump.open()
    wire.close()


def test_open_that_meets_another_device_is_refused():
    pump, _ = basic_pump([(b"0\r", reply("00S")), (b"0VER\r", reply("00SPHD2000"))])
    with pytest.raises(InstrumentError, match="New Era"):
        pump.open()


MET = [(b"0\r", reply("00S")), (b"0VER\r", reply("00SNE1000V3.61"))]


def test_other_diameter_is_told_and_not_changed_at_opening_nor_before_a_dose():
    pump, wire = basic_pump(
        [*MET, (b"0DIA\r", reply("00S26.59")), IDLE, (b"0DIA\r", reply("00S26.59"))]
    )
    with pytest.raises(SyringeDiffers, match="26.59 mm, lab.toml says 19.13 mm"):
        pump.open()
    with pytest.raises(SyringeDiffers, match="look at the syringe"):
        pump.prepare(60, 720)
    wire.close()


def test_confirmed_syringe_is_set_and_read_back_only_while_the_pump_is_idle():
    setting = [
        (b"0DIA\r", reply("00S26.59")),
        (b"0DIA 19.13\r", reply("00S")),
        (b"0DIA\r", reply("00S19.13")),
    ]
    pump, wire = basic_pump([*MET, IDLE, *setting])
    pump.confirm_syringe()
    wire.close()
    pump, wire = basic_pump([*MET, (b"0DIS\r", reply("00II0.000W0.000ML"))])
    with pytest.raises(DeviceRejected, match="stand idle"):
        pump.confirm_syringe()
    wire.close()


def test_pump_is_met_again_after_its_port_came_back_and_a_start_in_between_is_not_sent():
    pump, wire = basic_pump([*MET, (b"0DIA\r", reply("00S19.13")), *PREPARED, *MET, IDLE])
    pump.open()
    pump.prepare(60, 720)
    wire.generation += 1
    with pytest.raises(NotSent, match="was not started"):
        pump.start()
    assert pump.status().state == "idle"
    wire.close()


def test_other_pump_behind_a_port_that_came_back_is_refused():
    other = [MET[0], (b"0VER\r", reply("00SNE500V3.61"))]
    pump, wire = basic_pump([*MET, (b"0DIA\r", reply("00S19.13")), *other])
    pump.open()
    wire.generation += 1
    with pytest.raises(DeviceRejected, match="is it the same pump"):
        pump.status()
    wire.close()


def test_alarm_pushed_by_another_pump_of_the_bus_is_passed_over():
    answer = reply("07A?S", safe=True) + reply("03S", safe=True)
    pump, wire = safe_pump([(safe(""), answer)])
    pump.heartbeat()
    wire.close()


def test_close_switches_the_watchdog_off_and_stops_nothing():
    pump, wire = safe_pump([(safe("SAF0"), reply("03I"))])
    pump.close()
    pump.close()
    assert wire.sent == [safe("SAF0")]


def test_watchdog_that_can_not_be_switched_off_is_told():
    pump, _ = safe_pump([(safe("SAF0"), reply("03I?NA", safe=True))])
    with pytest.raises(DeviceRejected, match="keeps its watchdog of 120 s"):
        pump.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": 100},
        {"syringe_diameter_mm": 50.5},
        {"syringe_diameter_mm": 26.723},
        {"safe_mode": True, "watchdog_s": 0},
        {"safe_mode": True, "watchdog_s": 256},
    ],
)
def test_pump_that_the_wire_can_not_express_is_refused(wrong):
    settings = {
        "address": 0,
        "syringe_diameter_mm": 26.72,
        "syringe_volume_ul": 60_000,
        "min_flow_rate_ul_h": 3.0,
    }
    with pytest.raises(ValueError):
        NewEraNE1000("L1-medium", ReplayTransport([]), **(settings | wrong))


@given(st.binary(max_size=40), st.sampled_from(["status", "heartbeat", "stop", "open", "start"]))
def test_whatever_a_device_answers_only_instrument_errors_come_out(answer, verb):
    pump, wire = basic_pump([])
    pump._ready.end(pump._ready.begin(), None)
    wire.exchange = lambda sent, length, **_: _first(answer, length)
    wire.read_answer = lambda length, **_: (_ for _ in ()).throw(TransportTimeout("nothing"))
    try:
        getattr(pump, verb)()
    except InstrumentError:
        pass


def _first(answer, length):
    end = length(answer) if answer else None
    if end is None:
        raise TransportTimeout("nothing")
    return answer[:end]
