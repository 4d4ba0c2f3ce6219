"""OME-XML and the size of a pixel: never guessed, contradictions settled by nobody but a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from chiploop.errors import FileNotValid, WrongUse
from chiploop.microscopy.ome import read_ome
from chiploop.microscopy.pixel_size import declared_size_um, settle_pixel_size, tagged_size_um
from chiploop.microscopy.tiff_file import open_image
from tests.chiploop.microscopy.image_files import two_channels, write_ome

TEXT = (
    '<?xml version="1.0" encoding="UTF-8"?><ome:OME xmlns:ome="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
    'UUID="urn:uuid:1"><ome:Image ID="Image:0"><ome:AcquisitionDate>2025-03-01T10:20:30</ome:AcquisitionDate>'
    '<ome:Pixels DimensionOrder="XYCZT" SizeX="20" SizeY="10" SizeZ="3" SizeC="2" SizeT="4" PhysicalSizeX="325" '
    'PhysicalSizeXUnit="nm" PhysicalSizeY="0.325" PhysicalSizeYUnit="\u00b5m"><ome:Channel ID="C0" Name="ZO-1"/>'
    '<ome:Channel ID="C1"/><ome:TiffData IFD="0"/></ome:Pixels></ome:Image></ome:OME>'
)


def changed(*pairs: tuple[str, str]) -> bytes:
    text = TEXT
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text.encode()


def test_size_channels_time_and_the_page_of_a_plane_are_read() -> None:
    found = read_ome(TEXT.encode(), "a.ome.tif")
    assert found is not None
    assert (found.rows, found.columns, found.pixel_size_um) == (10, 20, pytest.approx(0.325))
    assert found.channels == ("ZO-1", "") and found.acquired == "2025-03-01T10:20:30"
    assert found.sizes == {"Z": 3, "C": 2, "T": 4}
    assert [found.page(1, 0, 0), found.page(0, 1, 0), found.page(0, 0, 1)] == [1, 2, 6]


@pytest.mark.parametrize("text", [b"", b'{"shape": [3, 4]}', b"ImageJ=1.53\n", b"<xml>none</xml>"])
def test_other_descriptions_are_no_ome(text: bytes) -> None:
    assert read_ome(text, "a.tif") is None


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "furlong"])
def test_a_unit_that_is_no_length_is_no_size(unit: str) -> None:
    found = read_ome(changed(('"nm"', f'"{unit}"')), "a.tif")
    assert found is not None and found.pixel_size_um is None


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([('"325"', '"650"')], "pixels of 0.65 x 0.325 um; measures need square ones"),
        ([('"325"', '"0"')], "PhysicalSizeX '0'; allowed are numbers above 0"),
        ([('"325"', '"nan"')], "PhysicalSizeX 'nan'"),
        ([('SizeZ="3"', 'SizeZ="-3"')], "SizeZ '-3' .* whole numbers from 1"),
        ([('SizeZ="3"', 'SizeZ="99999999999"')], "SizeZ '99999999999'"),
        ([('"XYCZT"', '"CXYZT"')], "DimensionOrder 'CXYZT'; allowed are XYZCT"),
        ([("</ome:Image>", ""), ("<ome:Image ", "<ome:Picture "), ("</ome:OME>", "</ome:Picture></ome:OME>")],
         "describes no image"),
        ([("</ome:OME>", "")], "incomplete"),
        ([('<?xml version="1.0" encoding="UTF-8"?>', '<!DOCTYPE a [<!ENTITY b "c">]>'), ("ZO-1", "&b;")],
         "a document type or entity"),
        ([('<ome:TiffData IFD="0"/>',
           '<ome:TiffData IFD="0"><ome:UUID FileName="other.ome.tif">urn:uuid:2</ome:UUID></ome:TiffData>')],
         r"one of several files \(other.ome.tif, ...\)"),
        ([('<ome:TiffData IFD="0"/>', '<ome:TiffData IFD="0"/><ome:TiffData FirstC="1" IFD="7"/>')],
         "puts page 7 out of the order CZT"),
    ],
)  # fmt: skip
def test_ome_xml_that_can_not_be_followed_is_refused(
    pairs: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(FileNotValid, match=message):
        read_ome(changed(*pairs), "a.ome.tif")


@pytest.mark.parametrize(
    ("text", "size"),
    [("0.325um", 0.325), (" 325 nm", 0.325), ("0.001mm", 1.0), ("1e-1 \u00b5m", 0.1)],
)
def test_a_declared_size_has_its_unit(text: str, size: float) -> None:
    assert declared_size_um(text) == pytest.approx(size)


@pytest.mark.parametrize(
    "text", ["0.325", "um", "-1um", "0um", "1 px", "0,325um", "5000um", "nanum"]
)
def test_a_declared_size_without_a_unit_or_sense_is_wrong_use(text: str) -> None:
    with pytest.raises(WrongUse, match="allowed is a number above 0 with its unit"):
        declared_size_um(text)


def test_tags_of_screens_and_printers_claim_nothing() -> None:
    for dots in (72.0, 96.0, 300.0, 1.0):
        assert tagged_size_um((dots, dots), 2, b"") is None
    assert tagged_size_um((30769.23, 30769.23), 3, b"") == pytest.approx(0.325)
    assert tagged_size_um((3.0769, 3.0769), 1, b"ImageJ=1.53\nunit=micron\n") == pytest.approx(
        0.325, rel=1e-4
    )
    assert tagged_size_um((3.0769, 3.0769), 1, b"ImageJ=1.53\nunit=inch\n") is None
    assert tagged_size_um((100.0, 50.0), 3, b"") is None and tagged_size_um(None, 2, b"") is None


def test_ome_goes_before_a_declaration_and_a_contradiction_is_refused() -> None:
    assert settle_pixel_size("a", 0.325, 9.0, None) == (0.325, ())
    assert settle_pixel_size("a", 0.325, None, 0.3251) == (0.325, ())
    with pytest.raises(FileNotValid, match="says pixels of 0.325 um, declared are 0.65 um"):
        settle_pixel_size("a", 0.325, None, 0.65)


def test_a_plain_file_needs_a_declaration_and_tags_against_it_are_flagged(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    resolution = (1e4 / 0.325, 1e4 / 0.325)
    tifffile.imwrite(path, two_channels()[0], resolution=resolution, resolutionunit="CENTIMETER")
    with (
        pytest.raises(FileNotValid, match="declare it .*; its resolution tags would be 0.325 um"),
        open_image(path),
    ):
        pass
    with open_image(path, 0.325) as opened:
        assert opened.flags == ()
    with open_image(path, 0.65) as opened:
        assert opened.pixel_size_um == 0.65
        assert opened.flags == (
            "declared pixels of 0.65 um; the file's resolution tags say 0.325 um",
        )


def test_an_ome_tiff_without_a_size_needs_a_declaration_too(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((20, 20), dtype=np.uint8), metadata={"axes": "YX"})
    with pytest.raises(FileNotValid, match="no PhysicalSize in OME-XML"), open_image(path):
        pass
    with open_image(path, 0.5) as opened:
        assert opened.pixel_size_um == 0.5
    with open_image(write_ome(path, two_channels(), pixel_um=0.2)) as opened:
        assert opened.pixel_size_um == pytest.approx(0.2)
