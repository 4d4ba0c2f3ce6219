"""A study as a PEtab problem: the same objective, what is left out, what is refused."""

from __future__ import annotations

import csv
import dataclasses
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.prior import Prior
from chiploop.inference.scatter import Scatter
from chiploop.inference.target import Target
from chiploop.models.facts import DonorSpread
from chiploop.models.inlet import ChipInlet
from chiploop.models.petab_export import ExportedProblem, petab_export
from chiploop.models.petab_export_files import write_problem
from chiploop.models.petab_export_parameters import Names
from chiploop.models.petab_export_readme import notices
from chiploop.models.petab_export_segments import collected, cut, segments_of
from chiploop.models.petab_import import petab_import
from chiploop.models.petab_problem import PetabProblem, read_problem
from chiploop.models.petab_simulation import RoadRunnerSimulator
from chiploop.models.petab_tables import library_problem
from chiploop.models.tissue_model import TissueModel
from tests.chiploop.models.petab_export_study import (
    NO_SCATTER,
    RTOL,
    SCATTER,
    censored,
    inlets,
    likelihood_of,
    log_density_of_effects,
    log_prior,
    model,
    prior_of,
    put,
    readouts,
    vectors,
)
from tests.chiploop.models.sbml_texts import formula, sbml

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")


@dataclass(frozen=True)
class Case:
    """A study, and its problem as it was written and read again."""

    likelihood: Likelihood
    prior: Prior
    exported: ExportedProblem
    path: Path
    problem: PetabProblem

    def chiploop(self, z: np.ndarray) -> float:
        """Return chiploop's own log posterior of one vector."""
        return float(Target(self.likelihood, self.prior).log_density(z[None])[0])

    def from_petab(self, z: np.ndarray, effects: np.ndarray) -> float:
        """Return the same from the exported problem: objective, effects integrated out, constants."""
        values = self.exported.values(z, effects)
        objective = self.problem.evaluate(values).llh + log_prior(self.path, values)
        integrated = objective - log_density_of_effects(self.problem, self.exported, values)
        return integrated + self.exported.measurement_constant + self.exported.log_slope(z)


def case_of(folder: Path, likelihood: Likelihood, prior: Prior) -> Case:
    exported = petab_export(likelihood, prior)
    path = write_problem(folder, exported)[0]
    return Case(likelihood, prior, exported, path, read_problem(path, RTOL))


@pytest.fixture(scope="module")
def skin() -> TissueModel:
    return model()


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, skin: TissueModel) -> Case:
    """The whole study: donors, dose errors, shared effects."""
    return case_of(
        tmp_path_factory.mktemp("petab"), likelihood_of(skin, readouts()), prior_of(skin)
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_objective_is_that_of_chiploop_at_every_vector_and_whatever_the_effects(
    case: Case,
) -> None:
    assert case.problem.simulator.engine == "chiploop"
    assert len(case.exported.effects) > 10
    own = []
    for z, effects in vectors(case.exported, 5):
        own.append(case.chiploop(z))
        assert case.from_petab(z, effects) == pytest.approx(own[-1], abs=1e-5)
    assert np.ptp(own) > 10.0  # it is no constant that agrees with itself


def test_without_scatter_the_objective_is_that_of_chiploop_at_once(
    tmp_path: Path, skin: TissueModel
) -> None:
    prior = Prior.of(skin.estimated)
    likelihood = likelihood_of(skin, readouts(curve=False), NO_SCATTER)
    case = case_of(tmp_path, likelihood, prior)
    assert not case.exported.effects
    assert len(case.exported.parameters) == len(prior.specs)
    for z, _ in vectors(case.exported, 3):
        values = case.exported.values(z)
        objective = case.problem.evaluate(values).llh + log_prior(case.path, values)
        gap = case.exported.measurement_constant + case.exported.log_slope(z)
        assert objective + gap == pytest.approx(case.chiploop(z), abs=1e-5)


def test_the_gap_is_a_constant_unless_a_prior_is_truncated(case: Case) -> None:
    by_hand = 0.0
    prior = case.prior
    for spec in prior.specs:
        by_hand += np.log(spec.spread) if spec.kind == "lognormal" else 0.0
    by_hand += sum(np.log(spread.ln_sd) for spread in prior.donor_spreads)
    by_hand += len(case.exported.unknowns.lines) * np.log(prior.dose_sd)
    truncated = [j for j, spec in enumerate(prior.specs) if spec.kind != "lognormal"]
    assert len(truncated) == 3
    for z, _ in vectors(case.exported, 3):
        _, slopes = prior.mapped(z[: len(prior.specs)])
        expected = by_hand + np.log(slopes[truncated]).sum()
        assert case.exported.log_slope(z) == pytest.approx(expected, abs=1e-10)


def test_what_the_bounds_cut_off_is_the_stated_constant(case: Case) -> None:
    from scipy.stats import norm

    (z, effects), *_ = vectors(case.exported, 1)
    values = case.exported.values(z, effects)
    untruncated = 0.0
    for row in table(case.path.parent / "parameters.tsv"):
        mean, sd = (float(n) for n in row["objectivePriorParameters"].split(";"))
        value = values[row["parameterId"]]
        on_scale = np.log(value) if row["parameterScale"] == "log" else value
        untruncated += norm.logpdf(on_scale, mean, sd)
    cut_off = case.exported.truncation_constant
    assert cut_off > 0.1
    assert untruncated + cut_off == pytest.approx(log_prior(case.path, values), abs=1e-9)


def test_libroadrunner_and_the_petab_library_find_the_same_likelihood(case: Case) -> None:
    import pandas as pd
    import petab.v1 as petab

    problem = case.problem
    names = sorted(set().union(*(each.names() for each in problem.observables.values())))
    runner = RoadRunnerSimulator(problem.tables.model, names, 1e-10)
    other = dataclasses.replace(problem, simulator=runner)
    library = library_problem(case.path)
    for z, effects in vectors(case.exported, 2, 0.3):
        values = case.exported.values(z, effects)
        found = other.evaluate(values)
        assert problem.evaluate(values).llh == pytest.approx(found.llh, abs=1e-4)
        parameters = library.parameter_df.copy()
        parameters["nominalValue"] = [values[str(name)] for name in parameters.index]
        llh = petab.calculate_llh(
            library.measurement_df,
            pd.DataFrame(list(found.simulations)),
            library.observable_df,
            parameters,
        )
        assert llh == pytest.approx(found.llh, abs=1e-6)


def test_every_chip_is_simulated_as_chiploop_does(case: Case, skin: TissueModel) -> None:
    (z, _), *_ = vectors(case.exported, 1)
    target = Target(case.likelihood, case.prior)
    predicted = target.predicted(z[None])[0]
    found = case.problem.evaluate(case.exported.values(z))
    seen = {}
    for row, shown in zip(case.exported.measurements, found.simulations, strict=True):
        seen[row.observable.split("_")[1], row.chip, row.time_h, row.value] = shown["simulation"]
    assert len(seen) == len(case.likelihood.used)
    for readout, own in zip(case.likelihood.used, predicted, strict=True):
        key = (readout.readout.split("_")[0], readout.chip_id, readout.time_h, readout.value)
        assert seen[key] == pytest.approx(own, rel=1e-6, abs=1e-9), key


def test_the_sbml_alone_simulates_the_first_chip(case: Case, skin: TissueModel) -> None:
    import roadrunner

    runner = roadrunner.RoadRunner((case.path.parent / "model.xml").read_text("utf-8"))
    runner.getIntegrator().setValue("relative_tolerance", 1e-10)
    runner.timeCourseSelections = ["time", "TEER", "D_in"]
    course = np.asarray(runner.simulate(times=[0.0, 24.0, 48.0, 72.0]))
    median = case.prior.parameters(np.zeros((1, len(case.prior.specs))))
    own = skin.simulate(median, inlets("A"), np.array([24.0, 48.0, 72.0])).readouts[0, 0, :, 0]
    assert course[1:, 1] == pytest.approx(own, rel=1e-6)
    assert course[:, 2].tolist() == [0.0, 0.0, 100.0, 0.0]


def test_conditions_hold_what_chips_differ_in_and_nothing_else(case: Case) -> None:
    rows = table(case.path.parent / "conditions.tsv")
    assert [row["conditionId"] for row in rows] == ["A", "B", "C", "D"]
    assert [row["phi"] for row in rows] == ["1.0", "1.0", "0.5", "0.5"]
    assert [row["dose_factor"] for row in rows] == [
        f"dose_factor_of_{line}" for line in ("L1", "L2", "L1", "L2")
    ]
    first, _, third, _ = [row["EC13_deviation"] for row in rows]
    assert first != third  # two donors whose ids look alike are two
    for name in rows[0]:
        if name != "conditionName":
            assert len({row[name] for row in rows}) > 1, name


def test_an_observable_hangs_on_no_time_for_one_chip(case: Case) -> None:
    cells: dict[tuple[str, str], set[str]] = {}
    for row in table(case.path.parent / "measurements.tsv"):
        key = (row["observableId"], row["simulationConditionId"])
        cells.setdefault(key, set()).add(row["observableParameters"])
    assert {len(found) for found in cells.values()} == {1}


def test_censored_and_failed_readouts_are_left_out_and_listed(
    tmp_path: Path, skin: TissueModel
) -> None:
    read = readouts()
    at = [i for i, r in enumerate(read) if r.readout == "CCL26"][:2]
    for i in at:
        read[i] = censored(read[i])
    failed = replace(read[0], qc="fail", reasons=("air in the chip",))
    whole = likelihood_of(skin, [*read[1:]])
    exported = petab_export(whole, prior_of(skin), [failed])
    files = {path.name for path in write_problem(tmp_path, exported)}
    assert {"censored.tsv", "failed.tsv"} <= files
    rows = table(tmp_path / "censored.tsv")
    assert [(row["chip"], row["censoring"], row["upper"]) for row in rows] == [
        (read[i].chip_id, "left", "20.0") for i in at
    ]
    (row,) = table(tmp_path / "failed.tsv")
    assert (row["qc"], row["reasons"]) == ("fail", "air in the chip")
    told = notices(exported)
    assert len(told) == 2 and "2 censored" in told[0] and "no censoring" in told[0]
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert all(one in page for one in told)
    # the objective is that of a study that never had them
    exact = likelihood_of(skin, [r for r in read[1:] if r.censoring == "none"])
    case = Case(exact, prior_of(skin), exported, tmp_path / "problem.yaml",
                read_problem(tmp_path / "problem.yaml", RTOL))  # fmt: skip
    (z, effects), *_ = vectors(exported, 1)
    assert case.from_petab(z, effects) == pytest.approx(case.chiploop(z), abs=1e-5)
    # a folder that is written again does not keep what no longer holds
    write_problem(tmp_path, petab_export(exact, prior_of(skin)))
    assert not (tmp_path / "censored.tsv").exists()


def test_a_chip_and_a_donor_without_readouts_leave_no_trace(
    tmp_path: Path, skin: TissueModel
) -> None:
    read = [r for r in readouts() if r.chip_id in "AB"]
    case = case_of(tmp_path, likelihood_of(skin, read), prior_of(skin))
    assert case.exported.chips == ("A", "B")
    titles = [row["parameterName"] for row in table(tmp_path / "parameters.tsv")]
    assert [title for title in titles if title.endswith("of donor D-1")]
    assert not [title for title in titles if title.endswith("of donor D_1")]
    (z, effects), *_ = vectors(case.exported, 1)
    assert case.from_petab(z, effects) == pytest.approx(case.chiploop(z), abs=1e-5)


def test_a_spread_between_donors_that_is_known_exactly_is_not_estimated(
    tmp_path: Path, skin: TissueModel
) -> None:
    known = DonorSpread("EC13", 0.2, 0.0)
    prior = Prior.of(skin.estimated, [known, *skin.donor_spreads[1:]], 0.0)
    case = case_of(tmp_path, likelihood_of(skin, readouts()), prior)
    names = [one.name for one in case.exported.parameters]
    assert "EC13_spread" not in names and "IC50_spread" in names
    assert not [name for name in names if name.startswith("dose_factor")]
    (z, effects), *_ = vectors(case.exported, 1)
    assert case.from_petab(z, effects) == pytest.approx(case.chiploop(z), abs=1e-5)


REACTIONS = """
model reactions
  compartment c = 30
  species S in c, V in c, W in c
  Q = 60; S_in = 0; D_in = 0; h = 2; c2 = 1
  S = 1; V = 1; W = 0
  feed: -> S; Q*S_in
  out: S -> ; Q*S + c*c2*D_in*S
  death: V -> ; c*0.001*S*V
  W' = 0.02*S^h - 0.1*W
  TEER := 80 + 1000*V/(1 + W)
end
"""
REACTIONS_FACTS = """
model: reactions
inputs: {flow_rate_ul_h: Q, drug_nm: D_in}
stimuli: {IL-4: {input: S_in, molar_mass: 15 kDa}}
chip: {channel_volume_ul: c}
readouts:
  TEER: {symbol: TEER, kind: moment, unit: ohm*cm2, scale: log}
  ldh_release: {symbol: V, kind: window_loss, unit: "1", scale: linear}
  IL-8: {symbol: S, kind: window_mean, unit: pg/mL, scale: log}
viability: V
estimated:
  h: {kind: lognormal, median: 2, ln_sd: 0.3, unit: "1"}
  c2: {kind: lognormal, median: 1, ln_sd: 0.5, unit: "1"}
"""


def test_a_model_of_reactions_in_compartments_that_chips_set_is_exported(tmp_path: Path) -> None:
    text = tmp_path / "reactions.ant"
    text.write_text(REACTIONS, encoding="utf-8")
    text.with_suffix(".yaml").write_text(REACTIONS_FACTS, encoding="utf-8")
    own = TissueModel("reactions", text, RTOL)
    edges = np.array([0.0, 5.0, 30.0])
    given = np.array([[60.0, 0.0, 2.0], [60.0, 0.5, 2.0]])
    chips = [
        ChipInlet(c, edges, given, {"channel_volume_ul": v}) for c, v in (("S", 20.0), ("T", 40.0))
    ]
    kinds = {"TEER": "TEER", "CCL26": "IL-8", "ldh_release": "ldh_release"}
    read = [
        replace(r, chip_id=chip, readout=kinds[r.readout])
        for chip in "ST"
        for r in readouts("A", curve=False)
        if r.time_h <= 30.0
    ]
    likelihood = Likelihood(own, chips, {"S": "d", "T": "d"}, read, NO_SCATTER)
    case = case_of(tmp_path / "out", likelihood, Prior.of(own.estimated))
    rows = table(tmp_path / "out" / "conditions.tsv")
    assert [row["c"] for row in rows] == ["20.0", "40.0"]
    # AMICI would rename h
    assert [one.name for one in case.exported.parameters] == ["h_value", "c2"]
    for z, effects in vectors(case.exported, 2):
        assert case.from_petab(z, effects) == pytest.approx(case.chiploop(z), abs=1e-5)


LOCAL = f"""
<listOfCompartments><compartment id="C" size="30"/></listOfCompartments>
<listOfSpecies><species id="S" compartment="C" initialConcentration="1"/></listOfSpecies>
<listOfParameters><parameter id="Q" value="60"/><parameter id="S_in" value="0"/>
 <parameter id="V" value="1" constant="false"/><parameter id="TEER" constant="false"/></listOfParameters>
<listOfRules>
 <rateRule variable="V">{formula("<apply><times/><cn>-0.01</cn><ci>V</ci></apply>")}</rateRule>
 <assignmentRule variable="TEER">
  {formula("<apply><divide/><cn>900</cn><apply><plus/><cn>1</cn><ci>S</ci></apply></apply>")}
 </assignmentRule></listOfRules>
<listOfReactions>
 <reaction id="feed" reversible="false"><listOfProducts><speciesReference species="S"/></listOfProducts>
  <kineticLaw>{formula("<apply><times/><ci>Q</ci><ci>S_in</ci></apply>")}</kineticLaw></reaction>
 <reaction id="R" reversible="false"><listOfReactants><speciesReference species="S"/></listOfReactants>
  <kineticLaw>{formula("<apply><times/><ci>C</ci><ci>k</ci><ci>S</ci></apply>")}
  <listOfParameters><parameter id="k" name="R_k" value="0.3"/></listOfParameters></kineticLaw></reaction>
</listOfReactions>
"""
LOCAL_FACTS = """
model: local
inputs: {flow_rate_ul_h: Q}
stimuli: {IL-4: {input: S_in, molar_mass: 15 kDa}}
readouts: {TEER: {symbol: TEER, kind: moment, unit: ohm*cm2, scale: log}}
viability: V
estimated:
  R_k: {kind: lognormal, median: 0.3, ln_sd: 0.4, unit: 1/h}
  C: {kind: lognormal, median: 30, ln_sd: 0.2, unit: uL}
between_donors: {R_k: {sd: 0.2, ln_sd: 0.3}}
"""


@pytest.mark.parametrize("level", [(2, 4), (3, 1)])
def test_a_constant_of_a_reaction_and_a_compartment_are_estimated_too(
    tmp_path: Path, level: tuple[int, int]
) -> None:
    body = LOCAL
    if level[0] == 3:
        body = body.replace('<parameter id="k"', '<localParameter id="k"')
        body = body.replace("listOfParameters></kinetic", "listOfLocalParameters></kinetic")
        body = body.replace("<listOfParameters><localP", "<listOfLocalParameters><localP")
        body = body.replace('reversible="false"', 'reversible="false" fast="false"')
        body = body.replace('species="S"/>', 'species="S" stoichiometry="1" constant="true"/>')
        body = body.replace('value="60"', 'value="60" constant="true"')
        body = body.replace('id="S_in" value="0"', 'id="S_in" value="0" constant="true"')
        body = body.replace('size="30"', 'size="30" spatialDimensions="3" constant="true"')
        more = 'hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"'
        body = body.replace('initialConcentration="1"', f'initialConcentration="1" {more}')
    text = tmp_path / "local.xml"
    text.write_text(sbml(body, *level), encoding="utf-8")
    text.with_suffix(".yaml").write_text(LOCAL_FACTS, encoding="utf-8")
    own = TissueModel("local", text, RTOL)
    given = np.array([[60.0, 0.0], [60.0, 0.5], [20.0, 0.0]])
    chips = [ChipInlet(c, np.array([0.0, 5.0, 20.0, 80.0]), given, {}) for c in "AC"]
    read = [r for r in readouts("AC") if r.readout == "TEER"]
    likelihood = Likelihood(own, chips, {"A": "one", "C": "two"}, read, SCATTER)
    case = case_of(tmp_path / "out", likelihood, Prior.of(own.estimated, own.donor_spreads))
    names = [one.name for one in case.exported.parameters][:3]
    assert names == ["R_k_population", "C_value", "R_k_spread"]
    for z, effects in vectors(case.exported, 2):
        assert case.from_petab(z, effects) == pytest.approx(case.chiploop(z), abs=1e-5)
    again = petab_import(case.path)
    put(again, tmp_path / "again")
    other = TissueModel("local", tmp_path / "again" / "local.xml", RTOL)
    parameters = case.prior.draw(3, np.random.default_rng(1))
    times = np.array([24.0, 72.0])
    first, second = (m.simulate(parameters, chips, times).readouts for m in (own, other))
    assert second == pytest.approx(first, rel=1e-7)


def test_windows_that_touch_or_overlap_go_to_different_collectors() -> None:
    found = collected([(0.0, 24.0), (24.0, 48.0), (30.0, 60.0), (48.0 + 1e-3, 72.0), (61.0, 70.0)])
    assert found[0.0, 24.0] == 0
    assert found[24.0, 48.0] == 1  # it begins as the first is read
    assert found[30.0, 60.0] == 0
    assert found[48.001, 72.0] == 1
    assert found[61.0, 70.0] == 0


def test_a_chip_is_cut_where_an_input_changes_and_where_a_window_begins() -> None:
    inlet = ChipInlet("A", np.array([0.0, 10.0, 20.0, 50.0]), np.array([[1.0], [2.0], [3.0]]), {})
    segments = cut(inlet, [[10.0 + 1e-12, 15.0], [0.0]], 18.0)
    assert segments.starts_h.tolist() == [0.0, 10.0, 15.0]
    assert segments.inputs[:, 0].tolist() == [1.0, 2.0, 2.0]
    assert segments.begins.tolist() == [[False, True], [True, False], [True, False]]


def test_every_moment_of_a_chip_is_another_one(case: Case) -> None:
    segments = segments_of(case.likelihood)
    assert segments.collectors == 2
    for one in segments.chips:
        assert (np.diff(one.starts_h) > 0).all()
    columns = [n for n in table(case.path.parent / "conditions.tsv")[0] if n.endswith("_start_h")]
    for row in table(case.path.parent / "conditions.tsv"):
        moments = [float(row[name]) for name in columns]
        assert len(set(moments)) == len(moments)


def test_two_texts_never_share_an_id() -> None:
    names = Names(["EC13_population"])
    found = [names.of(text) for text in ("D-1", "D_1", "D 1", "1", "EC13_population", "Ä")]
    assert found == ["D_1", "D_1_2", "D_1_3", "_1", "EC13_population_2", "_"]
    assert names.of("D_1") == "D_1_2"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("tails", "Student t with 4 degrees of freedom"),
        ("truncated", "Bmax differs between donors within bounds"),
        ("all censored", "no readout is left"),
        ("late", "A is perfused from 1 h on"),
        ("no noise", "TEER of A at 24 h has no scatter of its own"),
        ("negative", "TEER of A at 24 h is -3"),
    ],
)
def test_what_petab_can_not_say_is_refused_by_name(
    skin: TissueModel, change: str, told: str
) -> None:
    read, prior, scatter, given = readouts(), prior_of(skin), SCATTER, inlets()
    if change == "tails":
        scatter = replace(SCATTER, chip_tails=4.0)
    elif change == "truncated":
        prior = Prior.of(skin.estimated, [DonorSpread("Bmax", 0.1, 0.2)])
    elif change == "all censored":
        read = [censored(r) for r in read if r.readout == "CCL26"]
    elif change == "late":
        given = [replace(one, edges_h=one.edges_h + 1.0) for one in given]
    elif change == "no noise":
        read[0] = replace(read[0], sd=0.0)
        scatter = Scatter({"TEER": 0.1}, {}, {})
    likelihood = Likelihood(skin, given, dict.fromkeys("ABCD", "d"), read, scatter)
    if change == "negative":
        read[0] = replace(read[0], value=-3.0)
        likelihood.used = tuple(read)
    with pytest.raises(FileNotValid, match=told):
        petab_export(likelihood, prior)


def test_without_the_library_the_extra_is_named_and_nothing_is_written(
    tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "petab.v1", None)
    with pytest.raises(FileNotValid, match=r"chiploop\[petab\]"):
        write_problem(tmp_path / "out", case.exported)
    assert not (tmp_path / "out").exists()
