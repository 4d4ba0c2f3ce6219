"""Single wells, or images, that a person left out of what readouts are calculated from; it can be taken back.

Belongs here: what such a decision is, which wells are out by all of them, its rows. Not here: calculating without
them (assays, flows.revising).

A set of images is to its images what a plate is to its wells. A well's number stays in its raw file and in its raw
row. The readouts of the plate are calculated again from the rest, as rows that supersede (measurement_rows), in
the transaction that keeps the decision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from chiploop.record.chain import RecordConflict, canonical
from chiploop.record.rows import RecordedContent
from chiploop.record.tables import EventRow

WELL_EXCLUSION = "well exclusion"
"""Kind of the event on record."""


@dataclass(frozen=True)
class WellExclusion:
    """One decision about one well, or about one image."""

    plate: str
    """Or the set of images."""
    well: str
    """``A1`` to ``H12``; of a set of images chip and place, ``C01/2``."""
    excluded: bool
    """False takes an earlier exclusion of the well back."""
    by: str
    why: str

    @property
    def is_image(self) -> bool:
        """Whether it is about an image."""
        return "/" in self.well

    @property
    def chip_of_image(self) -> str:
        """The chip of which the image is; empty for a well."""
        return self.well.rpartition("/")[0]

    @property
    def told(self) -> str:
        """Return what it is about, in words."""
        return f"{'image' if self.is_image else 'well'} {self.well} of {self.plate}"

    @property
    def reason(self) -> str:
        """Return what its raw row and the readouts without it say."""
        return f"left out by {self.by}: {self.why}"


def wells_left_out(said: Iterable[WellExclusion], plate: str) -> dict[str, str]:
    """Return well -> reason for the wells of a plate that are out; of several decisions the last counts."""
    found: dict[str, str] = {}
    for one in said:
        if one.plate == plate:
            found.pop(one.well, None)
            if one.excluded:
                found[one.well] = one.reason
    return found


def well_exclusions_of(events: Iterable[RecordedContent]) -> tuple[WellExclusion, ...]:
    """Return the decisions that events of this kind keep."""
    return tuple(WellExclusion(**event.content) for event in events)


def well_exclusion_rows(
    run_id: str, said: Sequence[WellExclusion], known: int, time_h: float
) -> list[EventRow]:
    """Return decisions as rows of a run that has so many already."""
    return [
        EventRow(
            natural_key=f"{run_id}/{WELL_EXCLUSION}/{number:04d}",
            run_id=run_id,
            kind=WELL_EXCLUSION,
            time_h=time_h,
            content=canonical(asdict(one)),
        )
        for number, one in enumerate(said, start=known + 1)
    ]


def check_wells(
    before: Sequence[WellExclusion],
    said: Sequence[WellExclusion],
    plates: Collection[str],
    left_out: Mapping[str, str] | None,
) -> None:
    """Raise RecordConflict where a decision changes nothing, or other wells are out than were calculated without.

    ``left_out``: well -> reason of what was calculated without; None where nobody says.
    """
    for one in said:
        if (one.well in wells_left_out(before, one.plate)) == one.excluded:
            state = "left out already" if one.excluded else "not left out"
            raise RecordConflict(f"{one.told} is {state}; nothing was changed")
    if left_out is None:
        return
    now: dict[str, str] = {}
    for plate in plates:
        now |= wells_left_out((*before, *said), plate)
    if dict(left_out) != now:
        things = "images" if any("/" in one for one in (*left_out, *now)) else "wells"
        raise RecordConflict(
            f"somebody has left out other {things} of {', '.join(sorted(plates))} meanwhile; nothing was changed. "
            "Look again and repeat it"
        )
