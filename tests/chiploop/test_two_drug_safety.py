"""With two drugs nothing unsafe is proposed either, and what one drug did or did not do opens nothing of another.

Belongs here: the whole way through ``campaign.propose``, and the rules at the wire, with harm known in closed form
for each drug. Not here: the same with one drug (test_proposal_safety).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from chiploop import next_exposure
from chiploop.campaign import POLICIES, propose
from chiploop.campaign_values import Campaign, Proposal
from chiploop.dosing import PumpProgramme, make_programme
from chiploop.errors import SafetyRefusal
from chiploop.inference.posterior import Misfit
from chiploop.measurement import Readout
from chiploop.models.inlet import ChipInlet
from chiploop.models.study_model import model_of
from chiploop.models.tissue_model import Simulation
from chiploop.next_exposure import prediction_table
from chiploop.record.actions import JournalTotals
from chiploop.safety import check_before_wire, newest_toxicity_h
from chiploop.study import Study
from chiploop.study_limits import concentration_limit_nm
from chiploop.toxicity_closures import Reopened, closures, still_allowed
from tests.chiploop.campaigns import PASSED, exact
from tests.chiploop.test_proposal_safety import highest, policies, rounded
from tests.chiploop.two_drugs import ABRO, AFTER_PILOT, FULL, PILOT_NM, TWO, UPA, fitted

DRAWS = 40
FIRES = Misfit(True, 0.01, 0.07, ("TEER lags behind",), {"TEER lags": 0.01})
DRUG_OF = {line: TWO.drug_of(line).name for line in TWO.line_ids}


@dataclass
class KnownHarm:
    """A model in which viability is 1 / (1 + dose / TC50 of the chip's drug)."""

    tc50: Mapping[str, np.ndarray]
    """Drug -> (draws,)."""
    rng: np.random.Generator

    def simulate(
        self, parameters: np.ndarray, inlets: Sequence[ChipInlet], times: np.ndarray, *_: Any, **__: Any
    ) -> Simulation:  # fmt: skip
        n, c, t = len(parameters), len(inlets), len(times)
        dose = np.array([inlet.inputs[:, 1].max() for inlet in inlets])
        known = set(
            TWO.chip_ids
        )  # the reference experiment's chips have other names, and harm nobody
        drugs = [
            DRUG_OF[TWO.line_of(inlet.chip_id).id] if inlet.chip_id in known else UPA
            for inlet in inlets
        ]
        tc50 = np.stack([self.tc50[drug][:n] for drug in drugs], axis=1)
        viability = 1.0 / (1.0 + dose / tc50)
        model = model_of(TWO)
        return Simulation(
            np.exp(0.3 * self.rng.standard_normal((n, c, t, len(model.readouts)))) * 100.0,
            np.ones((n, c, model.n_states)),
            np.repeat(viability[:, :, None], t, axis=2),
            0,
            0,
        )

    def risk(self, drug: str, nm: float, limit: float) -> float:
        return float(np.mean(~(1.0 / (1.0 + nm / self.tc50[drug]) >= limit)))


def some_study(rng: np.random.Generator) -> Study:
    """Return the study with other limits."""
    limits = TWO.limits.model_copy(
        update={
            "concentration_nm": 8000.0,
            "concentration_of_nm": {UPA: float(rng.choice([600.0, 2000.0, 4000.0]))},
            "fold_step": float(rng.choice([1.5, 4.0, 10.0])),
            "overdose_probability": float(rng.choice([0.1, 0.25])),
            "batch_risk_chips": rng.choice([None, 0.2, 0.75, 3.0]),
            "vehicle_lines": int(rng.choice([0, 1, 2])),
        }
    )
    return TWO.model_copy(update={"limits": limits})


def some_readouts(rng: np.random.Generator) -> tuple[list[Readout], dict[str, float]]:
    """Return releases of the pilot with harm on some chips, and drug -> the lowest dose of it that harmed."""
    harmed = set(rng.choice(TWO.chip_ids, size=int(rng.choice([0, 0, 1, 2])), replace=False))
    return releases(harmed), {
        drug: min(PILOT_NM[line] for line in lines)
        for drug in TWO.drugs
        if (
            lines := [TWO.line_of(c).id for c in harmed if DRUG_OF[TWO.line_of(c).id] == drug]
        )
    }  # fmt: skip


def releases(
    harmed: Sequence[str] | set[str], chips: Sequence[str] = TWO.chip_ids
) -> list[Readout]:
    return [
        Readout(
            chip, "ldh_release", 0.4 if chip in harmed else 0.02, "1", 0.01, "linear", 72.0, 48.0,
            cycle=1,
        )
        for chip in chips
    ]  # fmt: skip


def broken(
    study: Study,
    harm: KnownHarm,
    found: Proposal,
    harmed_nm: Mapping[str, float],
    read_nm: Mapping[str, float],
    doubt: bool,
) -> list[str]:
    """Return what a proposal breaks, worked out without the rules, each line by its own drug alone."""
    limits, wrong, expected = study.limits, [], 0.0
    budget = limits.batch_risk_chips or limits.overdose_probability * 3
    top_nm = {UPA: limits.concentration_of_nm[UPA], ABRO: limits.concentration_nm}
    for dose in found.doses:
        nm, drug = dose.delivered_nm, DRUG_OF[dose.line]
        stocks = [step.stock for step in dose.programme.steps if step.stock != "stimulus"]
        if any(study.stocks[stock].drug != drug for stock in stocks):
            wrong.append(f"{dose.line}: {stocks}")
        if nm == 0.0:
            continue
        risk = harm.risk(drug, nm, limits.viability)
        expected += risk * len(dose.chips)
        if risk > limits.overdose_probability + 1e-9 or dose.risk != pytest.approx(risk):
            wrong.append(f"{dose.line}: risk {risk}, told {dose.risk}")
        if max(nm, dose.asked_nm) > top_nm[drug] * (1 + 1e-9):
            wrong.append(f"{dose.line}: {nm} nM")
        if nm > limits.fold_step * read_nm[drug] * (1 + 1e-9):
            wrong.append(f"{dose.line}: step to {nm} nM over {read_nm[drug]}")
        if drug in harmed_nm:
            clean = max(
                (x for line, x in PILOT_NM.items() if DRUG_OF[line] == drug and x < harmed_nm[drug]),
                default=0.0,
            )  # fmt: skip
            if nm > clean * 1.02:
                wrong.append(f"{dose.line}: {nm} nM right after harm at {harmed_nm[drug]} nM")
        if doubt and nm > read_nm[drug] * 1.02:
            wrong.append(f"{dose.line}: step to {nm} nM with a model in doubt")
    if expected > budget * (1 + 1e-6):
        wrong.append(f"{expected} chips are expected to be harmed, {budget} accepted")
    vehicles = sum(dose.delivered_nm == 0.0 for dose in found.doses)
    if vehicles < min(limits.vehicle_lines, len(found.doses)):
        wrong.append(f"{vehicles} lines without drug")
    return wrong


@pytest.mark.parametrize("cases", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_posterior_of_two_drugs_brings_an_unsafe_dose_into_a_proposal(
    cases: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_exposure, "DRAWS", DRAWS)
    monkeypatch.setattr(next_exposure, "CANDIDATES_PER_DECADE", 4)
    rng = np.random.default_rng(21)
    base, model = fitted(), model_of(TWO)
    assert base.posterior is not None
    happened: Counter[str] = Counter()
    for name, policy in policies(rng).items():
        monkeypatch.setitem(POLICIES, name, policy)
    for case in range(cases):
        study, (readouts, harmed_nm) = some_study(rng), some_readouts(rng)
        harm = KnownHarm(
            {
                drug: np.exp(rng.uniform(np.log(30.0), np.log(3e5)))
                * np.exp(float(rng.choice([0.05, 0.5, 1.5])) * rng.standard_normal(DRAWS))
                for drug in TWO.drugs
            },
            rng,
        )
        monkeypatch.setattr(model, "simulate", harm.simulate)
        doubt = bool(rng.random() < 0.25)
        read_nm = {drug: float(rng.choice([60.0, 240.0, 1920.0])) for drug in TWO.drugs}
        now = replace(
            base,
            study=study,
            posterior=replace(
                base.posterior,
                particles=base.posterior.particles[:DRAWS],
                standard=base.posterior.standard[:DRAWS],
            ),
            readouts=(*(r for r in base.readouts if r.readout != "ldh_release"), *readouts),
            highest_read_nm=max(read_nm.values()),
            highest_read_of_nm=read_nm,
            info=replace(PASSED, misfit=FIRES if doubt else None),
        )
        policy = str(rng.choice(["any", "highest", "rogue"]))
        try:
            found = propose(
                now, rounded if rng.random() < 0.5 else exact, FULL, AFTER_PILOT, rng, policy=policy,
                without_lines=["L2"] if rng.random() < 0.2 else [],
            )  # fmt: skip
        except SafetyRefusal:
            happened["refused"] += 1
            assert policy == "rogue" or study.limits.vehicle_lines or doubt
            continue
        wrong = broken(study, harm, found, harmed_nm, read_nm, doubt)
        assert not wrong, (case, policy, wrong)
        happened["both drugs"] += len({DRUG_OF[d.line] for d in found.doses if d.delivered_nm}) == 2
        happened["harm of one"] += len(harmed_nm) == 1
        happened["doubt"] += found.policy == "spread_out"
        happened["one goes higher"] += any(
            d.delivered_nm > study.limits.fold_step * min(read_nm.values()) for d in found.doses
        )
        assert (found.policy == "spread_out") == doubt
    for what in ("refused", "both drugs", "harm of one", "doubt", "one goes higher"):
        assert happened[what] > 0.02 * cases, f"{what} hardly ever happened: the test says little"


# --- what one drug did opens nothing of the other


def allowed_of(campaign: Campaign, reopened: Sequence[Reopened] = ()) -> dict[str, list[float]]:
    """Return line -> the doses that may be given to it."""
    study = campaign.study
    table, _ = prediction_table(
        campaign, study.lines, exact, FULL, AFTER_PILOT, np.random.default_rng(0), set(), None
    )
    closed = closures(study, campaign.schedules, campaign.readouts, campaign.cycle, reopened)
    allowed, _ = still_allowed(table, closed, reopened, DRUG_OF)
    return {
        line: [p.asked_nm for p, ok in zip(own, may, strict=True) if ok]
        for line, own, may in zip(table.lines, table.programmes, allowed, strict=True)
    }


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Campaign:
    monkeypatch.setattr(next_exposure, "DRAWS", 48)
    monkeypatch.setattr(next_exposure, "CANDIDATES_PER_DECADE", 4)
    return fitted()


def with_release(campaign: Campaign, harmed: Sequence[str]) -> Campaign:
    kept = [r for r in campaign.readouts if r.readout != "ldh_release"]
    return replace(campaign, readouts=(*kept, *releases(harmed)))


def test_harm_of_one_drug_closes_its_own_doses_on_all_its_lines_and_none_of_the_other(
    usual: Campaign,
) -> None:
    before = allowed_of(with_release(usual, []))
    for chip, own, other in (
        ("C04", ("L1", "L2"), ("L3", "L4")),
        ("C10", ("L3", "L4"), ("L1", "L2")),
    ):
        after = allowed_of(with_release(usual, [chip]))
        harmed_nm = PILOT_NM[TWO.line_of(chip).id]
        assert all(max(after[line]) < harmed_nm <= max(before[line]) for line in own)
        assert all(after[line] == before[line] for line in other)


def test_reopening_one_drug_leaves_the_other_closed(usual: Campaign) -> None:
    # a cycle later, so that the doses themselves are closed and a step up is not
    old = TWO.limits.model_copy(update={"readout_age_h": 99.0})
    study = TWO.model_copy(update={"limits": old})
    harmed = replace(with_release(usual, ["C04", "C10"]), cycle=2, study=study)
    both = allowed_of(harmed)
    for drug, own, other in ((UPA, "L2", "L4"), (ABRO, "L4", "L2")):
        open_again = allowed_of(harmed, [Reopened(8000.0, 90.0, drug=drug)])
        assert max(open_again[own]) > max(both[own])
        assert open_again[other] == both[other]
    assert allowed_of(harmed, [Reopened(8000.0, 90.0)]) == both, "one that names no drug"


def test_a_high_dose_of_one_drug_that_was_read_lets_the_other_step_no_higher(
    usual: Campaign,
) -> None:
    low = replace(usual, highest_read_of_nm={UPA: 60.0, ABRO: 240.0})
    high = replace(usual, highest_read_of_nm={UPA: 60.0, ABRO: 1920.0})
    assert max(allowed_of(low)["L1"]) <= 4 * 60.0
    assert allowed_of(low)["L1"] == allowed_of(high)["L1"]
    assert max(allowed_of(low)["L3"]) <= 4 * 240.0 < max(allowed_of(high)["L3"])
    never = replace(usual, highest_read_of_nm={ABRO: 1920.0})
    assert set(allowed_of(never)["L1"]) <= {0.0}, "what was never read has no step"


def test_the_campaign_learns_the_highest_dose_of_each_drug_from_its_own_chips(
    usual: Campaign,
) -> None:
    assert usual.highest_read_of_nm == pytest.approx({UPA: 480.0, ABRO: 1920.0})
    found = [usual.highest_read(line) for line in TWO.line_ids]
    assert found == pytest.approx([480.0, 480.0, 1920.0, 1920.0])


def test_toxicity_of_one_drugs_chips_is_no_readout_of_the_other(usual: Campaign) -> None:
    upa_chips = [chip for line in TWO.lines_of(UPA) for chip in line.chips]
    only_upa = releases([], upa_chips)
    assert newest_toxicity_h(TWO, only_upa, "L1") == 72.0
    assert newest_toxicity_h(TWO, only_upa, "L3") is None
    with pytest.raises(ValueError, match="name the line"):
        newest_toxicity_h(TWO, only_upa)
    kept = [r for r in usual.readouts if r.chip_id in upa_chips]
    allowed = allowed_of(replace(usual, readouts=tuple(kept)))
    assert max(allowed["L1"]) > 60.0
    assert max(allowed["L3"], default=0.0) == 0.0, "no toxicity readout, no drug"


# --- at the wire


def at_wire(line: str, nm: float, **totals: Any) -> str:
    """Return why a dose is refused at the wire; empty where it is not."""
    known = replace(AFTER_PILOT, **totals)
    programme = make_programme(TWO, line, "dose", nm, 48.0, exact, FULL)
    return refusal(programme, known)


def refusal(programme: PumpProgramme, totals: JournalTotals) -> str:
    try:
        check_before_wire(TWO, programme, totals, 76.0, 72.0)
    except SafetyRefusal as refused:
        return str(refused)
    return ""


def test_the_wire_knows_each_drugs_limit_first_doses_and_steps() -> None:
    assert at_wire("L1", 1900.0) == ""
    assert "4.17 times the highest dose delivered (480 nM)" in at_wire("L1", 2000.0)
    assert at_wire("L3", 7000.0) == ""
    assert "only the first doses (60, 480 nM)" in at_wire(
        "L1", 240.0, highest_dose_of_nm={"L3": 240.0}
    )
    assert at_wire("L1", 480.0, highest_dose_of_nm={}) == ""
    assert concentration_limit_nm(TWO, UPA) == 4000.0
    limit = replace(make_programme(TWO, "L3", "dose", 5000.0, 48.0, exact, FULL), line="L1")
    assert "above the limit of 4000 nM" in refusal(limit, AFTER_PILOT)


def test_a_stock_of_another_drug_is_refused_at_the_wire_whatever_the_concentration() -> None:
    programme = make_programme(TWO, "L3", "dose", 100.0, 48.0, exact, FULL)
    steps = tuple(replace(step, pump=f"L1-{step.stock}") for step in programme.steps)
    refused = refusal(replace(programme, line="L1", steps=steps), AFTER_PILOT)
    assert (
        "L1-abro_low holds abro_low, which is no stock of upadacitinib, the drug of line L1"
        in refused
    )


def test_the_highest_policy_takes_each_drug_as_high_as_it_may_go(
    usual: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLICIES, "highest", highest)
    found = propose(usual, exact, FULL, AFTER_PILOT, np.random.default_rng(0), policy="highest")
    assert found.drug == f"{UPA}, {ABRO}"
    top = {dose.line: dose.asked_nm for dose in found.doses}
    assert top["L1"] <= 1920.0 < top["L3"] <= 7680.0
