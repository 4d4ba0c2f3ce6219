"""A table of resistances: every unit said, every line that can not be used named, none guessed."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.errors import FileNotValid
from chiploop.exports.teer_table import TeerTableNotValid, read_teer_table, study_time_h
from chiploop.units import UnitProblem

CHIPS = ("C01", "C02")
BEGUN = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def read(text: str | bytes, begun: datetime | None = BEGUN):
    data = text.encode() if isinstance(text, str) else text
    return read_teer_table(data, "evom.csv", CHIPS, begun)


@pytest.mark.parametrize(
    "text",
    [
        "chip,time,resistance\nC01,36 h,1.23 kohm\n",
        "chip,time [h],resistance [kohm]\nC01,36,1.23\n",
        "Chip, Time (h), Resistance (kΩ)\nC01,36,1.23",
        "resistance,chip,time,unit\n1230,C01,1.5 d,ohm\n",
        "chip,time,resistance [ohm],blank\r\nC01,2026-05-06T02:00+02:00,1230,no\r\n",
        "chip,time [h],resistance [ohm]\nC01,2026-05-06 00:00Z,1230\n\n,,\n",
        'chip,time,resistance\n"C01","36 h","1.23 kohm"\n',
    ],
)
def test_every_way_to_say_the_same_reading_gives_the_same(text: str) -> None:
    (row,) = read(text)
    assert (row.chip, row.time_h, row.resistance_ohm, row.blank) == ("C01", 36.0, 1230.0, False)
    assert row.line == 2 and row.as_written[-1] in "mΩ"


def test_a_byte_order_mark_and_many_lines_are_read_in_order() -> None:
    text = "chip,time,resistance,blank\nC01,36 h,1 kohm,\nC02,36 h,2 kohm,no\nF1,0 h,120 ohm,yes\n"
    rows = read(codecs.BOM_UTF8 + text.encode())
    assert [(r.line, r.chip, r.resistance_ohm, r.blank) for r in rows] == [
        (2, "C01", 1000.0, False),
        (3, "C02", 2000.0, False),
        (4, "F1", 120.0, True),
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("C09,36 h,1 kohm", "C09 is no chip of this study: C01, C02"),
        (",36 h,1 kohm", "is no chip"),
        ("C02,36 h,1.2", "has no unit"),
        ("C02,36,1 kohm", "has no unit"),
        ("C02,36 h,1,2 kohm", "4 cells, the header has 3; a decimal comma is not read"),
        ('C02,36 h,"1,2 kohm"', "decimal comma"),
        ("C02,36 h", "2 cells"),
        ("", "0 cells"),
        ("C02,36 h,1 kOhm", "kOhm"),
        ("C02,36 h,1 kohm*cm2", "not a unit of resistance"),
        ("C02,36 h,nan ohm", "not a number"),
        ("C02,36 h,-5 ohm", "below zero"),
        ("C02,36 h,0 ohm", "not above zero"),
        ("C02,36 h,OVRFLW", "not a number"),
        ("C02,-1 h,1 kohm", "below zero"),
        ("C02,2026-05-06 10:00,1 kohm", "offset to UTC"),
        ("C02,2026-05-04T11:59Z,1 kohm", "before the study began"),
        ("C02,2026-13-06T10:00Z,1 kohm", "no moment"),
        ("C01,36 h,2 kohm", "stands in line 2 already"),
        ("C01,2160 min,2 kohm", "stands in line 2 already"),
    ],
)
def test_a_line_that_can_not_be_used_is_named_and_none_is_taken(line: str, told: str) -> None:
    with pytest.raises(TeerTableNotValid) as refusal:
        read(f"chip,time,resistance\nC01,36 h,1 kohm\n{line}\nC02,40 h,1 kohm\n")
    (problem,) = refusal.value.problems
    assert problem.line == 3
    assert "line 3" in str(refusal.value) and told in str(refusal.value)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(TeerTableNotValid) as refusal:
        read("chip,time,resistance\nC09,36 h,1 kohm\nC01,36 h,1,2 kohm\nC01,36 h,5\n")
    assert [problem.line for problem in refusal.value.problems] == [2, 3, 4]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("chip;time;resistance", "a table with commas"),
        ("chip\ttime\tresistance", "a table with commas"),
        ("chip,time", "no column resistance"),
        ("chip,time,resistance,resistance", "there twice"),
        ("chip,time,resistance,operator", "'operator' is not known"),
        ("chip [x],time,resistance", "chip has no unit"),
        ("chip,time,resistance [ohm],unit", "in the header and in its own column"),
        ("C01,36 h,1 kohm", "not known"),
    ],
)
def test_another_header_is_refused(header: str, told: str) -> None:
    with pytest.raises(FileNotValid, match="line 1") as refusal:
        read(f"{header}\nC01,36 h,1 kohm\n")
    assert told in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("chip,time,resistance\n", "no reading"),
        ('chip,time,resistance\n"C01', "commas"),
        (b"chip,time,resistance\nC01,36 h,1 k\xd9\n", "UTF-8"),
    ],
)
def test_what_is_no_table_is_refused(text: str | bytes, told: str) -> None:
    with pytest.raises(FileNotValid, match=told):
        read(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("chip,time,resistance [kohm]\nC01,36 h,1.2 kohm\n", "so has the header"),
        ("chip,time,resistance,unit\nC01,36 h,1.2,\n", "unit: is missing"),
        ("chip,time,resistance,unit\nC01,36 h,1.2,V\n", "not a unit of resistance"),
        ("chip,time,resistance,blank\nC01,36 h,1 kohm,maybe\n", "yes or no"),
        ("chip,time,resistance [ohm*cm2]\nC01,36 h,1.2\n", "not a unit of resistance"),
    ],
)
def test_a_unit_is_said_once_and_is_one_of_resistance(text: str, told: str) -> None:
    with pytest.raises(TeerTableNotValid) as refusal:
        read(text)
    assert told in str(refusal.value)


def test_a_time_of_day_needs_to_know_when_the_study_began() -> None:
    assert study_time_h("2026-05-04T14:30+02:00", BEGUN) == 0.5
    assert study_time_h(" 30 min ", None) == 0.5
    with pytest.raises(UnitProblem, match="only study hours"):
        study_time_h("2026-05-04T14:30+02:00", None)


@given(st.one_of(st.binary(max_size=120), st.text('chiptmeresanu,C01 36h\n"[]k', max_size=80)))
def test_arbitrary_bytes_are_read_or_refused_by_name(data: bytes | str) -> None:
    try:
        rows = read(data)
    except FileNotValid:
        return
    assert rows
