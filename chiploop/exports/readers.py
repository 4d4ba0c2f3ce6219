"""The table of formats: how each is recognised, read, and whether a real file of it was ever met.

Belongs here: one line per format. Not here: any one format, opening a file (``read_export``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chiploop.exports import (
    bioplex_manager,
    bmg_mars,
    gen5,
    luminex_intelliflex,
    luminex_xponent,
    magellan,
    msd_methodical_mind,
    msd_workbench,
    skanit,
    softmax_pro,
)
from chiploop.exports.decoding import DecodedText
from chiploop.exports.export import FileRows
from chiploop.exports.workbook import Sheets


@dataclass(frozen=True)
class ExportReader:
    """How files of one program are recognised and read."""

    title: str
    recognises: Callable[[str], bool]
    """True for the first characters of a file of this format."""
    read: Callable[[DecodedText, str], FileRows]
    """(text, file name) -> content; raises FileNotValid."""
    default_code_page: str | None
    """What the program writes where it writes no UTF."""
    untried: bool = False
    """True where no real file was at hand: every read says so."""


READERS: Final[dict[str, ExportReader]] = {
    "softmax_pro": ExportReader(
        "SoftMax Pro text export", softmax_pro.recognises, softmax_pro.read, "cp1252"
    ),
    "luminex_xponent": ExportReader(
        "Luminex xPONENT CSV export", luminex_xponent.recognises, luminex_xponent.read, "cp1252"
    ),
    "luminex_intelliflex": ExportReader(
        "Luminex INTELLIFLEX CSV export",
        luminex_intelliflex.recognises,
        luminex_intelliflex.read,
        "cp1252",
    ),
    "msd_workbench": ExportReader(
        "MSD Discovery Workbench CSV export",
        msd_workbench.recognises,
        msd_workbench.read,
        "cp1252",
    ),
    "msd_methodical_mind": ExportReader(
        "MSD Methodical Mind text export",
        msd_methodical_mind.recognises,
        msd_methodical_mind.read,
        "cp1252",
    ),
    "gen5": ExportReader("BioTek Gen5 text export", gen5.recognises, gen5.read, "cp1252"),
    "bioplex_manager": ExportReader(
        "Bio-Plex Manager XML export",
        bioplex_manager.recognises,
        bioplex_manager.read,
        "cp1252",
        untried=True,
    ),
    "bmg_mars": ExportReader(
        "BMG MARS text export", bmg_mars.recognises, bmg_mars.read, "cp1252", untried=True
    ),
}
"""Key of text formats."""


@dataclass(frozen=True)
class WorkbookReader:
    """How workbooks of one program are recognised and read."""

    title: str
    recognises: Callable[[Sheets], bool]
    read: Callable[[Sheets, str], FileRows]
    untried: bool


WORKBOOK_READERS: Final[dict[str, WorkbookReader]] = {
    "skanit": WorkbookReader(
        "Thermo SkanIt workbook", skanit.recognises, skanit.read, untried=True
    ),
    "magellan": WorkbookReader(
        "Tecan Magellan workbook", magellan.recognises, magellan.read, untried=True
    ),
}
"""Key of workbook formats; they need ``chiploop[xlsx]``."""
