"""How numbers of goals are shown on the terminal."""

from __future__ import annotations

import pytest

from flows.cli import fit_table, progress


@pytest.mark.parametrize("shown", [progress.number, fit_table.number])
def test_only_a_concentration_ends_where_the_search_for_it_did(shown: object) -> None:
    assert callable(shown)
    assert shown(2e6, "nM") == ">1e+06"
    assert float(shown(2e6, "1")) == 2e6
    assert shown(12.34, "nM") == shown(12.34, "1") == "12.3"


def test_a_therapeutic_index_is_shown_whole_in_its_interval() -> None:
    goal = {"lower": 3.0, "upper": 2e6, "unit": "1"}
    assert progress.interval_text(goal) == "3 to 2e+06"
    assert progress.interval_text({**goal, "unit": "nM"}) == "3 to >1e+06"
