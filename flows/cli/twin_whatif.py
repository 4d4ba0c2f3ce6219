"""``chiploop twin whatif``: which drug for this patient. Reads a file or store and, where asked, posteriors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import FileNotValid, WrongUse
from flows.cli.decide import RUNS
from flows.cli.patient_store import KEY_FILE, STORE, patient_for
from flows.cli.screen import JSON_OPTION, print_json
from flows.cli.twin_trial import POSTERIOR, accepted_posterior, posterior_file, potencies_of

if TYPE_CHECKING:
    from chiploop.twin.patient_file import Patient
    from chiploop.twin.patient_what_if import WhatIf

REDUCTION = "-reduction"


def whatif(
    patient: str = typer.Argument(
        metavar="PATIENT", help="A patient's file (codes, no names), or one of the store."
    ),
    drugs: str = typer.Option(
        "", "--drugs", metavar="A,B,...", help="Drugs to compare; with --run those of the study."
    ),
    run: str = typer.Option(
        "",
        "--run",
        metavar="RUN",
        help="Run, by id or folder, whose study says which donor this patient is: the potency of its drug and the "
        "ratios of the donor's chips.",
    ),
    runs: Path = RUNS,
    changed: str = typer.Option(
        "",
        "--with",
        metavar="NAME-reduction",
        help="Also with this modifier of the file taken away.",
    ),
    posterior: list[str] = POSTERIOR,
    donor: str = typer.Option(
        "",
        "--donor",
        metavar="RUN:DONOR",
        help="Run and donor that are this patient: ratios of the chips.",
    ),
    week: float | None = typer.Option(
        None, "--week", help="Week of the comparison; 16, with --run that of the study."
    ),
    margin: float | None = typer.Option(
        None,
        "--margin",
        help="Points of improvement by which one beats another; 10, with --run those of the study.",
    ),
    virtual: int | None = typer.Option(
        None,
        "--virtual-patients",
        min=100,
        max=100_000,
        help="Virtual patients of this patient; 4000, with --run as the study says.",
    ),
    seed: int | None = typer.Option(
        None, "--seed", min=0, help="Of everything random; 1, with --run that of the run."
    ),
    page: Path | None = typer.Option(None, "--page", help="Write a page with figures here."),
    store: Path = STORE,
    key_file: Path | None = KEY_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Compare drugs in one patient: the same virtual patients and random numbers under each.

    Research use only; not for clinical decisions. What was not measured widens the answer. Effects of stress and
    the like are assumed to be centred on none unless the file names an effect with its source. Exit code 2 for
    what can not be asked, 3 for a file that is not valid, whose consent has no research or whose day of deletion
    has passed, or a run of another drug, 6 for a run whose calibration failed.
    With --json: {"ok", "patient", "setting", "week", "margin_pct", "drugs": [{"name", "improvement_pct",
    "EASI75_probability", "potency", "drivers", "width_pct", "width_without_chip_pct", "without_chip_pct",
    "EASI"}], "weeks", "comparisons": [{"first", "second", "first_better", "second_better", "without_chip"}],
    "measurements": [{"name", "variance_share", "tied_with_first"}], "applicability": {"verdict", "aspects":
    [{"aspect", "verdict", "reason"}]}, "warnings", "page", "research_use_only"}; a verdict is inside, outside or
    not known.
    """
    from chiploop.twin import RESEARCH_USE
    from chiploop.twin.patient_what_if import what_if

    found = patient_for(patient, store, key_file, "whatif", page is not None)
    if changed and not changed.endswith(REDUCTION):
        raise WrongUse(f"--with {changed!r}: write NAME{REDUCTION}, NAME a modifier of the file")
    names = [name.strip() for name in drugs.split(",") if name.strip()]
    if run:
        if donor or posterior or changed:
            raise WrongUse("--run says all of the chips: leave --donor, --posterior and --with out")
        told = of_run(found, run, runs, names, week, margin, virtual, seed)
    elif not names:
        raise WrongUse("--drugs is missing: which drugs are compared?")
    else:
        found = with_donor(found, donor)
        told = what_if(
            found,
            names,
            1 if seed is None else seed,
            16.0 if week is None else week,
            10.0 if margin is None else margin,
            changed.removesuffix(REDUCTION),
            potencies_of(posterior),
            virtual or 4000,
        )
    if page is not None:
        from chiploop.report.twin_page import twin_page

        try:
            page.write_text(twin_page(told), encoding="utf-8", newline="\n")
        except OSError as error:
            raise WrongUse(f"--page {page} can not be written: {error.strerror or error}") from None
    if as_json:
        print_json({"ok": True, **content(told), "page": str(page) if page else None})
        return
    show(told)
    print(RESEARCH_USE)


def of_run(
    patient: Patient,
    run: str,
    runs: Path,
    names: list[str],
    week: float | None,
    margin: float | None,
    virtual: int | None,
    seed: int | None,
) -> WhatIf:
    """Return the what-if of a run for the patient whom its study names; what is not None or empty goes before it.

    With nothing else given this is the report's own answer. FileNotValid where the study does not name this
    patient, FitNotAccepted where the run's last calibration failed.
    """
    from chiploop.twin.donor_patient import as_donor, what_if_of_donor
    from flows.opening import known_run

    files = known_run(run, runs)
    study = files.study
    donor = next((d for d, p in study.patients.items() if p.patient == patient.patient), "")
    if not donor:
        named = ", ".join(p.patient for p in study.patients.values()) or "none"
        raise FileNotValid(
            f"--run {run}: its study does not say which donor {patient.patient} is; patients named: {named}. "
            "Name the donor with --donor RUN:DONOR"
        )
    given = {
        "drugs": names or None,
        "week": week,
        "margin_pct": margin,
        "virtual_patients": virtual,
    }
    asked = study.patients[donor].model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    posterior = accepted_posterior(posterior_file(files.folder), f"--run {run}")
    told, _ = what_if_of_donor(
        as_donor(patient, study.donors[donor].flg, asked, donor),
        asked,
        posterior,
        {name: drug.drug_class for name, drug in study.drugs.items()},
        donor,
        files.run_id,
        files.seed if seed is None else seed,
    )
    return told


def with_donor(patient: Patient, named: str) -> Patient:
    """Return the patient with the ratios that a run found for a donor; what the file says itself stays.

    FitNotAccepted where the run's calibration failed. Which drug the run gave does not matter: no ratio
    is of a drug.
    """
    from chiploop.twin.donor_patient import with_ratios

    if not named:
        return patient
    run, _, donor = named.rpartition(":")
    if not run:
        raise WrongUse(f"--donor {named!r}: write RUN:DONOR")
    posterior = accepted_posterior(posterior_file(Path(run)), f"--donor {named}")
    try:
        return with_ratios(patient, posterior, donor)
    except (KeyError, ValueError) as error:
        raise FileNotValid(f"--donor {named}: {error}") from None


def content(told: WhatIf) -> dict[str, Any]:
    """Return the answer as ``--json`` prints it."""
    return {
        "patient": told.patient,
        "setting": told.setting,
        "week": float(told.weeks[-1]),
        "margin_pct": told.margin_pct,
        "weeks": told.weeks.tolist(),
        "drugs": [
            {
                "name": one.name,
                "improvement_pct": dict(
                    zip(("low", "median", "high"), one.improvement_pct, strict=True)
                ),
                "EASI75_probability": one.easi75_probability,
                "potency": one.potency,
                "drivers": [{"parameter": name, "rank_correlation": r} for name, r in one.drivers],
                "width_pct": one.width,
                "width_without_chip_pct": one.width_without_chip,
                "without_chip_pct": one.without_chip_pct
                and dict(zip(("low", "median", "high"), one.without_chip_pct, strict=True)),
                "EASI": dict(zip(("low", "median", "high"), one.easi.tolist(), strict=True)),
            }
            for one in told.forecasts
        ],
        "comparisons": [
            {
                "first": pair.first,
                "second": pair.second,
                "first_better": pair.probability,
                "second_better": pair.reverse,
                "without_chip": pair.without_chip
                and dict(zip(("first_better", "second_better"), pair.without_chip, strict=True)),
            }
            for pair in told.pairs
        ],
        "measurements": [
            {"name": name, "variance_share": share, "tied_with_first": name in told.tied}
            for name, share in told.measurements
        ],
        "applicability": told.applicability.as_json(),
        "warnings": list(told.warnings),
        "research_use_only": True,
    }


def show(told: WhatIf) -> None:
    """Print the answer."""
    print(f"{told.patient}, {told.setting}, week {told.weeks[-1]:g}; 90 % of what is possible")
    for one in told.forecasts:
        low, middle, high = one.improvement_pct
        print(
            f"  {one.name:<30} EASI falls by {middle:.0f} % ({low:.0f} to {high:.0f}); "
            f"EASI-75 {100 * one.easi75_probability:.0f} %"
        )
        if one.without_chip_pct is not None and one.width_without_chip is not None:
            low, middle, high = one.without_chip_pct
            print(
                f"      band {one.width:.0f} points; without the chips {one.width_without_chip:.0f}: "
                f"{middle:.0f} % ({low:.0f} to {high:.0f})"
            )
        print("      goes with " + ", ".join(f"{name} ({r:+.2f})" for name, r in one.drivers))
    for pair in told.pairs:
        print(
            f"  by {told.margin_pct:g} points or more: {pair.first} before {pair.second} "
            f"{100 * pair.probability:.0f} %, the other way {100 * pair.reverse:.0f} %"
        )
    if told.measurements:
        print("  would narrow it (share of the variance):")
        for name, share in told.measurements[:3]:
            tied = "   not told apart from the first" if name in told.tied else ""
            print(f"      {name:<30} {100 * share:.0f} %{tied}")
    print("\n".join(f"  {line}" for line in told.applicability.lines("this patient")))
