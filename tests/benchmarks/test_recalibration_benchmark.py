"""The recalibration benchmark's parts: one density for all, honest counts, verdicts that can fail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.recalibration import judged, ratios
from benchmarks.recalibration_chains import Chains
from benchmarks.recalibration_figures import write_figure
from benchmarks.recalibration_ours import Repeats, Run, log_density
from benchmarks.recalibration_peers import emcee_chains
from benchmarks.recalibration_study import Study, donors, measured
from benchmarks.recalibration_target import Mode, Target, mode_of
from chiploop.models.tissue_model import TissueModel


@pytest.fixture(scope="module")
def study() -> Study:
    return measured()


@pytest.fixture(scope="module")
def target(study: Study) -> Target:
    return Target(study)


def near_the_truth(study: Study, count: int) -> np.ndarray:
    return study.truth + 0.1 * np.random.default_rng(0).standard_normal((count, study.truth.size))


def test_the_study_has_720_readouts_that_calibration_takes(study: Study, target: Target) -> None:
    readouts = study.readouts(target.model)
    assert len(readouts) == 720
    assert all(readout.censoring == "none" and np.isfinite(readout.value) for readout in readouts)
    assert all(readout.value > 0 for readout in readouts if readout.scale == "log")
    assert study.first(8).values.shape == (12, 8, 6)


def test_readings_share_what_their_chip_and_donor_share(target: Target) -> None:
    kind, owner = target.kinds[0], list(donors().values())
    covariance = kind.covariance(2)
    assert np.diag(covariance) == pytest.approx(
        kind.assay_sd**2 + kind.reading_sd**2 + kind.chip_sd**2 + kind.donor_sd**2
    )
    assert covariance[0, 1] == pytest.approx(kind.chip_sd**2 + kind.donor_sd**2)
    assert owner[0] == owner[3] != owner[1]
    assert covariance[0, 6] == pytest.approx(kind.donor_sd**2)
    assert covariance[0, 2] == 0.0


def test_the_peers_density_is_that_of_our_calibration(study: Study, target: Target) -> None:
    z = near_the_truth(study, 5)
    difference = target.log_density(z) - log_density(study, z)
    assert np.ptp(difference) < 1e-8 * np.ptp(target.log_density(z))


def test_the_gradient_is_that_of_the_density(study: Study, target: Target) -> None:
    z = near_the_truth(study, 2)
    height, gradient = target.gradient(z)
    assert height == pytest.approx(target.log_density(z), rel=1e-9)
    for j in range(target.dims):
        step = 1e-3 * np.eye(target.dims)[j]
        slope = (target.log_density(z + step) - target.log_density(z - step)) / 2e-3
        assert gradient[:, j] == pytest.approx(slope, rel=1e-3, abs=2e-3)


class Failing:
    """The model, but no simulation of it ends."""

    def __init__(self, model: TissueModel) -> None:
        self.estimated, self.readouts = model.estimated, model.readouts

    def simulate(self, x: np.ndarray, inlets: Any, times: np.ndarray, starts: np.ndarray) -> Any:
        return SimpleNamespace(readouts=np.full((len(x), len(inlets), len(times), 6), np.nan))

    def sensitivities(self, *given: Any) -> tuple[np.ndarray, np.ndarray]:
        readouts = self.simulate(*given).readouts
        return readouts, np.full((*readouts.shape, len(self.estimated)), np.nan)


def test_a_simulation_that_fails_has_no_density(study: Study, target: Target) -> None:
    failing = Target(study, Failing(target.model))  # type: ignore[arg-type]
    z = near_the_truth(study, 2)
    assert (failing.log_density(z) == -np.inf).all()
    height, gradient = failing.gradient(z)
    assert (height == -np.inf).all()
    assert (gradient == 0.0).all()


@dataclass(frozen=True)
class Gaussian:
    """A density in place of the study's: correlated, its mean at 1."""

    dims: int = 3

    @property
    def covariance(self) -> np.ndarray:
        return np.diag([1.0, 4.0, 0.25]) + 0.3

    def log_density(self, z: np.ndarray) -> np.ndarray:
        return np.asarray(self.gradient(z)[0])

    def gradient(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pull = -(z - 1.0) @ np.linalg.inv(self.covariance)
        return 0.5 * (pull * (z - 1.0)).sum(axis=1), pull


def test_the_mode_comes_with_its_curvature() -> None:
    density = Gaussian()
    found = mode_of(density, np.random.default_rng(0))  # type: ignore[arg-type]
    assert found.z == pytest.approx(np.ones(3), abs=1e-3)
    assert found.factor @ found.factor.T == pytest.approx(density.covariance, rel=1e-3)


@pytest.mark.parametrize("kind", ["stretch", "DE"])
def test_emcee_finds_a_known_density(kind: str) -> None:
    pytest.importorskip("emcee")
    density = Gaussian()
    mode = Mode(np.ones(3), np.linalg.cholesky(density.covariance))
    found = emcee_chains(kind, density, mode, 1.0, 0)  # type: ignore[arg-type]
    flat = found.kept.reshape(-1, 3)
    assert flat.mean(axis=0) == pytest.approx(np.ones(3), abs=0.3)
    assert flat.std(axis=0) == pytest.approx(np.sqrt(np.diag(density.covariance)), rel=0.15)
    assert found.wall_s >= 1.0


def test_burn_in_is_left_out_of_the_draws_and_counted_as_time() -> None:
    draws = np.arange(100.0).reshape(1, 100, 1)
    found = Chains("x", draws, 0.2, ((0.0, 0), (5.0, 10), (11.0, 30), (50.0, 100)), 50.0)
    assert found.kept[0, 0, 0] == 20.0
    assert found.burn_in_s == 11.0
    assert found.wall_s == 50.0
    tuned = Chains("x", draws, 0.0, ((0.0, 0), (40.0, 0), (50.0, 100)), 50.0)
    assert tuned.burn_in_s == 50.0


def repeats(scatter: float, runs: int = 12, claimed: float = 400.0) -> Repeats:
    rng = np.random.default_rng(3)
    means = scatter * rng.standard_normal((runs, 1, 4)) / np.sqrt(claimed)
    z = rng.standard_normal((runs, 2000, 4))
    z += means - z.mean(axis=1, keepdims=True)
    return Repeats(tuple(Run(1.0, 2.0, claimed, True, (), 10) for _ in range(runs)), z)


def test_particles_count_as_claimed_where_means_scatter_no_more_than_that() -> None:
    assert repeats(0.5).counted_ess == 400.0
    assert repeats(1.0).counted_ess > 250.0


def test_a_claim_four_times_too_high_is_cut_down() -> None:
    assert repeats(2.0).counted_ess < 160.0


def test_one_parameter_that_scatters_beyond_chance_decides() -> None:
    found = repeats(1.0)
    found.z[..., 2] += 10.0 / np.sqrt(400.0) * (np.arange(12) % 2)[:, None]
    assert found.excess[2] > found.excess_limit
    assert found.counted_ess == pytest.approx(400.0 / found.excess[2])


def outcome(**changes: Any) -> dict[str, Any]:
    """Return a benchmark's numbers in which all is well, but for the changes."""
    row = {"growth": [(1.0, 10.0), (2.0, 30.0)], "rhat": 1.01, "peer": "emcee"}
    row |= {"ess_per_s": 10.0, "ess_per_cpu_s": 5.0, "ess_per_s_after_burn_in": 12.0}
    ours = {"ess_per_s": 250.0, "ess_per_cpu_s": 125.0, "wall_s": 4.0, "counted_ess": 1000.0}
    found = {
        "densities_differ_by": 1e-10,
        "cold": ours,
        "warm": ours,
        "peers": {
            "emcee, stretch": {**row, "ess_per_s": 1.0, "rhat": 1.3},
            "emcee, DE": row,
        },
        "agreement": {
            "warm": {"agrees": True},
            "emcee, stretch": {"agrees": False},
            "emcee, DE": {"agrees": True},
        },
    }
    return {**found, **changes}


def test_a_sample_that_has_not_converged_is_no_reference() -> None:
    found = judged(outcome())
    assert found["agrees"]
    assert found["not_converged"] == ["emcee, stretch"]


@pytest.mark.parametrize("name", ["warm", "emcee, DE"])
def test_a_sample_that_disagrees_fails_the_benchmark(name: str) -> None:
    rows = {**outcome()["agreement"], name: {"agrees": False}}
    found = judged(outcome(agreement=rows))
    assert not found["agrees"]
    assert found["disagree"] == [name]


def test_without_any_converged_peer_nothing_is_shown() -> None:
    peers = {name: {**row, "rhat": 1.2} for name, row in outcome()["peers"].items()}
    assert not judged(outcome(peers=peers))["agrees"]


def test_another_density_fails_the_benchmark() -> None:
    assert not judged(outcome(densities_differ_by=0.1))["agrees"]


def test_a_ratio_is_to_a_peers_best_sampler() -> None:
    found = ratios(outcome(), "emcee")
    assert found["best"] == "emcee, DE"
    assert found["cold"] == pytest.approx(25.0)
    assert found["reached"]


def test_the_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        write_figure(outcome(), tmp_path / folder)
    first, second = (
        (tmp_path / f / "recalibration_ess.svg").read_bytes() for f in ("first", "second")
    )
    assert first == second
    assert b"dc:date" not in first
