"""A bench that lacks what the study needs is refused before anything is sent, with everything named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chiploop.errors import FileNotValid
from chiploop.protocols_path import protocols_folder
from chiploop.study import load_study
from flows.opening import fits_the_study
from instruments.drivers import load_lab_settings
from instruments.valves.runze_sv06 import RunzeSV06Entry


def test_the_example_bench_is_accepted_and_a_poorer_one_is_refused_with_every_lack() -> None:
    folder = protocols_folder()
    study = load_study(folder / "studies" / "ad_jak_dose_finding.yaml")
    settings = load_lab_settings(folder / "lab" / "example.toml")
    fits_the_study(settings, study, Path("lab.toml"))
    pumps = dict(settings.pumps)
    del pumps["L2-low"]
    pumps["L1-high"] = pumps["L1-high"].model_copy(update={"syringe_diameter_mm": 14.5})
    meter = settings.impedance_meters["teer"]
    channels = {chip: n for chip, n in meter.channels.items() if chip != "C12"}
    poorer = settings.model_copy(
        update={
            "pumps": pumps,
            "plate_readers": {},
            "impedance_meters": {"teer": meter.model_copy(update={"channels": channels})},
        }
    )
    with pytest.raises(FileNotValid) as refusal:
        fits_the_study(poorer, study, Path("lab.toml"))
    told = str(refusal.value)
    for lack in ("pumps.L2-low is missing", "14.5 mm", "plate reader", "C12"):
        assert lack in told


def valve(lines: dict[str, int], positions: int = 6) -> dict[str, object]:
    return {
        "make": "runze_sv06",
        "url": "socket://127.0.0.1:1",
        "positions": positions,
        "lines": lines,
    }


@pytest.mark.parametrize(
    ("valves", "lack"),
    [
        ({}, "valves.C03 is missing: which port of it does each line come to?"),
        ({"C03": valve({"L1": 1})}, "valves.C03.lines has no port of L2"),
        ({"C03": valve({"L1": 1, "L2": 1})}, "valves.C03.lines has two lines at one port"),
        ({"C03": valve({"L1": 1, "L2": 7})}, "names port 7; the valve has 6 positions"),
        ({"C03": valve({"L1": 3, "L2": 2})}, ""),
    ],
)
def test_a_valve_that_the_bench_has_otherwise_is_refused(
    valves: dict[str, dict[str, object]], lack: str
) -> None:
    folder = protocols_folder()
    study = load_study(folder / "studies" / "ad_jak_dose_finding.yaml")
    study = study.model_copy(update={"valves": {"C03": ("L2",)}})
    settings = load_lab_settings(folder / "lab" / "example.toml")
    entries = {name: RunzeSV06Entry.model_validate(entry) for name, entry in valves.items()}
    settings = settings.model_copy(update={"valves": entries})
    if not lack:
        fits_the_study(settings, study, Path("lab.toml"))
        return
    with pytest.raises(FileNotValid, match=re.escape(lack)):
        fits_the_study(settings, study, Path("lab.toml"))
