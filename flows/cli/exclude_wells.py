"""Single wells or images left out, or taken in again: ``chiploop exclude --well``, ``--image``.

Belongs here: what ``PLATE:WELL`` and ``SET:CHIP/PLACE`` mean, the decision with the plate calculated again, what
is said of it. Not here: the verb (exclude), the calculation (flows.revising).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chiploop.errors import WrongUse
from flows.cli.screen import print_json

if TYPE_CHECKING:
    from chiploop.measurement import Readout

WELL = re.compile(r"([A-Ha-h])0?([1-9]|1[0-2])")
PLACE = re.compile(r"([^/:]+)/0*([1-9][0-9]{0,3})")


def wells_of(written: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the plate and the wells of ``PLATE:WELL`` texts, which are all of one plate; WrongUse otherwise."""
    found: list[tuple[str, str]] = []
    for text in written:
        plate, _, well = text.rpartition(":")
        match = WELL.fullmatch(well.strip())
        if not plate.strip() or match is None:
            raise WrongUse(
                f'--well "{text}" is not PLATE:WELL, such as ad-CCL26-cycle1:B07 (A1 to H12); nothing was changed'
            )
        found.append((plate.strip(), f"{match[1].upper()}{match[2]}"))
    return of_one(found, "wells", "plates")


def images_of(written: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the set and the places of ``SET:CHIP/PLACE`` texts, which are all of one set; WrongUse otherwise."""
    found: list[tuple[str, str]] = []
    for text in written:
        name, _, place = text.rpartition(":")
        match = PLACE.fullmatch(place.strip())
        if not name.strip() or match is None:
            raise WrongUse(
                f'--image "{text}" is not SET:CHIP/PLACE, such as ad-junction_coverage-cycle1:C01/2 (places from '
                "1); nothing was changed"
            )
        found.append((name.strip(), f"{match[1]}/{match[2]}"))
    return of_one(found, "images", "sets")


def of_one(
    found: Sequence[tuple[str, str]], things: str, places: str
) -> tuple[str, tuple[str, ...]]:
    """Return the plate or set that all are of, with its wells or images; WrongUse where they are of several."""
    names = list(dict.fromkeys(name for name, _ in found))
    if len(names) != 1:
        raise WrongUse(
            f"the {things} are of {len(names)} {places} ({', '.join(names)}); name those of one at a time. "
            "Nothing was changed"
        )
    return names[0], tuple(dict.fromkeys(one for _, one in found))


def exclude_wells(
    run: str,
    written: Sequence[str],
    why: str,
    take_back: bool,
    runs: Path,
    as_json: bool,
    images: Sequence[str] = (),
) -> None:
    """Leave wells or images out of what is calculated of their plate or set, or take them in again."""
    from chiploop.record.chain import RecordConflict
    from chiploop.record.well_exclusions import WellExclusion
    from flows.cli.decide import known_run as run_on_record
    from flows.cli.decide import os_login
    from flows.opening import known_run
    from flows.record_place import place_of
    from flows.revising import revised, revised_images
    from flows.standing_harm import place_in, refuse_to_take_harm_away

    plate, wells = images_of(images) if images else wells_of(written)
    thing, whole = ("images", "set of images") if images else ("wells", "plate")
    place, by = place_of(runs), os_login()
    if not place.is_there():
        raise WrongUse(f"there is no record in {runs}; name the folder of your runs with --runs")
    files = known_run(run, runs)
    said = [WellExclusion(plate, well, not take_back, by, why) for well in wells]
    what = "taken in again" if take_back else "left out"
    with place.open() as record:
        recorded = run_on_record(record, files.run_id, runs)
        before = {place_in(one): one for one in record.readouts(files.run_id) if one.plate == plate}
        if images:
            found = revised_images(files, record, plate, said)
        else:
            found = revised(files, record, plate, said=said)
        refuse_to_take_harm_away(files, record, found.readouts, f"without these {thing}")
        told = f"{thing} {', '.join(wells)} {what}: {why}"
        try:
            number = record.revise_readouts(
                files.run_id, found.readouts, found.derivation, by, told, found.time_h,
                wells=said, left_out=found.left_out,
            )  # fmt: skip
        except RecordConflict as problem:
            raise WrongUse(str(problem)) from None
        after = [one for one in record.readouts(files.run_id) if one.plate == plate]
    changed = [one for one in after if says(one) != says(before[place_in(one)])]
    missing = [one for one in changed if one.qc == "fail"]
    if as_json:
        print_json(
            {
                "ok": True, "run": files.run_id, "excluded": not take_back, "plate": plate, "wells": list(wells),
                "revision": number, "readouts": len(changed), "by": by,
                "missing": [one.chip_id for one in missing],
            }
        )  # fmt: skip
        return
    simulated = "  SIMULATED" if recorded.simulated else ""
    print(f"{files.run_id}: {', '.join(wells)} of {plate} {what} by {by}{simulated}")
    print(f"  the {whole} is revision {number}; {len(changed)} of {len(after)} readings changed")
    for one in changed:
        print(f"  {one.chip_id}  {one.readout}  {says(before[place_in(one)])} -> {says(one)}")
    for one in missing:
        print(f"  {one.chip_id} has no {one.readout} now: {'; '.join(one.reasons)}")


def says(readout: Readout) -> str:
    """Return what a readout says in a few letters."""
    if readout.qc == "fail":
        return "none"
    if readout.censoring == "left":
        return f"below {readout.upper:.4g} {readout.unit}"
    if readout.censoring == "right":
        return f"above {readout.lower:.4g} {readout.unit}"
    spread = f"{readout.sd:.2g}" if readout.scale == "linear" else f"{100.0 * readout.sd:.2g} %"
    return f"{readout.value:.4g} {readout.unit} (sd {spread}, n {readout.n})"
