"""Doses are drawn over lines by a seed, with donors balanced as far as manifolds let them be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from chiploop.line_assignment import assign_doses

SAME = {f"L{i}": ("D1", "D2", "D3") for i in range(1, 5)}
OWN = {"L1": ("D1", "D1"), "L2": ("D1", "D1"), "L3": ("D2", "D2"), "L4": ("D2", "D2")}


def donors_of(
    lines: Mapping[str, tuple[str, ...]], doses: Mapping[str, float]
) -> dict[float, Counter[str]]:
    found: dict[float, Counter[str]] = {}
    for line, nm in doses.items():
        found.setdefault(nm, Counter()).update(lines[line])
    return found


def test_every_line_gets_one_of_the_wanted_doses_and_every_dose_is_given() -> None:
    wanted = [0.0, 30.0, 30.0, 480.0]
    found = assign_doses(SAME, wanted, 1)
    assert list(found.doses_nm) == list(SAME)
    assert sorted(found.doses_nm.values()) == wanted


def test_the_same_seed_draws_the_same_and_seeds_differ() -> None:
    wanted = [0.0, 30.0, 120.0, 480.0]
    assert assign_doses(SAME, wanted, 7) == assign_doses(SAME, wanted[::-1], 7)
    drawn = {tuple(assign_doses(SAME, wanted, seed).doses_nm.values()) for seed in range(200)}
    assert len(drawn) == 24, "where donors are alike every order can come"


def test_a_line_gets_each_dose_equally_often() -> None:
    counts = Counter(assign_doses(SAME, [0.0, 1.0, 2.0, 3.0], s).doses_nm["L1"] for s in range(800))
    assert all(150 < count < 250 for count in counts.values())  # 200 expected, sd 12


@pytest.mark.parametrize("seed", range(20))
def test_replicates_go_to_different_donors_where_a_line_holds_one_donor(seed: int) -> None:
    found = assign_doses(OWN, [0.0, 0.0, 100.0, 100.0], seed)
    for counts in donors_of(OWN, found.doses_nm).values():
        assert counts == {"D1": 2, "D2": 2}


@pytest.mark.parametrize("seed", range(20))
def test_no_donor_gets_all_the_high_doses(seed: int) -> None:
    found = assign_doses(OWN, [0.0, 10.0, 100.0, 1000.0], seed)
    assert {found.doses_nm["L1"], found.doses_nm["L2"]} in ({0.0, 1000.0}, {10.0, 100.0})


def test_many_lines_are_balanced_too() -> None:
    lines = {f"L{i}": ("D1",) if i < 5 else ("D2",) for i in range(10)}
    found = assign_doses(lines, [0.0, 1.0] * 5, 3)
    counts = donors_of(lines, found.doses_nm)
    assert abs(counts[0.0]["D1"] - counts[0.0]["D2"]) <= 1


def test_the_record_says_the_seed_and_the_draw() -> None:
    found = assign_doses({"L1": ("D1",), "L2": ("D1",)}, [0.0, 5.0], 11)
    assert "seed 11" in found.sentence
    assert "L1 " in found.sentence


def test_doses_that_do_not_match_the_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="3 doses for 4 lines"):
        assign_doses(SAME, [0.0, 1.0, 2.0], 1)
