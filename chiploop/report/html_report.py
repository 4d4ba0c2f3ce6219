"""The report of a run: one HTML file with its figures inside, no script, the same bytes on every rerun.

Belongs here: which parts the report has and in which order they are made. Not here: rows (run_tables,
dose_tables), judging (verdicts), bands (predictions), drawing (figures, chip_figures), markup (report.html.j2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from chiploop.fault_points import passed
from chiploop.goals import truth_of_goal
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.measurement import Readout
from chiploop.models.study_model import model_of
from chiploop.models.tissue_model import TissueModel
from chiploop.predictions_held import as_given, dose_begun_h, predictions_held
from chiploop.proposal_card import reading_from_dict
from chiploop.record.journal import Journal
from chiploop.record.posterior_file import read_posterior
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.replay import schedules_of
from chiploop.record.unexplained import decided_on_record
from chiploop.refit import LEARNED, Evidence, evidence_up_to, readouts_of, review_of
from chiploop.report import dose_tables as doses_of
from chiploop.report import run_tables as tables
from chiploop.report.chip_figures import course_figure, window_figure
from chiploop.report.figures import (
    GoalAt,
    NextDose,
    dose_response_figure,
    history_figure,
)
from chiploop.report.fit_page import Checks, checks_of, environment
from chiploop.report.image_overlays import ChipImage, end_point_rows, image_of_chips
from chiploop.report.observed_figure import observed_figure
from chiploop.report.patient_part import PatientPart, patient_parts
from chiploop.report.predictions import DRAWS, LEVEL, Course, Predicted, Predictions
from chiploop.report.run_summary import ended_because
from chiploop.report.svg import MARK, Drawn, drawn
from chiploop.report.verdicts import Verdict, verdicts
from chiploop.study import DonorPatient, Goal, Study
from chiploop.twin import RESEARCH_USE
from chiploop.twin.patient_file import Patient
from chiploop.units import counted

TEMPLATE = "report.html.j2"
FILE = "report.html"
ReadPatient = Callable[[DonorPatient], Patient]


def write_report(
    record: Record, journal: Journal, study: Study, run_id: str, folder: Path | str
) -> Path:
    """Write the report of a run into its folder and return its path.

    Raises ValueError where the run is not on record. Everything else that can not be shown is told in its
    place: a report is wanted most when something went wrong.
    """
    path = Path(folder) / FILE
    write_page(page(RunEvidence(record, journal, study, run_id, Path(folder))), path)
    return path


def write_page(values: Mapping[str, Any], path: Path) -> None:
    """Write the page of these values, or replace it whole."""
    draft = path.with_suffix(".html.unfinished")
    draft.write_text(rendered(values), encoding="utf-8", newline="\n")
    passed("report_drafted")
    draft.replace(path)


class RunEvidence:
    """Everything on record about one run; what costs time is worked out once, when it is asked for."""

    def __init__(
        self,
        record: Record,
        journal: Journal,
        study: Study,
        run_id: str,
        folder: Path,
        read_patient: ReadPatient | None = None,
    ) -> None:
        run = record.run(run_id)
        if run is None:
            raise ValueError(f"there is no run {run_id} on record")
        self.record, self.study, self.run, self.folder = record, study, run, folder
        self.read_patient = read_patient
        """Reads the file of a patient whom the study names; None: patients are not shown."""
        self.calibrations = tuple({c.cycle: c for c in record.calibrations(run_id)}.values())
        """The last attempt of every cycle."""
        self.readouts = record.readouts(run_id)
        self.decided = decided_on_record(record, run_id)
        """Cycle -> what its fit took for known of the pumps that ran when readings came late."""
        self.actions = journal.actions(run_id)
        self.held = journal.held(run_id)
        self.schedules = schedules_of(journal, study, run_id)
        self.truths: dict[str, float] = {
            name: value
            for event in record.events(run_id, "truth")
            for name, value in event.content["goals"].items()
            if value is not None
        }

    def evidence_up_to(self, cycle: int) -> tuple[Evidence, ...]:
        """Return what the calibrations up to a cycle learned from."""
        return evidence_up_to(self.study, self.actions, self.readouts, cycle, self.decided)

    @cached_property
    def judged(self) -> tuple[Readout, ...]:
        """The readouts as the fits took them: those that nothing known explains are marked as left out."""
        last = max((c.cycle for c in self.calibrations), default=0)
        fitted = readouts_of(self.evidence_up_to(last))
        return (*fitted, *(r for r in self.readouts if r.cycle > last))

    @cached_property
    def patients(self) -> list[PatientPart]:
        """Which drug for each patient whom the study names; nothing here raises."""
        return patient_parts(self)

    @property
    def info(self) -> dict[str, Any] | None:
        """The last calibration's diagnostics."""
        return self.calibrations[-1].content["info"] if self.calibrations else None

    @property
    def accepted(self) -> bool:
        """Whether the last calibration passed."""
        return self.info is not None and bool(self.info["passed"])

    @property
    def refused(self) -> bool:
        """Whether the last calibration failed."""
        return self.info is not None and not self.accepted

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Whether the run is to be trusted, number by number."""
        approved = [
            dose["risk"]
            for p in self.record.proposals(self.run.run_id)
            if (d := self.record.decision_for(p.key)) is not None and d.action == "approve"
            for dose in p.content["doses"]
            if dose["risk"] is not None
        ]
        return verdicts(self.study, self.info, self.judged, self.actions, self.held, approved)

    @cached_property
    def model(self) -> TissueModel:
        """The model that was fitted."""
        return model_of(self.study)

    def calibrated_before(self, back: int) -> tuple[Posterior, CalibrationInfo] | None:
        """Return what was found so many calibrations before the last; None where there was none."""
        if len(self.calibrations) <= back:
            return None
        return read_posterior(self.folder / self.calibrations[-1 - back].content["posterior"])

    @cached_property
    def calibrated(self) -> tuple[Posterior, CalibrationInfo]:
        """What the last calibration found, read once; ValueError where there was none."""
        found = self.calibrated_before(0)
        if found is None:
            raise ValueError("no calibration is on record")
        return found

    @property
    def posterior(self) -> Posterior:
        """The posterior of the last calibration; ValueError where there was none."""
        return self.calibrated[0]

    @cached_property
    def predictions(self) -> Predictions:
        """What the last posterior says."""
        posterior = self.posterior
        last = self.calibrations[-1].cycle
        known = [r for r in self.judged if r.cycle <= last]
        return Predictions(self.study, self.schedules, known, posterior)

    @cached_property
    def courses(self) -> dict[str, dict[str, Course]]:
        """Courses of the readouts that have a value at every moment."""
        return self.predictions.courses()

    @cached_property
    def predicted(self) -> tuple[Predicted, ...]:
        """Every reading beside its prediction."""
        return self.predictions.readings()

    def goals_over_cycles(self) -> dict[str, list[GoalAt]]:
        """Return goal -> its estimate after every calibration."""
        found: dict[str, list[GoalAt]] = {goal.name: [] for goal in self.study.goals}
        last = {one["name"]: one.get("pair") for one in self.last_goals()}
        for calibration in self.calibrations:
            passed = bool(calibration.content["info"]["passed"])
            for one in calibration.content["goals"]:
                span = (one["median"], one["lower"], one["upper"])
                pair = one.get("pair")
                if pair and list(reversed(pair)) == list(last[one["name"]] or ()):
                    # the other drug led then: the same ratio, the other way round
                    span = (1.0 / span[0], 1.0 / span[2], 1.0 / span[1])
                at = GoalAt(calibration.cycle, *span, passed, one["unit"])
                found[one["name"]].append(at)
        return found

    def last_goals(self) -> list[dict[str, Any]]:
        """Return the estimates of the last calibration; none before the first."""
        return list(self.calibrations[-1].content["goals"]) if self.calibrations else []

    def goal_truths(self) -> dict[str, float]:
        """Return goal -> the hidden truth of what its last estimate says, where there is one."""
        found = {
            one["name"]: truth_of_goal(self.study, one, self.truths) for one in self.last_goals()
        }
        return {name: truth for name, truth in found.items() if truth is not None}

    def next_doses(self) -> tuple[list[NextDose], int | None, bool]:
        """Return what was last proposed, for which cycle, and whether it is an outlook only.

        Nothing where the last calibration failed: then nothing is proposed.
        """
        if not self.accepted:
            return [], None, False
        after = self.calibrations[-1].cycle + 1
        outlooks = [e.content for e in self.record.events(self.run.run_id, "outlook")]
        outlooks = [c for c in outlooks if c["cycle"] == after]
        found = outlooks or [
            p.content for p in self.record.proposals(self.run.run_id) if p.cycle == after
        ]
        if not found:
            return [], None, False
        doses = [NextDose(d["line"], d["asked_nm"], d["risk"]) for d in found[-1]["doses"]]
        return doses, after, bool(outlooks)


def report_text(run: RunEvidence) -> str:
    """Return the whole page."""
    return rendered(page(run))


def rendered(values: Mapping[str, Any]) -> str:
    """Return the page of these values."""
    return environment().get_template(TEMPLATE).render(values) + "\n"


def plain_lines(run: RunEvidence) -> list[str]:
    """Return the report's numbers as lines of text, for where its page can not be printed."""
    lines = [f"{name}: {told}" for name, told in header_facts(run)]
    if run.info is None:
        return [*lines, "", "No calibration is on record yet."]
    if run.refused:
        lines += ["", f"The last calibration FAILED: {'; '.join(run.info['failures'])}."]
    lines += ["", f"Goals (median, equal-tailed {100 * LEVEL:g} % credible interval)"]
    lines += [
        f"  {goal.name}: {goal.median} ({goal.interval})"
        for goal in tables.goal_rows(run.study, run.last_goals(), run.truths)
    ]
    given = doses_of.given_doses(run.study, run.actions)
    for one in doses_of.proposal_rows(run.study, run.record, run.run.run_id, given):
        lines += ["", f"{one.title}: {one.decided}. {one.decision}"]
        lines += [
            f"  {d.line} ({d.chips}): {d.asked}, given {d.given}, risk {d.risk}" for d in one.doses
        ]
    return [*lines, "", "Research use only. Not for clinical decisions."]


def page(run: RunEvidence) -> dict[str, Any]:
    """Return everything that the template shows."""
    study, record, run_id = run.study, run.record, run.run.run_id
    contents = [c.content for c in run.calibrations]
    given = doses_of.given_doses(study, run.actions)
    proposals = doses_of.proposal_rows(study, record, run_id, given)
    doses, next_cycle, outlook = run.next_doses()
    return {
        "mark": MARK,
        "simulated": run.run.simulated,
        "run": run.run,
        "study": study,
        "level": f"{100 * LEVEL:g} %",
        "draws": DRAWS,
        "facts": header_facts(run),
        "verdicts": run.verdicts,
        "info": run.info,
        "accepted": run.accepted,
        "goals": tables.goal_rows(study, contents[-1]["goals"] if contents else [], run.truths),
        "truths": run.truths,
        "excluded": tables.excluded_of_chips(run.readouts),
        "history": tables_of_history(run),
        "history_figure": history(run),
        "dose_figures": [dose_figure(run, goal) for goal in goals_drawn(study)],
        "goals_drawn": goals_drawn(study),
        "next_cycle": next_cycle,
        "outlook": outlook,
        "next_doses": doses,
        "observed_figure": observed(run),
        "course_figures": [course(run, s.name) for s in run.model.readouts if s.kind == "moment"],
        "window_figures": [window(run, s.name) for s in run.model.readouts if s.kind != "moment"],
        "end_points": end_point_rows(run.readouts),
        "images": guarded(lambda: images(run)),
        "coverage": guarded(lambda: coverage(run)),
        "review": guarded(lambda: review(run)) if run.calibrations else None,
        "parameters": guarded(lambda: parameters(run)),
        "learned": LEARNED,
        "scatter": scatter_rows(study),
        "patients": run.patients,
        "research": RESEARCH_USE,
        "proposals": proposals,
        "ended_because": ended_because(record, run_id),
        "deliveries": doses_of.delivery_rows(run.actions),
        "held": run.held,
        "readout_counts": tables.readout_counts(run.judged),
        "unusual": tables.unusual_readouts(run.judged),
        "files": tables.file_rows(run.folder, contents),
        "raw_kinds": tables.raw_file_kinds(record.raw_files(run_id)),
        "raw_files": record.raw_files(run_id),
        "simulations": sum(c["info"]["simulations"] for c in contents),
        "events": [e for e in record.events(run_id) if e.kind == "state"],
        "utc": tables.utc,
        "number": tables.number,
    }


def header_facts(run: RunEvidence) -> list[tuple[str, str]]:
    """Return what identifies the run, in the order of the header."""
    stamps = [run.run.begun_utc, *(e.at_utc for e in run.record.events(run.run.run_id))]
    deciders = sorted({d.by for d in run.record.decisions(run.run.run_id)})
    who = ", ".join("the study file (auto)" if by == "auto" else by for by in deciders)
    truth = " (hidden truth drawn from the fitted model)" if run.run.settings.get("matched") else ""
    study_h = max((r.time_h for r in run.readouts), default=0.0)
    return [
        ("Study", run.study.name),
        ("Run", run.run.run_id),
        ("State", f"{run.run.state or 'not begun'}, {study_h:g} of {run.study.end_h:g} h read"),
        ("Seed", f"{run.run.seed}{truth}"),
        (
            "Drug" if not run.study.further_drugs else "Drugs",
            ", ".join(drug.title or name for name, drug in run.study.drugs.items()),
        ),
        (
            "Chips",
            f"{len(run.study.chip_ids)} in {counted(len(run.study.lines), 'line')}, "
            + counted(len(run.study.donors), "donor"),
        ),
        ("Model", f"{run.study.tissue.model}, sha256 {run.study.tissue.sha256[:16]}"),
        ("Software", f"chiploop {run.run.software_version}"),
        ("Begun", tables.utc(run.run.begun_utc)),
        ("Last entry", tables.utc(max(stamps))),
        ("Decided by", who or "nobody yet"),
    ]


def guarded(make: Callable[[], Any]) -> dict[str, Any]:
    """Return a part of the page, or what kept it from being made."""
    try:
        return {"content": make(), "problem": ""}
    except Exception as problem:  # one broken part leaves the rest of the report standing
        return {"content": None, "problem": f"{type(problem).__name__}: {problem}"}


def tables_of_history(run: RunEvidence) -> list[dict[str, Any]]:
    """Return every calibration as a row: its goals and whether it was accepted."""
    rows = []
    for calibration in run.calibrations:
        info = calibration.content["info"]
        rows.append(
            {
                "cycle": calibration.cycle,
                "time": f"{calibration.content['time_h']:g}",
                "goals": [
                    f"{tables.number(g['median'])} ({tables.number(g['lower'])} to {tables.number(g['upper'])})"
                    for g in calibration.content["goals"]
                ],
                "passed": info["passed"],
                "failures": "; ".join(info["failures"]),
                "readouts": info["n_readouts"],
                "ess": f"{info['ess']:.0f}",
                "foretold": foretold(run, calibration.cycle),
            }
        )
    return rows


def foretold(run: RunEvidence, cycle: int) -> str:
    """Return how many readings of a cycle lay in the band that the card of its doses had foretold, of how many."""
    record, run_id = run.record, run.run.run_id
    for proposal, decision in reversed(record.proposed(run_id, cycle)):
        if decision is None or decision.action != "approve":
            continue
        content = record.card(run_id, proposal.key)
        if content is None:
            break
        predicted = [reading_from_dict(one) for one in content["predicted"]]
        begun_h = dose_begun_h(run.actions, cycle)
        own = [r for r in run.judged if r.cycle == cycle]
        inside, n = predictions_held(own, as_given(predicted, content["begins_h"], begun_h))
        return f"{inside} of {n}" if n else "–"
    return "–"


def history(run: RunEvidence) -> Drawn:
    """Return each goal's interval over the cycles."""
    return drawn(
        "goal-history",
        "Each goal's estimate and interval after every cycle",
        lambda: history_figure(run.goals_over_cycles(), run.goal_truths()),
        run.run.simulated,
    )


def goals_drawn(study: Study) -> list[Goal]:
    """Return the goals that have a dose-response: for a best drug one of each drug that it compares."""
    return [
        one
        for goal in study.goals
        for one in (
            [goal.of_drug(drug) for drug in goal.drugs or study.drugs]
            if goal.kind == "best_drug"
            else [goal]
        )
    ]


def dose_figure(run: RunEvidence, goal: Goal) -> Drawn:
    """Return one goal's dose-response."""

    def draw() -> Any:
        curve = run.predictions.dose_response(goal)
        doses, _, _ = run.next_doses()
        doses = [d for d in doses if goal.drug in (None, run.study.drug_of(d.line).name)]
        unit = run.model.readouts[run.predictions.names.index(goal.readout)].unit
        latest = run.goals_over_cycles()[goal.name][-1]
        truth = run.goal_truths().get(goal.name)
        last = run.calibrations[-1].cycle
        return dose_response_figure(run.study, curve, unit, latest, truth, doses, last)

    label = f"Dose-response of {goal.readout} with the chips' readings and the next doses"
    of_drug = f"-{goal.drug}" if goal.drug else ""
    return drawn(f"dose-{goal.name}{of_drug}", label, draw, run.run.simulated, run.refused)


def observed(run: RunEvidence, by_dose: bool = True) -> Drawn:
    """Return every reading that was learned from against what the fit says of it."""
    return drawn(
        "observed-predicted",
        "Every reading against the fit's prediction for its dose, and for its own chip",
        lambda: observed_figure(run.predicted, run.model, run.study, by_dose),
        run.run.simulated,
        run.refused,
    )


def course(run: RunEvidence, readout: str, lines: Sequence[str] = ()) -> Drawn:
    """Return a readout over time, one panel per chip, of all lines or of some."""

    def draw() -> Any:
        own = [r for r in run.judged if r.readout == readout]
        unit = own[0].unit if own else ""
        return course_figure(
            of_lines(run.study, lines), readout, unit, run.courses[readout], own, run.schedules
        )

    label = f"{readout} of every chip over time, with bands{said_of(lines)}"
    return drawn(chips_name(readout, lines), label, draw, run.run.simulated, run.refused)


def window(run: RunEvidence, readout: str, lines: Sequence[str] = ()) -> Drawn:
    """Return a collected readout by cycle, one panel per line, of all lines or of some."""

    def draw() -> Any:
        failed = [r for r in run.judged if r.readout == readout and r.qc == "fail"]
        unit = next((r.unit for r in run.readouts if r.readout == readout), "")
        study = of_lines(run.study, lines)
        return window_figure(study, readout, unit, run.predicted, failed)

    label = f"{readout} of every chip and cycle, with bands{said_of(lines)}"
    return drawn(chips_name(readout, lines), label, draw, run.run.simulated, run.refused)


def of_lines(study: Study, lines: Sequence[str]) -> Study:
    """Return a study with some of its lines; with all where none is named."""
    if not lines:
        return study
    return study.model_copy(update={"lines": tuple(one for one in study.lines if one.id in lines)})


def said_of(lines: Sequence[str]) -> str:
    """Return which lines a figure is of, in words."""
    return f", lines {lines[0]} to {lines[-1]}" if lines else ""


def chips_name(readout: str, lines: Sequence[str]) -> str:
    """Return the name of a figure of each chip."""
    return f"chips-{readout}" + (f"-of-{lines[0]}-to-{lines[-1]}" if lines else "")


def images(run: RunEvidence) -> list[ChipImage]:
    """Return what was found in the last cycle's images, one per chip."""
    found = run.record.measurements(run.run.run_id)
    store = RawFileStore(run.folder / "raw")
    return image_of_chips(found, run.study.assays, store, run.run.simulated)


def coverage(run: RunEvidence) -> dict[str, tuple[int, int]]:
    """Return readout -> how many uncensored readings lie in their predictive band, of how many."""
    found: dict[str, tuple[int, int]] = {}
    for one in run.predicted:
        if one.inside is not None:
            inside, n = found.get(one.reading.readout, (0, 0))
            found[one.reading.readout] = (inside + one.inside, n + 1)
    return found


def review(run: RunEvidence) -> Checks:
    """Return what a person looks at to judge the last calibration, made from the record anew."""
    last = run.calibrations[-1].cycle
    evidence = run.evidence_up_to(last)
    found, _ = review_of(
        run.study,
        evidence[-1].schedules,
        readouts_of(evidence),
        *run.calibrated,
        run.run.seed,
        last,
    )
    return checks_of(found, tuple(run.study.donors), run.run.simulated, run.refused)


def parameters(run: RunEvidence) -> list[dict[str, Any]]:
    """Return the parameter table of the last calibration."""
    before = run.calibrated_before(1)
    previous = None if before is None else before[0]
    rows = tables.parameter_rows(run.model, run.study, run.posterior, previous)
    return [asdict(row) for row in rows]


def scatter_rows(study: Study) -> list[dict[str, str]]:
    """Return the scatter that the study declares and the fit takes as known."""
    spreads = study.variation
    kinds = (spreads.between_chips, spreads.between_donors, spreads.between_readings)
    names = list(dict.fromkeys(name for kind in kinds for name in kind))
    rows = []
    for name in names:
        chip, donor, reading = ("–" if name not in k else f"{100 * k[name]:g} %" for k in kinds)
        rows.append({"readout": name, "chip": chip, "donor": donor, "reading": reading})
    return rows
