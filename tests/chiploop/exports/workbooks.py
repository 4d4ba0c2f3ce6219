"""Workbooks for tests, written by hand: the smallest xlsx that holds given cells.

Belongs here: rows of text and numbers to the bytes of an xlsx. Not here: any test.
"""

from __future__ import annotations

import io
import zipfile
from xml.sax.saxutils import escape

Rows = list[list[str | float]]
TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
NS = "http://schemas.openxmlformats.org"


def _column(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else "A" + chr(ord("A") + index - 26)


def sheet_xml(rows: Rows) -> str:
    """Return the part of one sheet."""
    lines = []
    for i, row in enumerate(rows, start=1):
        cells = []
        for j, value in enumerate(row):
            place = f"{_column(j)}{i}"
            if isinstance(value, float | int):
                cells.append(f'<c r="{place}"><v>{value!r}</v></c>')
            elif value:
                text = f"<is><t>{escape(value)}</t></is>"
                cells.append(f'<c r="{place}" t="inlineStr">{text}</c>')
        lines.append(f'<row r="{i}">{"".join(cells)}</row>')
    return (
        f'<worksheet xmlns="{NS}/spreadsheetml/2006/main"><sheetData>{"".join(lines)}'
        "</sheetData></worksheet>"
    )


def workbook(sheets: dict[str, Rows], changed: dict[str, str] | None = None) -> bytes:
    """Return the bytes of a workbook; ``changed`` takes the place of parts by name."""
    numbers = range(1, len(sheets) + 1)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{NS}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships'
        '+xml"/><Override PartName="/xl/workbook.xml" ContentType="'
        + TYPES
        + '.sheet.main+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" '
            f'ContentType="{TYPES}.worksheet+xml"/>'
            for n in numbers
        )
        + "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{NS}/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{NS}/officeDocument/2006/relationships/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{NS}/spreadsheetml/2006/main" '
        f'xmlns:r="{NS}/officeDocument/2006/relationships"><sheets>'
        + "".join(
            f'<sheet name="{escape(title)}" sheetId="{n}" r:id="rId{n}"/>'
            for n, title in zip(numbers, sheets, strict=True)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{NS}/package/2006/relationships">'
        + "".join(
            f'<Relationship Id="rId{n}" Type="{NS}/officeDocument/2006/relationships/worksheet" '
            f'Target="worksheets/sheet{n}.xml"/>'
            for n in numbers
        )
        + "</Relationships>",
        **{
            f"xl/worksheets/sheet{n}.xml": sheet_xml(rows)
            for n, rows in zip(numbers, sheets.values(), strict=True)
        },
        **(changed or {}),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    return file.getvalue()
