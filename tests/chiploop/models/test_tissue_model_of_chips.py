"""A tissue model whose chips have their own parameters and get their own share of the drug."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from chiploop.models.tissue_model import MODELS, TissueModel
from tests.chiploop.models.chips import DEMO, inlet, parameters
from tests.chiploop.models.test_tissue_model import STUDY


def own_parameters(model: TissueModel, n: int, chips: int) -> np.ndarray:
    """Return parameters (n, chips, p) around the defaults, every chip its own."""
    rng = np.random.default_rng(6)
    shape = (n, chips, len(model.estimated))
    sets = parameters(model) * np.exp(0.2 * rng.standard_normal(shape))
    sets[..., model.estimated_names.index("Fmax")] = 0.8
    return np.asarray(sets)


def test_a_chip_with_its_own_parameters_reads_as_if_alone(model: TissueModel) -> None:
    chips = [inlet(STUDY, "A"), inlet(STUDY, "B"), inlet(STUDY, "D", 0.5)]
    sets = own_parameters(model, 4, 3)
    sets[:, 1] = sets[:, 0]
    times, starts = np.array([72.0, 124.0]), np.array([48.0, np.nan])
    found = model.simulate(sets, chips, times, starts)
    for c, chip in enumerate(chips):
        alone = model.simulate(sets[:, c], [chip], times, starts)
        assert np.array_equal(found.readouts[:, c], alone.readouts[:, 0], equal_nan=True)
        assert np.array_equal(found.viability[:, c], alone.viability[:, 0])
        assert np.array_equal(found.states[:, c], alone.states[:, 0])
    assert model.distinct_chips(chips, None, None, sets)[0] == [0, 2], "equal in all run once"
    sets[3, 1, 0] *= 1.0 + 1e-15
    assert model.distinct_chips(chips, None, None, sets)[0] == [0, 1, 2]


def test_a_factor_on_the_drug_is_another_dose(model: TissueModel) -> None:
    chips = [inlet(STUDY, "A"), inlet(STUDY, "B")]
    factors = np.array([[1.0, 1.3], [0.8, 1.3], [1.0, 1.0]])
    sets = np.repeat(parameters(model), 3, axis=0)
    times, starts = np.array([72.0, 124.0]), np.array([48.0, np.nan])
    found = model.simulate(sets, chips, times, starts, drug_factors=factors)
    for i, row in enumerate(factors):
        for c, factor in enumerate(row):
            given = [(a, b, flow, drug * factor, *rest) for a, b, flow, drug, *rest in STUDY]
            alone = model.simulate(sets[:1], [inlet(given)], times, starts)  # type: ignore[arg-type]
            assert found.readouts[i, c] == pytest.approx(
                alone.readouts[0, 0], rel=1e-9, nan_ok=True
            )
    assert not np.allclose(found.readouts[0, 0, 0], found.readouts[0, 1, 0])
    assert model.distinct_chips(chips, None, None, sets, factors)[0] == [0, 1]
    assert model.distinct_chips(chips, None, None, sets, factors[:, :1].repeat(2, 1))[0] == [0]


def test_own_parameters_factors_states_and_chip_factors_go_together(model: TissueModel) -> None:
    """As planning asks for it: donors' parameters, lines' dose errors, going on from where chips are."""
    sets = own_parameters(model, 3, 2)
    factors = np.array([[1.1, 0.9], [1.0, 1.2], [0.7, 1.0]])
    chips = [inlet(STUDY, "A"), inlet(STUDY, "D", 0.5)]
    more = {"chip_factors": {"R_max": np.array([1.0, 1.3])}, "drug_factors": factors}
    times = np.array([124.0])
    whole = model.simulate(sets, chips, times, **more)
    early, late = ([inlet(STUDY[part], c.chip_id, c.constants["flg_dose"]) for c in chips]
                   for part in (slice(0, 3), slice(3, 4)))  # fmt: skip
    first = model.simulate(sets, early, np.array([76.0]), **more)
    rest = model.simulate(sets, late, times, states=first.states, **more)
    assert rest.readouts == pytest.approx(whole.readouts, rel=2e-3, nan_ok=True)


def test_parameters_of_other_chips_than_there_are_are_refused(model: TissueModel) -> None:
    chips = [inlet(STUDY, "A"), inlet(STUDY, "B")]
    with pytest.raises(ValueError, match="parameters of 3 chips given, 2 expected"):
        model.simulate(own_parameters(model, 1, 3), chips, np.array([24.0]))
    with pytest.raises(ValueError, match="5 parameters given, 16 expected"):
        model.simulate(np.ones((1, 2, 5)), chips, np.array([24.0]))


def test_a_model_without_a_drug_knows_no_error_of_its_amount(tmp_path: Path) -> None:
    text = MODELS["skin_chip"]
    facts = text.with_suffix(".yaml").read_text("utf-8").replace("model: skin_chip", "model: mine")
    assert "drug_nm: D_in" in facts
    facts = re.sub(r",?\s*drug_nm: D_in", "", facts)
    (tmp_path / "mine.ant").write_text(text.read_text("utf-8"), "utf-8")
    (tmp_path / "mine.yaml").write_text(facts, "utf-8")
    model = TissueModel("mine", tmp_path / "mine.ant", readouts=DEMO)
    with pytest.raises(ValueError, match="mine knows no drug, so its amount has no error"):
        model.factors(np.ones((1, 1)))


def test_donors_differ_in_what_the_readouts_can_tell(model: TissueModel) -> None:
    assert [spread.name for spread in model.donor_spreads] == ["EC13", "IC50", "kB"]
