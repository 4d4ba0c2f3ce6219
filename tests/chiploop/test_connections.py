"""Which line may feed which chip, and that a study without valves knows nothing of it."""

from __future__ import annotations

import pytest

from chiploop.connections import (
    MOST_CONNECTIONS,
    connected,
    connection_of,
    connections_of,
    dose_unit,
    empty_lines,
    line_in,
    turns_between,
    with_chips_that_may_be_on,
    words,
)
from chiploop.study import Study
from tests.chiploop.valve_journals import PLAIN, VALVED


def test_a_chip_is_given_to_another_line_and_keeps_its_place_and_its_donor() -> None:
    study = connected(VALVED, {"C03": "L2"})
    assert tuple(study.line("L1").chips) == ("C01", "C02")
    assert dict(study.line("L2").chips) == {"C03": "D3", "C04": "D1", "C05": "D2", "C06": "D3"}
    assert study.chip_ids == VALVED.chip_ids
    assert study.donor_of("C03").id == VALVED.donor_of("C03").id
    assert study.line_flow_rate_ul_h("L2") == 4 * study.perfusion.flow_rate_ul_h
    assert connection_of(study) == {"C03": "L2"}


def test_a_connected_study_comes_home_and_can_be_connected_otherwise() -> None:
    study = connected(VALVED, {"C03": "L2"})
    assert connected(study, {}) == VALVED
    assert connection_of(connected(study, {"C06": "L3"})) == {"C06": "L3"}
    assert connected(VALVED, {"C03": "L1"}) is VALVED  # where it is already


def test_a_chip_of_which_nobody_knows_is_on_no_line() -> None:
    study = connected(VALVED, {"C03": None})
    assert all("C03" not in line.chips for line in study.lines)
    assert "C03" in study.chip_ids


@pytest.mark.parametrize(("chip", "line"), [("C03", "L3"), ("C01", "L2")])
def test_a_line_that_no_valve_joins_to_a_chip_is_refused(chip: str, line: str) -> None:
    with pytest.raises(ValueError, match=f"no valve lets {line} feed {chip}"):
        connected(VALVED, {chip: line})


def test_connections_are_bounded_and_begin_with_the_present_one_then_the_fewest_turns() -> None:
    now = {"C03": "L2"}
    found = connections_of(VALVED, now)
    assert found[0] == now
    assert len(found) == 6  # 2 lines for C03 times 3 for C06
    turns = [len(turns_between(VALVED, now, one)) for one in found]
    assert turns == [0, 1, 1, 1, 2, 2]
    valves = dict.fromkeys(("C01", "C02", "C04", "C05", "C07", "C08"), ("L4",))
    many = PLAIN.model_copy(update={"valves": valves})
    assert len(connections_of(many, {})) == MOST_CONNECTIONS


def test_no_connection_leaves_a_line_without_chips() -> None:
    valves = {"C01": ("L2",), "C02": ("L2",), "C03": ("L2",)}
    study = PLAIN.model_copy(update={"valves": valves})
    assert empty_lines(study, dict.fromkeys(valves, "L2")) == ("L1",)
    assert dict.fromkeys(valves, "L2") not in connections_of(study, {})
    assert {"C01": "L2", "C02": "L2"} in connections_of(study, {})


def test_a_chip_stays_where_a_line_of_its_valve_is_held_or_nobody_knows() -> None:
    assert connections_of(VALVED, {}, without_lines=("L3",)) == ({}, {"C03": "L2"})
    found = connections_of(VALVED, {"C03": None})
    assert all(one["C03"] is None for one in found)


def test_lines_that_valves_join_share_the_deviation_of_their_doses() -> None:
    assert dose_unit(PLAIN, "C03") == "L1"
    assert {dose_unit(VALVED, c) for c in ("C01", "C03", "C05", "C09")} == {"L1+L2+L3"}
    assert dose_unit(VALVED, "C10") == "L4"
    assert dose_unit(connected(VALVED, {"C03": "L2"}), "C03") == "L1+L2+L3"


def test_people_are_told_who_is_fed_by_whom() -> None:
    assert line_in(VALVED, {"C03": "L2"}, "C03") == "L2"
    assert words(VALVED, ["C03", "C06"], {"C03": "L2"}) == (
        "C03 fed by L2 in place of L1, C06 fed by L2"
    )
    assert "nobody knows" in words(VALVED, ["C03"], {"C03": None})


def test_a_study_without_valves_is_written_as_it_was_before_there_were_any() -> None:
    written = PLAIN.model_dump_json()
    assert '"valves":' not in written and '"home_lines":' not in written
    assert connected(PLAIN, {}) is PLAIN
    assert connections_of(PLAIN, {}) == ({},)


def test_a_study_with_valves_comes_back_from_its_file() -> None:
    again = Study.model_validate_json(VALVED.model_dump_json())
    assert again == VALVED
    assert again.valves == {"C03": ("L2",), "C06": ("L1", "L3")}


def test_a_line_that_feeds_nobody_for_certain_has_the_chips_that_may_be_on_it() -> None:
    study = VALVED.model_copy(update={"valves": dict.fromkeys(("C01", "C02", "C03"), ("L2",))})
    unknown = dict.fromkeys(("C01", "C02", "C03"))
    own = study.perfusion.flow_rate_ul_h
    for limit, counted in ((1.0, 1), (2.5, 2), (4.0, 3)):  # were a single one there, it had all
        limits = study.limits.model_copy(update={"flow_rate_ul_h": limit * own})
        limited = study.model_copy(update={"limits": limits})
        found = with_chips_that_may_be_on(limited, unknown, "L1")
        assert len(found.line("L1").chips) == counted
    assert set(with_chips_that_may_be_on(study, unknown, "L2").line("L2").chips) == {
        "C04",
        "C05",
        "C06",
    }
    assert not with_chips_that_may_be_on(study, dict.fromkeys(unknown, "L2"), "L1").line("L1").chips
