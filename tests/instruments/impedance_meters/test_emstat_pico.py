"""The EmStat driver as a Pico, against played-back streams and against the contract."""

import threading

import numpy as np
import pytest
from pydantic import ValidationError

from instruments.errors import (
    DeviceRejected,
    FrameError,
    InstrumentError,
    Interrupted,
    TransportTimeout,
)
from instruments.impedance_meters import emstat_pico
from instruments.impedance_meters.emstat import EmStat
from instruments.impedance_meters.emstat_pico import EMSTAT_PICO, EmStatPicoEntry
from instruments.impedance_meters.methodscript import (
    MULTIPLEXERS,
    SingleFrequency,
    Sweep,
    measure_script,
)
from instruments.transport import NotSent, PortSettings, SerialTransport
from instruments.wire_recorder import WireRecorder
from tests.instruments.impedance_meters.contract import ImpedanceMeterContract
from tests.instruments.impedance_meters.fake_emstat import wire_rig
from tests.instruments.replay import ReplayTransport
from tests.instruments.tcp_device import device

SWEEP = Sweep(start_hz=1000, end_hz=100, points=2)
CHANNELS = {"C01": 0, "C02": 9}
VERSION = b"tespico1201#Apr 16 2019 10:53:42\nR*\n"
GOOD = "PdcDF5DFF4u;cc896D904m,10,287;cd82DB1A8u,10,287\n"  # 99.9997 Hz, 9885.956, 2.9946 ohm
HIGH = GOOD.replace("DF5DFF4u", "80003E8 ")  # the same at 1000 Hz
AT_REST = (b"Z\n", b"Z!0006\n")


def script(channel, measurement=SWEEP, multiplexer="gpio"):
    return measure_script(measurement, MULTIPLEXERS[multiplexer].lines(channel, 9))


def stream(*packages, head="e\nM000D\n"):
    return (head + "".join(packages) + "*\n\n").encode()


def meter(pairs, *, one_at_a_time=False, channels=CHANNELS, measurement=SWEEP, **options):
    wire = ReplayTransport(pairs, one_at_a_time=one_at_a_time)
    pico = EmStat("teer", wire, EMSTAT_PICO, channels=channels, measurement=measurement, **options)
    return pico, wire


def rig_of(measurement, repeats):
    def build(port):
        return EmStat(
            "teer",
            port,
            EMSTAT_PICO,
            channels=CHANNELS,
            measurement=measurement,
            repeats=repeats,
        )

    return wire_rig(VERSION, build)


class TestContractOfASweep(ImpedanceMeterContract):
    @pytest.fixture
    def rig(self):
        return rig_of(Sweep(points=5), 1)


class TestContractOfASingleFrequency(ImpedanceMeterContract):
    @pytest.fixture
    def rig(self):
        return rig_of(SingleFrequency(100), 2)


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_chip_is_chosen_by_its_channel_and_swept(one_at_a_time):
    pico, wire = meter([(script(9), stream(HIGH, GOOD))], one_at_a_time=one_at_a_time)
    spectrum = pico.measure_spectrum("C02", 24.0)
    assert (spectrum.chip_id, spectrum.time_h, spectrum.status) == ("C02", 24.0, (0, 0))
    np.testing.assert_allclose(spectrum.frequency_hz, [1000, 99.999732])
    np.testing.assert_allclose(spectrum.impedance_ohm, 9885.956 + 2.9945999j, rtol=1e-6)
    wire.close()


def test_a_single_frequency_is_a_script_of_one_point_and_every_repeat_is_kept():
    one = SingleFrequency(100)
    spoilt = GOOD.replace(",10,", ",12,")
    pairs = [(script(0, one), stream(GOOD)), (script(0, one), stream(spoilt))]
    pico, wire = meter(pairs, measurement=one, repeats=2)
    spectrum = pico.measure_spectrum("C01", 24.0)
    assert spectrum.status == (0, 2)
    np.testing.assert_allclose(spectrum.frequency_hz, [99.999732, 99.999732])
    wire.close()
    assert b"meas_loop_eis f r j 10m 100 100 1 0m\n" in script(0, one)


def test_sign_of_the_imaginary_part_is_a_named_option(caplog):
    pico, _ = meter([(script(0), stream(HIGH, GOOD))], zim_sign="negated")
    assert (pico.measure_spectrum("C01", 0.0).impedance_ohm.imag < 0).all()
    pico, _ = meter([(script(0), stream(HIGH, GOOD))])
    pico.measure_spectrum("C01", 0.0)
    assert "check zim_sign" in caplog.text


@pytest.mark.parametrize(
    ("multiplexer", "lines"),
    [
        ("gpio", ["set_gpio_cfg 15i 1", "set_gpio 9i"]),
        ("mux16", ["set_gpio_cfg 255i 1", "set_gpio 153i"]),
        ("pico_mux16", ["set_gpio_cfg 0x3FFi 1", "mux_config 4i 0x0000", "mux_set_channel 10i"]),
        ("mux8r2", ["mux_config 3i 0x0020", "mux_set_channel 10i"]),
    ],
)
def test_every_multiplexer_dialect_chooses_a_chip_in_its_own_words(multiplexer, lines):
    pico, wire = meter([(b"", None)], multiplexer=multiplexer)
    wire.pairs = [(script(9, multiplexer=multiplexer), stream(HIGH, GOOD))]
    pico.measure_spectrum("C02", 0.0)
    wire.close()
    said = wire.sent[0].decode().splitlines()
    assert said[4 : 4 + len(lines)] == lines and said[4 + len(lines)] == "set_pgstat_chan 0"


def test_without_a_multiplexer_the_pins_are_left_alone():
    pico, wire = meter(
        [(measure_script(SWEEP), stream(HIGH, GOOD))], multiplexer="none", channels={"C01": 0}
    )
    pico.measure_spectrum("C01", 0.0)
    wire.close()


def test_spoiled_point_keeps_its_status_and_a_sweep_without_good_points_is_refused():
    overload = [point.replace(",10,", ",12,") for point in (HIGH, GOOD)]
    no_number = "PdcDF5DFF4u;cc     nan;cd82DB1A8u\n"
    pico, _ = meter([(script(0), stream(HIGH, no_number))])
    spectrum = pico.measure_spectrum("C01", 0.0)
    assert spectrum.status == (0, 16) and np.isnan(spectrum.impedance_ohm[1])
    pico, _ = meter([(script(0), stream(*overload))])
    with pytest.raises(DeviceRejected, match="overload"):
        pico.measure_spectrum("C01", 0.0)


@pytest.mark.parametrize(
    "packages",
    [
        (GOOD,),
        (HIGH, GOOD, GOOD),
        (HIGH, "PdcDF5DFF4u;cc896D904m\n"),
        (HIGH, GOOD.replace("4u;", "4m;")),
        (GOOD, GOOD),
        (GOOD, HIGH),
        (HIGH, GOOD.replace("DF5DFF4u", "     nan")),
    ],
)
def test_sweep_with_missing_points_values_or_other_frequencies_is_refused(packages):
    pico, wire = meter([(script(0), stream(*packages)), AT_REST])
    with pytest.raises(FrameError):
        pico.measure_spectrum("C01", 0.0)
    wire.close()


@pytest.mark.parametrize("answer", [None, b"e\nM000D\n" + GOOD.encode(), b"e\nwhat\n\n"])
def test_sweep_that_breaks_off_is_aborted_and_told(answer):
    pico, wire = meter([(script(0), answer), AT_REST])
    with pytest.raises(InstrumentError, match="C01") as told:
        pico.measure_spectrum("C01", 0.0)
    assert not hasattr(told.value, "__notes__")
    wire.close()


def test_where_the_abort_is_not_confirmed_the_trouble_says_that_the_cell_may_be_on():
    pico, wire = meter([(script(0), None), *[(b"Z\n", None)] * 3])
    with pytest.raises(TransportTimeout) as told:
        pico.measure_spectrum("C01", 0.0)
    assert "MAY STILL BE ON" in told.value.__notes__[0]
    wire.close()


CELL_OFF = (b"e\ncell_off\n\n", b"e\n\n")
"""A script that ended by an error may have left out its own cell_off."""


def test_error_of_the_script_is_told_with_its_line():
    pico, wire = meter([(script(0), b"e!4001: Line 5, Col 1\n"), AT_REST, CELL_OFF])
    with pytest.raises(DeviceRejected, match="line 5"):
        pico.measure_spectrum("C01", 0.0)
    wire.close()


def test_cell_that_is_not_confirmed_off_after_an_error_is_told():
    refused = (CELL_OFF[0], b"e!0003\n")
    pico, wire = meter([(script(0), b"e!4001: Line 5, Col 1\n"), AT_REST, refused])
    with pytest.raises(DeviceRejected) as told:
        pico.measure_spectrum("C01", 0.0)
    assert "MAY STILL BE ON" in " ".join(told.value.__notes__)
    wire.close()


def test_what_was_not_sent_is_told_as_it_is():
    pico, wire = meter([(script(0), NotSent("a stop takes the port"))])
    with pytest.raises(NotSent, match="^a stop takes the port"):
        pico.measure_spectrum("C01", 0.0)
    assert not wire.sent


def test_an_answer_that_a_stop_from_outside_interrupts_is_aborted():
    pico, wire = meter([(script(0), Interrupted("a stop takes the port")), AT_REST])
    with pytest.raises(Interrupted, match="stopped"):
        pico.measure_spectrum("C01", 0.0)
    wire.close()


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_open_asks_who_is_there(one_at_a_time):
    pico, wire = meter([(b"t\n", VERSION)], one_at_a_time=one_at_a_time)
    pico.open()
    assert pico.firmware == "espico1201#Apr 16 2019 10:53:42"
    wire.close()


@pytest.mark.parametrize(
    "version", [b"tsomething else\n*\n", b"tes4_lr1100#x\nR*\n", b"tespbl10#x\nR*\n", b"*\n"]
)
def test_another_device_is_refused_after_it_was_asked_twice(version):
    pico, wire = meter([(b"t\n", version)] * 2)
    with pytest.raises(FrameError, match="no EmStat Pico"):
        pico.open()
    wire.close()


def test_a_lost_answer_to_the_first_question_is_asked_for_once_more():
    pico, wire = meter([(b"t\n", b"tesp"), (b"t\n", VERSION)])
    pico.open()
    assert wire.drains == 1
    wire.close()


@pytest.mark.parametrize(
    "pairs",
    [
        [(b"Z\n", b"Z!0006\n")],
        [(b"Z\n", b"Z\n*\n\n")],
        [(b"Z\n", b"PdcDF5DFF4u\nZ\n\n")],
        [(b"Z\n", b"Z\n"), (b"Z\n", b"Z!0006\n")],
        [(b"Z\n", None), (b"Z\n", b"Z!0003\n"), (b"Z\n", b"Z!0006\n")],
    ],
)
@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_stop_returns_once_the_meter_says_that_nothing_runs(pairs, one_at_a_time):
    pico, wire = meter(pairs, one_at_a_time=one_at_a_time)
    pico.stop()
    wire.close()


def test_a_stop_that_is_not_confirmed_says_that_the_cell_may_be_on():
    pico, _ = meter([(b"Z\n", b"what\n")] * 3)
    with pytest.raises(InstrumentError, match="MAY STILL BE ON"):
        pico.stop()


def test_stop_reaches_a_sweep_that_another_thread_waits_for_also_over_a_socket(tmp_path):
    begun = threading.Event()

    def answer(piece):
        if piece == b"Z\n":
            return [b"Z\n", b"*\n\n"]
        begun.set()
        return [b"e\nM000D\n", HIGH.encode()]

    with device(answer) as url:
        recorder = WireRecorder(tmp_path / "teer.jsonl")
        port = SerialTransport(
            url, settings=PortSettings(230_400), recorder=recorder, lock_dir=tmp_path
        )
        pico = EmStat("teer", port, EMSTAT_PICO, channels=CHANNELS, measurement=SWEEP)
        stopper = threading.Thread(target=lambda: (begun.wait(5), pico.stop()))
        stopper.start()
        with pytest.raises(Interrupted, match="stopped"):
            pico.measure_spectrum("C01", 0.0)
        stopper.join()
        port.close()
        recorder.close()


def test_a_meter_whose_port_was_lost_is_met_again_before_the_next_script():
    pairs = [(b"t\n", VERSION), (b"t\n", VERSION), AT_REST, (script(0), stream(HIGH, GOOD))]
    pico, wire = meter(pairs)
    pico.open()
    wire.generation += 1
    pico.measure_spectrum("C01", 0.0)
    wire.close()


def test_a_script_that_runs_from_before_the_loss_is_ended_before_the_meter_is_met():
    late = (b"t\n", b"PdcDF5DFF4u\n*\n\n")
    pairs = [(b"t\n", VERSION), late, late, (b"Z\n", b"Z\n*\n\n"), (b"t\n", VERSION), AT_REST]
    pico, wire = meter([*pairs, (script(0), stream(HIGH, GOOD))])
    pico.open()
    wire.generation += 1
    pico.measure_spectrum("C01", 0.0)
    wire.close()


def test_another_meter_behind_the_same_port_is_refused():
    other = VERSION.replace(b"1201", b"1304")
    pico, wire = meter([(b"t\n", VERSION), (b"t\n", other), AT_REST])
    pico.open()
    wire.generation += 1
    with pytest.raises(InstrumentError, match="espico1304.*espico1201"):
        pico.measure_spectrum("C01", 0.0)
    wire.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"multiplexer": "none"},
        {"multiplexer": "mux8r2"},
        {"channels": {"C01": 3, "C02": 3}},
        {"multiplexer": "mux16", "channels": {"C01": 16}},
        {"single_frequency_hz": 0},
        {"single_frequency_hz": 12.5},
        {"single_frequency_hz": 100, "points": 21},
        {"repeats": 3},
        {"single_frequency_hz": 100, "repeats": 0},
        {"start_hz": 300_000},
        {"amplitude_mv": 1000},
    ],
)
def test_settings_that_the_meter_can_not_do_are_refused(wrong):
    good = {"make": "emstat_pico", "url": "x", "channels": CHANNELS}
    EmStatPicoEntry(**good)
    with pytest.raises(ValidationError):
        EmStatPicoEntry(**{**good, **wrong})


def test_the_make_builds_what_the_settings_say_and_sends_nothing():
    one = SingleFrequency(100, 5)
    pairs = [(measure_script(one, (), "1p"), stream(GOOD))] * 4
    wire = ReplayTransport(pairs)
    entry = EmStatPicoEntry(
        make="emstat_pico",
        url="x",
        channels={"C01": 0},
        multiplexer="none",
        autoranging="1p",
        single_frequency_hz=100,
        amplitude_mv=5,
        repeats=4,
        zim_sign="negated",
    )
    pico = emstat_pico.MAKE.build("teer", wire, entry, lambda s: None)
    assert not wire.sent
    assert (pico.measure_spectrum("C01", 0.0).impedance_ohm.imag < 0).all()
    wire.close()


def test_the_probe_knows_a_pico_and_nothing_else():
    probe = emstat_pico.MAKE.probe
    assert probe.query == b"t\n" and probe.answer_length(VERSION) == len(VERSION)
    assert probe.recognise(VERSION) == "espico1201#Apr 16 2019 10:53:42"
    for other in (b"tes4_hr1100#x\nR*\n", b"t!0003\n", b"00S?\n", b""):
        assert probe.recognise(other) is None
