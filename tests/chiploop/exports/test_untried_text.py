"""Formats without a real file among the tests: they say so, and refuse what contradicts itself."""

from __future__ import annotations

import math
import random

import pytest

from benchmarks.export_mutations import random_mutation
from chiploop.errors import ChiploopError, FileNotValid
from chiploop.exports import READERS, read_export_bytes
from chiploop.exports.trouble import ExportIncomplete

MARS_HEAD = (
    "User: USER,Path: C:\\MARS\\Data,Test run no.: 4\n"
    "Test name: ELISA,Date: 29/02/2024,Time: 14:34:46\n\n"
    "ID1: P7,ID2: 20 ul\nAbsorbance\n\nRaw Data (450)\n\n"
)
MARS_ROWS = [f"{row}," + ",".join(f"0.{i}{j}" for j in range(1, 4)) for i, row in enumerate("AB")]
MARS = MARS_HEAD + ",1,2,3\n" + "\n".join(MARS_ROWS) + "\n"


def bioplex(samples: str, head: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}<bpm:BioPlexManager xmlns:bpm="x" '
        'XmlExportDateTime="2024-01-09T13:20:40Z" BioPlexManagerVersion="6.2.0.175">\n'
        "<NativeDocumentName>P7</NativeDocumentName>\n"
        '<PlateDimensions Columns="3" Rows="2" TotalWells="6" />\n<StandardCurves><Interpolators>'
        '<Interpolator RegionNumber="12"><AnalyteName>IL-4</AnalyteName>'
        "<ConcentrationUnits>pg/mL</ConcentrationUnits></Interpolator></Interpolators>"
        f"</StandardCurves>\n<Samples>\n{samples}</Samples>\n</bpm:BioPlexManager>\n"
    )


def sample(kind: str, label: str, readings: dict[str, float], more: str = "") -> str:
    mean = sum(readings.values()) / len(readings)
    wells = ""
    for place, reading in readings.items():
        row, column = place.split(",")
        number = (int(row) - 1) * 3 + int(column)
        wells += (
            f'<MemberWell RowNo="{row}" ColNo="{column}" WellNumber="{number}"><MWAnalytes>'
            '<MWAnalyte RegionNumber="12"><AnalyteName>IL-4</AnalyteName>'
            f'<Reading Valid="true" Code="0">{reading:.17E}</Reading>'
            '<MWObsConc ReadingOK="false" ReadError="Below range" ReadErrorCode="9">0.0</MWObsConc>'
            "</MWAnalyte></MWAnalytes></MemberWell>\n"
        )
    return (
        f"<{kind}s><{kind}><Label>{label}</Label><Dilution>4.0</Dilution><Analytes>"
        '<Analyte RegionNumber="12"><AnalyteName>IL-4</AnalyteName>'
        f"<ReplicateCount>{len(readings)}</ReplicateCount><RawMean>{mean:.17E}</RawMean>{more}"
        f"</Analyte></Analytes><MemberWells>{wells}</MemberWells></{kind}></{kind}s>\n"
    )


BIOPLEX = bioplex(
    sample("Blank", "B", {"1,1": 12.0, "2,1": 13.0})
    + sample("Unknown", "X1", {"1,2": 500.0, "2,2": 512.5})
)


@pytest.mark.parametrize("key", ["bioplex_manager", "bmg_mars"])
def test_an_untried_format_says_so_at_every_read(key: str) -> None:
    assert READERS[key].untried
    text = {"bioplex_manager": BIOPLEX, "bmg_mars": MARS}[key]
    export = read_export_bytes(text.encode(), "plate")
    assert export.format == key
    assert export.notes[0].startswith("untried: no real file")


def test_formats_with_a_real_file_do_not() -> None:
    assert {key for key, reader in READERS.items() if reader.untried} == {
        "bioplex_manager",
        "bmg_mars",
    }


def test_mars_gives_every_well() -> None:
    export = read_export_bytes(MARS.encode(), "plate.csv")
    found = {one.well: one.value for one in export.readouts}
    assert found == {"A1": 0.01, "A2": 0.02, "A3": 0.03, "B1": 0.11, "B2": 0.12, "B3": 0.13}
    assert export.readouts[0].unit == "OD"
    assert (export.plates[0].name, export.plates[0].wells) == ("P7", 6)
    assert export.times[0].text == "29/02/2024 14:34:46"


def test_mars_of_a_comma_computer_is_read_in_its_own_style() -> None:
    head, rows = MARS_HEAD.replace(",", ";"), "\n".join(MARS_ROWS)
    text = head + ";1;2;3\n" + rows.replace(",", ";").replace(".", ",") + "\n"
    export = read_export_bytes(text.encode(), "plate.csv")
    assert [one.value for one in export.readouts][-1] == 0.13
    assert "decimal comma" in export.notes[-1]


def test_mars_without_separators_at_the_line_end_lacks_wells_and_says_so() -> None:
    export = read_export_bytes(MARS.replace("0.12,0.13", "0.12").encode(), "plate.csv")
    assert [one.well for one in export.readouts if one.reasons == ("missing",)] == ["B3"]
    assert "ends after 2 of 3 cells" in export.notes[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",1,2,3", ",1,3,2", "columns are not 1 to 3"),
        (",1,2,3", ",1,2,3,4,5", "no plate has"),
        ("\nB,", "\nC,", "rows A, C"),
        ("Absorbance", "Kinetic", "the mode is not named"),
        ("0.13\n", "0.13", "last line has no end"),
        ("0.13", "0.13,7", "more values"),
        ("0.13", "wet", "line 11, column 4: 'wet'"),
        (MARS_ROWS[1] + "\n", "", "incomplete"),
        ("0.01,0.02", '"0,01",0.02', "two number styles|more values"),
    ],
)
def test_mars_that_contradicts_itself_is_refused(old: str, new: str, said: str) -> None:
    assert old in MARS
    with pytest.raises(FileNotValid, match=said):
        read_export_bytes(MARS.replace(old, new, 1).encode(), "plate.csv")


def test_bioplex_gives_readings_and_no_concentration_that_the_program_did_not() -> None:
    export = read_export_bytes(BIOPLEX.encode(), "plate.xml")
    readings = {
        one.well: (one.sample, one.value, one.unit)
        for row in export.rows
        if row.statistic == "Reading"
        for one in [row.readout]
    }
    assert readings == {
        "A1": ("B", 12.0, "MFI"),
        "B1": ("B", 13.0, "MFI"),
        "A2": ("X1", 500.0, "MFI"),
        "B2": ("X1", 512.5, "MFI"),
    }
    observed = [row.readout for row in export.rows if row.statistic == "Observed Concentration"]
    assert len(observed) == 4
    assert all(math.isnan(one.value) and one.reasons == ("below range",) for one in observed)
    assert {one.unit for one in observed} == {"pg/mL"}
    assert "4 of 6 wells" in export.notes[1]
    assert export.times[0].utc is not None


def test_a_bioplex_standard_1000_times_off_is_flagged() -> None:
    levels = [500.0, 250.0, 125000.0, 62.5, 31.25, 15.625]
    places = ["1,1", "1,2", "1,3", "2,1", "2,2", "2,3"]
    text = "".join(
        sample("Standard", f"S{i + 1}", {place: 100.0}, f"<ExpectedConc>{level}</ExpectedConc>")
        for i, (level, place) in enumerate(zip(levels, places, strict=True))
    ).replace("</Standards>\n<Standards>", "")
    export = read_export_bytes(bioplex(text).encode(), "plate.xml")
    assert {one.sample for one in export.readouts if "1000 times" in " ".join(one.reasons)} == {
        "S3"
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("5.12500000000000000E+02", "5.22500000000000000E+02", "contradicts itself"),
        ('RowNo="2" ColNo="2"', 'RowNo="2" ColNo="3"', "contradict each other"),
        ('TotalWells="6"', 'TotalWells="96"', "PlateDimensions"),
        ("<ReplicateCount>2<", "<ReplicateCount>3<", "A well is missing"),
        ("<Label>X1<", "<Label>B<", "a label of its own"),
        ("<Unknowns>", "<Ghosts>", "line 1|no XML|mismatched"),
        ("5.12500000000000000E+02", "5,125E+02", "comma|not a number"),
        ("</bpm:BioPlexManager>\n", "", "incomplete"),
        (BIOPLEX[700:], "", "incomplete|no XML"),
    ],
)
def test_bioplex_that_contradicts_itself_is_refused(old: str, new: str, said: str) -> None:
    assert old in BIOPLEX
    with pytest.raises(FileNotValid, match=said):
        read_export_bytes(BIOPLEX.replace(old, new).encode(), "plate.xml")


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE a [<!ENTITY b "boom"><!ENTITY c "&b;&b;">]>\n',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">\n',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://example.invalid/x">%x;]>\n',
    ],
)
def test_no_document_type_and_no_entity_is_read(head: str) -> None:
    text = bioplex("", head).replace("<NativeDocumentName>P7", "<NativeDocumentName>&c;")
    with pytest.raises(FileNotValid, match="document type or entity"):
        read_export_bytes(text.encode(), "plate.xml")


def test_deep_elements_are_refused_and_not_followed() -> None:
    text = bioplex("<a>" * 50_000)
    with pytest.raises(FileNotValid, match="deep"):
        read_export_bytes(text.encode(), "plate.xml")


@pytest.mark.parametrize("text", [MARS, BIOPLEX], ids=["mars", "bioplex"])
def test_random_changes_end_in_our_own_kinds_of_trouble(text: str) -> None:
    rng = random.Random(7)
    for _ in range(1500):
        try:
            read_export_bytes(random_mutation(text.encode(), rng), "plate")
        except ChiploopError:
            pass


def test_a_cut_xml_waits_for_its_end() -> None:
    for size in range(200, len(BIOPLEX) - 25, 97):
        with pytest.raises(FileNotValid):
            read_export_bytes(BIOPLEX[:size].encode(), "plate.xml")
    with pytest.raises(ExportIncomplete):
        read_export_bytes(BIOPLEX[: -len("</bpm:BioPlexManager>\n")].encode(), "plate.xml")
