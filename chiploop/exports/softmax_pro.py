"""SoftMax Pro text export of Molecular Devices readers. Seen: export version 1.3, plate format, end
point.

Belongs here: the blocks of this file and the plate table. Its group tables: softmax_pro_groups.py.
A file is: "##BLOCKS= n"; n blocks (Plate, Group, Note), each closed by "~End"; "Original Filename:
...". Tab between cells, UTF-16 with a byte-order mark. Kinetic, spectrum and well-scan reads, and
the other export layouts (time format, columns), are refused: their tables mean something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, demand_decimal_point
from chiploop.exports.decoding import DecodedText
from chiploop.exports.export import ExportRow, FileRows, PlateShape
from chiploop.exports.ladder import flag_ladder
from chiploop.exports.softmax_pro_checks import check_replicates
from chiploop.exports.softmax_pro_groups import read_group
from chiploop.exports.softmax_pro_lines import Block, Line
from chiploop.exports.softmax_pro_plates import read_plate
from chiploop.exports.trouble import ExportIncomplete


def recognises(start: str) -> bool:
    """Return True for the first characters of a SoftMax Pro text export."""
    return start.lstrip("\ufeff").startswith("##BLOCKS=")


def read(decoded: DecodedText, name: str) -> FileRows:
    """Return every number of the file.

    Raises
    ------
    FileNotValid : see ``chiploop.exports.read_export``.
    """
    blocks, footer = _blocks(decoded.text, name)
    demand_decimal_point(_number_cells(blocks), name)
    rows: list[ExportRow] = []
    plates: list[PlateShape] = []
    metadata: list[tuple[str, str]] = []
    for block in blocks:
        if block.kind == "Plate:":
            plate, found = read_plate(block, name)
            if plate.name in [other.name for other in plates]:
                raise FileNotValid(
                    f"{name}, {block.place}: plate '{plate.name}' stands in the file twice."
                )
            plates.append(plate)
            rows.extend(found)
            metadata.append(
                (f"Plate {plate.name}", " | ".join(c for c in block.lines[0].cells[1:] if c))
            )
    signals = _reduced_values(rows)
    groups: set[tuple[str, str]] = set()
    notes: list[str] = []
    for block in blocks:
        if block.kind == "Group:":
            found, said = read_group(block, tuple(plates), signals, name)
            for row in found:
                key = (row.statistic, row.plate)
                if key in groups:
                    raise FileNotValid(
                        f"{name}, {block.place}: group '{row.statistic}' stands in the file "
                        "twice for "
                        f"plate '{row.plate}'."
                    )
            groups.update((row.statistic, row.plate) for row in found)
            found, doubts = _check_standards(found, said)
            rows.extend(found)
            metadata.extend(said)
            notes.extend(doubts)
        elif block.kind == "Note:":
            metadata.extend(
                ("Note", line.text.strip()) for line in block.lines[1:] if line.text.strip()
            )
    rows = check_replicates(rows, tuple(plates), name)
    if footer:
        metadata.append(("Footer", footer))
    else:
        notes.append(
            "no 'Original Filename' line after the last block; all declared blocks are whole"
        )
    return FileRows(tuple(rows), tuple(plates), tuple(metadata), tuple(notes))


def _blocks(text: str, name: str) -> tuple[list[Block], str]:
    lines = [Line(i + 1, line) for i, line in enumerate(text.replace("\r\n", "\n").split("\n"))]
    opening = re.fullmatch(r"##BLOCKS=\s*([0-9]{1,4})", lines[0].text.strip())
    if opening is None:
        raise FileNotValid(
            f"{name}, line 1: '{lines[0].text[:40]}' does not declare a number of blocks."
        )
    declared = int(opening.group(1))
    blocks: list[Block] = []
    collected: list[Line] = []
    position = 1
    while position < len(lines) and len(blocks) < declared:
        line = lines[position]
        position += 1
        if line.text.strip() == "~End":
            blocks.append(_block(collected, name))
            collected = []
        elif collected or line.text.strip():
            collected.append(line)
    if len(blocks) < declared:
        where = (
            f"block {len(blocks) + 1} has no '~End'" if collected else f"{len(blocks)} are there"
        )
        raise ExportIncomplete(
            f"{name}: incomplete: {declared} blocks are declared in line 1, and {where} (the "
            "file ends at "
            f"line {lines[-1].number}). The copy or the export was cut short; export it again."
        )
    rest = [line for line in lines[position:] if line.text.strip()]
    footer = rest[0].text.strip() if rest and rest[0].text.startswith("Original Filename") else ""
    extra = rest[1:] if footer else rest
    if extra:
        raise FileNotValid(
            f"{name}, line {extra[0].number}: more text after the {declared} blocks that line 1 "
            "declares."
        )
    return blocks, footer


def _block(lines: list[Line], name: str) -> Block:
    kinds = ("Plate:", "Group:", "Note:")
    first = lines[0].text.strip() if lines else ""
    for kind in kinds:
        if first.startswith(kind):
            return Block(kind, tuple(lines))
    line = lines[0].number if lines else 1
    raise FileNotValid(
        f"{name}, line {line}: a block begins with '{first[:40]}'; {', '.join(kinds)} are read."
    )


def _number_cells(blocks: list[Block]) -> Iterator[Cell]:
    for block in blocks:
        if block.kind == "Plate:":
            for line in block.lines[2:]:
                yield from line.numbered()
        elif block.kind == "Group:":
            for line in block.lines[2:]:
                if not line.text.strip():
                    break
                yield from line.numbered()


def _check_standards(
    rows: list[ExportRow], formulas: list[tuple[str, str]]
) -> tuple[list[ExportRow], tuple[str, ...]]:
    """Flag the standards of one group that stand off their ladder; see ``ladder``."""
    columns = {
        formula.split("(")[0]: key.partition(", column ")[2]
        for key, formula in formulas
        if ", column " in key and formula.startswith(("!SampleDescriptor", "InterpX("))
    }
    nominal, back = columns.get("!SampleDescriptor"), columns.get("InterpX")
    if nominal is None or not rows:
        return rows, ()
    group = rows[0].statistic
    samples = list(dict.fromkeys(row.readout.sample for row in rows))
    return flag_ladder(rows, (group, nominal), (group, back) if back else None, samples)


def _reduced_values(rows: list[ExportRow]) -> dict[tuple[str, str], float]:
    """Return (plate, well) -> the value that group tables repeat: reduced, or raw at one
    wavelength.
    """
    values: dict[tuple[str, str], float] = {}
    reduced = {row.plate for row in rows if row.statistic == "Reduced"}
    wavelengths: dict[str, set[int | None]] = {}
    for row in rows:
        wavelengths.setdefault(row.plate, set()).add(row.wavelength_nm)
    for row in rows:
        single = len(wavelengths[row.plate]) == 1
        if row.statistic == "Reduced" or (row.plate not in reduced and single):
            values[row.plate, row.readout.well] = row.readout.value
    return values
