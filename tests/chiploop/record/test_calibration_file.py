"""A calibration leaves with its data: what a reader of netCDF finds is what the likelihood saw."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from chiploop.inference.likelihood import Likelihood
from chiploop.inference.prior import Prior
from chiploop.inference.target import Target
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.record.arviz_groups import left_out_group, replicates
from chiploop.record.calibration_file import write_calibration
from chiploop.record.posterior_file import read_posterior
from chiploop.record.unexplained import UNEXPLAINED
from chiploop.refit import evidence_of
from tests.chiploop.report.conftest import INFO, HandRun, hand_run

__all__ = ["hand_run"]


@pytest.fixture(scope="module")
def likelihood(hand_run: HandRun) -> Likelihood:  # noqa: F811
    actions = hand_run.journal.actions(hand_run.run_id)
    readouts = hand_run.record.readouts(hand_run.run_id)
    found = evidence_of(hand_run.study, actions, readouts, 1)
    return likelihood_of(hand_run.study, found.schedules, found.readouts)


def write(run: HandRun, path: Path) -> dict[str, int]:
    found = evidence_of(
        run.study, run.journal.actions(run.run_id), run.record.readouts(run.run_id), 1
    )
    posterior, info = read_posterior(run.folder / "cal-01" / "posterior.nc")
    return write_calibration(
        path, run.study, found.schedules, found.readouts, posterior, info, 5, 1
    )


@pytest.fixture(scope="module")
def file(hand_run: HandRun, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    path = tmp_path_factory.mktemp("nc") / "run.nc"
    assert write(hand_run, path) == {"draws": 48, "readings": 59, "censored": 1}
    return path


def test_every_group_is_there_and_draws_line_up_with_the_posterior(file: Path) -> None:
    with xr.open_datatree(file, engine="h5netcdf") as tree:
        assert set(tree.children) == {
            "posterior", "unconstrained_posterior", "sample_stats", "constant_data", "prior",
            "posterior_predictive", "prior_predictive", "observed_data", "log_likelihood",
            "left_out",
        }  # fmt: skip
        for group in ("posterior_predictive", "log_likelihood"):
            assert tree[group]["y"].dims == ("chain", "draw", "reading")
            assert tree[group]["y"].shape == (2, 24, 59)
            assert tree[group]["chain"].equals(tree["posterior"]["chain"])
            assert tree[group]["draw"].equals(tree["posterior"]["draw"])


def test_a_reading_is_found_by_its_chip_and_readout_and_a_censored_one_is_no_value(
    file: Path,
    hand_run: HandRun,  # noqa: F811
) -> None:
    known = [r for r in hand_run.record.readouts(hand_run.run_id) if r.qc != "fail"]
    with xr.open_datatree(file, engine="h5netcdf") as tree:
        seen, fixed = tree["observed_data"].to_dataset(), tree["constant_data"].to_dataset()
        for one in known:
            here = (
                (seen["chip"] == one.chip_id)
                & (seen["readout"] == one.readout)
                & (seen["time_h"] == one.time_h)
            ).values
            assert here.sum() == 1
            (at,) = np.flatnonzero(here)
            if one.censoring == "none":
                assert float(seen["y"][at]) == one.value
                assert np.isnan(fixed["upper"][at])
            else:
                assert np.isnan(seen["y"][at])
                assert (float(fixed["upper"][at]), str(fixed["censoring"][at].values)) == (
                    250.0,
                    "left",
                )


def test_readings_that_were_not_learned_from_are_named_with_who_left_them_out_and_why(
    hand_run: HandRun,  # noqa: F811
    file: Path,
    likelihood: Likelihood,
) -> None:
    (failed,) = (r for r in hand_run.record.readouts(hand_run.run_id) if r.qc == "fail")
    with xr.open_datatree(file, engine="h5netcdf") as tree:
        out = tree["left_out"].to_dataset()
        assert [str(one) for one in out["chip"].values] == [failed.chip_id]
        assert [str(one) for one in out["excluded_by"].values] == [""]
        assert [str(one) for one in out["why"].values] == ["; ".join(failed.reasons)]
    assert left_out_group(likelihood, likelihood.used) is None
    one = replace(likelihood.used[0], qc="fail")
    by_person = replace(one, reasons=("dim", "excluded by nora: air; bubble"))
    by_fit = replace(one, reasons=(f"left out of the fit of cycle 2: {UNEXPLAINED}",))
    unnamed = replace(one, reasons=(UNEXPLAINED,))
    found = left_out_group(likelihood, [*likelihood.used, by_person, by_fit, unnamed])
    assert found is not None and float(found["y"][0]) == one.value
    assert list(zip(found["excluded_by"].values, found["why"].values, strict=True)) == [
        ("nora", "air; bubble"), ("fit of cycle 2", UNEXPLAINED), ("fit", UNEXPLAINED),
    ]  # fmt: skip


def test_the_likelihood_of_one_reading_given_the_others_is_the_joint_one_less_the_others(
    hand_run: HandRun,  # noqa: F811
    file: Path,
    likelihood: Likelihood,
) -> None:
    """ln p(y_i | others) = ln p(all) - ln p(all but i), by the likelihood itself, at the first draw."""
    study = hand_run.study
    prior = Prior.of_study(model_of(study), study)
    posterior, _ = read_posterior(file)
    z = posterior.standard[:1]
    target = Target(likelihood, prior)
    whole = target.log_likelihood(target.residuals(z))[0]
    at = next(i for i, r in enumerate(likelihood.used) if r.readout == "TEER")
    schedules = evidence_of(study, hand_run.journal.actions(hand_run.run_id), [], 1).schedules
    others = likelihood_of(study, schedules, [r for i, r in enumerate(likelihood.used) if i != at])
    without = Target(others, prior)
    assert without.names == target.names
    rest = without.log_likelihood(without.residuals(z))[0]
    with xr.open_datatree(file, engine="h5netcdf") as tree:
        kept = float(tree["log_likelihood"]["y"][0, 0, at])
    assert kept == pytest.approx(whole - rest, abs=1e-6)


def test_replicates_scatter_as_the_likelihood_says(likelihood: Likelihood) -> None:
    """Their residuals are standard normals, alone and together: chips' shared scatter is in them."""
    n = 4000
    means = np.tile(likelihood.plain_means(np.full(len(likelihood.used), 50.0)), (n, 1))
    y = replicates(likelihood, means, np.random.default_rng(1))
    on_scale = np.where(likelihood.rows.log_scale, np.log(np.maximum(y, 1e-300)), y)
    for block in likelihood.blocks:
        r = likelihood.standard(block, (on_scale - means)[:, block.rows])
        if likelihood.scatter.chip_tails is None:
            np.testing.assert_allclose(np.cov(r.T), np.eye(len(block.rows)), atol=0.12)
        else:
            np.testing.assert_allclose(np.median(np.abs(r)), 0.7, atol=0.1)


def test_other_readings_than_the_posterior_was_found_with_are_refused(
    hand_run: HandRun,  # noqa: F811
    tmp_path: Path,
) -> None:
    found = evidence_of(
        hand_run.study, hand_run.journal.actions(hand_run.run_id),
        hand_run.record.readouts(hand_run.run_id), 1,
    )  # fmt: skip
    posterior, info = read_posterior(hand_run.folder / "cal-01" / "posterior.nc")
    assert asdict(info) == asdict(INFO)
    with pytest.raises(ValueError, match="58 readings, and 59 stand now"):
        write_calibration(
            tmp_path / "x.nc", hand_run.study, found.schedules, found.readouts, posterior,
            replace(info, n_readouts=58), 5, 1,
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_same_calibration_gives_the_same_numbers_and_our_own_reader_takes_it(
    file: Path,
    hand_run: HandRun,  # noqa: F811
    tmp_path: Path,
) -> None:
    write(hand_run, tmp_path / "again.nc")
    with (
        xr.open_datatree(file, engine="h5netcdf") as one,
        xr.open_datatree(tmp_path / "again.nc", engine="h5netcdf") as other,
    ):
        assert one.identical(other)
    own, _ = read_posterior(hand_run.folder / "cal-01" / "posterior.nc")
    assert np.array_equal(read_posterior(file)[0].particles, own.particles)
    assert np.array_equal(read_posterior(file)[0].mode, own.mode)


def test_other_readings_than_those_of_the_posterior_are_refused_however_many_there_are(
    hand_run: HandRun,  # noqa: F811
    tmp_path: Path,
    likelihood: Likelihood,
) -> None:
    actions = hand_run.journal.actions(hand_run.run_id)
    found = evidence_of(hand_run.study, actions, hand_run.record.readouts(hand_run.run_id), 1)
    posterior, info = read_posterior(hand_run.folder / "cal-01" / "posterior.nc")
    known = replace(info, readings=likelihood.digest)
    given = (hand_run.study, found.schedules)
    write_calibration(tmp_path / "a.nc", *given, found.readouts, posterior, known, 5, 1)
    first = next(i for i, r in enumerate(found.readouts) if r.qc == "ok" and r.censoring == "none")
    other = list(found.readouts)
    other[first] = replace(other[first], value=3.0 * other[first].value)
    with pytest.raises(ValueError, match="other readings"):
        write_calibration(tmp_path / "b.nc", *given, other, posterior, known, 5, 1)
    assert not (tmp_path / "b.nc").exists()
