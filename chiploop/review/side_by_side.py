"""Two runs beside each other: what was studied, what was found, how far it can be trusted.

Belongs here: rows of two values. Not here: markup; two models on the same readings (``chiploop fit --against``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chiploop.record.record import Record
from chiploop.record.rows import RecordedRun
from chiploop.record.unexplained import LEFT_OUT, as_fitted
from chiploop.review.fits_again import interval


@dataclass(frozen=True)
class PairRow:
    """One thing of both runs."""

    name: str
    one: str
    other: str

    @property
    def differs(self) -> bool:
        """Whether they are not the same."""
        return self.one != self.other


@dataclass(frozen=True)
class SideBySide:
    """Two runs."""

    runs: tuple[str, str]
    simulated: tuple[bool, bool]
    asked: tuple[PairRow, ...]
    """Of the study."""
    found: tuple[PairRow, ...]
    """Goals, each with its interval."""
    trusted: tuple[PairRow, ...]
    """Diagnostics of the last fits."""
    doses: tuple[PairRow, ...]
    """Cycle by cycle."""


def side_by_side(record: Record, one: RecordedRun, other: RecordedRun) -> SideBySide:
    """Return two runs beside each other."""
    facts = [_facts(record, run) for run in (one, other)]
    return SideBySide(
        (one.run_id, other.run_id),
        (one.simulated, other.simulated),
        *(_pairs(facts[0][part], facts[1][part]) for part in range(4)),
    )


def _pairs(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[PairRow, ...]:
    names = dict.fromkeys([*one, *other])
    return tuple(PairRow(name, one.get(name, "–"), other.get(name, "–")) for name in names)


def _facts(record: Record, run: RecordedRun) -> tuple[dict[str, str], ...]:
    study = record.study_content(run.run_id)
    asked = {
        "study": run.study_name,
        "study, sha256": run.study_sha256[:16],
        "state": run.state or "not begun",
        "seed": str(run.seed),
        "model": f"{study['tissue']['model']}, sha256 {study['tissue']['sha256'][:12]}",
        "drug": str(study["drug"].get("title") or study["drug"].get("name", "")),
        "donors": ", ".join(study["donors"]),
        "chips": str(len(record.chips(run.run_id))),
        "cycles planned": str(study["timeline"]["cycles"]),
        "highest concentration": f"{study['limits']['concentration_nm']:g} nM",
        "chiploop": run.software_version,
    }
    calibrations = record.calibrations(run.run_id)
    last = calibrations[-1].content if calibrations else None
    found: dict[str, str] = {}
    trusted = {"calibrations": str(len(calibrations))}
    if last is not None:
        for goal in last["goals"]:
            found[f"{goal['name']}, {goal['unit']}"] = interval(goal)
        info: dict[str, Any] = last["info"]
        trusted |= {
            "accepted": "yes" if info["passed"] else f"NO: {'; '.join(info['failures'])}",
            "readings": f"{info['n_readouts']}, {info['n_censored']} censored",
            "effective particles": f"{info['ess']:.0f}",
            "searches at the best mode": f"{info['starts_at_mode']} of {info['starts']}",
            "warnings": "; ".join(str(w).partition(":")[0] for w in info["warnings"]) or "none",
        }
    known = as_fitted(record.readouts(run.run_id), record.events(run.run_id, LEFT_OUT))
    left_out = sum(r.qc == "fail" for r in known)
    trusted["readings that failed or were left out"] = str(left_out)
    doses = {}
    for proposal in record.proposals(run.run_id):
        decision = record.decision_for(proposal.key)
        if decision is not None and decision.action == "approve":
            doses[f"cycle {proposal.cycle}"] = ", ".join(
                f"{d['line']} " + (f"{d['asked_nm']:g} nM" if d["asked_nm"] else "vehicle")
                for d in proposal.content["doses"]
            )
    return asked, found, trusted, doses
