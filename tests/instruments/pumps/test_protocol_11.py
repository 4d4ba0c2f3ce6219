"""The Protocol 11 driver against played-back exchanges: what is sent again, and what never."""

import re
import tomllib
from pathlib import Path

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
from instruments.lab_settings import LabSettingsNotValid, settings_from
from instruments.pumps.protocol_11 import MAKE, Protocol11
from instruments.pumps.protocol_11_wire import DIALECTS
from instruments.pumps.readiness import StoppedSince
from instruments.transport import NotSent
from tests.instruments.replay import ReplayTransport

PAGE = Path(__file__).parents[3] / "docs" / "instruments" / "protocol_11.md"


def at(text: str, address: int = 0) -> bytes:
    return (f"{address}{text}" if address else f"@{text}").encode() + b"\r\n"


def reply(prompt: str = ":", *lines: str, address: int = 0) -> bytes:
    """Return an answer as the manual writes it: addresses of two digits where not 0, XON behind."""
    own = f"{address:02d}" if address else ""
    said = "".join(f"\n{own and own + ':'}{line}\r" for line in lines)
    return f"{said}\n{own}{prompt}\x11".encode()


def legato(pairs, *, address=0, one_at_a_time=False, dialect="legato", **options):
    wire = ReplayTransport(pairs, one_at_a_time=one_at_a_time)
    pump = Protocol11(
        "L1-low",
        wire,
        address=address,
        dialect=DIALECTS[dialect],
        syringe_diameter_mm=14.57,
        syringe_volume_ul=20_000,
        min_flow_rate_ul_h=3.0,
        max_flow_rate_ul_h=1000.0,
        **options,
    )
    return pump, wire


POLL_ON = (at("poll on"), reply())
MET = [
    POLL_ON,
    (
        at("version"),
        reply(":", "Firmware:      v3.0.6", "Pump address:  0", "Serial number: D101754"),
    ),
    (at("nvram none"), reply()),
]
DIAMETER = (at("diameter"), reply(":", "14.5700 mm"))
QS = (at("load"), reply(":", "Quick Start - Infuse/Withdraw (qs iw)"))
IDLE = (at("ivolume"), reply(":", "0 ul"))
PREPARED = [  # everything already stands as asked: 60 uL/h, 720 uL, 12 h x 1.02 + 1 s
    IDLE,
    QS,
    DIAMETER,
    (at("irate"), reply(":", "60 ul/hr")),
    (at("tvolume"), reply(":", "720 ul")),
    (at("ttime"), reply(":", "12:14:25")),
    DIAMETER,
    (at("tvolume"), reply(":", "720 ul")),
]


def prepared_pump(pairs, **options):
    pump, wire = legato([*PREPARED, *pairs], **options)
    pump.prepare(60, 720)
    return pump, wire


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_prepare_sets_only_what_differs_and_reads_it_back(one_at_a_time):
    pump, wire = legato(
        [
            IDLE,
            (at("load"), reply(":", "Quick Start - Withdraw Only (qs w)")),
            (at("load qs i"), reply()),
            (at("load"), reply(":", "Quick Start - Infuse Only (qs i)")),
            DIAMETER,
            (at("irate"), reply(":", "1 ml/min")),
            (at("irate 60 ul/hr"), reply()),
            (at("irate"), reply(":", "1 ul/min")),
            (at("tvolume"), reply(":", "Target volume not set")),
            (at("tvolume 720.04 ul"), reply()),
            (at("tvolume"), reply(":", "720.04 ul")),
            (at("ttime"), reply(":", "Target time not set")),
            (at("ttime 12:14:28"), reply()),
            (at("ttime"), reply(":", "12:14:28")),
            DIAMETER,
            (at("tvolume"), reply(":", "720.04 ul")),
        ],
        one_at_a_time=one_at_a_time,
    )
    settings = pump.prepare(60.0000001, 720.0400001)
    assert (settings.flow_rate_ul_h, settings.volume_ul) == (60.0, 720.04)
    wire.close()


def test_pump_that_holds_one_target_only_is_told_and_not_started():
    pump, wire = legato([*PREPARED[:-1], (at("tvolume"), reply(":", "Target volume not set"))])
    with pytest.raises(DeviceRejected, match="time_bound = false"):
        pump.prepare(60, 720)
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()


def test_without_time_bound_a_target_time_left_behind_is_cleared():
    pump, wire = legato(
        [
            *PREPARED[:5],
            (at("ttime"), reply(":", "30 seconds")),
            (at("cttime"), reply()),
            (at("ttime"), reply(":", "Target time not set")),
            DIAMETER,
            PREPARED[4],
        ],
        time_bound=False,
    )
    pump.prepare(60, 720)
    wire.close()


def test_target_on_the_counter_goes_on_from_where_it_stands():
    pump, wire = legato(
        [
            (at("ivolume"), reply("T*", "100.5 ul")),
            *PREPARED[1:4],
            (at("ivolume"), reply("T*", "100.5 ul")),
            (at("tvolume"), reply(":", "720 ul")),
            (at("tvolume 820.5 ul"), reply()),
            (at("tvolume"), reply(":", "820.5 ul")),
            PREPARED[5],
            DIAMETER,
            (at("tvolume"), reply(":", "820.5 ul")),
        ],
        target_counts="counter",
    )
    assert pump.prepare(60, 720).volume_ul == 720
    wire.close()


def test_setting_that_reads_back_differently_is_refused():
    pump, wire = legato(
        [
            *PREPARED[:3],
            (at("irate"), reply(":", "10 ul/hr")),
            (at("irate 60 ul/hr"), reply()),
            (at("irate"), reply(":", "10 ul/hr")),
        ]
    )
    with pytest.raises(DeviceRejected, match="reads back as 10"):
        pump.prepare(60, 720)
    wire.close()


def test_value_that_the_pump_calls_out_of_range_is_refused_in_its_words():
    pump, wire = legato(
        [
            *PREPARED[:4],
            (at("tvolume"), reply(":", "1 ul")),
            (
                at("tvolume 720 ul"),
                reply(":", "Argument error: 720", "   Target volume out of range"),
            ),
        ]
    )
    with pytest.raises(DeviceRejected, match="Target volume out of range"):
        pump.prepare(60, 720)
    wire.close()


@pytest.mark.parametrize(
    ("flow_rate_ul_h", "volume_ul", "said"),
    [
        (2.9, 720, "3..1000"),
        (1000.1, 720, "3..1000"),
        (60, 20_001, "20000"),
        (60, 0, "outside 0"),
        (60, 1e-9, "does not fit"),
        (float("nan"), 720, "outside"),
        (60, float("nan"), "outside"),
        (-60, 720, "outside"),
        (3, 5000, "time_bound"),
    ],
)
def test_dose_outside_pump_or_syringe_is_refused_before_any_byte_is_sent(
    flow_rate_ul_h, volume_ul, said
):
    pump, wire = legato([])
    for ask in (pump.quantise, pump.prepare):
        with pytest.raises(ValueError, match=said):
            ask(flow_rate_ul_h, volume_ul)
    assert not wire.sent


@given(st.floats(3.0, 1000.0), st.floats(0.001, 200))
def test_quantised_settings_stay_as_they_are_when_quantised_again(flow_rate_ul_h, volume_ul):
    pump, _ = legato([])
    once = pump.quantise(flow_rate_ul_h, volume_ul)
    assert pump.quantise(once.flow_rate_ul_h, once.volume_ul) == once
    assert once.volume_ul <= volume_ul * (1 + 1e-9)


@pytest.mark.parametrize("prompt", [">", "<"])
def test_running_pump_is_neither_prepared_nor_cleared(prompt):
    running = (at("ivolume"), reply(prompt, "1 ul"))
    pump, wire = legato([running, running, *MET, running])
    for do in (lambda: pump.prepare(60, 720), pump.clear_counter, pump.confirm_syringe):
        with pytest.raises(DeviceRejected, match="must stand idle"):
            do()
    wire.close()


def test_start_is_sent_once_and_wants_a_prepare_for_each_time():
    pump, wire = prepared_pump([(at("irun"), reply(">"))])
    pump.start()
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    wire.close()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"\n>",
        b"garbage",
        reply(),
        reply("T*"),
        reply("*"),
        reply("<"),
        reply(">", "what"),
        reply(">", "Command error: x"),
        PortMissing("port replay was lost"),
    ],
)
def test_start_whose_answer_is_lost_or_strange_is_never_sent_again(answer):
    pump, wire = prepared_pump([(at("irun"), answer)])
    with pytest.raises(OutcomeUnknown) as told:
        pump.start()
    assert told.value.sent == at("irun")
    assert wire.sent.count(at("irun")) == 1
    wire.close()


def test_start_that_never_left_is_not_an_unknown_outcome():
    pump, wire = prepared_pump([(at("irun"), NotSent("record is full"))])
    with pytest.raises(NotSent):
        pump.start()
    assert at("irun") not in wire.sent


def test_start_that_the_pump_refuses_in_words_did_not_start():
    pump, wire = prepared_pump([(at("irun"), reply(":", "Command error: not now"))])
    with pytest.raises(DeviceRejected, match="not now"):
        pump.start()
    wire.close()


def test_start_after_the_port_was_lost_is_not_sent():
    pump, wire = legato([*MET, DIAMETER, *PREPARED])
    pump.open()
    pump.prepare(60, 720)
    wire.generation += 1
    with pytest.raises(NotSent, match="came back"):
        pump.start()
    wire.close()


def test_port_that_came_back_is_met_again_and_nothing_is_changed():
    pump, wire = legato([*MET, DIAMETER, *MET, IDLE])
    pump.open()
    wire.generation += 1
    assert pump.status().state == "idle"
    wire.close()
    other = (MET[1][0], MET[1][1].replace(b"D101754", b"D999999"))
    pump, wire = legato([*MET, DIAMETER, POLL_ON, other])
    pump.open()
    wire.generation += 1
    with pytest.raises(DeviceRejected, match="is it the same pump"):
        pump.status()
    wire.close()


@pytest.mark.parametrize("lost", [None, b"\nxx\r\n:\x11", b"0 ul\r\n:\x11", b"\n0 ul\r\n:"])
def test_query_whose_answer_is_lost_is_asked_once_more_with_polling_on(lost):
    pump, wire = legato([(at("ivolume"), lost), POLL_ON, (at("ivolume"), reply(">", "1.5 ml"))])
    status = pump.status()
    assert (status.state, status.infused_ul, status.resolution_ul) == ("infusing", 1500.0, 0.01)
    assert status.restarts is None
    wire.close()


def test_query_is_not_asked_a_third_time():
    pump, wire = legato([(at("ivolume"), None), POLL_ON, (at("ivolume"), None)])
    with pytest.raises(TransportTimeout, match="L1-low"):
        pump.status()
    wire.close()


def test_polling_found_off_proves_a_restart_where_the_lab_has_seen_it():
    off = (at("poll"), b"\nOff\r\n:")
    pump, wire = legato(
        [(at("ivolume"), b"\n0 ul\r\n:"), off, POLL_ON, IDLE, IDLE], restart_proof=True
    )
    assert [pump.status().restarts for _ in range(2)] == [1, 1]
    wire.close()


def test_answer_lost_while_polling_stays_on_is_no_restart():
    on = (at("poll"), reply(":", "On"))
    pump, wire = legato(
        [on, *MET, DIAMETER, (at("ivolume"), None), on, POLL_ON, IDLE], restart_proof=True
    )
    pump.open()
    assert pump.status().restarts == 0
    wire.close()


def test_pump_that_does_not_tell_its_polling_is_not_said_to_have_kept_its_power():
    pump, wire = legato(
        [(at("ivolume"), None), (at("poll"), None), (at("poll"), None), (at("ivolume"), None)],
        restart_proof=True,
    )
    with pytest.raises(TransportTimeout):
        pump.status()
    wire.close()


@pytest.mark.parametrize("prompt", ["*", ">*"])
def test_stall_is_told_until_somebody_acknowledges_it(prompt):
    stalled = (at("ivolume"), reply(prompt, "100 ul"))
    pump, wire = legato([stalled, stalled, (at("stp"), reply(prompt)), *[stalled] * 3])
    for _ in range(2):
        status = pump.status()
        assert (status.state, status.alarm, status.infused_ul) == ("alarm", "stall", 100.0)
    pump.stop()
    assert pump.status().alarm == "stall"
    with pytest.raises(DeviceAlarm, match="nobody has acknowledged"):
        pump.prepare(60, 720)
    pump.acknowledge()  # the prompt may stay until the next run
    assert pump.status().state == "idle"
    wire.close()


def test_stall_that_only_the_stop_meets_is_told():
    pump, wire = legato([(at("stp"), reply("*")), (at("ivolume"), reply("*", "100 ul"))])
    pump.stop()
    assert pump.status().alarm == "stall"
    wire.close()


@pytest.mark.parametrize(
    ("stops", "said"),
    [([b"\n02:\x11"], "it was stopped"), ([None] * 3, "MAY STILL RUN")],
)
def test_other_pump_that_answers_to_a_start_is_stopped_and_named(stops, said):
    stop = b"2stp\r\n"
    pump, wire = prepared_pump([(at("irun"), b"\n02>\x11"), *[(stop, answer) for answer in stops]])
    with pytest.raises(OutcomeUnknown, match=f"pump at address 2.*{said}") as told:
        pump.start()
    assert told.value.sent == at("irun")
    wire.close()


@pytest.mark.parametrize("late", [b"\n02:1.5 ul\r\n02>\x11", b"\n02:Command error: x\r\n02>\x11"])
def test_other_pump_that_did_not_start_is_left_alone(late):
    pump, wire = prepared_pump([(at("irun"), late)])
    with pytest.raises(OutcomeUnknown):
        pump.start()
    assert not [sent for sent in wire.sent if b"stp" in sent]
    wire.close()


def test_start_after_a_stop_is_not_sent_and_says_why():
    pump, wire = prepared_pump([(at("stp"), reply(":"))])
    pump.stop()
    with pytest.raises(StoppedSince, match="a stop came since"):
        pump.start()
    wire.close()


def test_second_stall_is_told_though_the_first_was_answered():
    stalled = (at("ivolume"), reply("*", "100 ul"))
    pump, wire = prepared_pump([(at("irun"), reply(">")), stalled])
    pump.start()
    assert pump.status().alarm == "stall"
    wire.close()


def test_target_reached_is_idle():
    pump, wire = legato([(at("ivolume"), reply("T*", "720 ul"))])
    assert (pump.status().state, wire.pairs) == ("idle", [])


def test_stop_goes_on_until_the_prompt_is_that_of_a_standing_motor():
    pump, wire = legato(
        [(at("stp"), None), POLL_ON, (at("stp"), reply(">")), (at("stp"), reply("T*"))]
    )
    pump.stop()
    wire.close()


@pytest.mark.parametrize(
    "pairs",
    [
        [(at("stp"), None), (at("poll on"), None)] * 3,
        [(at("stp"), reply(">"))] * 3,
        [(at("stp"), PortMissing("gone"))],
    ],
)
def test_stop_that_nobody_confirms_says_that_the_pump_may_run(pairs):
    pump, wire = legato(pairs)
    with pytest.raises(InstrumentError, match="MAY STILL RUN"):
        pump.stop()
    wire.close()


def test_refusal_in_front_of_an_address_is_not_taken_for_a_stop():
    pairs = [(at("stp", 2), reply(">", "Unknown command", address=2))] * 3
    pump, wire = legato(pairs, address=2, one_at_a_time=True)
    with pytest.raises(InstrumentError, match="MAY STILL RUN"):
        pump.stop()
    wire.close()


def test_counter_is_cleared_only_while_idle_and_looked_at_afterwards():
    full = (at("ivolume"), reply("T*", "1 ml"))
    clear = at("civolume")
    pump, wire = legato([full, (clear, reply()), IDLE, full, (clear, None), IDLE])
    pump.clear_counter()
    pump.clear_counter()  # a lost answer is settled by the counter
    wire.close()
    pump, wire = legato([full, (clear, None), full])
    with pytest.raises(TransportTimeout):
        pump.clear_counter()
    wire.close()


def test_open_meets_the_pump_and_leaves_a_running_infusion_alone():
    pump, wire = legato([*MET, (at("diameter"), reply(">", "14.5700 mm"))])
    pump.open()
    pump.close()
    assert pump.firmware == "v3.0.6 serial D101754"
    wire.close()


def test_open_falls_back_to_the_other_word_for_sparing_the_memory(caplog):
    unknown = reply(":", "Argument error: none", "   Unknown argument")
    pump, wire = legato(
        [*MET[:2], (at("nvram none"), unknown), (at("nvram off"), reply()), DIAMETER]
    )
    pump.open()
    wire.close()
    assert not caplog.records


def test_open_that_meets_another_device_is_refused():
    strange = (at("version"), reply(":", "NE1000V3.61"))
    pump, wire = legato([POLL_ON, strange, POLL_ON, strange])
    with pytest.raises(InstrumentError, match="version"):
        pump.open()
    wire.close()


def test_syringe_that_differs_is_told_and_set_only_once_a_person_confirms_it():
    other = (at("diameter"), reply(":", "7.2620 mm"))
    pump, wire = legato([*MET, other, *MET, IDLE, other, (at("diameter 14.57"), reply()), DIAMETER])
    with pytest.raises(SyringeDiffers, match="7.2620 mm"):
        pump.open()
    pump.confirm_syringe()
    wire.close()
    pump, wire = legato([IDLE, QS, other])
    with pytest.raises(SyringeDiffers):
        pump.prepare(60, 720)
    wire.close()


def test_pumps_of_one_chain_are_told_apart_by_address():
    pump, wire = legato(
        [
            (at("ivolume", 3), reply(">", "5 ul", address=2)),
            (at("poll on", 3), reply(address=3)),
            (at("ivolume", 3), reply(">", "6 ul", address=3)),
        ],
        address=3,
    )
    assert pump.status().infused_ul == 6
    wire.close()


def test_other_dialects_write_their_address_and_ask_for_their_version():
    pump, wire = legato(
        [
            (b"12:poll on\r\n", reply(address=12)),
            (b"12:ver\r\n", reply(":", "PHD ULTRA I/W 2.0.3", address=12)),
            (b"12:nvram off\r\n", reply(address=12)),
            (b"12:diameter\r\n", reply(":", "14.5700 mm", address=12)),
        ],
        dialect="phd_ultra",
        address=12,
    )
    pump.open()
    wire.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": 100},
        {"syringe_diameter_mm": 50.5},
        {"syringe_diameter_mm": 14.57001},
        {"target_counts": "counter", "time_bound": False},
    ],
)
def test_pump_that_the_wire_can_not_express_is_refused(wrong):
    settings = {
        "dialect": DIALECTS["legato"],
        "syringe_diameter_mm": 14.57,
        "syringe_volume_ul": 10_000,
        "min_flow_rate_ul_h": 3.0,
    }
    with pytest.raises(ValueError):
        Protocol11("L1-medium", ReplayTransport([]), **(settings | wrong))


def lab_from_page(old: str = "", new: str = ""):
    text = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert old in text
    text = text.replace(old, new) if old else text
    return settings_from(tomllib.loads(text), PAGE, text, {"protocol_11": MAKE})


def test_lab_toml_of_the_page_builds_its_pumps():
    pumps = lab_from_page().pumps
    for name, entry in pumps.items():
        assert MAKE.build(name, ReplayTransport([]), entry, lambda seconds: None).name == name
        assert entry.spoken() == DIALECTS["legato"]


def test_own_keys_of_an_entry_go_before_its_dialect():
    own = 'dialect = "elite"\naddressing = "colon"\nline_end = "cr"\nquick_start = true'
    spoken = lab_from_page('dialect = "legato"', own).pumps["L1-low"].spoken()
    assert (spoken.addressing, spoken.line_end, spoken.quick_start) == ("colon", b"\r", True)
    assert (spoken.identity, spoken.writes_zero) == ("ver", True)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("14.57", "14.57001", "4 decimals"),
        ('dialect = "legato"', 'dialect = "model44"', "model44"),
        ("time_bound = true", 'time_bound = false\ntarget_counts = "counter"', "time_bound"),
    ],
)
def test_lab_toml_that_the_pump_can_not_express_is_refused(old, new, said):
    with pytest.raises(LabSettingsNotValid, match=said):
        lab_from_page(old, new)


def test_probe_recognises_its_recorded_answer_and_no_other_device():
    version = b"\nFirmware:      v3.0.6\r\nPump address:  0\r\nSerial number: D101754\r\n:"
    for answer in (version, version + b"\x11"):
        assert MAKE.probe.answer_length(answer) == len(answer)
        assert MAKE.probe.recognise(answer) == "v3.0.6 serial D101754"
    assert MAKE.probe.recognise(b"\x0200S?\x03") is None


@given(
    st.one_of(
        st.binary(max_size=40), st.binary(max_size=20).map(lambda b: b"\n" + b + b"\r\n:\x11")
    ),
    st.sampled_from(["status", "stop", "open", "start", "clear_counter", "confirm_syringe"]),
    st.booleans(),
)
def test_whatever_a_device_answers_only_instrument_errors_come_out(answer, verb, proof):
    pump, wire = legato([], restart_proof=proof)
    pump._ready.end(pump._ready.begin(), None)
    wire.exchange = lambda sent, length, **_: _first(answer, length)
    try:
        getattr(pump, verb)()
    except InstrumentError:
        pass


def _first(answer, length):
    end = length(answer) if answer else None
    if end is None:
        raise TransportTimeout("nothing")
    return answer[:end]
