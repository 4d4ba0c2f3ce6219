"""Which signals of a run were drawn, and whether they are still those on record: for who draws and who shows.

Belongs here: names of indices, what they hang on, which chips share a page. Not here: drawing
(report.signal_parts), the page (review).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chiploop.leaves import Leaf, leaf_of, pages_for
from chiploop.record.measurement_rows import REVISION
from chiploop.record.record import Record

FORM = 5
"""Of an index; another one is drawn anew."""
MOST_SPECTRA, MOST_IMAGES = 24, 8
"""On one page: chips of a cycle without and with images; spectra and images of one chip."""


@dataclass(frozen=True)
class SignalLeaf:
    """What one page shows of a cycle."""

    chips: tuple[str, ...]
    """Whose signals."""
    leaf: Leaf
    """Of a whole cycle its places are those of chips; of one chip only its pages count."""


def signal_leaf(
    record: Record, run_id: str, cycle: int, chip: str = "", page: int = 1
) -> SignalLeaf:
    """Return what a page shows of a cycle, or of one chip in it."""
    images = record.image_places(run_id, cycle, (chip,) if chip else None)
    if not chip:
        chips = tuple(record.chips(run_id))
        leaf = leaf_of(len(chips), page, MOST_IMAGES if images else MOST_SPECTRA)
        return SignalLeaf(leaf.of(chips), leaf)
    read = record.readouts(run_id, cycle, (chip,))
    spectra = sum(one.readout == "TEER" and bool(one.raw_sha256) for one in read)
    pages = max(pages_for(spectra, MOST_SPECTRA), pages_for(len(images), MOST_IMAGES))
    return SignalLeaf((chip,), leaf_of(pages, page, 1))


def index_name(cycle: int, chip: str = "", page: int = 1) -> str:
    """Return the file that lists the figures of a page of a cycle, or of one of its chips."""
    own = f"-{re.sub(r'[^A-Za-z0-9_-]', '_', chip)}" if chip else ""
    more = f".p{page}" if page > 1 else ""
    return f"signals-c{cycle:02d}{own}{more}.json"


def signals_seen(record: Record, run_id: str) -> str:
    """Return a text that is another one where a signal came, or a plate was calculated again."""
    return f"{FORM}.{record.raw_file_count(run_id)}.{len(record.events(run_id, REVISION))}"
