"""The psoriasis chip behaves as its mechanisms say; its numbers have no source, so only order is held to."""

from __future__ import annotations

import re

import numpy as np
import pytest

from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import MODELS, TissueModel, load_model

TRUTH = "virtual_psoriasis_chip"
NAMES = ("psoriasis_chip", TRUTH)
IL17A, TNF, IL22 = 5.0 / 31.0, 2.0 / 52.0, 10.0 / 17.0
"""The study's stimuli in nM: 5, 2 and 10 ng/mL."""
ALL = (IL17A, TNF, IL22)
NONE = (0.0, 0.0, 0.0)
INHIBITOR = {"flg_dose": 1.0, "tyk2_block": 1.0, "il17_binding": 0.0}
ANTIBODY = {
    "flg_dose": 1.0,
    "tyk2_block": 0.0,
    "il17_binding": 1.0,
    "permeability_drug_ul_h": 3.0,
    "permeability_wall_ul_h": 0.0,
}
TIMES = np.array([24.0, 96.0, 144.0, 240.0])


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> TissueModel:
    return load_model(request.param)


def course(
    model: TissueModel,
    stimuli: tuple[float, ...],
    drug_nm: float = 0.0,
    constants: dict[str, float] = INHIBITOR,
    flow: float = 60.0,
    **changed: float,
) -> dict[str, np.ndarray]:
    """Return readout -> (times,): stimuli from day 1, drug from day 4, to day 10."""
    inputs = np.array([[flow, 0.0, *NONE], [flow, 0.0, *stimuli], [flow, drug_nm, *stimuli]])
    chip = ChipInlet("C", np.array([0.0, 24.0, 96.0, 240.0]), inputs, constants)
    values = {**model.compiled.defaults, **changed}
    parameters = np.array([[values[name] for name in model.estimated_names]])
    found = model.simulate(parameters, [chip], TIMES, TIMES - 24.0)
    assert found.failed == 0
    assert (found.states >= -1e-6).all()
    return {spec.name: found.readouts[0, 0, :, r] for r, spec in enumerate(model.readouts)}


def test_the_texts_hold_the_states_they_say() -> None:
    for name, states in zip(NAMES, (20, 25), strict=True):
        text = MODELS[name].read_text("utf-8")
        assert len(re.findall(r"^\s*\w+' =", text, flags=re.MULTILINE)) == states
        model = load_model(name)
        assert model.n_states == states + 3  # integrals of the three proteins
    for spec in load_model("psoriasis_chip").estimated:
        assert spec.center == pytest.approx(
            load_model("psoriasis_chip").compiled.defaults[spec.name]
        )


def test_a_control_stays_and_the_stimulus_opens_it_and_makes_it_secrete(model: TissueModel) -> None:
    control, stimulated = course(model, NONE), course(model, ALL)
    teer = control["TEER"]
    assert (np.diff(teer) > 0).all() and teer[-1] < 1.25 * teer[0]  # the rest of its maturation
    assert stimulated["TEER"][0] == pytest.approx(teer[0])
    assert stimulated["TEER"][-1] < 0.5 * teer[-1]
    for protein in ("IL-8", "CCL20", "DEFB4"):
        # the rest of the basal level at the start is the channel filling up
        assert control[protein][-1] == pytest.approx(control[protein][1], rel=1e-3)
        assert stimulated[protein][-1] > 10.0 * control[protein][-1], protein
    assert stimulated["ldh_release"][-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("protein", "one", "other"),
    [
        ("IL-8", (IL17A, 0.0, 0.0), (0.0, TNF, 0.0)),
        ("CCL20", (IL17A, 0.0, 0.0), (0.0, TNF, 0.0)),
        ("DEFB4", (IL17A, 0.0, 0.0), (0.0, TNF, 0.0)),
        ("DEFB4", (IL17A, TNF, 0.0), (0.0, 0.0, IL22)),
    ],
)
def test_two_stimuli_do_more_than_the_sum_of_each(
    model: TissueModel, protein: str, one: tuple[float, ...], other: tuple[float, ...]
) -> None:
    base = course(model, NONE)[protein][-1]
    both = tuple(a + b for a, b in zip(one, other, strict=True))
    rises = [course(model, stimuli)[protein][-1] - base for stimuli in (one, other, both)]
    assert rises[2] > 1.5 * (rises[0] + rises[1])


def test_each_stimulus_opens_the_barrier_and_il22_secretes_nothing_alone(
    model: TissueModel,
) -> None:
    control = course(model, NONE)
    for stimulus in ((IL17A, 0.0, 0.0), (0.0, TNF, 0.0), (0.0, 0.0, IL22)):
        assert course(model, stimulus)["TEER"][-1] < control["TEER"][-1]
    il22 = course(model, (0.0, 0.0, IL22))
    for protein in ("IL-8", "CCL20", "DEFB4"):
        assert il22[protein][-1] == pytest.approx(control[protein][-1], rel=1e-3)


def test_a_tyk2_inhibitor_closes_the_barrier_by_dose_and_leaves_the_chemokines(
    model: TissueModel,
) -> None:
    doses = (0.0, 30.0, 100.0, 300.0, 1000.0)
    courses = [course(model, ALL, dose) for dose in doses]
    teer = [one["TEER"][-1] for one in courses]
    defb4 = [one["DEFB4"][-1] for one in courses]
    assert teer == sorted(teer) and teer[-1] > 1.5 * teer[0]
    assert defb4 == sorted(defb4, reverse=True) and defb4[-1] < 0.6 * defb4[0]
    for protein in ("CCL20", "IL-8"):
        assert courses[-1][protein][-1] == pytest.approx(courses[0][protein][-1], rel=0.02)


def test_an_antibody_to_il17a_takes_the_proteins_away_by_dose_down_to_tnf_alone(
    model: TissueModel,
) -> None:
    doses = (0.0, 0.1, 1.0, 10.0, 100.0)
    courses = [course(model, ALL, dose, ANTIBODY, IC50=0.1) for dose in doses]
    for protein in ("IL-8", "CCL20", "DEFB4"):
        levels = [one[protein][-1] for one in courses]
        assert levels == sorted(levels, reverse=True), protein
        assert levels[-1] < 0.4 * levels[0], protein
    left = course(model, (0.0, TNF, IL22))
    assert courses[-1]["CCL20"][-1] == pytest.approx(left["CCL20"][-1], rel=0.02)
    # one antibody binds two, so a tenth of the cytokine's amount leaves most of it
    assert courses[1]["CCL20"][-1] > 0.75 * courses[0]["CCL20"][-1]


def test_without_flow_no_stimulus_arrives_and_nothing_fails(model: TissueModel) -> None:
    still = course(model, ALL, 100.0, flow=0.0)
    assert still["TEER"] == pytest.approx(course(model, NONE)["TEER"], rel=1e-6)
    assert all(np.isfinite(values).all() for values in still.values())


def test_too_much_drug_kills(model: TissueModel) -> None:
    toxic = course(model, ALL, 1e5)
    assert toxic["TEER"][-1] < 0.3 * course(model, ALL)["TEER"][-1]
    assert toxic["ldh_release"][2] > 0.1


@pytest.mark.parametrize("slope", [0.3, 0.7, 2.5])
def test_any_hill_slope_is_finite_without_drug(model: TissueModel, slope: float) -> None:
    assert np.isfinite(course(model, ALL, 0.0, h=slope)["TEER"]).all()


def test_the_truth_is_another_tissue_under_the_same_names() -> None:
    fitted, truth = (load_model(name) for name in NAMES)
    assert fitted.estimated_names == truth.estimated_names
    ours, theirs = (course(m, ALL, 1000.0) for m in (fitted, truth))
    assert abs(np.log(theirs["TEER"][-1] / ours["TEER"][-1])) > 0.1
    ours, theirs = (course(m, ALL) for m in (fitted, truth))
    assert abs(np.log(theirs["DEFB4"][-1] / ours["DEFB4"][-1])) > 0.1
