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

from chiploop.review import calibration_parts as parts_on_disk
from chiploop.review.front import Front, Handler, number_in, picture


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
        """The raw signal behind each readout."""
        run = self.front.run_of(request)
        path = self.front.folder_of(run) / "page" / "signals" / "signals.json"
        found: dict[str, Any] | None = None
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
        is_old = found is None or found["length"] != len(self.front.record().raw_files(run.run_id))
        job = self.front.desk.hands.standing("signals", run.run_id)
        if is_old and job.state in ("none", "done") and self.front.record().raw_files(run.run_id):
            self.front.desk.hands.start("signals", run.run_id)
            job = self.front.desk.hands.standing("signals", run.run_id)
        cycles = sorted({one["cycle"] for one in found["figures"]}) if found else []
        cycle = number_in(request, "cycle", cycles[-1] if cycles else 1)
        address = f"/runs/{run.run_id}/signals"
        own = [
            parts_on_disk.shown_figure(one, address)
            for one in (found["figures"] if found else [])
            if one["cycle"] == cycle
        ]
        values = {"figures": own, "cycles": cycles, "cycle": cycle, "job": job}
        return self.front.show(
            request,
            "signals.html.j2",
            {**self.front.about(run, "signals", "raw signals"), **values},
        )

    async def signal_figure(self, request: Request) -> Response:
        """A figure of a raw signal."""
        folder = self.front.folder_of(self.front.run_of(request)) / "page" / "signals"
        return picture(parts_on_disk.file_in(folder, request.path_params["name"]))
