"""What a study's donors can teach: FLG loss and the barrier's share on FLG are one number in wild-type skin.

In a wild-type donor Fmax and wF enter the barrier as a product, wF Fmax; a heterozygous donor begins with half the
FLG, and so tells them apart (local Fisher information, as in the model's page).
"""

from __future__ import annotations

import numpy as np

from benchmarks.matched_study import matched_study
from chiploop.inference.prior import Prior
from chiploop.inference.target import Target
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.study import Study
from tests.chiploop.campaigns import STUDY

DOSES_NM = ((0.0, 30.0, 120.0, 480.0), (10.0, 60.0, 240.0, 960.0))
PAIR = ("Fmax", "wF")


def with_donors(*ids: str) -> Study:
    """Return the demo study with its chips from these donors in turn."""
    chips = STUDY.chip_ids
    owner = {chip: ids[i % len(ids)] for i, chip in enumerate(chips)}
    lines = tuple(
        line.model_copy(update={"chips": {chip: owner[chip] for chip in line.chips}})
        for line in STUDY.lines
    )
    donors = {donor: STUDY.donors[donor] for donor in ids}
    return STUDY.model_copy(update={"donors": donors, "lines": lines})


def information(study: Study) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the Fisher information (p, p) of readouts about ln of the parameters, at the prior's middle."""
    matched = matched_study(study, DOSES_NM, 1)
    model = model_of(study)
    prior = Prior.of(Prior.of_study(model, study).specs)
    target = Target(likelihood_of(study, matched.schedules, matched.readouts), prior)
    z = np.zeros((1, target.dims))
    _, jacobian = target.linearised(z)
    x, slope = prior.mapped(z)
    by_ln = jacobian[0] * (x / slope)[0]
    return by_ln.T @ by_ln, prior.names


def pair_condition(study: Study) -> float:
    """Return the condition number of the pair's information, all other parameters known."""
    found, names = information(study)
    at = [names.index(name) for name in PAIR]
    return float(np.linalg.cond(found[np.ix_(at, at)]))


def test_a_heterozygous_donor_tells_apart_what_a_wild_type_donor_can_not() -> None:
    alone, pair = pair_condition(with_donors("D1")), pair_condition(with_donors("D1", "D3"))
    assert alone > 1e4
    assert pair < alone / 100


def test_a_second_wild_type_donor_does_not() -> None:
    assert pair_condition(with_donors("D1", "D2")) > 1e4
