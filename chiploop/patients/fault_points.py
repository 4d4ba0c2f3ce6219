"""Named places at which a crash test ends this process in the middle of work on a store of patients.

Belongs here: the places and how the store goes on from each. Not here: those of record and journal
(chiploop.fault_points).
"""

from __future__ import annotations

from chiploop.fault_points import Place, die_if_named

PATIENT_FAULT_POINTS: dict[str, Place] = {
    "patient_announced": Place("an id in the audit, no key", "given up; add it again"),
    "patient_key_written": Place("an id and a key, no values", "given up; add it again"),
    "patient_values_written": Place(
        "values of which the audit does not know", "erased; what was before stands"
    ),
    "patient_change_told": Place("the older values beside the new ones", "the older are erased"),
    "patient_deletion_told": Place("a deletion that has begun, key and values there", "finished"),
    "patient_key_erased": Place("values without a key", "the deletion is finished"),
    "patient_values_erased": Place("neither key nor values, no end told", "the end is told"),
    "patient_keys_sealed_anew": Place("the older seal of the keys beside the new one", "erased"),
}
"""Place -> what is found after a death there, and what the next command does."""


def passed(point: str) -> None:
    """Die here where ``CHIPLOOP_FAULT`` names this place; KeyError for a name that is not listed."""
    if point not in PATIENT_FAULT_POINTS:
        raise KeyError(f"{point} is no fault point; add it to PATIENT_FAULT_POINTS")
    die_if_named(point)
