"""``chiploop twin control-arm``: the effect in a trial whose patients have twins. Reads one file alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.twin.control_arm import Effect
    from chiploop.twin.randomisation_test import RandomisationTest
    from chiploop.twin.trial_data import TrialData
    from chiploop.twin.trial_prognosis import TrialBaseline

RESEARCH = "Research use only; not for clinical decisions."
FEW = 40
"""Patients up to which the exact test is shown by itself."""
TRIALS = 2000
"""Simulated for the rates of error."""


def control_arm(
    trial: Path = typer.Argument(
        metavar="TRIAL.csv", help="One row per patient: patient, arm, outcome, prognosis."
    ),
    adjust: list[str] = typer.Option(
        [], "--adjust", help="Another column that was known before treatment; may be repeated."
    ),
    twin: str = typer.Option(
        "",
        "--twin",
        metavar="OUTCOME",
        help="Let the twin foretell each patient under placebo from the baseline columns; OUTCOME is what the "
        "column outcome holds: improvement_pct, EASI, EASI50, EASI75 or EASI90.",
    ),
    week: float = typer.Option(16.0, "--week", help="With --twin: week of the outcome."),
    setting: str = typer.Option(
        "monotherapy", "--setting", help="With --twin: monotherapy or topicals."
    ),
    bias_sd: float | None = typer.Option(
        None,
        "--bias-sd",
        help="Sd of the twin's bias from trial to trial, in the outcome's unit; without it the twin never "
        "stands in for controls.",
    ),
    simulate: bool = typer.Option(
        False, "--simulate", help="Simulate trials of this size, with right and wrong twins."
    ),
    seed: int = typer.Option(1, "--seed", min=0, help="Of everything random."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Estimate a treatment's effect with the help of twins: fewer patients for the same answer.

    TRIAL.csv has the columns patient (a code), arm (treated or control), outcome (a number; a response as 0 and
    1) and prognosis: what the twin foretold of the outcome without the treatment, from what was known before
    it. "adjusted" is valid whether the twin is right or not. "external" and "borrowed" let the twin stand in
    for controls and are shown only with --bias-sd. With --twin the twin makes the prognosis, with its sd, from
    the columns easi, tewl_g_m2_h, serum_ccl17_pg_ml, th2_score, th17_score, th22_score, microbiome_score and
    flg, whichever are there; an empty cell stays missing (age_years may be there and moves nothing). Research
    use only; not for clinical decisions.
    Exit code 2 for options that do not go together, 3 for a file that is not valid. With --json: {"ok", "file",
    "patients", "treated", "control", "left_out", "effects": [{"method", "estimate", "lower", "upper", "p",
    "se", "trusted"}], "saved", "not_made": {method: why}, "exact_test", "rates", "applicability": {"verdict",
    "aspects": [{"aspect", "verdict", "reason"}]} (null where no prognosis of a twin is known), "prognosis": null
    or {"outcome", "week", "setting", "seed", "known": {column: patients}, "patients": [{"patient", "mean", "sd",
    "effective"}]}, "research_use_only"}.
    """
    import numpy as np

    from chiploop.twin import control_arm as analyses
    from chiploop.twin.applicability import of_trial_file
    from chiploop.twin.randomisation_test import randomisation_test
    from chiploop.twin.trial_data import read_trial
    from chiploop.twin.trial_prognosis import TrialBaseline, read_baselines

    if bias_sd is not None and not bias_sd > 0.0:
        raise WrongUse(f"--bias-sd {bias_sd:g} was given; it must be above 0")
    data = read_trial(trial, adjust)
    foretold, known = None, list[TrialBaseline]()
    if twin:
        known = [] if data.prognosis is not None else read_baselines(trial, data.patients)
        data, foretold = with_twin(data, known, trial, twin, setting, week, seed)
    effects, not_made = made(data, bias_sd)
    saved = None
    if {"unadjusted", "adjusted"} <= {one.method for one in effects}:
        saved = analyses.saving(data)
    exact = None
    if len(data.outcome) <= FEW and data.n_control:
        exact = randomisation_test(data, np.random.default_rng(seed))
    simulated = errors_of(data, bias_sd, seed) if simulate else []
    holds = (
        None
        if data.prognosis is None
        else of_trial_file([one.easi for one in known], [one.age_years for one in known])
    )
    if as_json:
        print_json(
            {
                "ok": True,
                "file": str(trial),
                "patients": len(data.patients),
                "treated": data.n_treated,
                "control": data.n_control,
                "left_out": list(data.left_out),
                "effects": [asdict(one) for one in effects],
                "saved": saved,
                "not_made": not_made,
                "exact_test": None if exact is None else asdict(exact),
                "rates": simulated,
                "applicability": holds.as_json() if holds else None,
                "prognosis": foretold,
                "research_use_only": True,
            }
        )
        return
    lines = told(data, effects, not_made, saved, exact, simulated)
    if foretold is not None:
        lines[1:1] = told_of_twin(foretold)
    if holds is not None:
        lines += ["", *holds.lines("these patients")]
    typer.echo("\n".join(lines))


def with_twin(
    data: TrialData,
    known: Sequence[TrialBaseline],
    path: Path,
    outcome: str,
    setting: str,
    week: float,
    seed: int,
) -> tuple[TrialData, dict[str, Any]]:
    """Return the trial with the twin's own prognoses, and these as ``--json`` prints them."""
    from chiploop.twin.trial_prognosis import check_outcomes, prognoses

    if data.prognosis is not None:
        raise WrongUse(
            f"{path} has a column prognosis already; leave --twin out, or the column: one of them counts"
        )
    found = prognoses(known, outcome, setting, week, seed)
    check_outcomes(path, data.patients, data.outcome, outcome)
    rows = zip(data.patients, found.mean, found.sd, found.effective, strict=True)
    return replace(data, prognosis=found.mean), {
        "outcome": outcome,
        "week": week,
        "setting": setting,
        "seed": seed,
        "known": found.known,
        "patients": [
            {"patient": code, "mean": float(mean), "sd": float(sd), "effective": float(effective)}
            for code, mean, sd, effective in rows
        ],
    }


def told_of_twin(foretold: dict[str, Any]) -> list[str]:
    """Return what the twin foretold, as lines."""
    from chiploop.twin.trial_prognosis import FEW

    known = ", ".join(f"{name} of {n}" for name, n in foretold["known"].items()) or "nothing"
    means = [one["mean"] for one in foretold["patients"]]
    sds = [one["sd"] for one in foretold["patients"]]
    lines = [
        f"prognosis by the twin: {foretold['outcome']} under placebo, {foretold['setting']}, week "
        f"{foretold['week']:g}; known: {known}",
        f"  from {min(means):.3g} to {max(means):.3g}; sd of one patient {min(sds):.3g} to {max(sds):.3g}",
    ]
    few = [one["patient"] for one in foretold["patients"] if one["effective"] < FEW]
    if few:
        lines.append(
            f"  beware: hardly a virtual patient is like {', '.join(few)} (fewer than {FEW:g})"
        )
    return lines


def made(data: TrialData, bias_sd: float | None) -> tuple[list[Effect], dict[str, str]]:
    """Return the analyses that can be made, and why the others can not."""
    from chiploop.twin import control_arm as analyses

    methods: dict[str, Callable[[], Effect]] = {
        "unadjusted": lambda: analyses.unadjusted(data),
        "adjusted": lambda: analyses.adjusted(data),
    }
    not_made: dict[str, str] = {}
    if bias_sd is not None:
        methods["borrowed"] = lambda: analyses.borrowed(data, bias_sd)
        methods["external"] = lambda: analyses.external(data, bias_sd)
    else:
        why = "it hangs on how far off the twin may be: give --bias-sd"
        not_made = dict.fromkeys(("borrowed", "external"), why)
    effects = []
    for name, method in methods.items():
        try:
            effects.append(method())
        except ValueError as reason:
            not_made[name] = str(reason)
    return effects, not_made


def errors_of(data: TrialData, bias_sd: float | None, seed: int) -> list[dict[str, Any]]:
    """Return how often each analysis errs in simulated trials of the same size, by kind of twin."""
    import numpy as np

    from chiploop.twin.control_arm import adjusted, regression
    from chiploop.twin.trial_simulation import TWINS, Design, rates

    if data.n_control < 2 or data.prognosis is None:
        raise WrongUse("--simulate needs at least 2 controls and a prognosis")
    none = np.zeros((len(data.outcome), 0))
    plain = regression(data.outcome, data.treated, none)
    r2 = min(max(1.0 - (adjusted(data).se / float(plain.se)) ** 2, 0.05), 0.95)
    spread = float(data.outcome[~data.treated].std(ddof=1)) or 1.0
    stated = 0.15 if bias_sd is None else bias_sd / spread
    shown = ("unadjusted", "adjusted", *(("borrowed", "external") if bias_sd is not None else ()))
    rows = []
    for twin in TWINS:
        design = Design(data.n_treated, data.n_control, r2, 0.0, stated)
        found = rates(design, twin, TRIALS, np.random.default_rng(seed))
        level = {name: found.rejected[name] for name in shown}
        rows.append({"twin": twin, "trials": TRIALS, "type_1_error": level, "saved": found.saved})
    return rows


def told(
    data: TrialData,
    effects: list[Effect],
    not_made: dict[str, str],
    saved: float | None,
    exact: RandomisationTest | None,
    simulated: list[dict[str, Any]],
) -> list[str]:
    """Return what a person sees, as lines."""
    lines = [f"{data.n_treated} treated, {data.n_control} controls. {RESEARCH}"]
    if data.left_out:
        lines.append(f"left out, without an outcome: {', '.join(data.left_out)}")
    lines += ["", f"{'':<12}{'effect':>10}{'95 % interval':>24}{'p':>9}"]
    for one in effects:
        span = f"{one.lower:.4g} to {one.upper:.4g}"
        trust = "" if one.trusted is None else f"   twin trusted {one.trusted:.0%}"
        lines.append(f"{one.method:<12}{one.estimate:>10.4g}{span:>24}{one.p:>9.3g}{trust}")
    lines += [f"{name:<12}not made: {why}" for name, why in not_made.items()]
    if saved is not None:
        how = "fewer" if saved > 0 else "more"
        lines += [
            "",
            f"The adjusted analysis needs {abs(saved):.0%} {how} patients for the same width.",
        ]
    if exact is not None:
        ways = f"all {exact.draws}" if exact.exact else f"{exact.draws} random"
        lines.append(
            f"Exact test over {ways} ways to draw the arms: p {exact.p:.3g} "
            f"(not below {exact.smallest_p:.2g} here)."
        )
    if simulated:
        names = list(simulated[0]["type_1_error"])
        lines += ["", f"No effect, {TRIALS} simulated trials of this size: how often p < 0.05"]
        lines.append(f"{'twin':<22}" + "".join(f"{name:>12}" for name in names) + f"{'saved':>8}")
        for row in simulated:
            shares = "".join(f"{row['type_1_error'][name]:>12.1%}" for name in names)
            lines.append(f"{row['twin']:<22}{shares}{row['saved']:>8.0%}")
    return lines
