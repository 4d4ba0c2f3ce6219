"""What the next exposure would show, kept beside a calibration so that nothing is simulated twice.

Belongs here: which simulation a number belongs to, the file. Not here: simulating (next_exposure), what is done
with it (policies, proposal_card).

A search for doses, its risk and its alternatives look at one table already. An edit is scored later, mostly in
another process: it takes what the search has simulated from this file, and simulates only doses that nobody has
looked at. Features do not hang on what a syringe holds or a limit says, which is asked anew each time. A
trajectory is the same to the last bit whatever was simulated beside it, so a table from the file is the table. A
file that is missing, damaged or of another state is no trouble: everything is simulated then.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chiploop.dosing import ChipSchedule
from chiploop.exposure import ExposureProgramme
from chiploop.measurement import Readout
from chiploop.models.inlet import ChipInlet
from chiploop.study import Study
from chiploop.study_schedules import STIMULUS

STATE = "state"
"""Name under which the file says which state its numbers belong to."""


class KeptPredictions:
    """Arrays by name, of one state of a campaign; in memory alone without a file."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.state = ""
        self.arrays: dict[str, np.ndarray] = {}
        self.is_new = False

    def of(self, state: str) -> KeptPredictions:
        """Forget what is of another state, and take in what the file has of this one; return itself."""
        if state == self.state:
            return self
        self.state, self.arrays, self.is_new = state, {}, False
        if self.file is None or not self.file.is_file():
            return self
        try:
            with self.file.open("rb") as raw, np.load(raw, allow_pickle=False) as stored:
                if str(stored[STATE]) == state:
                    self.arrays = {name: stored[name] for name in stored.files if name != STATE}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            self.arrays = {}
        return self

    def get(self, name: str) -> np.ndarray | None:
        """Return what was kept under a name; None where nothing was."""
        return self.arrays.get(name)

    def put(self, name: str, values: np.ndarray) -> None:
        """Keep values under a name."""
        self.arrays[name] = values
        self.is_new = True

    def save(self) -> None:
        """Write the file whole or not at all; without a file, or nothing new, do nothing.

        Raises OSError where it can not be written.
        """
        if self.file is None or not self.is_new:
            return
        draft = self.file.with_name(f"{self.file.name}.unfinished")
        with draft.open("wb") as out:
            np.savez(out, **{STATE: np.array(self.state)}, **self.arrays)  # type: ignore[arg-type]
        draft.replace(self.file)
        self.is_new = False


def state_of(
    study: Study,
    schedules: Mapping[str, ChipSchedule],
    readouts: Sequence[Readout],
    begin_h: float,
    pairs: Mapping[str, tuple[str, ...]],
    draws: Sequence[np.ndarray | None],
) -> str:
    """Return the digest of all that a simulated feature hangs on: model, history, readouts, begin, draws.

    ``pairs``: goal -> the two drugs that it compares.
    """
    found = hashlib.sha256()
    history: list[Any] = [(chip, schedules[chip].segments) for chip in study.chip_ids]
    if study.valves:  # which line fed a chip until then; where it goes next is told by the names
        history += [
            ([s.line_chips for s in one.segments], [s for s in one.stays if s.from_h < begin_h])
            for one in (schedules[chip] for chip in study.chip_ids)
        ]
    asked = (
        study.sampling,
        study.perfusion.flow_rate_ul_h,
        study.stimulus_ng_ml if len(study.arms_ng_ml) == 1 else study.arms_ng_ml,
        study.home_lines or study.lines,
        study.donors,
        study.goals[0],
        study.limits.viability,
    )
    for part in (
        study.tissue.sha256,
        history,
        tuple(readouts),
        begin_h,
        sorted(pairs.items()),
        asked,
    ):
        found.update(repr(part).encode())
    for drawn in draws:
        found.update(b"none" if drawn is None else np.ascontiguousarray(drawn).tobytes())
    return found.hexdigest()


def name_of(line: str, programme: ExposureProgramme) -> str:
    """Return the name of what a line's chips show under a programme: what flows when, and nothing else of it."""
    flows = [(after_h, part.duration_h, part.delivered_nm) for after_h, part in programme.timed()]
    if programme.arm != STIMULUS:
        return f"{line} {hashlib.sha256(repr((programme.arm, flows)).encode()).hexdigest()}"
    return f"{line} {hashlib.sha256(repr(flows).encode()).hexdigest()}"


def name_of_inlet(inlet: ChipInlet) -> str:
    """Return the name of what one chip shows, whichever line feeds it: by what reaches it and when."""
    reached = hashlib.sha256(inlet.edges_h.tobytes() + inlet.inputs.tobytes()).hexdigest()
    return f"{inlet.chip_id} {reached}"
