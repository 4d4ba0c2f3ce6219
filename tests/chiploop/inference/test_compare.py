"""Two models beside each other: whom the readouts speak for, and what can not be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.inference.compare import Candidate, compared, mean_evidence
from chiploop.inference.leave_one_out import LeftOut, left_out
from chiploop.inference.unknowns import Unknowns
from tests.chiploop.inference.exact_draws import drawn, with_draws
from tests.chiploop.inference.linear_study import (
    CHIPS,
    DONORS,
    LINES,
    SCATTER,
    LinearModel,
    LinearStudy,
    censored,
    covariance,
    design_of,
    exact_posterior,
    likelihood_of,
    linear_model,
    rows,
    study,
)

RIGHT, WRONG = linear_model(3, seed=0), linear_model(3, seed=1)


def candidates(seed: int, wrong: LinearModel = WRONG) -> tuple[Candidate, Candidate]:
    """Return the model that made the data and another one, both in closed form."""
    data = study(RIGHT, np.random.default_rng([51, seed]))
    found = []
    for name, model in (("right", RIGHT), ("wrong", wrong)):
        rng = np.random.default_rng([52, seed])
        unknowns = Unknowns.of(data.prior, CHIPS, DONORS, LINES)
        design = design_of(model, data.prior, unknowns, rows())
        exact = exact_posterior(design, data.values, covariance(SCATTER))
        likelihood = likelihood_of(model, data.likelihood.used, SCATTER)
        one = LinearStudy(likelihood, data.prior, exact, data.truth, data.values)
        loo, _ = left_out(with_draws(model, one, rng, 1000, SCATTER).conditionals)
        evidence = (exact.log_evidence + 0.1, exact.log_evidence - 0.1)
        found.append(Candidate(name, likelihood.used, evidence, loo))
    return found[0], found[1]


def test_the_model_that_made_the_data_is_favoured_in_either_order() -> None:
    found = [compared(*candidates(seed)) for seed in range(6)]
    assert all(one.evidence_favours == "first" for one in found)
    assert sum(one.elpd_favours == "first" for one in found) >= 4
    assert not any(one.elpd_favours == "second" for one in found)
    right, wrong = candidates(0)
    assert compared(wrong, right).evidence_favours == "second"
    assert "speak for right" in compared(wrong, right).verdict


def test_differences_are_those_of_the_closed_form_with_their_errors() -> None:
    right, wrong = candidates(1, replace(RIGHT, design=1.1 * RIGHT.design))
    found = compared(right, wrong)
    assert found.evidence_difference == pytest.approx(
        np.mean(right.log_evidence) - np.mean(wrong.log_evidence)
    )
    assert found.evidence_error == pytest.approx(np.hypot(0.1, 0.1))
    gap = right.left_out.of_readings - wrong.left_out.of_readings
    assert found.elpd_difference == pytest.approx(gap.sum())
    assert found.elpd_error == pytest.approx(np.sqrt(24) * gap.std(ddof=1))
    # two errors as if independent would be far too large: the readings are the same
    apart = np.hypot(right.left_out.standard_error, wrong.left_out.standard_error)
    assert found.elpd_error < 0.5 * apart


def test_a_model_can_not_be_told_from_itself() -> None:
    right, _ = candidates(2)
    found = compared(right, replace(right, name="again"))
    assert (found.evidence_favours, found.elpd_favours) == ("neither", "neither")
    assert found.elpd_error == 0.0 and "do not tell them apart" in found.verdict


def test_the_order_of_the_readouts_does_not_matter() -> None:
    right, wrong = candidates(3)
    turned = replace(
        wrong,
        readouts=wrong.readouts[::-1],
        left_out=replace(
            wrong.left_out,
            of_readings=wrong.left_out.of_readings[::-1],
            k=wrong.left_out.k[::-1],
        ),
    )
    assert compared(right, turned).elpd_error == pytest.approx(compared(right, wrong).elpd_error)


@pytest.mark.parametrize("change", ["value", "fewer", "more", "censored", "scale"])
def test_models_of_other_readouts_are_refused(change: str) -> None:
    right, wrong = candidates(4)
    readouts = list(wrong.readouts)
    if change == "value":
        readouts[3] = replace(readouts[3], value=readouts[3].value * 1.0001)
    elif change == "scale":
        readouts[3] = replace(readouts[3], scale="linear")
    elif change == "censored":
        readouts[8] = censored("A", 24.0, 1, "left", upper=0.0)
    else:
        readouts = readouts[:-1] if change == "fewer" else [*readouts, readouts[-1]]
    with pytest.raises(ValueError, match="not learned from the same readouts"):
        compared(right, replace(wrong, readouts=tuple(readouts)))


def test_censored_readouts_of_one_bound_are_the_same() -> None:
    right, wrong = candidates(5)
    bound = censored("A", 24.0, 1, "left", upper=0.0)
    one, other = (
        replace(c, readouts=(*c.readouts[:8], bound, *c.readouts[9:])) for c in (right, wrong)
    )
    assert compared(one, other).evidence_favours == "first"


def made_up(evidence: tuple[float, ...], elpd: np.ndarray, k: float = 0.1) -> Candidate:
    readouts = drawn(RIGHT, 0, 1).study.likelihood.used
    loo = LeftOut(float(elpd.sum()), 1.0, elpd, np.full(24, k), 0.63, 3.0)
    return Candidate(f"model {evidence[0]:g}", readouts, evidence, loo)


def test_a_disagreement_and_doubtful_readings_are_said() -> None:
    found = compared(made_up((10.0, 10.0), np.zeros(24)), made_up((0.0, 0.0), np.ones(24), 0.9))
    assert "They disagree" in found.verdict and "24 readings can not be trusted" in found.verdict
    alone = compared(made_up((10.0, 10.0), np.zeros(24)), made_up((0.0, 0.0), np.zeros(24)))
    assert "by evidence alone" in alone.verdict


def test_a_difference_within_the_monte_carlo_error_favours_nobody() -> None:
    noisy = compared(made_up((14.0, 6.0), np.zeros(24)), made_up((0.0, 0.0), np.zeros(24)))
    assert noisy.evidence_difference > 3.0 and noisy.evidence_favours == "neither"
    # the error of one population alone is not known
    assert mean_evidence((3.0,)) == (3.0, np.inf)
