"""The virtual room: tissue feels what pumps deliver; faults on a study clock; the state file."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.study import load_study
from instruments.emulators.lab_state import LabState
from instruments.emulators.virtual_room import VirtualRoom, rig_of
from tests.instruments.emulators.fake_lab import RIG, FakeTissue

PROJECT = Path(__file__).resolve().parents[3]
PLATE = {"plate_id": "P1", "assay": "CCL26", "wells": [{"well": "A1", "kind": "blank"}]}


def new_room() -> VirtualRoom:
    room = VirtualRoom(RIG, FakeTissue(), lambda: 0.0)
    for address, place in enumerate(RIG.pumps):
        room.bus.receive(f"{address}\r{address}DIA {place.syringe_diameter_mm}\r".encode())
    return room


def run(room: VirtualRoom, address: int, rate_ul_h: float, volume_ul: float) -> None:
    for command in (f"RAT {rate_ul_h:g} UH", "VOL UL", f"VOL {volume_ul:g}", "RUN"):
        room.bus.receive(f"{address}{command}\r".encode())


def test_pump_stops_split_the_interval_that_tissue_feels() -> None:
    room = new_room()
    run(room, 0, 100, 150)
    run(room, 3, 10, 50)
    room.advance(24.0)
    felt = room.tissue.state()["felt"]
    assert [(start, end) for start, end, _ in felt] == [(0.0, 1.5), (1.5, 5.0), (5.0, 24.0)]
    assert felt[0][2] == {"L1": {"medium": 100.0, "low": 0.0}, "L2": {"medium": 0.0, "low": 10.0}}
    assert felt[1][2]["L1"]["medium"] == 0.0
    felt_ul = room.tissue.truth()["felt_ul"]
    for name, pump in room.pumps.items():
        assert pump.plunger.delivered_ul == pytest.approx(felt_ul[name], abs=1e-9)


def test_a_pump_told_to_run_later_starts_later() -> None:
    room = new_room()
    room.advance(10.0)
    run(room, 1, 20, 100)
    room.advance(12.0)
    room.bus.receive(b"1STP\r")
    room.advance(20.0)
    assert room.pumps["L1-low"].plunger.flow_intervals == [(10.0, 12.0, 20.0)]


def test_time_does_not_go_back() -> None:
    room = new_room()
    room.advance(5.0)
    room.advance(4.0)
    assert room.time_h == 5.0
    with pytest.raises(ValueError):
        room.advance(math.nan)
    with pytest.raises(ValueError):
        room.advance(math.inf)


def test_power_cut_at_a_study_time_ends_the_flow_there() -> None:
    room = new_room()
    run(room, 0, 100, 1000)
    room.answer({"do": "fault", "pump": "L1-medium", "kind": "power_cut", "at_h": 3.0})
    room.advance(24.0)
    assert room.pumps["L1-medium"].plunger.delivered_ul == 300.0
    assert room.tissue.truth()["felt_ul"]["L1-medium"] == pytest.approx(300.0)
    assert room.bus.receive(b"0\r0DIS\r") == b"\x0200A?R\x03\x0200SI0.000W0.000UL\x03"


def test_meter_measures_the_chip_of_its_channel_and_open_circuit_beyond() -> None:
    room = new_room()
    room.advance(2.0)
    script = (
        "e\nvar f\nvar r\nvar j\nset_pgstat_mode 3\nset_gpio_cfg 15i 1\nset_gpio {}i\ncell_on\n"
        "meas_loop_eis f r j 10m 1k 1k 1 0m\npck_start\npck_add r\npck_add j\npck_end\nendloop\n"
        "on_finished:\ncell_off\n\n"
    )
    answer = room.meter.receive(script.format(1).encode()).decode()
    assert f"cc{2_000_000 + 2**27:07X}m" in answer and f"cd{-2_000_000 + 2**27:07X}u" in answer
    assert "nan" in room.meter.receive(script.format(7).encode()).decode()


def test_reader_reads_the_plate_that_was_loaded() -> None:
    room = new_room()
    room.reader.receive(b"!WAVELENGTH 450\r!READ\r")
    assert b"0.4500" not in room.reader.receive(b"!STOP\r!TRANSFER\r")
    room.answer({"do": "load_plate", "plate": PLATE})
    room.reader.receive(b"!READ\r")
    room.reader.restore(room.reader.state())
    assert b"1:\t0.4500\t0.0400" in room.reader.receive(b"!TRANSFER\r")


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"do": "fly"},
        {"do": "advance"},
        {"do": "advance", "to_h": "soon"},
        {"do": "load_plate", "plate": {"plate_id": "P1"}},
        {"do": "load_plate", "plate": {**PLATE, "wells": [{}]}},
        {"do": "fault", "kind": "delay"},
        {"do": "fault", "kind": "gremlin", "port": "pumps"},
        {"do": "fault", "kind": "gremlin", "port": "pumps", "at_h": 9.0},
        {"do": "fault", "kind": "power_cut", "pump": "L9-low"},
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_changes_nothing(
    request_: dict[str, object],
) -> None:
    room = new_room()
    before = room.state()
    with pytest.raises((ValueError, KeyError)):
        room.answer(request_)
    assert room.state() == before


def test_a_fault_asked_for_waits_on_its_port() -> None:
    room = new_room()
    room.answer({"do": "fault", "port": "pumps", "kind": "drop_reply", "matching": "RUN"})
    assert room.wires["pumps"].receive(b"0VER\r") == b"\x0200SNE1000V3.61\x03"
    run(room, 0, 10, 10)
    assert room.wires["pumps"].receive(b"0RUN\r") == b""
    room.answer({"do": "fault", "port": "reader", "kind": "unplug_now"})
    assert room.wires["reader"].unplugged
    room.answer({"do": "fault", "port": "reader", "kind": "clear"})
    assert not room.wires["reader"].unplugged


def test_state_file_brings_a_room_back_mid_infusion(tmp_path: Path) -> None:
    room = new_room()
    run(room, 0, 100, 1000)
    room.answer({"do": "load_plate", "plate": PLATE})
    room.answer({"do": "fault", "pump": "L2-low", "kind": "block", "at_h": 7.0})
    room.advance(2.5)
    LabState(tmp_path / "state.json", room).save()
    other = VirtualRoom(RIG, FakeTissue(), lambda: 0.0)
    assert LabState(tmp_path / "state.json", other).load()
    assert other.time_h == 2.5 and other.plate == PLATE and len(other.to_come) == 1
    for each in (room, other):
        each.advance(30.0)
    assert other.answer({"do": "truth"}) == room.answer({"do": "truth"})
    assert other.bus.receive(b"0DIS\r") == b"\x0200SI1000W0.000UL\x03"


def test_state_of_another_rig_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = LabState(path, new_room())
    assert not state.load()
    state.save()
    saved = json.loads(path.read_text())
    del saved["parts"]["pump L2-low"]
    path.write_text(json.dumps(saved))
    with pytest.raises(FileNotValid, match="another rig"):
        state.load()


def test_a_save_after_a_pump_command_is_cheap_whatever_the_tissue_holds(tmp_path: Path) -> None:
    room = new_room()
    for hour in range(1000):
        room.advance(float(hour))
    state = LabState(tmp_path / "state.json", room)
    state.save()
    took_s = []
    for volume in range(1, 21):
        room.bus.receive(f"0VOL {volume}\r".encode())
        began_s = time.perf_counter()
        state.save()
        took_s.append(time.perf_counter() - began_s)
    assert min(took_s) < 0.002


def test_rig_of_the_demo_study_has_sixteen_pumps_and_twelve_channels() -> None:
    rig = rig_of(load_study(PROJECT / "protocols/studies/ad_jak_dose_finding.yaml"))
    assert [pump.name for pump in rig.pumps[:5]] == [
        "L1-medium", "L1-stimulus", "L1-low", "L1-high", "L2-medium",
    ]  # fmt: skip
    assert len(rig.pumps) == 16
    assert rig.pumps[2].syringe_volume_ul == 20_000 and rig.pumps[2].syringe_diameter_mm == 19.13
    assert rig.chips == tuple(f"C{number:02d}" for number in range(1, 13))


def test_noise_spoils_the_next_sweeps_alone_and_is_told_with_what_happened_on_wires() -> None:
    room, hz = new_room(), np.geomspace(1.0, 1e5, 8)
    clean = room._impedance(0, hz)
    room.answer({"do": "fault", "noise": 0.3, "sweeps": 2, "at_h": 5.0})
    assert np.array_equal(room._impedance(0, hz), clean)
    room.advance(6.0)
    spoilt = [room._impedance(channel, hz) for channel in (0, 1)]
    clean = [room._impedance(channel, hz) for channel in (0, 1)]
    assert all(abs(one / true - 1.0).max() > 0.1 for one, true in zip(spoilt, clean, strict=True))
    assert all((one == complex(1000.0 * (1 + i), -6.0)).all() for i, one in enumerate(clean))
    told = room.answer({"do": "truth"})
    assert told["noisy_sweeps"] == [(6.0, chip) for chip in RIG.chips[:2]]
    assert told["met"] == {"pumps": {}, "reader": {}, "teer": {}}
    with pytest.raises(ValueError, match="noise is relative"):
        room.answer({"do": "fault", "noise": 0.0})
