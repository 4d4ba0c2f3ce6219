"""Names of wells: ``A1`` is ``A01``, rows go from A to AF, and other plates have other wells."""

from __future__ import annotations

import pytest

from chiploop.errors import FileNotValid
from chiploop.exports.wells import PLATE_SHAPES, row_label, same_well, well_index, well_name


def test_every_well_of_every_plate_has_one_name() -> None:
    for wells, (rows, columns) in PLATE_SHAPES.items():
        names = [well_name(i, j) for i in range(rows) for j in range(columns)]
        assert len(set(names)) == wells
        assert [same_well(name, wells, "f") for name in names] == names
    assert (row_label(25), row_label(26), row_label(31)) == ("Z", "AA", "AF")


@pytest.mark.parametrize(
    ("text", "name"), [("A01", "A1"), (" H012 ", "H12"), ("AF48", "AF48"), ("AA01", "AA1")]
)
def test_leading_zeros_are_no_other_well(text: str, name: str) -> None:
    assert same_well(text, 1536, "f") == name


@pytest.mark.parametrize("text", ["", "A", "A0", "1A", "a1", "AG1", "A100", "A1 A2", "A-1"])
def test_what_is_no_well_is_none(text: str) -> None:
    assert well_index(text) is None
    with pytest.raises(FileNotValid, match="plate.csv, line 3: .* is no well of a plate of 1536"):
        same_well(text, 1536, "plate.csv, line 3")


@pytest.mark.parametrize(
    ("text", "wells"), [("C1", 6), ("I1", 96), ("A13", 96), ("Q1", 384), ("AG1", 1536)]
)
def test_a_well_of_a_larger_plate_is_refused(text: str, wells: int) -> None:
    with pytest.raises(FileNotValid, match=f"plate of {wells} wells"):
        same_well(text, wells, "f")
