"""The plate that the speed is measured on is a real enough one: read whole, with every table."""

from __future__ import annotations

from collections import Counter

from benchmarks.exports import memory_per_byte, parse_times_s, thirty_plex
from chiploop.exports import read_export_bytes


def test_the_plate_has_thirty_analytes_in_96_wells() -> None:
    export = read_export_bytes(thirty_plex(), "plate.csv")
    counts = Counter(row.statistic for row in export.rows)
    assert counts == {
        **dict.fromkeys(("Median", "Net MFI", "Count", "Result", "Avg Net MFI"), 96 * 31),
        "Dilution Factor": 96,
    }
    assert export.notes == () and all(one.qc == "ok" for one in export.readouts)


def test_the_figures_are_of_a_file_that_is_read() -> None:
    data = thirty_plex(one_digit=True)
    assert len(parse_times_s(data, 2)) == 2
    assert 1.0 < memory_per_byte(data) < 150.0
