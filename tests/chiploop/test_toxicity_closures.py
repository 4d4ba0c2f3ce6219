"""What has harmed is closed with all above it, until a person reopens it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chiploop.campaign_values import Campaign
from chiploop.measurement import Readout
from chiploop.toxicity_closures import (
    Closure,
    Reopened,
    Toxicity,
    closures,
    harm_taken_away,
    in_force,
    shown_toxicities,
    still_allowed,
)
from tests.chiploop.campaigns import STUDY, given, pilot
from tests.chiploop.candidates import fake_table, programme

DONE = pilot()
"""L1 to L4 got 0, 30, 120 and 480 nM from 24 to 72 h; chips C01 to C12, three a line."""


def released(chip: str, value: float, end_h: float = 72.0, **more: Any) -> Readout:
    cycle = more.pop("cycle", 1)
    return Readout(
        chip, "ldh_release", value, "1", 0.01, "linear", end_h, end_h - 24.0, cycle=cycle, **more
    )


def shown(*readouts: Readout, campaign: Campaign = DONE) -> list[tuple[str, float]]:
    found = shown_toxicities(STUDY, campaign.schedules, readouts)
    return [(one.chip_id, pytest.approx(one.dose_nm)) for one in found]  # type: ignore[misc]


@pytest.mark.parametrize(("value", "is_shown"), [(0.199, False), (0.201, True), (0.9, True)])
def test_a_release_beyond_the_viability_limit_shows_harm(value: float, is_shown: bool) -> None:
    assert shown(released("C10", value)) == ([("C10", 480.0)] if is_shown else [])


def test_a_failed_readout_and_other_readouts_show_nothing() -> None:
    assert shown(released("C10", 0.5, qc="fail")) == []
    assert shown(replace(released("C10", 0.5), readout="CCL26")) == []


def test_only_the_sure_bound_of_a_censored_release_counts() -> None:
    nan = float("nan")
    assert shown(released("C10", nan, censoring="right", lower=0.3)) == [("C10", 480.0)]
    assert shown(released("C10", nan, censoring="left", upper=0.5)) == []
    assert shown(released("C10", nan, censoring="interval", lower=0.1, upper=0.5)) == []


def test_harm_is_taken_away_by_what_no_longer_shows_it_unless_a_person_has_reopened_it() -> None:
    before = (released("C10", 0.5), released("C07", 0.3))
    lost = released("C10", float("nan"), qc="fail", reasons=("no well with a signal",))

    def gone(*after: Readout, reopened: tuple[Reopened, ...] = ()) -> list[str]:
        found = harm_taken_away(STUDY, DONE.schedules, before, after, reopened)
        return [one.chip_id for one in found]

    assert gone(*before) == []
    assert gone(lost, before[1]) == ["C10"]
    assert gone(released("C10", 0.1), before[1]) == ["C10"]
    assert gone(released("C10", 0.4), before[1]) == [], "another number of the same harm"
    assert gone(lost, before[1], reopened=(Reopened(480.0, 80.0),)) == []
    assert gone(lost, before[1], reopened=(Reopened(120.0, 80.0),)) == ["C10"]


def test_harm_without_drug_blames_no_dose() -> None:
    assert shown(released("C01", 0.9)) == []
    assert shown(released("C10", 0.9, end_h=24.0)) == []


def test_release_adds_up_and_the_dose_that_brings_it_over_is_blamed_once() -> None:
    later = given(DONE, dict.fromkeys(STUDY.line_ids, 30.0), 2)
    readouts = [
        released("C10", 0.15),
        released("C10", 0.06, 124.0, cycle=2),
        released("C10", 0.06, 125.0),
    ]
    assert shown(*readouts, campaign=later) == [("C10", 30.0)]
    assert shown(*readouts[:1], released("C10", 0.04, 124.0, cycle=2), campaign=later) == []


def lost_by_dye(chip: str, value: float, end_h: float = 72.0, cycle: int = 1) -> Readout:
    """What a dye tells: all that was lost since 0 h."""
    return Readout(chip, "ldh_release", value, "1", 0.01, "linear", end_h, 0.0, cycle=cycle)


def test_what_a_dye_tells_again_is_not_added_up() -> None:
    later = given(DONE, dict.fromkeys(STUDY.line_ids, 30.0), 2)
    twice = [lost_by_dye("C10", 0.15), lost_by_dye("C10", 0.15, 124.0, 2)]
    assert shown(*twice, campaign=later) == []
    # once harm was shown, the same reading again is no new harm
    harmed = [lost_by_dye("C10", 0.5), lost_by_dye("C10", 0.5, 124.0, 2)]
    assert shown(*harmed, campaign=later) == [("C10", 480.0)]


def test_a_dye_blames_what_was_given_since_it_was_read_last() -> None:
    later = given(DONE, dict.fromkeys(STUDY.line_ids, 30.0), 2)
    readouts = [lost_by_dye("C10", 0.15), lost_by_dye("C10", 0.25, 124.0, 2)]
    assert shown(*readouts, campaign=later) == [("C10", 30.0)]
    assert shown(readouts[1], campaign=later) == [("C10", 480.0)]  # nobody looked in between


def closed(*readouts: Readout, cycle: int = 1, **more: Any) -> tuple[Closure, ...]:
    return closures(STUDY, DONE.schedules, readouts, cycle, **more)


def is_closed(found: tuple[Closure, ...], nm: float) -> bool:
    return any(one.holds(programme("L1", nm)) for one in found)


def test_without_harm_nothing_is_closed() -> None:
    assert closed(released("C10", 0.05), released("C07", 0.1)) == ()


def test_a_dose_that_harmed_and_all_above_are_closed_and_none_below_later_on() -> None:
    found = closed(released("C10", 0.5), cycle=3)
    assert [is_closed(found, nm) for nm in (0.0, 120.0, 460.0, 475.0, 480.0, 481.0, 4000.0)] == [
        False, False, False, True, True, True, True,
    ]  # fmt: skip
    assert "C10 at 480 nM fell to viability 0.50 by 72 h (limit 0.8)" in found[0].reason


def test_the_lowest_dose_that_harmed_counts() -> None:
    found = closed(released("C10", 0.5), released("C07", 0.3), cycle=3)
    assert is_closed(found, 120.0)
    assert not is_closed(found, 100.0)


def test_right_after_harm_there_is_no_step_up_from_the_highest_dose_without() -> None:
    found = closed(released("C10", 0.5), cycle=1)
    assert [is_closed(found, nm) for nm in (0.0, 120.0, 122.0, 123.0, 460.0)] == [
        False, False, False, True, True,
    ]  # fmt: skip
    assert any("no step up right after harm at 480 nM in cycle 1" in one.reason for one in found)
    assert not is_closed(closed(released("C10", 0.5), cycle=2), 400.0)


def test_harm_at_the_lowest_dose_leaves_the_vehicle_alone() -> None:
    found = closed(released("C04", 0.5))
    assert not is_closed(found, 0.0)
    assert is_closed(found, 1.0)


def test_a_person_reopens_what_was_read_until_then_but_no_step_up_right_after() -> None:
    looked = [Reopened(up_to_nm=480.0, at_h=80.0)]
    assert closed(released("C10", 0.5), cycle=2, reopened=looked) == ()
    just_then = closed(released("C10", 0.5), cycle=1, reopened=looked)
    assert [is_closed(just_then, nm) for nm in (120.0, 480.0)] == [False, True]
    earlier = [Reopened(up_to_nm=480.0, at_h=70.0)]
    assert is_closed(closed(released("C10", 0.5), cycle=2, reopened=earlier), 480.0)
    lower = [Reopened(up_to_nm=400.0, at_h=80.0)]
    assert is_closed(closed(released("C10", 0.5), cycle=2, reopened=lower), 480.0)


# --- on a table


def test_only_harm_that_was_on_record_is_reopened() -> None:
    """A plate that is read later closes again, though its window ended before the person looked."""
    seen = released("C07", 0.5)
    late = released("C10", 0.5, end_h=70.0)
    reopened = Reopened(4000.0, 80.0, frozenset({("C07", seen.time_h)}))
    assert not is_closed(closed(seen, cycle=2, reopened=(reopened,)), 480.0)
    assert is_closed(closed(seen, late, cycle=2, reopened=(reopened,)), 480.0)
    (of_old,) = in_force(STUDY, DONE.schedules, [seen], [reopened])
    assert of_old is reopened
    assert in_force(STUDY, DONE.schedules, [seen, late], [reopened]) == ()


def test_reopening_the_asked_dose_reaches_what_the_pumps_made_of_it() -> None:
    harm = Toxicity("C10", 1, 72.0, 489.0, 0.5)
    seen = frozenset({("C10", 72.0)})
    assert Reopened(480.0, 72.0, seen).lifts(harm), "pumps may deliver up to 2 % more"
    assert not Reopened(475.0, 72.0, seen).lifts(harm)


def test_what_a_person_leaves_out_of_the_fits_still_closes() -> None:
    excluded = released("C10", 0.5, qc="fail", reasons=("excluded by nora: a leak",))
    assert shown(excluded) == [("C10", 480.0)]
    assert shown(released("C10", 0.5, qc="fail", reasons=("OVRFLW",))) == []


def test_closures_take_doses_from_every_line_and_say_so_once_for_each() -> None:
    table = fake_table(
        [0.0, 100.0, 500.0], [[0.0] * 3, [0.0] * 3], [[True] * 3, [True, True, False]]
    )
    allowed, refused = still_allowed(table, [Closure(400.0, "harm")])
    assert [row.tolist() for row in allowed] == [[True, True, False]] * 2
    assert [(r.asked_nm, r.reason) for r in refused] == [(500.0, "line L1: harm")]
    assert table.allowed[0].all(), "the table itself stays as it was"


@pytest.mark.parametrize(("risk", "is_open"), [(0.95, True), (0.951, False), (np.nan, False)])
def test_a_dose_that_almost_surely_harms_closes_all_above_it_on_its_line(
    risk: float, is_open: bool
) -> None:
    table = fake_table([0.0, 100.0, 500.0, 900.0], [[0.0, 0.0, risk, 0.1], [0.0] * 4])
    allowed, _ = still_allowed(table, ())
    assert allowed[0].tolist() == [True, True, is_open, is_open]
    assert allowed[1].all()


def test_what_a_person_has_reopened_is_not_closed_by_the_fit_alone() -> None:
    table = fake_table([0.0, 500.0, 900.0], [[0.0, 0.96, 0.1]])
    allowed, _ = still_allowed(table, (), [Reopened(600.0, 80.0)])
    assert allowed[0].tolist() == [True, True, True]


def test_nothing_that_was_forbidden_is_opened() -> None:
    table = fake_table([0.0, 500.0], [[0.0, 0.0]], [[True, False]])
    allowed, refused = still_allowed(table, ())
    assert allowed[0].tolist() == [True, False]
    assert refused == ()


# --- schedules


def first_day_alone(campaign: Campaign, *lines: str) -> Campaign:
    """Return the campaign as if these lines had got their pilot dose for its first 24 h alone."""
    own = {chip for line in lines for chip in STUDY.line(line).chips}
    cut = {
        chip: replace(
            schedule,
            segments=tuple(
                part
                for s in schedule.segments
                for part in (
                    (replace(s, end_h=48.0), replace(s, start_h=48.0, drug_nm=0.0))
                    if chip in own and s.drug_nm > 0.0
                    else (s,)
                )
            ),
        )
        for chip, schedule in campaign.schedules.items()
    }
    return replace(campaign, schedules=cut)


def test_harm_in_a_window_after_the_drug_has_ended_blames_the_dose_of_its_exposure() -> None:
    assert shown(released("C10", 0.9), campaign=first_day_alone(DONE, "L4")) == [("C10", 480.0)]


def test_a_later_exposure_without_drug_is_not_blamed_for_the_one_before() -> None:
    later = given(DONE, dict.fromkeys(STUDY.line_ids, 0.0), 2)
    assert shown(released("C10", 0.9, end_h=124.0, cycle=2), campaign=later) == []


def test_what_did_not_harm_for_a_day_lets_no_longer_dose_be_given_after_harm() -> None:
    short = first_day_alone(DONE, "L3")  # 120 nM for a day; 30 nM for two; 480 nM harmed
    found = closures(STUDY, short.schedules, [released("C10", 0.5)], 1)

    def closed(nm: float, hours: float) -> bool:
        return any(one.holds(programme("L1", nm, "some", hours)) for one in found)

    assert not closed(120.0, 24.0) and closed(123.0, 24.0)
    assert not closed(30.0, 48.0) and closed(31.0, 48.0) and closed(120.0, 48.0)
    assert closed(480.0, 8.0), "what harmed is closed however short it is"


def test_what_the_fit_is_sure_of_closes_what_is_as_high_and_as_long() -> None:
    table = fake_table([0.0, 100.0, 100.0, 300.0, 300.0], [[0.0, 0.97, 0.2, 0.99, 0.1]])
    own = (0.0, 48.0), (100.0, 48.0), (100.0, 24.0), (300.0, 48.0), (300.0, 24.0)
    programmes = tuple(programme("L1", nm, f"{hours:g} h", hours) for nm, hours in own)
    (left,), refused = still_allowed(replace(table, programmes=(programmes,)), ())
    assert list(left) == [True, False, True, False, True]
    assert [(r.asked_nm, r.schedule) for r in refused] == [(100.0, "48 h"), (300.0, "48 h")]
    sure_short = replace(
        table, programmes=(programmes,), risk=(np.array([0, 0.1, 0.97, 0.2, 0.2]),)
    )
    assert list(still_allowed(sure_short, ())[0][0]) == [True, False, False, False, False]
