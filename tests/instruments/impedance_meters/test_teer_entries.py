"""The file of entered resistances: it only grows, and says where it is not what was entered."""

import os
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.errors import FileNotValid
from instruments.impedance_meters import teer_entries as file
from instruments.impedance_meters.teer_entries import TeerEntry

HEAD = "entry,chip,time_h,resistance_ohm,blank,replaces,as_written,entered_utc,by\n"
ONE = TeerEntry(0, "C01", 36.25, 1230.0, False, 0, "1.23 kohm", "2026-05-04T12:00:00+00:00", "ada")
LINE = "1,C01,36.25,1230.0,0,0,1.23 kohm,2026-05-04T12:00:00+00:00,ada\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "teer_entries.csv"


def test_an_entry_is_one_line_and_comes_back_as_it_was(path):
    assert file.read_entries(path) == ()
    (kept,) = file.append_entries(path, [ONE])
    assert path.read_text() == HEAD + LINE
    assert kept == replace(ONE, entry=1) and file.read_entries(path) == (kept,)


def test_a_file_written_by_hand_is_read(path):
    path.write_text(HEAD + LINE + LINE.replace("1,C01", "2,C02", 1))
    assert [entry.chip for entry in file.read_entries(path)] == ["C01", "C02"]


def test_what_was_written_is_never_touched_and_is_on_the_disk(path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda number: (synced.append(path.stat().st_size), real(number))
    )
    file.append_entries(path, [ONE])
    before = path.read_bytes()
    file.append_entries(path, [replace(ONE, time_h=40.0), replace(ONE, chip="C02")])
    assert path.read_bytes().startswith(before)
    assert path.stat().st_size in synced


def test_a_correction_is_a_new_row_and_the_old_one_stands_no_more(path):
    file.append_entries(path, [ONE, replace(ONE, chip="C02")])
    (new,) = file.append_entries(path, [replace(ONE, resistance_ohm=1320.0, replaces=1)])
    assert (new.entry, new.replaces) == (3, 1)
    assert [e.entry for e in file.standing(file.read_entries(path))] == [2, 3]
    assert len(file.read_entries(path)) == 3


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"replaces": 7, "time_h": 60.0}, "there is not"),
        ({"replaces": 1, "chip": "C02"}, "which is of C01"),
        ({"replaces": 1, "blank": True}, "which is of C01"),
        ({}, "entered before, as entry 1"),
        ({"replaces": 2, "resistance_ohm": 5.0, "chip": "C02"}, "replaced before, by entry 3"),
    ],
)
def test_an_entry_that_contradicts_the_file_is_refused_and_nothing_is_written(path, wrong, told):
    file.append_entries(path, [ONE, replace(ONE, chip="C02")])
    file.append_entries(path, [replace(ONE, chip="C02", resistance_ohm=9.0, replaces=2)])
    before = path.read_bytes()
    good = replace(ONE, time_h=50.0)
    with pytest.raises(FileNotValid, match=told):
        file.append_entries(path, [good, replace(ONE, **wrong)])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "wrong",
    [{"chip": "C\n01"}, {"chip": "C\x0001"}, {"resistance_ohm": float("nan")}, {"time_h": -1.0}],
)
def test_what_could_not_be_read_back_is_not_written(path, wrong):
    with pytest.raises((ValueError, FileNotValid)):
        file.append_entries(path, [replace(ONE, **wrong)])
    assert file.read_entries(path) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "first line"),
        (HEAD.replace("chip", "Chip"), "first line"),
        (HEAD + LINE.rstrip("\n"), "line 2.*not whole"),
        (HEAD + LINE + LINE, "line 3: entry 1 stands where 2"),
        (HEAD + LINE.replace("1230.0", "1,23"), "line 2: 10 cells"),
        (HEAD + LINE.replace("1230.0", "-5"), "line 2: resistance_ohm reads '-5'"),
        (HEAD + LINE.replace("1230.0", "nan"), "line 2: resistance_ohm reads 'nan'"),
        (HEAD + LINE.replace(",0,0,", ",yes,0,"), "line 2: blank reads 'yes'"),
        (HEAD + LINE.replace("ada", ""), "line 2: by reads ''"),
        (HEAD + "\n" + LINE, "line 2: 0 cells"),
        (HEAD + '"', "no file of entered"),
    ],
)
def test_a_file_that_no_command_wrote_is_refused_with_its_line(path, text, told):
    path.write_text(text)
    with pytest.raises(FileNotValid, match=told):
        file.read_entries(path)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_by_name(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("e") / "e.csv"
    path.write_bytes(data)
    with pytest.raises(FileNotValid):
        file.read_entries(path)


@pytest.mark.parametrize("value", [1e-9, 0.1, 1 / 3, 1e6, 123456.789, 5e15])
def test_numbers_come_back_to_the_last_bit(path, value):
    file.append_entries(path, [replace(ONE, resistance_ohm=value, time_h=value)])
    (kept,) = file.read_entries(path)
    assert (kept.resistance_ohm, kept.time_h) == (value, value)


def test_two_people_at_once_get_numbers_of_their_own(path):
    def enter(chip):
        for hour in range(5):
            file.append_entries(path, [replace(ONE, chip=chip, time_h=float(hour))])

    threads = [threading.Thread(target=enter, args=(chip,)) for chip in ("C01", "C02", "C03")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.entry for entry in file.read_entries(path)] == list(range(1, 16))
