"""``chiploop twin trial``: a trial on virtual patients. Reads no file but, where asked, a posterior."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chiploop.errors import FileNotValid, FitNotAccepted, WrongUse
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.inference.posterior import Posterior
    from chiploop.twin.drug_effect import PotencyDraws
    from chiploop.twin.drug_facts import DrugFacts

POSTERIOR = typer.Option(
    [],
    "--posterior",
    metavar="DRUG=RUN",
    help="Folder of a run whose chips told the drug's potency, or its posterior.nc; may be repeated. The run must "
    "have given this drug and its calibration have passed. Default: the drug's prior.",
)


def trial(
    arms: str = typer.Option(
        ..., "--arms", help="Arms, e.g. placebo,dupilumab,upadacitinib:30mg.", metavar="A,B,..."
    ),
    setting: str = typer.Option("monotherapy", "--setting", help="monotherapy or topicals."),
    patients: int = typer.Option(
        10_000, "--patients", help="Virtual patients, the same in every arm."
    ),
    week: float = typer.Option(16.0, "--week", help="Week of the endpoint."),
    seed: int = typer.Option(1, "--seed", min=0, help="Of everything random."),
    decoy: str = typer.Option(
        "published", "--decoy", help="Factor of tralokinumab: published or calibrated."
    ),
    posterior: list[str] = POSTERIOR,
    as_json: bool = JSON_OPTION,
) -> None:
    """Run a trial on virtual patients with atopic dermatitis; every arm has the same ones.

    Research use only; not for clinical decisions. The interval is 95 % of EASI-75: number of virtual patients
    and what the drug's potency leaves open, not whether the model is right; for that see docs/twin_trials.md.
    Exit code 2 for arms, setting or numbers that are not possible, 3 for a posterior that can not be read or is
    of another drug, 6 for one whose calibration failed.
    With --json: {"ok", "arms": {arm: {"EASI50_pct", "EASI75_pct", "EASI90_pct", "mean_pct_EASI_improvement",
    "interval"}}, "setting", "patients", "week", "seed", "potency": {arm: "prior" or the file}, "decoy",
    "applicability": {"verdict", "aspects": [{"aspect", "verdict", "reason"}]}, "research_use_only"}.
    """
    from chiploop.twin import RESEARCH_USE
    from chiploop.twin.applicability import of_virtual_patients
    from chiploop.twin.fitted_terms import DECOY_FACTORS
    from chiploop.twin.trial import as_json as arms_as_json
    from chiploop.twin.trial import run_trial

    if decoy not in DECOY_FACTORS:
        raise WrongUse(f"--decoy {decoy!r} is not known; known: {', '.join(DECOY_FACTORS)}")
    names = [name.strip() for name in arms.split(",") if name.strip()]
    potencies = potencies_of(posterior)
    found = run_trial(names, setting, patients, week, seed, potencies, decoy)
    holds = of_virtual_patients(names, setting)
    if as_json:
        print_json(
            {
                "ok": True,
                "arms": arms_as_json(found),
                "setting": setting,
                "patients": patients,
                "week": week,
                "seed": seed,
                "potency": {arm.name: arm.potency for arm in found if arm.potency},
                "decoy": decoy,
                "applicability": holds.as_json(),
                "research_use_only": True,
            }
        )
        return
    print(f"{patients} virtual patients, {setting}, week {week:g}")
    print(
        f"{'arm':<22}{'EASI-50':>9}{'EASI-75':>9}{'95 %':>15}{'EASI-90':>9}{'mean fall':>11}  potency"
    )
    for arm in found:
        shares = arm.outcome.responders_pct
        low, high = arm.interval_pct
        print(
            f"{arm.name:<22}{shares[50]:>8.1f}%{shares[75]:>8.1f}%{f'{low:.1f} to {high:.1f}':>15}"
            f"{shares[90]:>8.1f}%{arm.outcome.mean_improvement_pct:>10.1f}%  {arm.potency or '-'}"
        )
    print("\n".join(holds.lines("these arms")))
    print(RESEARCH_USE)


def potencies_of(named: list[str]) -> dict[str, PotencyDraws]:
    """Return the potency of each drug whose posterior is named.

    Raises
    ------
    WrongUse
        For a name that is not DRUG=RUN or a drug that the twin does not know.
    FileNotValid
        Where the run can not be read or was of another drug.
    FitNotAccepted
        Where the run's calibration failed.
    """
    from chiploop.twin.drug_effect import chip_potency
    from chiploop.twin.drug_facts import drug_of_arm

    found = {}
    for one in named:
        drug, _, path = one.partition("=")
        if not path:
            raise WrongUse(f"--posterior {one!r}: write DRUG=RUN")
        arm = drug_of_arm(drug)
        if arm is None or ":" in drug:
            raise WrongUse(f"--posterior {one!r}: DRUG is the name of a drug, without a dose")
        file = posterior_file(Path(path))
        posterior = accepted_posterior(file, f"--posterior {one}")
        check_drug(file, arm[0], f"--posterior {one}")
        try:
            own = drug if posterior.drugs.drugs else ""
            found[drug] = chip_potency(posterior, own, path)
        except (KeyError, ValueError) as error:
            raise FileNotValid(f"--posterior {one}: {error}") from None
    return found


def accepted_posterior(file: Path, asked: str) -> Posterior:
    """Return a posterior whose calibration passed; FileNotValid or FitNotAccepted for any other."""
    from chiploop.record.posterior_file import read_posterior

    try:
        posterior, info = read_posterior(file)
    except (OSError, KeyError, ValueError) as error:
        raise FileNotValid(f"{asked}: {error}") from None
    if not info.passed:
        raise FitNotAccepted(
            f"{asked}: the calibration in {file} failed ({'; '.join(info.failures) or 'no reason noted'}); "
            "a twin takes nothing from it"
        )
    return posterior


def check_drug(file: Path, drug: DrugFacts, asked: str) -> None:
    """Refuse a posterior whose run gave another drug, or one of another kind, to its chips; FileNotValid."""
    from chiploop.study import STUDY_FILE
    from chiploop.twin.donor_patient import is_of_kind

    # a run's study stands beside its cycles' folders; beside the posterior where both were copied
    study = next(
        (p / STUDY_FILE for p in file.resolve().parents[:2] if (p / STUDY_FILE).is_file()), None
    )
    if study is None:
        raise FileNotValid(
            f"{asked}: no {STUDY_FILE} beside {file} or one folder up, so which drug its chips were given is not "
            f"known and can not be compared with {drug.name}; name the folder of the run"
        )
    try:
        facts = json.loads(study.read_text(encoding="utf-8"))
        given = {
            one["name"]: one["drug_class"]
            for one in [facts["drug"], *facts.get("further_drugs", [])]
        }
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FileNotValid(
            f"{asked}: {study} does not say which drug was given: {error!r}"
        ) from None
    if drug.name not in given:
        raise FileNotValid(
            f"{asked}: {drug.name} was asked for, but the chips of this run were given "
            f"{', '.join(given)} ({study})"
        )
    if not is_of_kind(drug, given[drug.name]):
        raise FileNotValid(
            f"{asked}: {drug.name} is of the kind {drug.kind}, but the run's {drug.name} is of the class "
            f"{given[drug.name]!r} ({study}): its concentration of half effect is another quantity"
        )


def posterior_file(path: Path) -> Path:
    """Return the last posterior of a run's folder, or the file itself; FileNotValid where a folder has none."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("cal-*/posterior.nc"))
    if not found:
        raise FileNotValid(
            f"{path} holds no cal-*/posterior.nc; name the folder of a run with a fit"
        )
    return found[-1]
