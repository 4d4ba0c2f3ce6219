"""A patient's file: codes only, lines told, consent asked, effects sourced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.inference.posterior import Posterior
from chiploop.twin.chip_shift import chip_ratios
from chiploop.twin.patient_file import patient_of, read_patient

GOOD = """chiploop: 1
patient: P-0042
consent: {scope: [research], delete_after: "2031-12-31"}
age_years: 34
flg: heterozygous
baseline:
  easi: 28.0
  serum_ccl17_pg_ml: 1800.0
chip:
  maturation: {ratio: 0.8, ln_sd: 0.2}
modifiers:
  stress: {parameter: d1}
treatment: dupilumab
visits:
  - {week: 4.0, easi: 15.0}
  - {week: 8.0}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "patient.yaml"
    path.write_text(text)
    return path


def test_a_good_file_is_read_and_what_is_missing_stays_missing(tmp_path: Path) -> None:
    found = patient_of(written(tmp_path, GOOD))
    assert found.baseline.easi == 28.0 and found.baseline.tewl_g_m2_h is None
    assert [visit.easi for visit in found.visits] == [15.0, None]
    assert found.modifiers["stress"].ln_effect == 0.0


# what is put into the good file, in place of what -> line and words
WRONG = [
    ("patient: P-0042", "patient: Miller", 2, "not a code"),
    ("patient: P-0042", "patient: P-1984-03-07", 2, "not a code"),
    ("age_years: 34", "date_of_birth: 1990-01-01", 4, "may identify a person"),
    ("age_years: 34", "name: Miller", 4, "may identify a person"),
    ("  easi: 28.0", "  e_mail: a@b.c", 7, "may identify a person"),
    ("scope: [research]", "scope: []", 3, "at least 1"),
    (', delete_after: "2031-12-31"', "", 3, '"delete_after" is missing'),
    ("  stress: {parameter: d1}", "  stress: {parameter: d1, ln_effect: 0.3}", 12, "has no source"),
    ("  stress: {parameter: d1}", "  stress: {parameter: mood}", 12, "is not a parameter"),
    ("  - {week: 8.0}", "  - {week: 2.0}", None, "do not ascend"),
    ("  easi: 28.0", "  easi: 80.0", 7, "72.0 or less"),
    ("ratio: 0.8", "ratio: 1.0e+300", 10, "1000.0 or less"),
    ("ratio: 0.8", "ratio: 1.0e-300", 10, "0.001 or more"),
]


@pytest.mark.parametrize(("old", "new", "line", "words"), WRONG)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int | None, words: str
) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    found, problems = read_patient(path)
    assert found is None
    assert [(p.line, words in p.message) for p in problems] == [(line, True)]
    with pytest.raises(FileNotValid, match="patient.yaml"):
        patient_of(path)


def test_ratios_of_a_donor_are_those_of_its_run() -> None:
    rng = np.random.default_rng(1)
    particles = np.exp(rng.normal(0.0, 0.1, (300, 2)))
    own = particles[:, None] * np.array([[[0.5, 1.0], [1.0, 1.0]]])
    found = Posterior(
        ("kB", "EC13"), ("1/h", "nM"), particles, particles, particles[0], donors=("D1", "D2"), of_donors=own
    )  # fmt: skip
    ratios = chip_ratios(found, "D1")
    assert set(ratios) == {"maturation"}
    assert ratios["maturation"][0] == pytest.approx(0.5)
    assert chip_ratios(found, "D2") == {}
    with pytest.raises(KeyError, match="D1, D2"):
        chip_ratios(found, "D9")


def test_maturation_is_the_geometric_mean_of_its_two_rates() -> None:
    particles = np.exp(np.random.default_rng(3).normal(0.0, 0.05, (50, 2)))
    own = particles[:, None] * np.array([[[2.0, 2.0], [4.0, 1.0]]])
    found = Posterior(
        ("kM", "kB"), ("1/h", "1/h"), particles, particles, particles[0], donors=("D1", "D2"), of_donors=own
    )  # fmt: skip
    for donor in ("D1", "D2"):
        assert chip_ratios(found, donor)["maturation"][0] == pytest.approx(2.0)
