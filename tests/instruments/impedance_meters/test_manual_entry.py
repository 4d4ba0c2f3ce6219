"""A meter that a person reads: gives what was entered at about that time, or asks for it."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from chiploop.errors import FileNotValid, WaitingForPerson
from instruments.bench import open_bench
from instruments.drivers import DRIVERS, load_lab_settings
from instruments.errors import InstrumentError
from instruments.impedance_meters import manual_entry
from instruments.impedance_meters.manual_entry import ManualMeter, ManualTeerEntry, in_run_folder
from instruments.impedance_meters.teer_entries import TeerEntry, append_entries
from tests.instruments.impedance_meters.contract import ImpedanceMeterContract, MeterRig

CHANNELS = {"C01": 0, "C02": 1}


def enter(path, chip, time_h, ohm, *, blank=False, replaces=0):
    one = TeerEntry(0, chip, time_h, ohm, blank, replaces, f"{ohm} ohm", "2026-05-04T12:00", "ada")
    return append_entries(path, [one])[0].entry


@pytest.fixture
def path(tmp_path):
    return tmp_path / "teer_entries.csv"


@pytest.fixture
def meter(path):
    return ManualMeter("evom", path, channels=CHANNELS, frequency_hz=12.5, reading_age_h=2.0)


class TestContract(ImpedanceMeterContract):
    @pytest.fixture
    def rig(self, meter, path):
        enter(path, "C02", 0.95, 4000.0)
        enter(path, "C02", 1.0, 5000.0)
        rig = MeterRig(
            meter=meter,
            chip="C02",
            said=list,
            measurements=lambda: 0,
            cell_is_on=lambda: False,
            spoil=lambda: 0,
            hold=path.unlink,
            garble=path.write_bytes,
            theirs=(FileNotValid, WaitingForPerson),
        )
        return rig


def test_the_newest_reading_and_its_repeats_are_points_at_one_frequency(meter, path):
    enter(path, "C01", 34.9, 900.0)
    enter(path, "C01", 36.1, 1300.0)
    enter(path, "C01", 36.0, 1200.0)
    enter(path, "C02", 36.1, 7.0)
    enter(path, "C01", 36.05, 99.0, blank=True)
    spectrum = meter.measure_spectrum("C01", 36.2)
    np.testing.assert_array_equal(spectrum.frequency_hz, [12.5, 12.5])
    np.testing.assert_array_equal(spectrum.impedance_ohm, [1200.0, 1300.0])
    assert (spectrum.time_h, spectrum.status) == (36.1, (0, 0))


@pytest.mark.parametrize(
    ("time_h", "is_old"), [(33.9, True), (34.1, False), (36.2, False), (36.3, True)]
)
def test_only_a_reading_of_about_that_time_counts(meter, path, time_h, is_old):
    enter(path, "C01", time_h, 1200.0)
    if is_old:
        with pytest.raises(WaitingForPerson):
            meter.measure_spectrum("C01", 36.0)
    else:
        assert meter.measure_spectrum("C01", 36.0).time_h == time_h


def test_a_corrected_reading_counts_no_more(meter, path):
    slip = enter(path, "C01", 36.0, 12000.0)
    enter(path, "C01", 36.0, 1200.0, replaces=slip)
    np.testing.assert_array_equal(meter.measure_spectrum("C01", 36.0).impedance_ohm, [1200.0])


def test_the_person_is_told_every_command_to_type(meter, path):
    with pytest.raises(WaitingForPerson) as told:
        meter.measure_spectrum("C01", 36.0)
    for chip in CHANNELS:
        assert (
            f'chiploop instruments enter-teer {path.parent} --chip {chip} --resistance "... ohm"'
            in str(told.value)
        )
    assert f"chiploop resume {path.parent}" in str(told.value)
    enter(path, "C01", 36.0, 1200.0)
    with pytest.raises(WaitingForPerson) as told:
        meter.measure_spectrum("C02", 36.0)
    assert "--chip C01" not in str(told.value) and "--chip C02" in str(told.value)


def test_cell_free_chips_are_given_with_their_newest_readings(meter, path):
    assert meter.cell_free_spectra() == ()
    for chip, time_h, ohm in (
        ("F1", 0.0, 150.0),
        ("F1", 5.0, 120.0),
        ("F1", 5.1, 122.0),
        ("F2", 1.0, 130.0),
    ):
        enter(path, chip, time_h, ohm, blank=True)
    enter(path, "C01", 5.0, 1200.0)
    given = {s.chip_id: s.impedance_ohm.real.tolist() for s in meter.cell_free_spectra()}
    assert given == {"F1": [120.0, 122.0], "F2": [130.0]}


def settings(**changed):
    told = {"make": "manual_teer", "channels": CHANNELS, "instrument": "evom", **changed}
    return ManualTeerEntry(**told)


def test_an_evom_measures_at_the_frequency_that_its_maker_states():
    assert settings().used_frequency_hz() == 12.5
    assert settings(instrument="other", frequency_hz=20.0).used_frequency_hz() == 20.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"instrument": "other"},
        {"instrument": "millicell"},
        {"frequency_hz": 0.0},
        {"url": "COM3"},
        {"baudrate": 9600},
        {"reading_age_h": 7.0},
        {"lowest_ohm": 10.0, "highest_ohm": 5.0},
        {"entries": ""},
    ],
)
def test_settings_that_say_too_little_or_invent_a_port_are_refused(wrong):
    with pytest.raises(ValidationError):
        settings(**wrong)


def test_lab_toml_with_a_manual_meter_is_read_and_its_file_is_in_the_run_folder(tmp_path, path):
    toml = tmp_path / "lab.toml"
    toml.write_text(
        '[impedance_meters.evom]\nmake = "manual_teer"\ninstrument = "evom"\n'
        "[impedance_meters.evom.channels]\nC01 = 0\n"
    )
    lab = load_lab_settings(toml)
    entry = lab.impedance_meters["evom"]
    loose = DRIVERS["manual_teer"].build("evom", None, entry, lambda s: None)
    with pytest.raises(InstrumentError, match="folder of a run"):
        loose.open()
    placed = in_run_folder(lab, tmp_path).impedance_meters["evom"]
    assert placed.entries == str(path)
    DRIVERS["manual_teer"].build("evom", None, placed, lambda s: None).open()
    elsewhere = entry.model_copy(update={"entries": "/somewhere/else.csv"})
    assert manual_entry.entries_path(elsewhere, tmp_path) == Path("/somewhere/else.csv")


def test_opening_looks_at_the_file_of_entries(meter, path):
    meter.open()
    path.write_text("what")
    with pytest.raises(FileNotValid):
        meter.open()


def test_the_bench_opens_a_meter_without_a_port(tmp_path, path):
    toml = tmp_path / "lab.toml"
    toml.write_text(
        '[impedance_meters.evom]\nmake = "manual_teer"\ninstrument = "evom"\n'
        "[impedance_meters.evom.channels]\nC01 = 0\n"
    )
    enter(path, "C01", 36.0, 1200.0)
    lab = in_run_folder(load_lab_settings(toml), tmp_path)
    with open_bench(lab, tmp_path / "wire") as bench:
        assert bench.meters["evom"].measure_spectrum("C01", 36.5).time_h == 36.0
        bench.stop_all()
