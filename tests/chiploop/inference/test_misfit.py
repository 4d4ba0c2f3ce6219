"""The gate on models that are linear in the prior's normals, where all that it claims is exact.

Its p values must be uniform where the model is right, small where a flaw was planted, and the same test must
reject a wrong idea of what parameters take up. All seeds are fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import kstest

from chiploop.inference.misfit import MisfitVerdict, Suspicion, Unexplained, misfit_verdict

M, P = 40, 6


@dataclass(frozen=True)
class LinearFit:
    """A linear-Gaussian study at its mode."""

    residuals: np.ndarray
    z: np.ndarray
    jacobian: np.ndarray


def linear_fit(seed: int, flaw: np.ndarray | None = None, noise: float = 1.0) -> LinearFit:
    """Return the mode of y = J z + noise, with a flaw (m,) added to the data that the model does not know."""
    rng = np.random.default_rng([seed, 1])
    jacobian = np.random.default_rng(7).standard_normal((M, P)) * np.geomspace(0.1, 3.0, P)
    data = jacobian @ rng.standard_normal(P) + noise * rng.standard_normal(M)
    data += 0.0 if flaw is None else flaw
    z = np.linalg.solve(jacobian.T @ jacobian + np.eye(P), jacobian.T @ data)
    return LinearFit(data - jacobian @ z, z, -jacobian)


def suspicion(name: str, k: int, seed: int, size: float = 0.5, family: str = "") -> Suspicion:
    directions = size * np.random.default_rng([seed, 3]).standard_normal((M, k))
    return Suspicion(family or name, name, directions, f"{name} is {{size}} off", "h", 6.0)


ONE, MANY = suspicion("one", 1, 1), suspicion("many", 5, 2)
ALL = (ONE, MANY, suspicion("two", 2, 3), suspicion("weak", 20, 4, size=0.05))


def verdict(fit: LinearFit, seed: int = 0, draws: int = 400, **given: object) -> MisfitVerdict:
    rng = np.random.default_rng([seed, 2])
    suspicions = given.pop("suspicions", ALL)
    return misfit_verdict(
        fit.residuals,
        fit.z,
        fit.jacobian,
        suspicions,  # type: ignore[arg-type]
        rng,
        draws=draws,
        **given,  # type: ignore[arg-type]
    )


def p_values(
    studies: int, change: Callable[[LinearFit], LinearFit] = lambda fit: fit
) -> dict[str, np.ndarray]:
    """Return over many studies of a right model the p value of the whole, of every test and family."""
    found: dict[str, list[float]] = {}
    for seed in range(studies):
        one = verdict(change(linear_fit(seed)), seed, weights={"one": 4.0})
        named = {**one.test_p, **{f"family {name}": p for name, p in one.family_p.items()}}
        for name, p in {"whole": one.p_value, **named}.items():
            found.setdefault(name, []).append(p)
    return {name: np.array(values) for name, values in found.items()}


@pytest.fixture(scope="module")
def of_right_models() -> dict[str, np.ndarray]:
    return p_values(300)


@pytest.mark.parametrize(
    "name", ["whole", "one", "many", "two", "weak", "family one", "family weak"]
)
def test_every_p_value_is_uniform_where_the_model_is_right(
    of_right_models: dict[str, np.ndarray], name: str
) -> None:
    assert kstest(of_right_models[name], "uniform").pvalue > 0.01


def test_the_gate_fires_as_often_as_its_threshold_says(
    of_right_models: dict[str, np.ndarray],
) -> None:
    fired = float((of_right_models["whole"] <= 0.07).mean())
    assert 0.04 <= fired <= 0.11  # 300 studies at 0.07: 0.015 is one standard error


@pytest.mark.parametrize(
    "wrong",
    [
        lambda fit: LinearFit(fit.residuals, fit.z, np.zeros_like(fit.jacobian)),
        lambda fit: LinearFit(1.25 * fit.residuals, fit.z, fit.jacobian),
    ],
    ids=["as if nothing had been estimated", "scatter a fifth too small"],
)
def test_a_wrong_projector_or_scatter_is_rejected_by_the_same_uniformity(
    wrong: Callable[[LinearFit], LinearFit],
) -> None:
    found = p_values(120, wrong)
    assert kstest(found["many"], "uniform").pvalue < 1e-3


def test_what_is_left_has_the_length_of_as_many_normals_as_there_are_residuals() -> None:
    squares = []
    for seed in range(300):
        fit = linear_fit(seed)
        squares.append(float((Unexplained.of(fit.residuals, fit.z, fit.jacobian).e ** 2).sum()))
    assert kstest(squares, "chi2", args=(M,)).pvalue > 0.01


def test_what_parameters_take_up_is_left_out_once() -> None:
    fit = linear_fit(0)
    rest = Unexplained.of(fit.residuals, fit.z, fit.jacobian)
    taken = np.concatenate([fit.jacobian, np.eye(P)])
    assert np.allclose(rest.left(taken), 0.0, atol=1e-12)
    assert np.allclose(rest.left(rest.e[:, None])[:, 0], rest.e)  # the mode's own gradient is zero


# --- power


def test_a_planted_flaw_is_found_named_and_measured() -> None:
    flaw = 1.5 * ONE.directions[:, 0]  # 1.5 plausible sizes of 6 h: 9 h
    found = [verdict(linear_fit(seed, flaw), seed) for seed in range(60)]
    assert np.mean([one.fires for one in found]) > 0.7
    assert np.mean([one.findings[0].name == "one" for one in found]) > 0.6
    measured = [next(f for f in one.findings if f.name == "one") for one in found]
    sd = measured[0].size_sd
    share = 1.0 - (sd / 6.0) ** 2  # a posterior mean leans on its prior by this much
    mean = float(np.mean([f.size for f in measured]))
    assert abs(mean - share * 9.0) < 4 * sd / np.sqrt(60)


def test_a_small_family_that_is_believed_more_finds_its_flaw_more_often() -> None:
    flaw = 0.55 * ONE.directions[:, 0]
    fits = [linear_fit(seed, flaw) for seed in range(60)]
    plain = np.mean([verdict(fit, s).p_value for s, fit in enumerate(fits)])
    believed = np.mean(
        [verdict(fit, s, weights={"one": 4.0}).p_value for s, fit in enumerate(fits)]
    )
    doubted = np.mean([verdict(fit, s, weights={"one": 0.1}).p_value for s, fit in enumerate(fits)])
    assert believed < plain < doubted


def test_a_flaw_that_a_parameter_takes_up_leaves_no_trace_and_is_said_to_be_invisible() -> None:
    taken = Suspicion("taken", "taken up", 0.1 * linear_fit(0).jacobian[:, -1:], "")
    assert np.linalg.norm(taken.directions) > 1.2  # sd of the data: a shift that would be seen
    without = verdict(linear_fit(3), suspicions=(ONE, taken))
    found = verdict(linear_fit(3, taken.directions[:, 0]), suspicions=(ONE, taken))
    assert found.blind == ("taken up",)
    one = next(f for f in found.findings if f.name == "taken up")
    assert one.visible < 0.11
    assert one.size_sd == pytest.approx(1.0, rel=0.01)  # as wide as before the data
    # 0.1 sd moves a two-sided p by at most 0.08
    assert abs(found.test_p["taken up"] - without.test_p["taken up"]) < 0.081
    assert abs(found.p_value - without.p_value) < 0.1


def test_a_direction_of_zeros_can_neither_accuse_nor_fail() -> None:
    nothing = Suspicion("nothing", "nothing", np.zeros((M, 2)), "")
    found = verdict(linear_fit(0), suspicions=(nothing,))
    assert (found.test_p, found.p_value, found.fires) == ({"nothing": 1.0}, 1.0, False)


# --- words


def test_the_words_name_the_flaw_its_size_and_the_rate_of_false_alarms() -> None:
    found = verdict(linear_fit(0, 1.5 * ONE.directions[:, 0]), threshold=0.06)
    assert found.fires
    assert "in 6 of 100 studies" in found.sentences[0]
    assert found.sentences[1].startswith("one (p ")
    assert " h (sd " in found.sentences[1]


def test_the_words_of_a_silent_gate_do_not_claim_that_the_model_is_right() -> None:
    found = verdict(linear_fit(0))
    assert not found.fires
    assert "does not show that it is right" in found.sentences[0]


def test_many_small_flaws_are_said_to_be_many() -> None:
    weak = [suspicion(f"weak {i}", 1, 50 + i, size=0.1, family="many weak") for i in range(20)]
    flaw = 3.0 * np.sum([s.directions[:, 0] for s in weak], axis=0)
    found = verdict(linear_fit(0, flaw), suspicions=weak)
    assert found.fires
    assert set(found.blind) == {s.name for s in weak}
    assert "Many small deviations together, none alone, in: many weak" in found.sentences[1]


# --- what is given


def test_the_same_seed_gives_the_same_verdict() -> None:
    assert verdict(linear_fit(1), 5).p_value == verdict(linear_fit(1), 5).p_value


def test_residuals_of_censored_readouts_come_last_and_are_not_tested() -> None:
    fit = linear_fit(2)
    short = [Suspicion(s.family, s.name, s.directions[:-3], s.sentence) for s in ALL]
    filled = [
        Suspicion(
            s.family,
            s.name,
            np.concatenate([s.directions[:-3], np.zeros_like(s.directions[-3:])]),
            "",
        )
        for s in ALL
    ]
    assert verdict(fit, suspicions=short).test_p == verdict(fit, suspicions=filled).test_p


def test_arrays_that_do_not_fit_are_refused() -> None:
    fit = linear_fit(0)
    long = Suspicion("long", "long", np.ones((M + 1, 1)), "")
    broken = Suspicion("broken", "broken", np.full((M, 1), np.nan), "")
    with pytest.raises(ValueError, match=r"does not fit 40 residuals and 6 standard normals"):
        verdict(LinearFit(fit.residuals, fit.z, fit.jacobian[:, :-1]))
    with pytest.raises(ValueError, match="long: directions of 41 residuals, there are 40"):
        verdict(fit, suspicions=(long,))
    with pytest.raises(ValueError, match="broken: its directions are not all finite"):
        verdict(fit, suspicions=(broken,))
    with pytest.raises(ValueError, match="residuals of the mode are not all finite"):
        verdict(LinearFit(fit.residuals * np.nan, fit.z, fit.jacobian))
    with pytest.raises(ValueError, match="without a suspicion"):
        verdict(fit, suspicions=())
