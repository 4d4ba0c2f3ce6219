"""A bench that lacks what the study needs is refused before anything is sent, with everything named."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.errors import FileNotValid
from chiploop.protocols_path import protocols_folder
from chiploop.study import load_study
from flows.opening import fits_the_study
from instruments.drivers import load_lab_settings


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
