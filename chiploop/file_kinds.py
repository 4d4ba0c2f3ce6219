"""What comes as a file instead of from an instrument: one table, one line per kind.

Belongs here: the kinds, and what the loop must be able to do with a file of each. Not here: how a kind is read
(exports), whether it is the plate that was meant (assays.exported_plate), folders and waiting (flows).

A study names a kind at an assay (``export: softmax_pro``). The file is put into the folder of its kind, is read
once it is finished, says by its own label which plate (or chip and place) it is of, and becomes what the assay
takes. Libraries are imported when a file is there: a study is checked without them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

LARGEST_EXPORT_BYTES: Final = 8_000_000
LARGEST_IMAGE_BYTES: Final = 64_000_000
ABSORBANCE: Final = ("elisa", "ldh_release", "mtt", "resazurin")
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
    signal: Callable[[Any, str, str, float, Any], Any]
    """(read file, its name on the label, plate id, study time h, kit) -> what it is part of or the assay takes."""
    check: Callable[[Any, Any, Any], tuple[str, ...]]
    """(signal, plate map, kit) -> why it can not be this plate the right way round; empty for a good one."""
    methods: tuple[str, ...]
    """Of kits whose signal such a file holds."""
    names: Callable[[str, Any], tuple[str, ...]] = lambda label, plate_map: (label,)
    """(label, plate map) -> what each of its files is called by: a plate is one, images are one each."""
    joined: Callable[[Sequence[Any], str, str], Any] = lambda signals, plate_id, label: signals[0]
    """(signals of its files, plate id, label) -> what the assay takes."""
    largest_bytes: int = LARGEST_EXPORT_BYTES

    @property
    def one(self) -> str:
        """Title with its article."""
        return f"{'an' if self.title[0] in 'AEIOU' else 'a'} {self.title}"


def _read_export(data: bytes, name: str) -> Any:
    from chiploop.exports import read_export_bytes

    return read_export_bytes(data, name)


def _export_labels(export: Any) -> tuple[str, ...]:
    return tuple(text for plate in export.plates for text in (plate.name, plate.barcode) if text)


def _plate(export: Any, label: str, plate_id: str, time_h: float, kit: Any) -> Any:
    from chiploop.assays.exported_plate import labelled_plate

    return labelled_plate(export, label, plate_id, time_h, kit)


def _check_plate(plate: Any, plate_map: Any, kit: Any) -> tuple[str, ...]:
    from chiploop.assays.exported_plate import problems_of_plate

    return problems_of_plate(plate, plate_map, kit)


def _read_field(data: bytes, name: str) -> Any:
    from chiploop.microscopy.field_file import read_field

    return read_field(data, name)


def _field(content: Any, name: str, plate_id: str, time_h: float, kit: Any) -> Any:
    from chiploop.assays.field_images import field_image

    return field_image(content, name, kit)


def _field_names(label: str, plate_map: Any) -> tuple[str, ...]:
    from chiploop.assays.field_images import image_names

    return tuple(image_names(label, plate_map))


def _fields(signals: Sequence[Any], plate_id: str, label: str) -> Any:
    from chiploop.assays.field_images import ImageSet

    return ImageSet(plate_id, label, tuple(signals))


FILE_KINDS: Final[dict[str, FileKind]] = {
    "softmax_pro": FileKind(
        "SoftMax Pro text export",
        ".txt",
        _read_export,
        _export_labels,
        _plate,
        _check_plate,
        ABSORBANCE,
    ),
    "gen5": FileKind(
        "Gen5 text export",
        ".txt",
        _read_export,
        _export_labels,
        _plate,
        _check_plate,
        (*ABSORBANCE, "tracer_permeability"),
    ),
    "ome_tiff": FileKind(
        "OME-TIFF",
        ".ome.tiff",
        _read_field,
        lambda content: (content.title,),
        _field,
        lambda image, plate_map, kit: (),
        ("microscopy",),
        _field_names,
        _fields,
        LARGEST_IMAGE_BYTES,
    ),
}
"""Name of a kind, as studies and lab.toml write it -> the kind."""


def plate_label(run_id: str, plate_id: str) -> str:
    """Return what stands on a plate: short enough to be typed, another one in every run.

    Names of plates come again in every run of a study; a file of an earlier run must not be taken for this one's.
    """
    digest = hashlib.sha256(f"{run_id}/{plate_id}".encode()).digest()
    return "CL" + base64.b32encode(digest).decode()[:LABEL_LETTERS]
