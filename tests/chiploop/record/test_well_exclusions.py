"""Decisions about single wells: the last counts, and what was calculated must rest on those that count."""

from __future__ import annotations

import pytest

from chiploop.record.chain import RecordConflict
from chiploop.record.well_exclusions import WellExclusion, check_wells, wells_left_out

OUT = WellExclusion("p1", "B7", True, "an", "bubble")
IN = WellExclusion("p1", "B7", False, "bo", "no bubble")
OTHER = WellExclusion("p2", "B7", True, "an", "spilt")


def test_the_last_decision_about_a_well_counts_and_plates_are_told_apart() -> None:
    assert wells_left_out([OUT, OTHER], "p1") == {"B7": "left out by an: bubble"}
    assert wells_left_out([OUT, OTHER, IN], "p1") == {}
    assert wells_left_out([OUT, OTHER, IN], "p2") == {"B7": "left out by an: spilt"}


@pytest.mark.parametrize(("before", "said"), [([OUT], OUT), ([], IN), ([OUT, IN], IN)])
def test_a_decision_that_changes_nothing_is_refused(
    before: list[WellExclusion], said: WellExclusion
) -> None:
    with pytest.raises(RecordConflict, match="nothing was changed"):
        check_wells(before, [said], ["p1"], wells_left_out([*before, said], "p1"))


def test_what_was_calculated_without_other_wells_than_count_now_is_refused() -> None:
    check_wells([], [OUT], ["p1"], {"B7": OUT.reason})
    late = WellExclusion("p1", "C7", True, "bo", "spilt")  # while an's plate was calculated
    with pytest.raises(RecordConflict, match="other wells of p1 meanwhile"):
        check_wells([late], [OUT], ["p1"], {"B7": OUT.reason})
    check_wells([late], [OUT], ["p1"], None)
