"""What a person takes out of the fits stays on record, with who and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from chiploop.measurement import Readout
from chiploop.record.chain import RecordConflict
from chiploop.record.exclusions import ANY_TIME, Exclusion
from chiploop.record.record import Record
from tests.chiploop.campaigns import STUDY

OUT = Exclusion("C01", "TEER", 24.0, True, "an", "bubble in the channel")


def reading(chip: str, readout: str, time_h: float) -> Readout:
    return Readout(chip, readout, 900.0, "ohm*cm2", 0.02, "log", time_h, curve=(0.1, -0.02))


READINGS = (
    reading("C01", "TEER", 24.0),
    reading("C01", "TEER", 48.0),
    reading("C02", "TEER", 24.0),
)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    kept = Record(f"sqlite:///{(tmp_path / 'record.sqlite').as_posix()}")
    kept.add_run("r1", STUDY, seed=1, simulated=True)
    kept.add_readouts("r1", READINGS)
    return kept


def test_a_readout_comes_back_with_its_curve(record: Record) -> None:
    assert record.readouts("r1") == READINGS


def test_an_excluded_readout_is_there_and_failed_with_who_and_why(record: Record) -> None:
    record.add_exclusion("r1", OUT, 48.0)
    first, second, other = record.readouts("r1")
    assert first.qc == "fail"
    assert first.reasons == ("excluded by an: bubble in the channel",)
    assert first.value == READINGS[0].value
    assert (second, other) == READINGS[1:]
    assert not record.verify().faults


def test_an_exclusion_of_a_chip_covers_all_its_readouts(record: Record) -> None:
    record.add_exclusion("r1", Exclusion("C01", "", ANY_TIME, True, "an", "leak"), 48.0)
    assert [r.qc for r in record.readouts("r1")] == ["fail", "fail", "ok"]


def test_what_was_excluded_can_be_taken_in_again(record: Record) -> None:
    record.add_exclusion("r1", OUT, 48.0)
    back = Exclusion("C01", "TEER", 24.0, False, "bo", "no bubble on the picture")
    record.add_exclusion("r1", back, 48.0)
    assert record.readouts("r1") == READINGS
    assert [one.by for one in record.exclusions("r1")] == ["an", "bo"]
    record.add_exclusion("r1", OUT, 48.0)
    assert record.readouts("r1")[0].qc == "fail"


@pytest.mark.parametrize(
    "exclusion, told",
    [
        (Exclusion("C09", "", ANY_TIME, True, "an", "x"), "has no readout any readout of C09"),
        (Exclusion("C01", "CCL26", ANY_TIME, True, "an", "x"), "has no readout CCL26 of C01"),
        (Exclusion("C01", "TEER", 24.0, False, "an", "x"), "is not excluded"),
    ],
)
def test_an_exclusion_that_would_change_nothing_is_refused(
    record: Record, exclusion: Exclusion, told: str
) -> None:
    with pytest.raises(RecordConflict, match=told):
        record.add_exclusion("r1", exclusion, 48.0)
    assert record.readouts("r1") == READINGS


def test_the_same_exclusion_twice_is_refused(record: Record) -> None:
    record.add_exclusion("r1", OUT, 48.0)
    with pytest.raises(RecordConflict, match="excluded already"):
        record.add_exclusion("r1", OUT, 48.0)


def test_a_record_of_before_the_curve_column_is_opened_and_its_chain_holds(tmp_path: Path) -> None:
    url = f"sqlite:///{(tmp_path / 'old.sqlite').as_posix()}"
    with Record(url) as record:
        record.add_run("r1", STUDY, seed=1, simulated=True)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE readouts DROP COLUMN curve"))
        connection.execute(text("DROP TABLE journal_events"))
        connection.execute(text("DROP TABLE chiploop_version"))
    engine.dispose()
    with Record(url) as record:
        record.add_readouts("r1", READINGS)
        assert record.readouts("r1") == READINGS
        assert not record.verify().faults
