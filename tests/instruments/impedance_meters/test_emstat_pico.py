"""The EmStat Pico driver against played-back streams, and its stop against a real socket."""

import threading

import numpy as np
import pytest

from instruments.errors import DeviceRejected, FrameError, InstrumentError
from instruments.impedance_meters.emstat_pico import EmStatPico
from instruments.impedance_meters.methodscript import Sweep, sweep_script
from instruments.transport import SerialTransport
from instruments.wire_recorder import WireRecorder
from tests.instruments.replay import ReplayTransport
from tests.instruments.tcp_device import device

SWEEP = Sweep(start_hz=1000, end_hz=100, points=2)
CHANNELS = {"C01": 0, "C02": 9}
GOOD = "PdcDF5DFF4u;cc896D904m,10,287;cd82DB1A8u,10,287\n"  # 99.9997 Hz, 9885.956, 2.9946 ohm
ABORT = (b"Z\n", b"Z!0006\n")


def script(channel, sweep=SWEEP):
    return sweep_script(sweep, channel, 15)


def stream(*packages, head="e\nM000D\n"):
    return (head + "".join(packages) + "*\n\n").encode()


def meter(pairs, *, one_at_a_time=False, **options):
    wire = ReplayTransport(pairs, one_at_a_time=one_at_a_time)
    return EmStatPico("teer", wire, channels=CHANNELS, sweep=SWEEP, **options), wire


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_chip_is_chosen_by_its_channel_and_swept(one_at_a_time):
    pico, wire = meter([(script(9), stream(GOOD, GOOD))], one_at_a_time=one_at_a_time)
    spectrum = pico.measure_spectrum("C02", 24.0)
    assert (spectrum.chip_id, spectrum.time_h, spectrum.status) == ("C02", 24.0, (0, 0))
    np.testing.assert_allclose(spectrum.frequency_hz, 99.999732)
    np.testing.assert_allclose(spectrum.impedance_ohm, 9885.956 + 2.9945999j, rtol=1e-6)
    wire.close()


def test_sign_of_the_imaginary_part_is_a_named_option(caplog):
    pico, _ = meter([(script(0), stream(GOOD, GOOD))], zim_sign="negated")
    assert (pico.measure_spectrum("C01", 0.0).impedance_ohm.imag < 0).all()
    pico, _ = meter([(script(0), stream(GOOD, GOOD))])
    pico.measure_spectrum("C01", 0.0)
    assert "check zim_sign" in caplog.text


def test_multiplexer_dialects_show_the_pins_their_own_value():
    pico, wire = meter(
        [(sweep_script(SWEEP, 9 << 4 | 9, 255), stream(GOOD, GOOD))], multiplexer="mux16"
    )
    pico.measure_spectrum("C02", 0.0)
    wire.close()
    wire = ReplayTransport([(sweep_script(SWEEP, None), stream(GOOD, GOOD))])
    EmStatPico("teer", wire, channels={"C01": 0}, sweep=SWEEP, multiplexer="none").measure_spectrum(
        "C01", 0.0
    )
    wire.close()


def test_chip_without_a_channel_is_refused_before_any_byte_is_sent():
    pico, wire = meter([])
    with pytest.raises(ValueError, match="C99"):
        pico.measure_spectrum("C99", 0.0)
    assert not wire.sent


def test_spoiled_point_keeps_its_status_and_a_sweep_without_good_points_is_refused():
    overload = GOOD.replace(",10,", ",12,")
    no_number = "PdcDF5DFF4u;cc     nan;cd82DB1A8u\n"
    pico, _ = meter([(script(0), stream(GOOD, no_number))])
    spectrum = pico.measure_spectrum("C01", 0.0)
    assert spectrum.status == (0, 16) and np.isnan(spectrum.impedance_ohm[1])
    pico, _ = meter([(script(0), stream(overload, overload))])
    with pytest.raises(DeviceRejected, match="overload"):
        pico.measure_spectrum("C01", 0.0)


@pytest.mark.parametrize(
    "packages",
    [
        (GOOD,),
        (GOOD, GOOD, GOOD),
        (GOOD, "PdcDF5DFF4u;cc896D904m\n"),
        (GOOD, GOOD.replace("4u;", "4m;")),
    ],
)
def test_sweep_with_missing_points_values_or_other_frequencies_is_refused(packages):
    pico, _ = meter([(script(0), stream(*packages))])
    with pytest.raises(FrameError):
        pico.measure_spectrum("C01", 0.0)


@pytest.mark.parametrize("answer", [None, b"e\nM000D\n" + GOOD.encode(), b"e\nwhat\n\n"])
def test_sweep_that_breaks_off_is_aborted_and_told(answer):
    pico, wire = meter([(script(0), answer), ABORT])
    with pytest.raises(InstrumentError, match="C01"):
        pico.measure_spectrum("C01", 0.0)
    assert wire.drains == 1
    wire.close()


def test_error_of_the_script_is_told_with_its_line():
    pico, _ = meter([(script(0), b"e!4001: Line 5, Col 1\n"), ABORT])
    with pytest.raises(DeviceRejected, match="line 5"):
        pico.measure_spectrum("C01", 0.0)


def test_open_asks_who_is_there_and_warns_of_what_is_unconfirmed(caplog):
    pico, wire = meter([(b"t\n", b"tespico1201#Apr 16 2019 10:53:42\nR*\n")])
    pico.open()
    assert pico.firmware.startswith("espico1201")
    assert "unconfirmed" in caplog.text
    wire.close()
    pico, _ = meter([(b"t\n", b"tsomething else\n*\n")])
    with pytest.raises(FrameError, match="not an EmStat Pico"):
        pico.open()


@pytest.mark.parametrize("answer", [b"Z\n", b"Z!0006\n"])
def test_stop_of_a_meter_at_rest_is_no_trouble(answer):
    pico, wire = meter([(b"Z\n", answer)])
    pico.stop()
    wire.close()


def test_stop_reaches_a_sweep_that_another_thread_waits_for(tmp_path):
    begun = threading.Event()

    def answer(piece):
        if piece == b"Z\n":
            return [b"Z\n", b"*\n\n"]
        begun.set()
        return [b"e\nM000D\n", GOOD.encode()]

    with device(answer) as url:
        recorder = WireRecorder(tmp_path / "teer.jsonl")
        port = SerialTransport(url, baudrate=230400, recorder=recorder, lock_dir=tmp_path)
        pico = EmStatPico("teer", port, channels=CHANNELS, sweep=SWEEP)
        stopper = threading.Thread(target=lambda: (begun.wait(5), pico.stop()))
        stopper.start()
        with pytest.raises(InstrumentError, match="stopped"):
            pico.measure_spectrum("C01", 0.0)
        stopper.join()
        port.close()
        recorder.close()
