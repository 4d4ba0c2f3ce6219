"""The page of raw signals: what the instruments gave, with what was made of it.

Belongs here: requests and answers. Not here: drawing (report.signal_parts, in a process of its own), markup
(templates).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from chiploop.record.rows import RecordedRun
from chiploop.record.signal_index import index_name, signals_seen
from chiploop.review import calibration_parts as parts_on_disk
from chiploop.review.front import Front, Handler, number_in, picture

EMPTY: dict[str, Any] = {"figures": []}


@dataclass(frozen=True)
class SignalPages:
    """What is shown of raw signals."""

    front: Front

    def shown(self) -> dict[str, Handler]:
        """Return addresses for everybody with a session."""
        return {
            "/runs/{run}/signals": self.signals,
            "/runs/{run}/signals/{name}": self.signal_figure,
        }

    async def signals(self, request: Request) -> Response:
        """The raw signal behind each readout of a cycle, or of one chip in it."""
        run = self.front.run_of(request)
        record, hands = self.front.record(), self.front.desk.hands
        cycles = sorted({one.cycle for one in record.readouts(run.run_id) if one.raw_sha256})
        cycle = number_in(request, "cycle", cycles[-1] if cycles else 1)
        chip = request.query_params.get("chip", "")
        chip = chip if chip in record.chips(run.run_id) else ""
        detail = (str(cycle), chip) if chip else (str(cycle),)
        found = self.drawn(run, cycle, chip)
        is_old = found is None or found["seen"] != signals_seen(record, run.run_id)
        job = hands.standing("signals", run.run_id, *detail)
        if cycle in cycles and is_old and job.state in ("none", "done"):
            hands.start("signals", run.run_id, *detail)
            job = hands.standing("signals", run.run_id, *detail)
        address = f"/runs/{run.run_id}/signals"
        figures = [parts_on_disk.shown_figure(one, address) for one in (found or EMPTY)["figures"]]
        values = {
            "figures": figures, "cycles": cycles, "cycle": cycle, "chip": chip, "job": job,
            "chips": list(record.chips(run.run_id)), "is_old": is_old,
        }  # fmt: skip
        return self.front.show(
            request,
            "signals.html.j2",
            {**self.front.about(run, "signals", "raw signals"), **values},
        )

    def drawn(self, run: RecordedRun, cycle: int, chip: str) -> dict[str, Any] | None:
        """Return the index of what was drawn; None where nothing was, or by another version."""
        path = self.front.folder_of(run) / "page" / "signals" / index_name(cycle, chip)
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found if {"seen", "figures"} <= set(found) else None
        except (OSError, ValueError):
            return None

    async def signal_figure(self, request: Request) -> Response:
        """A figure of a raw signal."""
        folder = self.front.folder_of(self.front.run_of(request)) / "page" / "signals"
        return picture(parts_on_disk.file_in(folder, request.path_params["name"]))
