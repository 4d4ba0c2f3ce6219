"""The example lab.toml names every pump and chip of the demo study."""

from __future__ import annotations

from chiploop.protocols_path import protocols_folder
from chiploop.study import load_study
from instruments.drivers import load_lab_settings


def test_the_example_bench_fits_the_demo_study() -> None:
    folder = protocols_folder()
    study = load_study(folder / "studies" / "ad_jak_dose_finding.yaml")
    settings = load_lab_settings(folder / "lab" / "example.toml")
    pumps = {f"{line}-{role}" for line in study.line_ids for role in study.perfusion.syringes}
    assert set(settings.pumps) == pumps
    assert tuple(settings.impedance_meters["teer"].channels) == study.chip_ids
    for name, pump in settings.pumps.items():
        syringe = study.perfusion.syringes[name.split("-")[1]]
        assert pump.syringe_diameter_mm == syringe.diameter_mm
        assert pump.syringe_volume_ml * 1000.0 == syringe.volume_ul
