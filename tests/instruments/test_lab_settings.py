"""Reading lab.toml: what is taken, and how each problem is told."""

import pytest

from chiploop.errors import FileNotValid
from instruments.drivers import load_lab_settings
from instruments.lab_settings import LabSettingsNotValid

GOOD = """\
[buses.pumps]
url = "socket://127.0.0.1:40001"
baudrate = 19200

[pumps.L1-medium]
make = "new_era_ne1000"
bus = "pumps"
address = 0
syringe_diameter_mm = 26.72
syringe_volume_ml = 60
min_flow_rate_ul_h = 3.0
safe_mode = true
watchdog_s = 120

[pumps.L1-low]
make = "new_era_ne1000"
bus = "pumps"
address = 1
syringe_diameter_mm = 19.13
syringe_volume_ml = 20
min_flow_rate_ul_h = 3.0

[plate_readers.reader]
make = "spectramax"
url = "socket://127.0.0.1:40002"

[impedance_meters.teer]
make = "emstat_pico"
url = "socket://127.0.0.1:40003"
[impedance_meters.teer.channels]
C01 = 0
C02 = 1
"""


@pytest.fixture
def lab(tmp_path):
    def load(text):
        path = tmp_path / "lab.toml"
        path.write_text(text, encoding="utf-8")
        return load_lab_settings(path)

    return load


def test_good_file_becomes_typed_frozen_settings(lab):
    settings = lab(GOOD)
    assert settings.pumps["L1-medium"].syringe_volume_ml == 60.0
    assert settings.pumps["L1-low"].watchdog_s == 120
    assert settings.impedance_meters["teer"].channels == {"C01": 0, "C02": 1}
    assert settings.impedance_meters["teer"].sweep().points == 21
    with pytest.raises(ValueError, match="frozen"):
        settings.pumps["L1-low"].address = 2


def test_every_problem_is_told_at_once_with_its_key_and_line(lab):
    text = GOOD.replace("address = 1", "address = 100").replace("baudrate = 19200", "baud = 19200")
    text = text.replace("watchdog_s = 120", "watchdog_s = 0").replace("C02 = 1", "C02 = 0")
    with pytest.raises(LabSettingsNotValid) as told:
        lab(text)
    lines = {problem.field: problem.line for problem in told.value.problems}
    assert lines == {
        "buses.pumps.baud": 3,
        "pumps.L1-low.address": 18,
        "pumps.L1-medium": 5,
        "impedance_meters.teer": 27,
    }
    assert "lab.toml" in str(told.value) and "line 18" in str(told.value)
    assert isinstance(told.value, FileNotValid) and told.value.exit_code == 3


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("address = 1", "address = 0", "pumps.L1-low.address"),
        ('bus = "pumps"\naddress = 1', 'bus = "other"\naddress = 1', "pumps.L1-low.bus"),
        ('"spectramax"', '"spectra"', "plate_readers.reader.make"),
        ("40003", "40002", "impedance_meters.teer.url"),
        ("[plate_readers.reader]", "[plate_readers.teer]", "impedance_meters.teer"),
        ("19.13", "19.133", "pumps.L1-low"),
        (
            "min_flow_rate_ul_h = 3.0\nsafe",
            'min_flow_rate_ul_h = "3"\nsafe',
            "pumps.L1-medium.min_flow_rate_ul_h",
        ),
        ("C02 = 1", "C02 = -1", "impedance_meters.teer.channels.C02"),
    ],
)
def test_each_kind_of_problem_names_its_key(lab, old, new, field):
    assert old in GOOD
    with pytest.raises(LabSettingsNotValid) as told:
        lab(GOOD.replace(old, new))
    assert [problem.field for problem in told.value.problems] == [field]


@pytest.mark.parametrize("text", ["[buses", "a = \x00"])
def test_file_that_is_not_toml_is_told_as_such(lab, text):
    with pytest.raises(FileNotValid, match="not TOML"):
        lab(text)


def test_missing_file_is_told_with_its_path(tmp_path):
    with pytest.raises(FileNotValid, match="nowhere.toml"):
        load_lab_settings(tmp_path / "nowhere.toml")


SYRINGE = "syringe_diameter_mm = 19.13\nsyringe_volume_ml = 20\nmin_flow_rate_ul_h = 3.0\n"
MODULE = "syringe_volume_ml = 1\nsteps_per_stroke = 3000\nmin_flow_rate_ul_h = 6000\n"
TUBE = (
    "tubing_id_mm = 0.25\nreservoir_ml = 20\ncalibrated_on = 2026-01-01\nmin_flow_rate_ul_h = 3.0\n"
)
NE, CHAIN, CAVRO = (f'make = "{m}"\n' for m in ("new_era_ne1000", "protocol_11", "cavro"))
FUSION, REGLO = 'make = "chemyx_fusion"\n', 'make = "reglo_icc"\n'


def on_one_bus(*pumps):
    """Return a lab.toml with pumps P0, P1, ... on one bus."""
    return '[buses.b]\nurl = "COM3"\n' + "".join(
        f'[pumps.P{number}]\nbus = "b"\n{pump}' for number, pump in enumerate(pumps)
    )


@pytest.mark.parametrize(
    ("pumps", "wrong", "said"),
    [
        # a flipped address of a start without checksum reaches another pump
        (
            [f"{NE}safe_mode = false\n{SYRINGE}", f"{NE}address = 1\nsafe_mode = false\n{SYRINGE}"],
            ["P0", "P1"],
            "no checksum",
        ),
        ([f"{NE}safe_mode = false\n{SYRINGE}", f"{NE}address = 1\n{SYRINGE}"], ["P0"], "alone"),
        (
            [f'{CAVRO}protocol = "dt"\n{MODULE}', f"{CAVRO}address = 1\n{MODULE}"],
            ["P0"],
            "no checksum",
        ),
        (
            [f"{FUSION}address = 1\n{SYRINGE}", f"{FUSION}address = 2\n{SYRINGE}"],
            ["P0", "P1"],
            "both_channels = true",
        ),
        # two names of one motor
        ([f"{FUSION}{SYRINGE}", f"{FUSION}address = 1\n{SYRINGE}"], ["P0", "P1"], "one channel"),
        (
            [f"{REGLO}channel = 1\n{TUBE}", f"{REGLO}address = 2\nchannel = 2\n{TUBE}"],
            ["P1"],
            "address 2",
        ),
        (
            [
                f'{CHAIN}dialect = "legato"\naddressing = "none"\n{SYRINGE}',
                f'{CHAIN}dialect = "legato"\naddress = 1\n{SYRINGE}',
            ],
            ["P0"],
            "alone on its bus",
        ),
    ],
)
def test_pumps_that_can_not_share_a_bus_are_told(lab, pumps, wrong, said):
    with pytest.raises(LabSettingsNotValid, match=said) as told:
        lab(on_one_bus(*pumps))
    assert [problem.field for problem in told.value.problems] == [f"pumps.{n}.bus" for n in wrong]
    for pump in pumps:
        lab(on_one_bus(pump))


@pytest.mark.parametrize(
    "pumps",
    [
        [f"{NE}address = {address}\n{SYRINGE}" for address in range(3)],
        [f"{CAVRO}address = {address}\n{MODULE}" for address in range(2)],
        [f'{CHAIN}dialect = "phd_ultra"\naddress = {a}\n{SYRINGE}' for a in (0, 12)],
        [f"{FUSION}address = {a}\nboth_channels = true\n{SYRINGE}" for a in (1, 2)],
        [f"{REGLO}channel = {channel}\n{TUBE}" for channel in (1, 4)],
    ],
)
def test_pumps_that_can_share_a_bus_are_taken(lab, pumps):
    assert len(lab(on_one_bus(*pumps)).pumps) == len(pumps)


def test_a_folder_of_files_is_taken_and_an_unknown_kind_is_told(tmp_path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(GOOD + '\n[file_folders.gen5]\npath = "/mnt/reader"\n')
    folder = load_lab_settings(path).file_folders["gen5"]
    assert (folder.path, folder.look_every_s) == ("/mnt/reader", 60.0)
    path.write_text(GOOD + '\n[file_folders.gen6]\npath = "/mnt/reader"\n')
    with pytest.raises(LabSettingsNotValid, match=r"gen6: is no kind of file; known: softmax_pro"):
        load_lab_settings(path)


def test_a_section_without_entries_is_taken_whole_and_its_problems_are_told(lab) -> None:
    settings = lab(GOOD + '\n[supervisor]\nafter_min = 3.0\nlines = {L1 = "stop"}\n').supervisor
    assert (settings.after_min, settings.lines) == (3.0, {"L1": "stop"})
    with pytest.raises(LabSettingsNotValid) as told:
        lab(GOOD + "\n[supervisor]\nafter_min = 0.0\n")
    assert [problem.field for problem in told.value.problems] == ["supervisor.after_min"]


@pytest.mark.parametrize(
    ("name", "own", "is_here"),
    [
        ("", "any", True),
        ("Bench-PC-2", "bench-pc-2", True),
        ("bench-pc-2", "bench-pc-2.example.org", True),
        ("bench-pc-2", "bench-pc-3", False),
        ("bench-pc-2", "", False),
    ],
)
def test_a_bench_that_names_its_computer_is_of_no_other(lab, name, own, is_here) -> None:
    settings = lab(GOOD + f'\n[computer]\nname = "{name}"\n')
    assert settings.computer.is_here(own) is is_here
