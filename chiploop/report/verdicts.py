"""Is this run to be trusted: a few numbers, each beside its limit, green, amber or red.

Belongs here: what is judged and by which limit. Not here: the limits of a fit themselves (inference), wording of
tables (run_tables).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chiploop.inference.posterior import FROM_MODE, Limits
from chiploop.inference.predictive_checks import p_text
from chiploop.measurement import Readout
from chiploop.record.actions import Action
from chiploop.record.progress import pump_progress
from chiploop.study import Study
from chiploop.study_limits import concentration_limit_nm

State = Literal["good", "look", "bad"]
WORDS: dict[State, str] = {"good": "good", "look": "look", "bad": "failed"}
_ORDER: tuple[State, ...] = ("good", "look", "bad")


@dataclass(frozen=True)
class Line:
    """One number of a verdict."""

    text: str
    limit: str
    state: State


@dataclass(frozen=True)
class Verdict:
    """One thing that is judged."""

    name: str
    lines: tuple[Line, ...]

    @property
    def state(self) -> State:
        """The worst of its lines."""
        return max((line.state for line in self.lines), key=_ORDER.index, default="good")

    @property
    def word(self) -> str:
        """The state in words, so that no colour is needed to read it."""
        return WORDS[self.state]


def verdicts(
    study: Study,
    info: Mapping[str, Any] | None,
    readouts: Sequence[Readout],
    actions: Sequence[Action],
    held: Mapping[str, str],
    approved_risks: Sequence[float],
) -> tuple[Verdict, ...]:
    """Return the verdict strip; ``info`` are the last calibration's diagnostics, None before the first."""
    return (
        fit_verdict(info),
        predictive_verdict(info),
        data_verdict(readouts),
        delivery_verdict(actions, held),
        limits_verdict(study, actions, approved_risks),
    )


def judged(good: bool, text: str, limit: str, otherwise: State = "bad") -> Line:
    """Return one line with its state."""
    return Line(text, limit, "good" if good else otherwise)


def fit_verdict(info: Mapping[str, Any] | None) -> Verdict:
    """Return whether the last calibration converged."""
    if info is None:
        return Verdict("Fit", (Line("no calibration yet", "", "look"),))
    limits = Limits()
    evidence = info["log_evidence"]
    apart = max(evidence) - min(evidence)
    lines = [
        judged(
            info["ess"] >= limits.ess,
            f"{info['ess']:.0f} effective particles",
            f"at least {limits.ess:.0f}",
        ),
        judged(
            info["population_gap_sd"] <= limits.population_gap_sd,
            f"two populations {info['population_gap_sd']:.2f} sd apart",
            f"at most {limits.population_gap_sd:g}",
        ),
        judged(
            apart <= limits.evidence_gap,
            f"their log evidences {apart:.2f} apart",
            f"at most {limits.evidence_gap:g}",
        ),
        judged(
            info["starts_at_mode"] >= limits.starts_at_mode
            or info.get("method", FROM_MODE) != FROM_MODE,
            f"{info['starts_at_mode']} of {info['starts']} searches agree",
            f"at least {limits.starts_at_mode}",
        ),
        judged(
            info["acceptance"] >= limits.acceptance,
            f"{100 * info['acceptance']:.0f} % of the last moves accepted",
            f"at least {100 * limits.acceptance:.0f} %",
        ),
    ]
    if not info["passed"] and all(line.state == "good" for line in lines):
        lines.append(Line("; ".join(info["failures"]) or "not accepted", "", "bad"))
    return Verdict("Fit converged" if info["passed"] else "FIT FAILED", tuple(lines))


def predictive_verdict(info: Mapping[str, Any] | None) -> Verdict:
    """Return whether the readings scatter about the model as the model says."""
    if info is None:
        return Verdict("Predictive check", (Line("no calibration yet", "", "look"),))
    low = Limits().predictive_p
    lines = []
    for name, p in info["predictive_p"].items():
        hint = (
            ": scatters more than explained"
            if p < low
            else ": scatters less than assumed"
            if p > 1 - low
            else ""
        )
        lines.append(
            judged(
                low <= p <= 1 - low,
                f"{name} p {p_text(p)}{hint}",
                f"{low:g} to {1 - low:g}",
                "look",
            )
        )
    return Verdict("Predictive check", tuple(lines))


def data_verdict(readouts: Sequence[Readout]) -> Verdict:
    """Return how many readouts there are, and how many tell less than a value."""
    failed = sum(r.qc == "fail" for r in readouts)
    warned = sum(r.qc == "warn" for r in readouts)
    censored = sum(r.censoring != "none" and r.qc != "fail" for r in readouts)
    return Verdict(
        "Readouts",
        (
            judged(bool(readouts), f"{len(readouts)} on record", "at least 1", "look"),
            judged(failed == 0, f"{failed} failed, left out", "none", "look"),
            judged(warned == 0, f"{warned} with a warning", "none", "look"),
            Line(f"{censored} censored, used as bounds", "no limit", "good"),
        ),
    )


def delivery_verdict(actions: Sequence[Action], held: Mapping[str, str]) -> Verdict:
    """Return whether the pumps gave what was asked."""
    progress = [(action, pump_progress(action)) for action in actions]
    done = [(a, p) for a, p in progress if p.state == "delivered"]
    off = [(abs(p.delivered_ul - a.intent.volume_ul), a.intent.resolution_ul) for a, p in done]
    within = all(gap <= resolution + 1e-9 for gap, resolution in off)
    allowed = max((resolution for _, resolution in off), default=0.0)
    other = len(progress) - len(done)
    return Verdict(
        "Deliveries",
        (
            judged(other == 0, f"{len(done)} of {len(progress)} completed", "all", "look"),
            judged(
                within,
                f"largest difference {max((gap for gap, _ in off), default=0.0):.3g} µL",
                f"counter's step, {allowed:g} µL",
                "look",
            ),
            judged(
                not held, f"{len(held)} lines held{': ' + ', '.join(held) if held else ''}", "none"
            ),
        ),
    )


def limits_verdict(
    study: Study, actions: Sequence[Action], approved_risks: Sequence[float]
) -> Verdict:
    """Return whether what was given kept the study's limits."""
    doses = [a.intent.programme for a in actions if a.intent.programme.purpose == "dose"]
    limits = study.limits
    most = {
        drug: (
            max((p.delivered_nm for p in doses if study.drug_of(p.line).name == drug), default=0.0),
            concentration_limit_nm(study, drug),
        )
        for drug in study.drugs
    }
    several = len(most) > 1
    vehicle = max((p.vehicle_fraction for p in doses), default=0.0)
    risk = max(approved_risks, default=0.0)
    slack = 1.0 + 1e-9
    return Verdict(
        "Inside limits",
        (
            *(
                judged(
                    highest <= limit_nm * slack,
                    f"highest dose {highest:.4g} nM" + (f" of {drug}" if several else ""),
                    f"at most {limit_nm:.4g}",
                )
                for drug, (highest, limit_nm) in most.items()
            ),
            judged(
                vehicle <= limits.vehicle_fraction * slack,
                f"most vehicle {100 * vehicle:.3g} %",
                f"at most {100 * limits.vehicle_fraction:.3g}",
            ),
            judged(
                risk <= limits.overdose_probability,
                f"highest risk approved {100 * risk:.1f} %",
                f"at most {100 * limits.overdose_probability:g}",
            ),
        ),
    )
