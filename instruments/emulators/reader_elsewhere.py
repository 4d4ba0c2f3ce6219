"""A plate reader that stands elsewhere in the virtual lab: what it leaves behind are files.

Belongs here: plates on their way, when their files come, what may happen to them. Not here: bytes of a format
(reader_files), who looks for the files (flows).

A plate that is sent twice is read once: its label tells. Its file comes ``READ_AFTER_H`` later. The noise of a
well hangs on the plate alone, so a file that is written again after an interruption has the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from instruments.emulators.reader_files import FILE_WRITERS

READ_AFTER_H = 1.25
"""From sending a plate away to its file: coating is done, the plate is incubated and read."""
CUT_FOR_H = 1.0
"""How long a file stays cut whose program hangs while it writes."""
FIELDS = ("plate_id", "assay", "wells", "label")


class ReaderElsewhere:
    """Plates on their way to a reader, and its files."""

    def __init__(self, tissue: Any) -> None:
        self.tissue = tissue
        self.away: dict[str, dict[str, Any]] = {}
        """Label -> what was sent, with ``due_h``; it stays after its file was written."""
        self.faults: list[str] = []
        """What happens to the next files, in their order."""

    def send(self, request: dict[str, Any], time_h: float) -> None:
        """Take a plate; ValueError for one that makes no sense or a kind of file that is not written."""
        plate, kind = request["plate"], request["kind"]
        missing = [name for name in FIELDS if name not in plate]
        if missing or kind not in FILE_WRITERS:
            raise ValueError(
                f"a plate to be read elsewhere has {', '.join(FIELDS)}; kinds are {', '.join(FILE_WRITERS)}"
            )
        if plate["label"] not in self.away:
            sent = {"plate": plate, "kind": kind, "folder": request["folder"]}
            self.away[plate["label"]] = {**sent, "due_h": time_h + READ_AFTER_H, "cut": False}

    def due_h(self) -> Iterator[float]:
        """Yield when files come that were not written yet."""
        for sent in self.away.values():
            if sent["due_h"] is not None:
                yield float(sent["due_h"])

    def write_due(self, time_h: float) -> bool:
        """Write the files whose time has come; return whether anything has changed."""
        due = [s for s in self.away.values() if s["due_h"] is not None and s["due_h"] <= time_h]
        for sent in due:
            fault = self.faults.pop(0) if self.faults and not sent["cut"] else ""
            sent["due_h"] = None
            folder = Path(sent["folder"])
            folder.mkdir(parents=True, exist_ok=True)
            files = FILE_WRITERS[sent["kind"]](sent["plate"], self.tissue, fault)
            for number, (name, whole) in enumerate(files):
                content = whole
                if number == 0 and fault == "lost":
                    continue
                if number == 0 and fault == "cut":
                    content = whole[: len(whole) * 3 // 5]
                    sent["due_h"], sent["cut"] = time_h + CUT_FOR_H, True
                (folder / name).write_bytes(content)
        return bool(due)

    def check_fault(self, request: dict[str, Any]) -> None:
        """Raise ValueError for something that can not happen to a file."""
        if request["kind"] not in FILE_FAULTS:
            raise ValueError(f"what happens to a file is one of {', '.join(FILE_FAULTS)}")

    def state(self) -> dict[str, Any]:
        """Return everything that a restart needs, JSON-able."""
        return {"away": {k: dict(v) for k, v in self.away.items()}, "faults": list(self.faults)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` gave."""
        self.away = {k: dict(v) for k, v in state.get("away", {}).items()}
        self.faults = list(state.get("faults", []))


FILE_FAULTS = ("lost", "cut", "turned", "other label")
"""What may happen to the next file: it never comes, hangs half written, is of a plate that was put in the wrong
way round, or names another plate. Of a set of images it happens to the first."""
