"""The page of raw signals: what the instruments gave, what was made of it, and the form that leaves an image out.

Belongs here: requests and answers; the form becomes one command. Not here: drawing (report.signal_parts, in a
process of its own), whether it is allowed (the command), markup (templates).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from chiploop.record.rows import RecordedRun
from chiploop.record.signal_index import FORM, index_name, signal_leaf, signals_seen
from chiploop.record.well_exclusions import wells_left_out
from chiploop.review import calibration_parts as parts_on_disk
from chiploop.review import decisions
from chiploop.review.contracts import Answer
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

    def decided(self) -> dict[str, Handler]:
        """Return addresses of forms, for sessions that may decide."""
        return {"/runs/{run}/signals/exclude": self.exclude}

    async def signals(self, request: Request) -> Response:
        """The raw signal behind each readout of a cycle, or of one chip in it."""
        run = self.front.run_of(request)
        return self.front.show(request, "signals.html.j2", self.signal_values(request, run))

    async def exclude(self, request: Request) -> Response:
        """Leave an image out of its chip's readout, or take it in again."""
        run, form = self.front.run_of(request), request.state.form
        image_set, place = form.get("set", ""), form.get("place", "")
        known = {
            f"{one.chip_id}/{one.replicate}"
            for one in self.front.record().measurements(run.run_id, image_set)
            if one.role == "image"
        }
        state, said = "bad", ""
        try:
            why = decisions.reason_in(form, "leaving an image out")
            if place not in known:
                raise decisions.FormIncomplete("The run has no such image. Nothing was changed.")
        except decisions.FormIncomplete as problem:
            said = str(problem)
        else:
            words = decisions.exclude_image_words(
                run.run_id, image_set, place, why, form.get("action") == "take back"
            )
            answer = await run_in_threadpool(self.front.desk.hands.carry_out, words)
            state = "bad" if answer.refusal else "good"
            said = answer.refusal or image_words(answer)
        values = {**self.signal_values(request, run), "state": state, "said": said}
        return self.front.show(request, "signals.html.j2", values)

    def signal_values(self, request: Request, run: RecordedRun) -> dict[str, Any]:
        """Return what is shown of a page of signals; has those drawn that are not there."""
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
            "out": self.images_out(run), "state": "", "said": "",
        }  # fmt: skip
        return {**self.front.about(run, "signals", "raw signals"), **values}

    def images_out(self, run: RecordedRun) -> dict[tuple[str, str], str]:
        """Return (set, place) -> who left the image out and why."""
        said = self.front.record().well_exclusions(run.run_id)
        return {
            (name, place): why
            for name in dict.fromkeys(one.plate for one in said if one.is_image)
            for place, why in wells_left_out(said, name).items()
        }

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


def image_words(answer: Answer) -> str:
    """Return what is said after an image was left out or taken in again."""
    told = answer.told
    what = "left out" if told["excluded"] else "taken in again"
    said = (
        f"{', '.join(told['wells'])} {what} by {told['by']}; its chip's value is the mean of the images that "
        "stand. Fits that were made stay as they were."
    )
    if told["missing"]:
        said += f" Without any image and therefore missing now: {', '.join(told['missing'])}."
    return said
