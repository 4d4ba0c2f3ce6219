"""Delivery through the real driver, over TCP, onto emulated pumps that outlive the bench.

Belongs here: that journal, driver and pump agree on what flowed. Not here: every crash
(test_delivery).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chiploop.dosing import PumpProgramme, PumpStep
from chiploop.record.journal import Journal
from chiploop.record.progress import ProgrammeProgress
from instruments.bench import Bench, open_bench
from instruments.delivery import finish_programme, quantise_with, start_programme
from instruments.emulators.control import LabHandle, start_lab_process
from instruments.lab_settings import BusSettings, LabSettings
from instruments.pumps.new_era_ne1000 import NewEraEntry

FAKE_LAB = (sys.executable, "-m", "tests.instruments.emulators.fake_lab")
KEY = "r/c01/L1/dose"
PROGRAMME = PumpProgramme(
    line="L1",
    purpose="dose",
    asked_nm=480.0,
    delivered_nm=480.0,
    duration_h=48.0,
    steps=(
        PumpStep("L1-medium", "medium", 36.0, 1728.0),
        PumpStep("L1-low", "low", 144.0, 6912.0),
    ),
    vehicle_fraction=4.8e-5,
    stimulus_fraction=0.8,
)
VOLUMES_UL = {step.pump: step.volume_ul for step in PROGRAMME.steps}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabHandle]:
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "lab.json").write_text(json.dumps({"study": "study.yaml", "seed": 7}))
    with start_lab_process(folder, command=FAKE_LAB, timeout_s=30) as started:
        # The alarm of the first power-up is heard here: what follows is a day like any other.
        with open_bench(settings(started), tmp_path / "wire-0", confirm_syringes=True):
            pass
        yield started


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def settings(lab: LabHandle) -> LabSettings:
    diameters = {"L1-medium": (0, 26.72, 60.0), "L1-low": (1, 19.13, 20.0)}
    return LabSettings(
        buses={"pumps": BusSettings(url=lab.ports["pumps"]["tcp"])},
        pumps={
            name: NewEraEntry(
                make="new_era_ne1000",
                bus="pumps",
                address=address,
                syringe_diameter_mm=diameter,
                syringe_volume_ml=volume,
                min_flow_rate_ul_h=3.0,
            )
            for name, (address, diameter, volume) in diameters.items()
        },
    )


def start(journal: Journal, bench: Bench, time_h: float = 24.0) -> ProgrammeProgress:
    return start_programme(
        journal, bench.pumps, "r", KEY, PROGRAMME, time_h, lambda *_: None, lambda: None
    )


def flowed_ul(lab: LabHandle) -> dict[str, float]:
    felt = lab.control.call("truth")["felt_ul"]
    return {name: felt[name] for name in VOLUMES_UL}


def test_what_is_on_record_is_what_flowed(lab: LabHandle, journal: Journal, tmp_path: Path) -> None:
    lab.control.call("advance", to_h=24.0)
    with open_bench(settings(lab), tmp_path / "wire") as bench:
        for step in PROGRAMME.steps:
            kept = quantise_with(bench.pumps)(step.pump, step.flow_rate_ul_h, step.volume_ul)
            assert kept == (step.flow_rate_ul_h, step.volume_ul)
        assert start(journal, bench).running
        lab.control.call("advance", to_h=72.1)
        progress = finish_programme(journal, bench.pumps, KEY, 72.1, lambda: None)
    assert progress.done, progress.reason
    assert progress.delivered_ul == pytest.approx(VOLUMES_UL, abs=1.0)
    assert flowed_ul(lab) == pytest.approx(VOLUMES_UL, abs=0.1)
    assert journal.verify().whole


def test_a_bench_opened_anew_adopts_the_pumps_that_run(
    lab: LabHandle, journal: Journal, tmp_path: Path
) -> None:
    lab.control.call("advance", to_h=24.0)
    with open_bench(settings(lab), tmp_path / "wire") as bench:
        start(journal, bench)
    lab.control.call("advance", to_h=30.0)
    with open_bench(settings(lab), tmp_path / "wire") as bench:
        assert start(journal, bench, 30.0).running
        lab.control.call("advance", to_h=72.1)
        progress = finish_programme(journal, bench.pumps, KEY, 72.1, lambda: None)
    assert progress.done, progress.reason
    assert flowed_ul(lab) == pytest.approx(VOLUMES_UL, abs=0.1)


@pytest.mark.parametrize(
    "kind", ["drop_reply", "drop_command", "duplicate_command", "flip_bit", "truncate"]
)
def test_a_lost_or_garbled_start_is_settled_by_the_counter_and_flows_once(
    lab: LabHandle, journal: Journal, tmp_path: Path, kind: str
) -> None:
    lab.control.call("advance", to_h=24.0)
    with open_bench(settings(lab), tmp_path / "wire") as bench:
        lab.control.call("fault", port="pumps", kind=kind, matching="RUN")
        progress = start(journal, bench)
        assert not progress.held, progress.reason
        lab.control.call("advance", to_h=72.1)
        progress = finish_programme(journal, bench.pumps, KEY, 72.1, lambda: None)
    assert progress.done, progress.reason
    assert flowed_ul(lab) == pytest.approx(VOLUMES_UL, abs=0.1)


def test_a_power_cut_in_a_dose_is_held(lab: LabHandle, journal: Journal, tmp_path: Path) -> None:
    lab.control.call("advance", to_h=24.0)
    with open_bench(settings(lab), tmp_path / "wire") as bench:
        start(journal, bench)
        lab.control.call("advance", to_h=30.0)
        lab.control.call("fault", pump="L1-low", kind="power_cut")
        lab.control.call("advance", to_h=72.1)
        progress = finish_programme(journal, bench.pumps, KEY, 72.1, lambda: None)
    assert progress.held
    assert {pump.pump: pump.state for pump in progress.pumps} == {
        "L1-medium": "delivered",
        "L1-low": "held",
    }
    assert flowed_ul(lab)["L1-low"] == pytest.approx(6 * 144.0, abs=0.1)
