"""Every make has its emulated device, and the lab.toml that is printed for it opens a bench."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from serial.urlhandler import protocol_socket

from instruments.bench import open_bench
from instruments.drivers import DRIVERS, load_lab_settings
from instruments.emulators.catalogue import EMULATORS, NOT_EMULATED, plate_od, tissue_ohm
from instruments.emulators.faults import FaultyWire
from instruments.emulators.serve import Switchboard, in_background
from instruments.errors import SyringeDiffers
from instruments.scan import lab_snippet


@pytest.fixture(autouse=True)
def quick_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyserial sleeps 0.3 s whenever it closes a socket."""
    quick = SimpleNamespace(time=time.time, sleep=lambda s: None)
    monkeypatch.setattr(protocol_socket, "time", quick)


def test_every_make_is_emulated_or_says_why_not() -> None:
    assert set(DRIVERS) <= set(EMULATORS) | set(NOT_EMULATED)
    assert not set(EMULATORS) & set(NOT_EMULATED)
    assert all(NOT_EMULATED.values())


@pytest.mark.parametrize("make", sorted(set(DRIVERS) & set(EMULATORS)))
def test_the_printed_lab_toml_opens_the_emulated_device(make: str, tmp_path: Path) -> None:
    emulated = EMULATORS[make]
    wire = FaultyWire(emulated.build(lambda: 0.0, time.monotonic), time.monotonic)
    board = Switchboard()
    address = board.add_device(make, wire, with_pty=False)
    lab = tmp_path / "lab.toml"
    text = lab_snippet(make, DRIVERS[make], address.tcp, name="one", values=emulated.lab)
    lab.write_text(text, encoding="utf-8")
    settings = load_lab_settings(lab)
    with in_background(board):
        for confirmed in (False, True):
            try:
                with open_bench(
                    settings, tmp_path, confirm_syringes=confirmed, lock_dir=tmp_path / "locks"
                ) as bench:
                    kinds = (bench.pumps, bench.readers, bench.meters, bench.valves)
                    assert [list(kind) for kind in kinds].count(["one"]) == 1
                break
            except SyringeDiffers:
                assert not confirmed


def test_what_readers_and_meters_hold_is_known() -> None:
    plate = plate_od(450)
    assert plate.shape == (8, 12)
    assert np.all(np.diff(plate, axis=1) < 0)
    assert np.all(plate_od(620) < plate)
    slow, fast = tissue_ohm(0, np.array([1e-3, 1e9]))
    assert slow.real == pytest.approx(5200.0) and fast.real == pytest.approx(200.0)
    assert tissue_ohm(1, np.array([1e-3]))[0].real == pytest.approx(6200.0)
