"""The pages of fits: the review of the last calibration in the order in which it is read, the run fitted again.

Belongs here: requests and answers; fitting again is asked for here, for it decides nothing. Not here: what was
drawn (calibration_parts), files of a fit (fits_again), markup (templates).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from chiploop.record.record import Record
from chiploop.record.rows import RecordedRun
from chiploop.review import calibration_parts as parts_on_disk
from chiploop.review.fits_again import latest_fit
from chiploop.review.front import Front, Handler, number_in, picture
from chiploop.review.guards import PICTURE_POLICY
from chiploop.review.pages_of_runs import donor_marks


@dataclass(frozen=True)
class FitPages:
    """What is shown of fits."""

    front: Front

    def shown(self) -> dict[str, Handler]:
        """Return addresses for everybody with a session."""
        return {
            "/runs/{run}/fit": self.fit,
            "/runs/{run}/fit/state": self.fit_state,
            "/runs/{run}/fit/again": self.fit_again_state,
            "/runs/{run}/fit/again/page": self.fit_again_page,
            "/runs/{run}/figures/{cycle:int}/{name}": self.figure,
        }

    def decided(self) -> dict[str, Handler]:
        """Return addresses of forms, for sessions that may decide."""
        return {
            "/runs/{run}/fit/again": self.start_fit,
        }

    async def fit(self, request: Request) -> Response:
        """The review of the last calibration, in the order in which it is read."""
        run = self.front.run_of(request)
        record, folder = self.front.record(), self.front.folder_of(run)
        calibrations = record.calibrations(run.run_id)
        values = self.front.about(run, "fit", "fit")
        cycle = calibrations[-1].cycle if calibrations else 0
        parts = parts_on_disk.parts_of(folder, cycle) if cycle else None
        is_whole = parts is not None and parts["review"] is not None
        if (
            cycle
            and not is_whole
            and self.front.desk.hands.standing("parts", run.run_id).state != "failed"
        ):
            self.front.desk.hands.start("parts", run.run_id)
        excluded = {
            chip: sum(bool(r.reasons) and r.reasons[-1].startswith("excluded by") for r in own)
            for chip, own in left_out(record, run.run_id).items()
        }
        donors = tuple(record.study_content(run.run_id)["donors"])
        residuals = parts["residuals"] if parts else []
        leaf, leaves = 1, 1
        lines: tuple[str, ...] = ()
        if parts is not None:
            leaves = len(parts["leaves"])
            parts, leaf, lines = parts_on_disk.leaf_of(parts, number_in(request, "lines"))
        of_leaf = {c for c, (line, _) in record.chips(run.run_id).items() if line in lines}
        address = f"/runs/{run.run_id}/figures/{cycle}"
        return self.front.show(
            request,
            "fit.html.j2",
            {
                **values,
                "cycle": cycle,
                "parts": with_addresses(parts, address),
                "job": self.front.desk.hands.standing("parts", run.run_id),
                "panels": parts_on_disk.dot_panels(
                    residuals, donors, excluded, of_leaf if lines else None
                ),
                "shapes": parts_on_disk.DOT_SHAPES,
                "leaf": leaf,
                "leaves": leaves,
                "leaf_lines": lines,
                "are_some": len(residuals) > parts_on_disk.MOST_DOTS and bool(lines),
                "far": parts_on_disk.far_residuals(residuals),
                "donors": donor_marks(donors),
                "out": {chip: n for chip, n in excluded.items() if n},
                "exclusions": record.exclusions(run.run_id),
                "wells_out": record.well_exclusions(run.run_id),
                **self.fit_again_values(run),
            },
        )

    async def fit_state(self, request: Request) -> Response:
        """Whether what is being drawn is there: the page is loaded anew once it is."""
        run = self.front.run_of(request)
        job = self.front.desk.hands.standing("parts", run.run_id)
        answer = self.front.show(
            request, "drawing.html.j2", {**self.front.about(run, "fit", "fit"), "job": job}
        )
        if job.state in ("done", "failed"):
            answer.headers["HX-Refresh"] = "true"
        return answer

    def fit_again_values(self, run: RecordedRun) -> dict[str, Any]:
        """Return how the run fitted again compares with the loop's own fit."""
        calibrations = self.front.record().calibrations(run.run_id)
        loop = calibrations[-1].content if calibrations else None
        found = latest_fit(self.front.folder_of(run), loop)
        return {
            "again": found.newest,
            "passed_over": found.passed_over,
            "again_job": self.front.desk.hands.standing("refit", run.run_id),
        }

    async def fit_again_state(self, request: Request) -> Response:
        """How the fit that was asked for stands."""
        run = self.front.run_of(request)
        values = {**self.front.about(run, "fit", "fit"), **self.fit_again_values(run)}
        return self.front.show(request, "again.html.j2", values)

    async def fit_again_page(self, request: Request) -> Response:
        """The page that a fit wrote: one file without script."""
        found = latest_fit(self.front.folder_of(self.front.run_of(request)), None).newest
        if found is None or found.page is None:
            raise HTTPException(404, "This run was not fitted again.")
        return FileResponse(
            found.page, media_type="text/html", headers={"Content-Security-Policy": PICTURE_POLICY}
        )

    async def start_fit(self, request: Request) -> Response:
        """Fit the run again from what stands on record."""
        run = self.front.run_of(request)
        if not self.front.record().calibrations(run.run_id):
            raise HTTPException(409, "Nothing was fitted yet, so there is nothing to fit again.")
        self.front.desk.hands.start("refit", run.run_id)
        return await self.fit_again_state(request)

    async def figure(self, request: Request) -> Response:
        """A figure of a calibration."""
        run = self.front.run_of(request)
        path = parts_on_disk.picture_file(
            self.front.folder_of(run), request.path_params["cycle"], request.path_params["name"]
        )
        return picture(path)


def left_out(record: Record, run_id: str) -> dict[str, list[Any]]:
    """Return chip -> its readings, of chips of which a person has left any out or taken it in again."""
    found: dict[str, list[Any]] = {}
    chips = {one.chip_id for one in record.exclusions(run_id)}
    for readout in record.readouts(run_id, chips=chips) if chips else ():
        found.setdefault(readout.chip_id, []).append(readout)
    return found


def with_addresses(parts: dict[str, Any] | None, address: str) -> dict[str, Any] | None:
    """Return parts whose figures have the addresses of their files."""
    if parts is None:
        return None

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            value = {key: shown(one) for key, one in value.items()}
            return parts_on_disk.shown_figure(value, address) if "src" in value else value
        return [shown(one) for one in value] if isinstance(value, list) else value

    return {key: shown(one) for key, one in parts.items() if key != "residuals"}
