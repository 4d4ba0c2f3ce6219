"""What readings share: covariances by their definition, and which causes must be sampled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.inference.scatter import Reading, Scatter, groups, spread_of

SCATTER = Scatter({"CCL26": 0.2}, {"CCL26": 0.4}, {"CCL26": 0.1})
CURVE = (0.06, 0.03)
PLAIN = [
    Reading(chip, donor, plate, 0.1, CURVE, False)
    for chip, donor in (("A", "d1"), ("B", "d1"), ("C", "d2"), ("D", "d2"))
    for plate in ("p1", "p2")
]


def with_censored(*places: int) -> list[Reading]:
    return [replace(one, is_censored=i in places) for i, one in enumerate(PLAIN)]


def names(causes: object) -> list[str]:
    return [cause.name for cause in causes]  # type: ignore[attr-defined]


def full_covariance(readings: list[Reading]) -> np.ndarray:
    """Return the covariance by its definition, nothing sampled."""
    found = np.zeros((len(readings),) * 2)
    for i, one in enumerate(readings):
        for j, other in enumerate(readings):
            found[i, j] += 0.2**2 * (one.chip == other.chip)
            found[i, j] += 0.4**2 * (one.donor == other.donor)
            if i == j:
                found[i, j] += one.sd**2 + 0.1**2
            elif one.plate == other.plate:
                found[i, j] += float(np.dot(one.curve, other.curve))
    return found


def test_without_anything_censored_nothing_is_sampled() -> None:
    spread = spread_of(SCATTER, "CCL26", PLAIN)
    assert spread.sampled == ()
    assert spread.covariance() == pytest.approx(full_covariance(PLAIN))
    # the assay's sd holds the part that the plate shares: it is not counted twice
    assert spread.covariance()[0, 0] == pytest.approx(0.1**2 + 0.1**2 + 0.2**2 + 0.4**2)


@pytest.mark.parametrize("places", [(), (0,), (0, 1), (0, 3, 6), tuple(range(8))])
def test_what_is_sampled_and_what_is_integrated_make_up_the_covariance(
    places: tuple[int, ...],
) -> None:
    readings = with_censored(*places)
    spread = spread_of(SCATTER, "CCL26", readings)
    total = spread.covariance()
    for cause in spread.sampled:
        total[np.ix_(cause.rows, cause.rows)] += np.outer(cause.loadings, cause.loadings)
    assert total == pytest.approx(full_covariance(readings))


def test_a_cause_is_sampled_only_where_a_censored_reading_has_it() -> None:
    spread = spread_of(SCATTER, "CCL26", with_censored(0))
    assert names(spread.sampled) == [
        "CCL26 of chip A",
        "CCL26 of donor d1",
        "CCL26 curve 1 of p1",
        "CCL26 curve 2 of p1",
    ]
    assert names(spread.integrated) == [
        "CCL26 of chip B",
        "CCL26 of chip C",
        "CCL26 of chip D",
        "CCL26 of donor d2",
        "CCL26 curve 1 of p2",
        "CCL26 curve 2 of p2",
    ]
    assert np.count_nonzero(spread.covariance()[0]) == 1, "it is independent of all others now"


def test_all_censored_and_all_is_sampled() -> None:
    spread = spread_of(SCATTER, "CCL26", with_censored(*range(8)))
    assert spread.integrated == ()
    assert len(spread.sampled) == 4 + 2 + 4
    assert spread.covariance() == pytest.approx(np.diag(spread.sd**2))


def test_what_is_shared_with_nobody_is_the_readings_own() -> None:
    alone = [Reading("A", "d1", "p1", 0.1, CURVE, True)]
    spread = spread_of(SCATTER, "CCL26", alone)
    assert (spread.integrated, spread.sampled) == ((), ())
    assert spread.sd[0] ** 2 == pytest.approx(0.1**2 + 0.1**2 + 0.2**2 + 0.4**2)


def test_readouts_that_do_not_scatter_share_nothing() -> None:
    spread = spread_of(SCATTER, "TEER", [replace(one, curve=(), plate="") for one in PLAIN])
    assert (spread.integrated, spread.sampled) == ((), ())
    assert spread.sd == pytest.approx(np.full(8, 0.1))


def test_a_curve_with_fewer_errors_leans_on_no_others() -> None:
    readings = [replace(PLAIN[0], curve=(0.06,)), PLAIN[2], PLAIN[4]]
    spread = spread_of(Scatter({}, {}, {}), "CCL26", readings)
    assert [cause.loadings.tolist() for cause in spread.integrated] == [
        [0.06, 0.06, 0.06],
        [0.0, 0.03, 0.03],
    ]
    assert spread.covariance()[0, 1] == pytest.approx(0.06**2)


def test_a_curve_never_makes_a_readings_own_variance_negative() -> None:
    readings = [replace(one, sd=0.05) for one in PLAIN[:4]]  # less than its part of the curve
    spread = spread_of(Scatter({}, {}, {"CCL26": 0.01}), "CCL26", readings)
    assert spread.sd == pytest.approx(np.full(4, 0.01), rel=0.01)
    exact = spread_of(Scatter({}, {}, {}), "CCL26", readings)
    assert np.linalg.eigvalsh(exact.covariance()).min() > 0


def test_readings_are_of_one_group_where_a_chain_of_causes_leads_from_one_to_the_other() -> None:
    spread = spread_of(Scatter({"CCL26": 0.2}, {}, {}), "CCL26", PLAIN)
    assert len(set(groups(8, spread.integrated).tolist())) == 1, "chips hang together by plates"
    apart = [cause for cause in spread.integrated if "curve" not in cause.name]
    assert groups(8, apart).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(set(groups(3, ()).tolist())) == 3


def test_the_variance_of_one_reading_is_the_sum_of_what_scatters() -> None:
    assert SCATTER.variance("CCL26") == pytest.approx(0.2**2 + 0.4**2 + 0.1**2)
    assert SCATTER.variance("TEER") == 0.0
