"""What lines risk together stays within the budget; what may not be given is refused, whoever chose it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.batch_safety import (
    SafeBatch,
    drug_candidates,
    expected_harmed,
    safe_batch,
)
from chiploop.errors import SafetyRefusal
from chiploop.study_limits import batch_risk_limit_chips
from tests.chiploop.campaigns import STUDY
from tests.chiploop.candidates import FakeTable, fake_table

DOSES = [0.0, 10.0, 100.0, 1000.0]
RISK = [0.0, 0.02, 0.1, 0.24]


def table(lines: int = 4, **more: Any) -> FakeTable:
    return fake_table(DOSES, [RISK] * lines, **more)


def safe(found: FakeTable, chosen: Mapping[int, int], **more: Any) -> SafeBatch:
    usual: dict[str, Any] = {"chips": [3] * len(found.lines), "risk_chips": 0.75}
    return safe_batch(found, chosen, **usual | more)


def test_a_batch_within_the_rules_stays_as_it_was_chosen() -> None:
    chosen = {0: 0, 1: 1, 2: 2, 3: 2}
    assert safe(table(), chosen) == SafeBatch(chosen, frozenset(), ())


def test_the_riskiest_lines_get_the_next_lower_dose_that_fits() -> None:
    # 3 chips x (0.24 + 0.24 + 0.1 + 0.02) = 1.8 chips; with L1 at 0.02 and L2 at 0.1 it is 0.72
    found = safe(table(), {0: 3, 1: 3, 2: 2, 3: 1})
    assert found.chosen == {0: 0, 1: 2, 2: 2, 3: 1}
    assert found.changed == {0, 1}
    assert expected_harmed(table(), found.chosen, [3] * 4) == pytest.approx(3 * 0.22)
    assert (
        "line L2 gets 100 nM in place of 1000 nM: all lines together would bring 1.80 chips below the "
        "viability limit, at most 0.75 are accepted"
    ) in found.notes


def test_a_line_without_drug_risks_nothing_whatever_its_chips_have_suffered() -> None:
    sick = fake_table(DOSES, [[1.0, 1.0, 1.0, 1.0], RISK])
    assert safe(sick, {0: 0, 1: 3}, risk_chips=0.72).chosen == {0: 0, 1: 3}
    assert safe(sick, {0: 1, 1: 3}, risk_chips=0.72).chosen == {0: 0, 1: 3}


def test_a_risk_that_is_no_number_counts_as_harm() -> None:
    odd = fake_table(DOSES, [[0.0, np.nan, 0.0, 0.0]])
    assert expected_harmed(odd, {0: 1}, [3]) == 3.0
    assert safe(odd, {0: 1}).chosen == {0: 0}


def test_without_a_lower_dose_the_batch_is_refused() -> None:
    no_vehicle = [[False, False, False, True]] * 4
    with pytest.raises(SafetyRefusal, match=r"fewer than 2\.88 chips.*at most 0\.75"):
        safe(table(allowed=no_vehicle), dict.fromkeys(range(4), 3))


def test_lines_with_more_chips_risk_more() -> None:
    assert safe(table(2), {0: 3, 1: 3}, chips=[3, 1], risk_chips=0.9).chosen == {0: 2, 1: 3}
    assert safe(table(2), {0: 3, 1: 3}, chips=[1, 3], risk_chips=0.9).chosen == {0: 3, 1: 2}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({0: 1, 1: 3}, "1000 nM was chosen for line L2 and is not allowed"),
        ({0: 1}, "each of L1, L2 one dose"),
        ({0: 1, 1: 1, 2: 1}, "each of L1, L2 one dose"),
        ({0: 4, 1: 1}, "line L1 has no candidate 4"),
        ({0: -1, 1: 1}, "line L1 has no candidate -1"),
    ],
)
def test_a_choice_that_safety_forbids_is_refused_not_mended(
    chosen: dict[int, int], said: str
) -> None:
    forbidden = table(2, allowed=[[True] * 4, [True, True, True, False]])
    with pytest.raises(SafetyRefusal, match=said):
        safe(forbidden, chosen)


def test_the_least_worthy_lines_do_without_drug() -> None:
    worth = {0: 0.5, 1: 0.1, 2: 0.3, 3: 0.4}
    found = safe(table(), dict.fromkeys(range(4), 1), vehicle_lines=2, worth=worth)
    assert found.chosen == {0: 1, 1: 0, 2: 0, 3: 1}
    assert (
        "line L2 gets no drug in place of 10 nM: the study asks for 2 line(s) without"
        in found.notes
    )
    assert safe(table(), {0: 0, 1: 1, 2: 0, 3: 1}, vehicle_lines=2).changed == frozenset()


def test_a_line_that_can_not_do_without_drug_is_passed_over_and_told_where_none_is_left() -> None:
    allowed = [[False, True, True, True], [True] * 4]
    found = safe(table(2, allowed=allowed), {0: 1, 1: 2}, vehicle_lines=1)
    assert found.chosen == {0: 1, 1: 0}
    with pytest.raises(SafetyRefusal, match="2 line.* and 1 can not be had"):
        safe(table(2, allowed=allowed), {0: 1, 1: 2}, vehicle_lines=2)


def test_the_budget_of_a_study_is_that_of_its_largest_line_unless_it_states_one() -> None:
    assert batch_risk_limit_chips(STUDY) == pytest.approx(0.25 * 3)
    limits = STUDY.limits.model_copy(update={"batch_risk_chips": 0.4})
    assert batch_risk_limit_chips(STUDY.model_copy(update={"limits": limits})) == 0.4


def test_the_share_of_allowed_doses_and_the_least_risk_leave_the_vehicle_out() -> None:
    found = fake_table(DOSES, [[0.9] + RISK[1:], RISK], [[True, True, False, False], [True] * 4])
    assert drug_candidates(found) == (4 / 6, 0.02)
    assert drug_candidates(fake_table([0.0], [[0.0]])) == (0.0, None)


risks = st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4)


@given(st.data(), st.lists(risks, min_size=1, max_size=5), st.floats(0.01, 3.0), st.integers(0, 5))
def test_whatever_was_chosen_nothing_forbidden_leaves_and_the_budget_is_kept(
    data: st.DataObject, risk: list[list[float]], budget: float, vehicles: int
) -> None:
    lines = len(risk)
    allowed = [[True, *data.draw(st.lists(st.booleans(), min_size=3, max_size=3))] for _ in risk]
    found = fake_table(DOSES, risk, allowed)
    chosen = {
        i: data.draw(st.sampled_from(np.flatnonzero(row).tolist())) for i, row in enumerate(allowed)
    }
    chips = data.draw(st.lists(st.integers(1, 6), min_size=lines, max_size=lines))
    vehicles = min(vehicles, lines)
    batch = safe(found, chosen, chips=chips, risk_chips=budget, vehicle_lines=vehicles)
    assert expected_harmed(found, batch.chosen, chips) <= budget * (1 + 1e-6)
    assert all(found.allowed[i][k] for i, k in batch.chosen.items())
    assert sum(k == 0 for k in batch.chosen.values()) >= vehicles
    for i, k in batch.chosen.items():
        assert DOSES[k] <= DOSES[chosen[i]], "safety never raises a dose"
        assert (i in batch.changed) == (k != chosen[i])
    assert bool(batch.changed) == bool(batch.notes)
