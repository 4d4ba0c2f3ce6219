"""What is the EmStat4's own: identity, baud rate, multiplexer and autoranging dialects."""

import pytest
from pydantic import ValidationError

from instruments.errors import FrameError
from instruments.impedance_meters import emstat4, emstat_pico
from instruments.impedance_meters.emstat import EmStat
from instruments.impedance_meters.emstat4 import EMSTAT4, EmStat4Entry
from instruments.impedance_meters.methodscript import Sweep
from tests.instruments.impedance_meters.contract import ImpedanceMeterContract
from tests.instruments.impedance_meters.fake_emstat import wire_rig
from tests.instruments.replay import ReplayTransport

CHANNELS = {"C01": 0, "C02": 1}
VERSION = b"tes4_lr1000#Jun  7 2021 16:51:38\nR*\n"


def entry(**settings):
    return EmStat4Entry(make="emstat4", url="x", channels=CHANNELS, **settings)


def build(port, settings):
    return emstat4.MAKE.build("teer", port, settings, lambda s: None)


class TestContract(ImpedanceMeterContract):
    @pytest.fixture
    def rig(self):
        def build_with(port):
            return EmStat(
                "teer",
                port,
                EMSTAT4,
                channels=CHANNELS,
                measurement=Sweep(points=4),
                multiplexer="mux8r2",
                autoranging="1p",
            )

        return wire_rig(VERSION, build_with)


@pytest.mark.parametrize("version", [VERSION, b"tes4_hr1100#Jan 28 2022 11:04:43\nR*\n"])
def test_both_ranges_of_the_emstat4_are_met(version):
    driver = build(ReplayTransport([(b"t\n", version)]), entry())
    driver.open()
    assert driver.firmware == version.decode()[1:].split("\n")[0]
    assert emstat4.MAKE.probe.recognise(version) and not emstat_pico.MAKE.probe.recognise(version)


@pytest.mark.parametrize(
    "version", [b"tmes4lr1100#x\nR*\n", b"tes4_bl10#x\nR*\n", b"tespico12\n*\n"]
)
def test_a_multichannel_meter_a_bootloader_and_a_pico_are_refused(version):
    with pytest.raises(FrameError, match="no EmStat4"):
        build(ReplayTransport([(b"t\n", version)] * 2), entry()).open()


def test_the_make_has_its_own_baud_rate_and_newer_autoranging():
    assert emstat4.MAKE.port.baudrate == 921_600
    assert emstat_pico.MAKE.port.baudrate == 230_400
    assert (entry().autoranging, entry(autoranging="1u").autoranging) == ("1p", "1u")


@pytest.mark.parametrize("wrong", [{"multiplexer": "pico_mux16"}, {"multiplexer": "mux16"}])
def test_a_multiplexer_of_the_pico_is_refused(wrong):
    with pytest.raises(ValidationError):
        entry(**wrong)
