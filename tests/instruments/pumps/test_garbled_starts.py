"""Commands that are changed on a wire without a checksum: what another pump or channel then does.

Belongs here: several emulated pumps behind one faulty wire. Not here: one pump (its own tests).
"""

from __future__ import annotations

from typing import Any

import pytest

from instruments.drivers import DRIVERS
from instruments.emulators.faults import Fault, FaultyWire
from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from instruments.emulators.ne1000_bus import Ne1000Bus
from instruments.emulators.protocol_11 import Protocol11, Protocol11Bus, Protocol11Settings
from instruments.errors import DeviceRejected, InstrumentError, OutcomeUnknown, SyringeDiffers
from tests.instruments.matrix_makes import MAKES, SYRINGE
from tests.instruments.pumps.contract import Bench
from tests.instruments.virtual_wire import Clocks, VirtualPort

STRANGER = (b"%dO\r", b"%dxf1\r", b"%df1000-2\r", b"%dv7200-1\r")
"""What somebody set at a channel yesterday: 600 uL/h, 720 uL, ready to be started."""


@pytest.fixture
def reglo() -> Bench:
    return Bench(MAKES["Reglo ICC"])


def by_channel_ul(bench: Bench) -> list[float]:
    return [round(bench.device.delivered_by_ul(channel), 1) for channel in (1, 2, 3, 4)]


@pytest.mark.parametrize("strangers", [(), (3,), (2, 3, 4)])
@pytest.mark.parametrize("bit", range(8))
def test_flipped_bit_of_a_start_gives_no_other_channel_its_old_dose(
    reglo: Bench, bit: int, strangers: tuple[int, ...]
) -> None:
    """``1H`` is ``0H`` (all), ``3H``, ``5H``, ... with one bit flipped."""
    for channel in strangers:
        for command in STRANGER:
            assert reglo.device.receive(command % channel) not in (b"#", b"")
    reglo.pump.prepare(*reglo.dose)
    reglo.wire.arm(Fault("flip_command_bit", matching=b"1H\r", at_byte=0, bit=bit))
    try:
        reglo.pump.start()
        told = False
    except (OutcomeUnknown, DeviceRejected):
        told = True
    reglo.clocks.pass_h(2 * reglo.hours)
    own_ul, *others_ul = by_channel_ul(reglo)
    assert others_ul == [0.0, 0.0, 0.0]
    assert own_ul == reglo.make.volume_ul or (told and own_ul == 0.0)


def test_channels_whose_drivers_prepared_them_can_not_be_started_by_a_stranger(
    reglo: Bench,
) -> None:
    others = []
    for channel in (2, 3, 4):
        entry = {**reglo.make.entry, "channel": channel}
        make = DRIVERS["reglo_icc"]
        settings = make.entry.model_validate({"make": "reglo_icc", "bus": "b", **entry})
        others.append(make.build(f"L{channel}", reglo.port, settings, reglo.clocks.pass_s))
        reglo.meet(others[-1])
        others[-1].prepare(*reglo.dose)
    assert reglo.device.receive(b"0H\r") == b"-"
    assert not reglo.device.moving
    for pump in others:  # and each by its own start, one beside the other
        pump.prepare(*reglo.dose)
        pump.start()
    reglo.clocks.pass_h(2 * reglo.hours)
    assert by_channel_ul(reglo) == [0.0, *[reglo.make.volume_ul] * 3]


def test_channel_is_armed_while_its_dose_runs_only(reglo: Bench) -> None:
    def mode() -> bytes:
        return bytes(reglo.device.receive(b"1xM\r"))

    pump = reglo.running()
    assert mode() == b"O\r\n"
    pump.stop()
    assert mode() == b"Q\r\n"
    pump.prepare(*reglo.dose)
    assert mode() == b"Q\r\n"
    pump.start()
    reglo.clocks.pass_h(2 * reglo.hours)
    pump.status()
    assert mode() == b"Q\r\n"
    again = reglo.driver("Q")  # a channel that another process left armed
    reglo.device.receive(b"1O\r")
    again.open()
    assert mode() == b"O\r\n"
    again.status()
    assert mode() == b"Q\r\n"


class Chain:
    """Two pumps of a make on one wire, each with a driver."""

    def __init__(self, make: str, entry: dict[str, Any], addresses: tuple[int, int]) -> None:
        self.clocks = clocks = Clocks()
        bus: Any
        if make == "new_era_ne1000":
            self.devices: list[Any] = [
                Ne1000(
                    Ne1000Settings(
                        address=address, syringe_volume_ul=20_000.0, syringe_diameter_mm=19.13
                    ),
                    clocks.physics_h,
                    clocks.wall_s,
                )
                for address in addresses
            ]
            bus = Ne1000Bus(self.devices, clocks.wall_s)
        else:
            self.devices = [
                Protocol11(
                    Protocol11Settings(
                        address=address,
                        model="PHD ULTRA",
                        syringe_volume_ul=20_000.0,
                        syringe_diameter_mm=19.13,
                        stored_syringe_ml="20",
                        address_separator="colon",
                        nvram_off_word="off",
                        target_counts_from="run",
                    ),
                    clocks.physics_h,
                    clocks.wall_s,
                )
                for address in addresses
            ]
            bus = Protocol11Bus(self.devices)
        self.wire = FaultyWire(bus, clocks.wall_s)
        port = VirtualPort(self.wire, clocks)
        self.pumps = []
        for address in addresses:
            settings = DRIVERS[make].entry.model_validate(
                {"make": make, "bus": "b", **SYRINGE, **entry, "address": address}
            )
            self.pumps.append(DRIVERS[make].build(f"L{address}", port, settings, clocks.pass_s))
            try:
                self.pumps[-1].open()
            except SyringeDiffers:
                self.pumps[-1].confirm_syringe()


@pytest.mark.parametrize(
    ("make", "entry", "addresses", "start", "at_byte", "bit"),
    [
        ("new_era_ne1000", {"safe_mode": False}, (1, 3), b"1RUN", 0, 1),
        ("protocol_11", {"dialect": "phd_ultra"}, (12, 13), b"12:irun", 1, 0),
    ],
)
@pytest.mark.parametrize("wedged", [False, True])
def test_other_pump_that_a_flipped_address_starts_is_stopped_and_named(
    make: str,
    entry: dict[str, Any],
    addresses: tuple[int, int],
    start: bytes,
    at_byte: int,
    bit: int,
    wedged: bool,
) -> None:
    chain = Chain(make, entry, addresses)
    for pump in chain.pumps:
        pump.prepare(600.0, 720.0)
    chain.wire.arm(Fault("flip_command_bit", matching=start, at_byte=at_byte, bit=bit))
    if wedged:
        stop = b"STP" if make == "new_era_ne1000" else b"stp"
        chain.wire.arm(Fault("drop_command", matching=stop, times=99))
    said = "MAY STILL RUN" if wedged else "it was stopped"
    with pytest.raises(OutcomeUnknown, match=f"at address {addresses[1]}.*{said}"):
        chain.pumps[0].start()
    assert [device.moving for device in chain.devices] == [False, wedged]


@pytest.mark.parametrize("name", ["Cavro OEM", "Cavro DT"])
@pytest.mark.parametrize("bit", range(8))
def test_garbled_report_of_a_module_does_not_end_its_proof_of_power(name: str, bit: int) -> None:
    bench = Bench(MAKES[name])
    before = bench.pump.status().restarts
    bench.wire.arm(Fault("flip_command_bit", matching=b"?19", at_byte=5, bit=bit))
    for _ in range(2):
        try:
            bench.pump.status()
        except InstrumentError:
            continue
    bench.pump.prepare(*bench.dose)
    bench.pump.start()
    bench.clocks.pass_h(0.5 * bench.hours)
    bench.wire.power_cycle()
    after = bench.pump.status()
    assert (after.state, after.alarm) == ("alarm", "reset")
    assert after.restarts > before


def test_keypad_programme_does_not_change_the_dose() -> None:
    bench = Bench(MAKES["NE-1000 basic"])
    for command in (b"PHN 3", b"FUN RAT", b"RAT 10 MH", b"VOL 9", b"PHN 1", b"FUN STP", b"PHN 3"):
        bench.device.receive(command + b"\r")
    bench.pump.prepare(*bench.dose)
    bench.pump.start()
    bench.clocks.pass_h(2 * bench.hours)
    assert bench.pump.status().state == "idle"
    assert bench.flowed_ul == pytest.approx(bench.make.volume_ul)
