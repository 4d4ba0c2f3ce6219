"""The page that puts two fits of one run side by side, and has the run fitted with another model.

Belongs here: requests and answers; a fit is asked for here, for it decides nothing. Not here: what is shown
(fits_on_file, observed_predicted), fitting (a process of its own), markup (templates).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from chiploop.record.rows import RecordedRun
from chiploop.review.fits_on_file import FitOnFile, fits_on_file, pair_of
from chiploop.review.front import Front, Handler
from chiploop.review.observed_predicted import readout_panels
from chiploop.review.pages_of_runs import donor_marks


@dataclass(frozen=True)
class ModelPages:
    """What is shown of two models of one run."""

    front: Front

    def shown(self) -> dict[str, Handler]:
        """Return addresses for everybody with a session."""
        return {"/runs/{run}/models": self.models, "/runs/{run}/models/state": self.state}

    def decided(self) -> dict[str, Handler]:
        """Return addresses of forms, for sessions that may decide."""
        return {"/runs/{run}/models/fit": self.fit}

    async def models(self, request: Request) -> Response:
        """Two fits beside each other."""
        run = self.front.run_of(request)
        folder = self.front.folder_of(run)
        fits = fits_on_file(folder)
        one, other = self.chosen(request, fits)
        donors = tuple(self.front.record().study_content(run.run_id)["donors"])
        values = {
            "fits": fits,
            "one": one,
            "other": other,
            "pair": None if one is None or other is None else pair_of(folder, one, other),
            "panels": ()
            if one is None or other is None
            else readout_panels(one.review["residuals"], other.review["residuals"], donors),
            "donors": donor_marks(donors),
            **self.job_values(run),
        }
        return self.front.show(
            request,
            "models.html.j2",
            {**self.front.about(run, "compare", "models side by side"), **values},
        )

    def chosen(
        self, request: Request, fits: tuple[FitOnFile, ...]
    ) -> tuple[FitOnFile | None, FitOnFile | None]:
        """Return the two fits of an address; else the newest one that was made against another, with that one."""
        known = {fit.key: fit for fit in fits}
        one, other = (known.get(request.query_params.get(name, "")) for name in ("one", "other"))
        if one is None and other is None:
            other = next((fit for fit in fits if "/" in fit.key), None)
            one = None if other is None else known.get(other.key.partition("/")[0])
        return one, other

    def job_values(self, run: RecordedRun) -> dict[str, Any]:
        """Return which models can be fitted, and how the fits that were asked for stand."""
        own = str(self.front.record().study_content(run.run_id)["tissue"]["model"])
        known = {
            name: why for name, why in self.front.desk.models(run.run_id).items() if name != own
        }
        names = [name for name, why in known.items() if not why]
        jobs = {name: self.standing(run, name) for name in names}
        return {
            "own_model": own,
            "models": names,
            "refused": {name: why for name, why in known.items() if why},
            "jobs": {name: job for name, job in jobs.items() if job.state != "none"},
            "busy": any(job.state in ("waiting", "running") for job in jobs.values()),
        }

    def standing(self, run: RecordedRun, name: str) -> Any:
        """Return how the fit with a model stands."""
        return self.front.desk.hands.standing("against", run.run_id, name)

    async def state(self, request: Request) -> Response:
        """How the fits that were asked for stand: the page is loaded anew once none is on its way."""
        run = self.front.run_of(request)
        values = {**self.front.about(run, "compare", "models side by side"), **self.job_values(run)}
        answer = self.front.show(request, "model_jobs.html.j2", values)
        if not values["busy"]:
            answer.headers["HX-Refresh"] = "true"
        return answer

    async def fit(self, request: Request) -> Response:
        """Fit the run's readings with its own model and with another one, and compare the two."""
        run = self.front.run_of(request)
        name = request.state.form.get("model", "")
        values = self.job_values(run)
        if name in values["refused"]:
            raise HTTPException(409, f"{values['refused'][name]}. Nothing was fitted.")
        if name not in values["models"]:
            raise HTTPException(404, "There is no such model here. Nothing was fitted.")
        if not self.front.record().calibrations(run.run_id):
            raise HTTPException(
                409, "Nothing was fitted yet, so there is nothing to compare a model with."
            )
        self.front.desk.hands.start("against", run.run_id, name)
        values = {
            **self.front.about(run, "compare", "models side by side"),
            **self.job_values(run),
        }
        return self.front.show(request, "model_jobs.html.j2", values)
