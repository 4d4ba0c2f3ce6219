"""No device of the published exchanges is without a judge on either side of the wire.

The judging itself stands with each make; a row that is not judged gives its reason there.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

HERE = Path(__file__).parent
JUDGES = {
    "NE-1000": ("pumps/test_new_era_wire.py", "emulators/test_serial_exchanges.py"),
    "KDS Legato 101": ("pumps/test_protocol_11_wire.py", "emulators/test_protocol_11.py"),
    "Pump 11 Elite": ("pumps/test_protocol_11_wire.py", "emulators/test_protocol_11.py"),
    "Reglo ICC": ("pumps/test_reglo_icc_wire.py", "emulators/test_reglo_icc.py"),
    "TriContinent/Cavro DT": ("pumps/test_cavro_wire.py", "emulators/test_cavro.py"),
    "TriContinent/Cavro OEM": ("pumps/test_cavro_wire.py", "emulators/test_cavro.py"),
    "SpectraMax": ("plate_readers/test_spectramax_wire.py", "emulators/test_serial_exchanges.py"),
    "BioTek": ("plate_readers/test_biotek_wire.py", "emulators/test_biotek.py"),
    "CLARIOstar": ("plate_readers/test_clariostar_wire.py", "emulators/test_clariostar.py"),
    "EmStat Pico": (
        "impedance_meters/test_methodscript.py",
        "emulators/test_serial_exchanges.py",
    ),
}
"""Device -> (test of the driver, test of the emulator)."""


def test_every_device_of_the_exchanges_has_a_judge(shared_data: Path) -> None:
    with (shared_data / "serial_exchanges.csv").open(encoding="utf-8", newline="") as file:
        assert {row["device"] for row in csv.DictReader(file)} == set(JUDGES)


@pytest.mark.parametrize("device", JUDGES)
def test_judge_names_its_device_and_asks_for_the_shared_rows(device: str) -> None:
    for name in JUDGES[device]:
        text = (HERE / name).read_text(encoding="utf-8")
        assert device in text and "shared_data" in text, name
