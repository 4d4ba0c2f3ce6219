"""The Chemyx Fusion driver against the exchanges that its sources describe; no recorded bytes
exist."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.errors import (
    DeviceAlarm,
    DeviceRejected,
    FrameError,
    InstrumentError,
    OutcomeUnknown,
    PortMissing,
    SyringeDiffers,
    TransportTimeout,
)
from instruments.lab_settings import LabSettingsNotValid, settings_from
from instruments.pumps import chemyx_fusion_wire as wire
from instruments.pumps.chemyx_fusion import MAKE, ChemyxFusion
from instruments.pumps.chemyx_fusion_wire import Manner, Parameters
from instruments.transport import NotSent
from tests.instruments.replay import ReplayTransport
from tests.instruments.serial_rows import one_at_a_time

PAGE = Path(__file__).parents[3] / "docs" / "instruments" / "chemyx_fusion.md"
USUAL = Manner(True, True)
MANNERS = [Manner(echo, prompt) for echo in (True, False) for prompt in (True, False)]


def said(text: str, *lines: str, manner: Manner = USUAL) -> bytes:
    """Return the answer to a command in the pump's manner."""
    echo = f"{text}\r" if manner.echo else ""
    body = "".join(f"{line}\r\n" for line in lines)
    return f"{echo}{body}{'>' if manner.prompt else ''}".encode()


def ask(text: str, *lines: str) -> tuple[bytes, bytes]:
    return f"{text}\r".encode(), said(text, *lines)


def view(rate="60.000000", volume="720.000000", *, unit="3", dia="14.570", delay="0", head=()):
    return ask(
        "view parameter",
        *head,
        f"unit = {unit}",
        f"dia = {dia}",
        f"rate = {rate}",
        "primerate = 1.000000",
        "time = 720.000000",
        f"volume = {volume}",
        f"delay = {delay}",
    )


def fusion(pairs, *, byte_by_byte=False, **options):
    port = ReplayTransport(pairs, one_at_a_time=byte_by_byte)
    pump = ChemyxFusion(
        "L1-low",
        port,
        syringe_diameter_mm=14.57,
        syringe_volume_ul=20_000,
        min_flow_rate_ul_h=3.0,
        max_flow_rate_ul_h=1000.0,
        **options,
    )
    return pump, port


def counted(ul: str):
    return ask("dispensed volume", f"dispensed volume = {ul}")


STOPPED = ask("pump status", "0")
RUNS = ask("pump status", "1")
START = ask("start", "Pump start running...")
LOST_START = (b"start\r", None)
PREPARED = [STOPPED, view(), view(), counted("0.0000")]


def prepared_pump(pairs, **options):
    pump, port = fusion([*PREPARED, *pairs], **options)
    pump.prepare(60, 720)
    return pump, port


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("pump status", ("0",)),
        ("set units 0", ("units = 0",)),
        ("set diameter 20", ("diameter = 20.000",)),
        ("set rate 0.65", ("rate = 0.650000",)),
        ("start", ("Pump start running...",)),
        ("stop", ("Pump stop!",)),
        ("1 set units 0", ("Invalid Command!",)),
        ("dispensed volume", ("dispensed volume = 1.2345",)),
        ("view parameter", ("unit = 3", "dia = 14.570", "rate = 1", "volume = 2", "delay = 0")),
    ],
)
def test_answer_is_framed_in_every_manner_also_byte_by_byte(manner, text, lines):
    sent, answer = f"{text}\r".encode(), said(text, *lines, manner=manner)
    assert wire.encode_command(0, text) == sent
    framing = wire.answer_length_of(sent, manner)
    end = one_at_a_time(framing, answer)
    assert end == len(answer) - (not manner.prompt)  # a bare line ends with its CR
    assert wire.decode_answer(answer[:end], sent, manner) == lines
    assert wire.decode_answer(answer[: framing(answer)], sent, manner) == lines


def test_channel_of_a_dual_pump_stands_before_its_commands():
    assert wire.encode_command(2, "set rate 0.65") == b"2 set rate 0.65\r"
    lines = ("Pump 1:", "unit = 0", "dia = 30.000", "rate = 1.5", "volume = -2", "delay = 0") + (
        "Pump 2:", "unit = 3", "dia = 13.000", "rate = 2.5", "volume = 4", "delay = 1",
    )  # fmt: skip
    assert wire.decode_parameters(lines, 2) == Parameters(
        3, Decimal(13), Decimal("2.5"), Decimal(4), Decimal(1)
    )
    assert wire.decode_parameters(lines, 1).volume == -2


@pytest.mark.parametrize(
    "answer",
    [
        b"pump status\r0\r\n",
        b"0\r\n>",
        b"pump\x00 status\r0\r\n>",
        b"pump stetus\r0\r\n>",
        b">",
        b"",
    ],
)
def test_answer_without_echo_or_prompt_is_refused_and_quoted(answer):
    with pytest.raises(FrameError, match=re.escape(repr(answer))):
        wire.decode_answer(answer, b"pump status\r", Manner(True, True))


def test_echo_that_lab_toml_denies_is_refused():
    with pytest.raises(FrameError, match="echo = false"):
        wire.decode_answer(b"pump status\r0\r\n>", b"pump status\r", Manner(False, True))


@pytest.mark.parametrize(
    ("decode", "lines"),
    [
        (wire.decode_status, ("7",)),
        (wire.decode_status, ("running",)),
        (wire.decode_status, ("status = 1",)),
        (wire.decode_status, ()),
        (wire.decode_dispensed, ("1.5",)),
        (wire.decode_dispensed, ("dispensed volume = 1.5 mL",)),
        (wire.decode_started, ("Pump delay...",)),
        (lambda lines: wire.decode_set(lines, "rate"), ("rate = 0.65,0.65",)),
        (lambda lines: wire.decode_parameters(lines, 0), ("unit = 3", "dia = 14.570")),
        (lambda lines: wire.decode_parameters(lines, 0), ("unit 3",)),
    ],
)
def test_text_that_the_codec_does_not_know_is_refused_and_quoted(decode, lines):
    with pytest.raises(FrameError, match=re.escape(repr(lines[0])) if lines else "not one line"):
        decode(lines)


@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_prepare_fixes_the_unit_sets_what_differs_and_reads_all_back(byte_by_byte):
    pump, port = fusion(
        [
            STOPPED,
            view("1.000000", "0.500000", unit="0", delay="2.000000"),
            ask("set units 3", "units = 3"),
            view("60000.000000", "500.000000", delay="2.000000"),
            ask("set rate 60", "rate = 60.000000"),
            ask("set volume 720.0432", "volume = 720.043213"),
            ask("set delay 0", "delay = 0.000000"),
            view("60.000000", "720.043213"),
            counted("3.5000"),
        ],
        byte_by_byte=byte_by_byte,
    )
    settings = pump.prepare(60.00001, 720.04329)
    assert (settings.flow_rate_ul_h, settings.volume_ul) == (60.0, 720.0432)
    port.close()


def test_value_that_the_pump_limits_is_refused():
    pump, port = fusion(
        [STOPPED, view("30.000000"), ask("set rate 60", "rate = 50.000000")],
    )
    with pytest.raises(DeviceRejected, match="outside its limits"):
        pump.prepare(60, 720)
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    port.close()


def test_setting_that_reads_back_differently_is_refused():
    pump, port = fusion([STOPPED, view(), view(volume="-720.000000")])
    with pytest.raises(DeviceRejected, match="read back as"):
        pump.prepare(60, 720)
    port.close()


@pytest.mark.parametrize(
    ("flow_rate_ul_h", "volume_ul", "message"),
    [
        (2.9, 720, "3..1000"),
        (1000.1, 720, "3..1000"),
        (60, 20_001, "20000"),
        (60, 0, "outside 0"),
        (60, 0.00009, "does not fit"),
        (float("nan"), 720, "outside"),
        (60, float("nan"), "outside"),
    ],
)
def test_dose_outside_pump_or_syringe_is_refused_before_any_byte_is_sent(
    flow_rate_ul_h, volume_ul, message
):
    pump, port = fusion([])
    for do in (pump.quantise, pump.prepare):
        with pytest.raises(ValueError, match=message):
            do(flow_rate_ul_h, volume_ul)
    assert not port.sent


@given(st.floats(3.0, 1000.0), st.floats(0.001, 20_000))
def test_quantised_settings_stay_as_they_are_when_quantised_again(flow_rate_ul_h, volume_ul):
    pump, _ = fusion([])
    once = pump.quantise(flow_rate_ul_h, volume_ul)
    assert pump.quantise(once.flow_rate_ul_h, once.volume_ul) == once
    assert once.volume_ul <= volume_ul * (1 + 1e-9)


@pytest.mark.parametrize("status", ["1", "2", "3"])
def test_pump_that_is_not_idle_is_neither_prepared_nor_cleared(status):
    busy = ask("pump status", status)
    pump, port = fusion([busy, busy, view(dia="20.000"), busy])
    for do in (lambda: pump.prepare(60, 720), pump.clear_counter, pump.confirm_syringe):
        with pytest.raises(DeviceRejected, match="must stand idle"):
            do()
    port.close()


def test_start_is_sent_once_and_wants_a_prepare_for_each_time():
    pump, port = prepared_pump([START])
    pump.start()
    with pytest.raises(ValueError, match="without prepare"):
        pump.start()
    port.close()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"start\rPump start run",
        b"garbage",
        b"Pump start running...\r\n>",
        said("start", "Pump delay..."),
        said("start"),
        said("stop", "Pump stop!"),
        PortMissing("port replay was lost"),
    ],
)
def test_start_whose_answer_is_lost_or_strange_is_never_sent_again(answer):
    pump, port = prepared_pump([(b"start\r", answer)])
    with pytest.raises(OutcomeUnknown) as told:
        pump.start()
    assert told.value.sent == b"start\r"
    assert port.sent.count(b"start\r") == 1
    port.close()


def test_start_that_the_pump_does_not_know_or_that_never_left_did_not_start():
    pump, port = prepared_pump([ask("start", "Invalid Command!")])
    with pytest.raises(DeviceRejected, match="Invalid Command!"):
        pump.start()
    port.close()
    pump, port = prepared_pump([(b"start\r", NotSent("record is full"))])
    with pytest.raises(NotSent):
        pump.start()
    assert b"start\r" not in port.sent


def test_port_that_came_back_is_met_again_and_starts_nothing():
    pump, port = prepared_pump([view(), STOPPED, counted("0.0000")])
    port.generation += 1
    with pytest.raises(NotSent, match="came back"):
        pump.start()
    assert pump.status().state == "idle"
    port.close()


def test_counter_of_each_run_is_added_to_what_earlier_runs_left():
    second = [STOPPED, view(), view(), counted("720.0000"), START]
    pump, port = prepared_pump(
        [
            START,
            STOPPED,
            counted("720.0000"),
            *second,
            RUNS,
            counted("1.5000"),
            STOPPED,
            counted("720.0000"),
        ]  # fmt: skip
    )
    pump.start()
    assert pump.status().infused_ul == 720
    pump.prepare(60, 720)
    pump.start()
    assert [pump.status().infused_ul for _ in range(2)] == [721.5, 1440]
    port.close()


def test_cumulative_counter_is_taken_as_it_is():
    pump, port = fusion(
        [*PREPARED[:3], counted("720.0000"), START, RUNS, counted("721.5000")], counter="cumulative"
    )
    pump.prepare(60, 720)
    pump.start()
    assert pump.status().infused_ul == 721.5
    port.close()


@pytest.mark.parametrize(
    ("seen", "infused_ul"),
    [
        ([STOPPED, counted("720.0000")], 720.0),  # nothing moved, or all of it: nobody can tell
        ([RUNS, counted("0.5000")], 720.5),
        ([STOPPED, counted("300.0000")], 1020.0),
    ],
)
def test_run_whose_start_was_lost_is_counted_once_it_shows(seen, infused_ul):
    pump, port = fusion([*PREPARED[:3], counted("720.0000"), LOST_START, *seen])
    pump.prepare(60, 720)
    with pytest.raises(OutcomeUnknown):
        pump.start()
    status = pump.status()
    assert (status.infused_ul, status.restarts) == (infused_ul, None)
    port.close()


def test_clearing_forgets_earlier_runs_and_sends_no_command():
    pump, port = prepared_pump(
        [START, *PREPARED[:3], counted("720.0000"), START, STOPPED, STOPPED, counted("720.0000")]
    )
    pump.start()
    pump.prepare(60, 720)
    pump.start()
    pump.clear_counter()
    assert pump.status().infused_ul == 720
    port.close()


@pytest.mark.parametrize(
    ("unit", "shown", "infused_ul", "step_ul"),
    [("3", "1.5000", 1.5, 1e-4), ("0", "1.50", 1500, 10)],
)
def test_counter_is_read_in_the_unit_that_the_pump_is_set_to(unit, shown, infused_ul, step_ul):
    pump, port = fusion([view(unit=unit), RUNS, counted(shown)])
    pump.open()
    status = pump.status()
    assert (status.state, status.infused_ul, status.resolution_ul) == (
        "infusing",
        infused_ul,
        pytest.approx(step_ul),
    )
    port.close()


def test_running_withdrawal_met_at_open_is_told_as_such():
    pump, port = fusion([view(volume="-5.000000"), RUNS, counted("1.0000")])
    pump.open()
    assert pump.status().state == "withdrawing"
    port.close()


@pytest.mark.parametrize("lost", [None, b"pump stetus\r0\r\n>", said("pump status", "what")])
def test_query_whose_answer_is_lost_is_asked_once_more_and_not_twice(lost):
    ask_status = b"pump status\r"
    pump, port = fusion([view(), (ask_status, lost), RUNS, counted("1.0000")])
    pump.open()
    assert pump.status().state == "infusing"
    port.close()
    pump, port = fusion([view(), (ask_status, lost), (ask_status, lost)])
    pump.open()
    with pytest.raises(TransportTimeout if lost is None else FrameError, match="L1-low"):
        pump.status()
    port.close()


def test_stall_is_told_until_somebody_acknowledges_it():
    stalled = [ask("pump status", "4"), counted("100.0000")]
    stop = [ask("stop", "Pump stop!"), ask("pump status", "4")]
    pump, port = fusion([view(), *stalled, *stalled, *stop, *stalled, stalled[0], *stalled])
    pump.open()
    for _ in range(2):
        status = pump.status()
        assert (status.state, status.alarm, status.infused_ul) == ("alarm", "stall", 100.0)
    pump.stop()
    assert pump.status().alarm == "stall"
    with pytest.raises(DeviceAlarm, match="nobody has acknowledged"):
        pump.prepare(60, 720)
    pump.acknowledge()
    assert pump.status().state == "idle"
    port.close()


def test_stop_goes_on_until_the_pump_says_that_it_is_stopped():
    stop = ask("stop", "Pump stop!")
    pump, port = fusion([(b"stop\r", None), stop, RUNS, stop, STOPPED])
    pump.stop()
    port.close()


@pytest.mark.parametrize(
    "pairs",
    [
        [(b"stop\r", None)] * 3,
        [ask("stop", "Pump stop!"), RUNS] * 3,
        [ask("stop", "Invalid Command!"), ask("pump status", "4")] * 3,
        [(b"stop\r", PortMissing("gone"))],
    ],
)
def test_stop_that_nobody_confirms_says_that_the_pump_may_run(pairs):
    pump, port = fusion(pairs)
    with pytest.raises(InstrumentError, match="MAY STILL RUN"):
        pump.stop()
    port.close()


def test_open_sends_one_query_and_close_nothing():
    pump, port = fusion([view()])
    pump.open()
    pump.close()
    port.close()


def test_syringe_that_differs_is_told_and_set_only_once_a_person_confirms_it():
    other = view(dia="20.000")
    pump, port = fusion(
        [other, other, STOPPED, ask("set diameter 14.57", "diameter = 14.570"), view()]
    )
    with pytest.raises(SyringeDiffers, match="20.000 mm"):
        pump.open()
    pump.confirm_syringe()
    port.close()
    pump, port = fusion([STOPPED, other])
    with pytest.raises(SyringeDiffers):
        pump.prepare(60, 720)
    port.close()


@pytest.mark.parametrize(
    "wrong", [{"address": 3}, {"syringe_diameter_mm": 50.5}, {"syringe_diameter_mm": 14.5701}]
)
def test_pump_that_the_wire_can_not_express_is_refused(wrong):
    settings = {
        "syringe_diameter_mm": 14.57,
        "syringe_volume_ul": 10_000,
        "min_flow_rate_ul_h": 3.0,
    }
    with pytest.raises(ValueError):
        ChemyxFusion("L1-medium", ReplayTransport([]), **(settings | wrong))


def lab_from_page(old: str = "", new: str = ""):
    text = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert old in text
    text = text.replace(old, new) if old else text
    return settings_from(tomllib.loads(text), PAGE, text, {"chemyx_fusion": MAKE})


def test_lab_toml_of_the_page_builds_its_pumps():
    for name, entry in lab_from_page().pumps.items():
        assert MAKE.build(name, ReplayTransport([]), entry, lambda seconds: None).name == name


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("14.57", "14.5701", "3 decimals"), ("address = 1", "address = 3", "less than or equal to 2")],
)
def test_lab_toml_that_the_pump_can_not_express_is_refused(old, new, message):
    with pytest.raises(LabSettingsNotValid, match=message):
        lab_from_page(old, new)


def test_probe_recognises_parameters_and_no_other_device():
    answer = view()[1]
    assert MAKE.probe.answer_length(answer) == len(answer)
    assert MAKE.probe.recognise(answer) == "Chemyx Fusion set for a syringe of 14.570 mm"
    assert MAKE.probe.recognise(b"\x0200S?\x03") is None


@given(
    st.one_of(
        st.binary(max_size=40), st.text("0123456789.= -\r\n>adeiltuv", max_size=40).map(str.encode)
    ),
    st.sampled_from(["status", "stop", "open", "start", "clear_counter", "confirm_syringe"]),
    st.sampled_from(MANNERS),
)
def test_whatever_a_device_answers_only_instrument_errors_come_out(answer, verb, manner):
    pump, port = fusion([], echo=manner.echo, prompt=manner.prompt)
    pump._ready.end(pump._ready.begin(), None)
    port.exchange = lambda sent, length, **_: _first(answer, length)
    try:
        getattr(pump, verb)()
    except InstrumentError:
        pass


@given(st.lists(st.text(max_size=20), max_size=4).map(tuple))
def test_arbitrary_lines_raise_nothing_but_instrument_errors(lines):
    for decode in (
        wire.decode_status, wire.decode_dispensed, wire.decode_started,
        lambda lines: wire.decode_parameters(lines, 0), lambda lines: wire.decode_set(lines, "rate"),
    ):  # fmt: skip
        try:
            decode(lines)
        except InstrumentError:
            pass


def _first(answer, length):
    end = length(answer) if answer else None
    if end is None:
        raise TransportTimeout("nothing")
    return answer[:end]
