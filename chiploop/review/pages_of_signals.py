"""The page of raw signals: what the instruments gave, with what was made of it.

Belongs here: requests and answers. Not here: drawing (report.signal_parts, in a process of its own), markup
(templates).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from chiploop.record.rows import RecordedRun
from chiploop.record.signal_index import FORM, index_name, signal_leaf, signals_seen
from chiploop.review import calibration_parts as parts_on_disk
from chiploop.review.front import Front, Handler, number_in, picture

EMPTY: dict[str, Any] = {"figures": []}


@dataclass(frozen=True)
class Asked:
    """Which signals somebody asked to see."""

    cycle: int
    chip: str

    def address(self, page: int) -> str:
        """Return the query of a page of them."""
        more = {"chip": self.chip} if self.chip else {}
        return urlencode({"cycle": self.cycle, **more, "page": page})


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
        cycles = record.raw_cycles(run.run_id)
        cycle = number_in(request, "cycle", cycles[-1] if cycles else 1)
        chip = request.query_params.get("chip", "")
        chip = chip if chip in record.chips(run.run_id) else ""
        here = signal_leaf(record, run.run_id, cycle, chip, number_in(request, "page"))
        page = here.leaf.page
        detail = (str(cycle), chip, str(page)) if page > 1 else (str(cycle), chip)[: 1 + bool(chip)]
        found = self.drawn(run, index_name(cycle, chip, page))
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
            "asked": Asked(cycle, chip), "leaf": here.leaf, "shown": here.chips,
        }  # fmt: skip
        return self.front.show(
            request,
            "signals.html.j2",
            {**self.front.about(run, "signals", "raw signals"), **values},
        )

    def drawn(self, run: RecordedRun, index: str) -> dict[str, Any] | None:
        """Return the index of what was drawn; None where nothing was, or by another version."""
        path = self.front.folder_of(run) / "page" / "signals" / index
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found if found["seen"].startswith(f"{FORM}.") and "figures" in found else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    async def signal_figure(self, request: Request) -> Response:
        """A figure of a raw signal."""
        folder = self.front.folder_of(self.front.run_of(request)) / "page" / "signals"
        return picture(parts_on_disk.file_in(folder, request.path_params["name"]))
