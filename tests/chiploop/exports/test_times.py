"""Times of a file: UTC only where zone, day and month are known."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from chiploop.errors import WrongUse
from chiploop.exports.times import DateOrder, FileTime, laboratory_zone, resolve

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "order", "utc"),
    [
        ("2026-02-25 04:42:08 PM", None, "2026-02-25T15:42:08"),
        ("2026-07-01T12:00:00", None, "2026-07-01T10:00:00"),
        ("5/17/2023 6:42:29 PM", None, "2023-05-17T16:42:29"),
        ("17/5/2023 6:42 AM", None, "2023-05-17T04:42:00"),
        ("05.06.2026 12:00", None, "2026-06-05T10:00:00"),
        ("10/10/2022 12:00:04 AM", None, "2022-10-09T22:00:04"),
        ("03/04/2026 12:00", "day-month", "2026-04-03T10:00:00"),
        ("03/04/2026 12:00", "month-day", "2026-03-04T11:00:00"),
        ("2026-02-25T12:00:00Z", None, "2026-02-25T12:00:00"),
        ("2026-02-25T12:00:00+05:30", None, "2026-02-25T06:30:00"),
        ("2026-02-25 12:00 CET", None, "2026-02-25T11:00:00"),
        ("2026-10-25 02:30 CEST", None, "2026-10-25T00:30:00"),
    ],
)
def test_a_time_becomes_utc(text: str, order: DateOrder | None, utc: str) -> None:
    (told,) = resolve([FileTime("read", text)], BERLIN, order)
    assert told.utc is not None, told.problem
    assert (told.utc.isoformat(), told.text) == (f"{utc}+00:00", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("03/04/2026 12:00", "day and month can not be told apart"),
        ("2026-10-25 02:30", "twice, or never"),
        ("2026-03-29 02:30", "twice, or never"),
        ("2026-02-25 12:00 CEST", "which Europe/Berlin is not"),
        ("2026-02-30 12:00", "no such time"),
        ("0001-01-01 00:10", "no such time"),
        ("13:00 PM", "not a time"),
        ("2026-02-25 13:00 PM", "not a time"),
        ("", "not a time"),
    ],
)
def test_a_time_that_can_not_be_told_keeps_its_text_alone(text: str, said: str) -> None:
    (told,) = resolve([FileTime("read", text)], BERLIN)
    assert told.utc is None and said in told.problem and told.text == text


def test_without_the_zone_of_the_laboratory_nothing_is_called_utc() -> None:
    told = resolve([FileTime("read", "2026-02-25 12:00"), FileTime("end", "2026-02-25 12:01 EST")])
    assert [one.utc for one in told] == [None, None]
    assert "name that of the laboratory" in told[0].problem
    assert "EST" in told[1].problem


def test_one_date_that_tells_decides_for_all_of_the_file() -> None:
    told = resolve([FileTime("a", "03/04/2026 12:00"), FileTime("b", "17/04/2026 12:00")], BERLIN)
    assert [one.utc.day for one in told if one.utc] == [3, 17]


def test_dates_that_contradict_each_other_decide_nothing() -> None:
    told = resolve(
        [FileTime(text, f"{text}/2026 12:00") for text in ("03/17", "17/03", "01/02")],
        BERLIN,
        "day-month",
    )
    assert [one.utc for one in told] == [None, None, None]


def test_a_zone_that_does_not_exist_is_refused() -> None:
    assert laboratory_zone("Europe/Berlin") == BERLIN
    for name in ("Mars/Olympus", "", "../etc/passwd", "CET2"):
        with pytest.raises(WrongUse, match="there is no time zone"):
            laboratory_zone(name)
