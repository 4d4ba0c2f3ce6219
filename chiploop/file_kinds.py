"""What comes as a file instead of from an instrument: one table, one line per kind.

Belongs here: the kinds, and what the loop must be able to do with a file of each. Not here: how a kind is read
(exports), whether it is the plate that was meant (assays.exported_plate), folders and waiting (flows).

A study names a kind at an assay (``export: softmax_pro``). The file is put into the folder of its kind, is read
once it is finished, says by its own label which plate it is of, and becomes what the assay takes. Libraries are
imported when a file is there: a study is checked without them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

LARGEST_EXPORT_BYTES: Final = 8_000_000
LABEL_LETTERS: Final = 8


@dataclass(frozen=True)
class FileKind:
    """One kind of file that a plate or a field of view comes as."""

    title: str
    ending: str
    """Of its usual file name."""
    read: Callable[[bytes, str], Any]
    """(content, name) -> the read file. Raises ExportIncomplete while its end is not there, FormatNotKnown for a
    file of another kind, FileNotValid for one that can not be used."""
    labels: Callable[[Any], tuple[str, ...]]
    """Read file -> names and barcodes of what it holds."""
    signal: Callable[[Any, str, str, float], Any]
    """(read file, label, plate id, study time h) -> what the assay takes."""
    check: Callable[[Any, Any, Any], tuple[str, ...]]
    """(signal, plate map, kit) -> why it can not be this plate the right way round; empty for a good one."""
    largest_bytes: int = LARGEST_EXPORT_BYTES


def _read_export(data: bytes, name: str) -> Any:
    from chiploop.exports import read_export_bytes

    return read_export_bytes(data, name)


def _export_labels(export: Any) -> tuple[str, ...]:
    return tuple(text for plate in export.plates for text in (plate.name, plate.barcode) if text)


def _absorbance(export: Any, label: str, plate_id: str, time_h: float) -> Any:
    from chiploop.assays.exported_plate import labelled_plate

    return labelled_plate(export, label, plate_id, time_h)


def _check_absorbance(plate: Any, plate_map: Any, kit: Any) -> tuple[str, ...]:
    from chiploop.assays.exported_plate import problems_of_plate

    return problems_of_plate(plate, plate_map, kit)


FILE_KINDS: Final[dict[str, FileKind]] = {
    "softmax_pro": FileKind(
        "SoftMax Pro text export",
        ".txt",
        _read_export,
        _export_labels,
        _absorbance,
        _check_absorbance,
    ),
    "gen5": FileKind(
        "Gen5 text export", ".txt", _read_export, _export_labels, _absorbance, _check_absorbance
    ),
}
"""Name of a kind, as studies and lab.toml write it -> the kind."""


def plate_label(run_id: str, plate_id: str) -> str:
    """Return what stands on a plate: short enough to be typed, another one in every run.

    Names of plates come again in every run of a study; a file of an earlier run must not be taken for this one's.
    """
    digest = hashlib.sha256(f"{run_id}/{plate_id}".encode()).digest()
    return "CL" + base64.b32encode(digest).decode()[:LABEL_LETTERS]
