"""One cell: numbers, bounds, typed reasons, and words that nobody knows."""

from __future__ import annotations

import math

import pytest

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, demand_decimal_point, number_style, read_cell

INF = math.inf


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), (" -0.25 ", -0.25), (".5", 0.5), ("7.6E-05", 7.6e-5), ("+3.", 3.0), ("0", 0.0)],
)
def test_a_number_is_read_exactly(text: str, value: float) -> None:
    said = read_cell(Cell(1, 1, text), "f")
    assert (said.value, said.qc, said.censoring, said.reasons) == (value, "ok", "none", ())


@pytest.mark.parametrize(
    ("text", "reason", "censoring", "lower", "upper", "qc"),
    [
        ("< 22.5", "under", "left", -INF, 22.5, "warn"),
        ("<22.500", "under", "left", -INF, 22.5, "warn"),
        ("> 1000", "over", "right", 1000.0, INF, "warn"),
        ("OVRFLW", "saturated", "right", -INF, INF, "warn"),
        ("Masked", "masked", "none", -INF, INF, "fail"),
        ("NaN", "nan", "none", -INF, INF, "fail"),
        ("N/A", "not_available", "none", -INF, INF, "fail"),
        ("", "missing", "none", -INF, INF, "fail"),
        ("--", "missing", "none", -INF, INF, "fail"),
        ("?????", "invalid", "none", -INF, INF, "fail"),
        ("Range?", "out_of_range", "none", -INF, INF, "fail"),
        ("Above Fit Curve Range", "over", "right", -INF, INF, "warn"),
    ],
)
def test_a_token_becomes_a_typed_reason_and_never_a_number(
    text: str, reason: str, censoring: str, lower: float, upper: float, qc: str
) -> None:
    said = read_cell(Cell(1, 1, text), "f")
    assert math.isnan(said.value)
    assert (said.reasons, said.censoring) == ((reason,), censoring)
    assert (said.lower, said.upper, said.qc) == (lower, upper, qc)


@pytest.mark.parametrize("text", ["hello", "1.2.3", "1 2", "12*", "inf", "0x10", "1e", "١"])
def test_an_unknown_token_is_an_error_with_its_address(text: str) -> None:
    with pytest.raises(FileNotValid, match="plate.txt, line 7, column 3"):
        read_cell(Cell(7, 3, text), "plate.txt")


@pytest.mark.parametrize("text", ["0,379", "1,234", "1,234.5", "1.234,5", "< 22,5", "-0,1"])
def test_a_comma_in_any_number_refuses_the_whole_file(text: str) -> None:
    cells = [Cell(1, 1, "0.5"), Cell(9, 2, text)]
    with pytest.raises(FileNotValid, match="line 9, column 2.*comma"):
        demand_decimal_point(cells, "plate.txt")


@pytest.mark.parametrize(
    ("texts", "style"),
    [
        (("1", "2.5", "-0.1"), "point"),
        (("1", "2", "NaN"), "point"),
        (("1", "2,5", "1,234"), "comma"),
        (("< 22,5", "3"), "comma"),
        (("sample 1, 2", "3.5"), "point"),
    ],
)
def test_the_number_style_is_one_for_the_whole_file(texts: tuple[str, ...], style: str) -> None:
    assert number_style([Cell(1, i, text) for i, text in enumerate(texts)], "f") == style


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("2,5", "2.5"), "two number styles"),
        (("2.5", "2,5"), "two number styles"),
        (("1.234,5", "2"), "two number styles"),
        (("1,234", "12,345"), "thousands separator"),
        (("1,234", "1,234,567"), "two number styles|thousands"),
    ],
)
def test_a_mix_of_styles_and_a_comma_that_proves_nothing_are_refused(
    texts: tuple[str, ...], said: str
) -> None:
    with pytest.raises(FileNotValid, match=said):
        number_style([Cell(1, i, text) for i, text in enumerate(texts)], "f")


def test_a_comma_number_is_read_in_the_style_of_its_file() -> None:
    assert read_cell(Cell(1, 1, "0,379"), "f", "comma").value == 0.379
    assert read_cell(Cell(1, 1, "< 22,5"), "f", "comma").upper == 22.5


def test_a_number_beyond_all_numbers_is_refused() -> None:
    for text in ("1e999", "> 1e999"):
        with pytest.raises(FileNotValid, match="larger than any number"):
            read_cell(Cell(1, 1, text), "f")
