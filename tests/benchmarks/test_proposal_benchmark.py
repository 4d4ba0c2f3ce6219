"""The comparison of dose policies: what is run, what a run may give, and counts on rows made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import proposal
from benchmarks.proposal_botorch import half_shares, inputs, is_installed, place
from benchmarks.proposal_figures import LABELS, write_figures
from benchmarks.proposal_flaws import FLAWS, flawed_text
from benchmarks.proposal_policies import GRID_DOSES_NM, OF_BOTORCH, POLICIES, in_doubt
from benchmarks.proposal_report import bars, ratio, report, share
from benchmarks.proposal_run import FIXED, Case, read, row_of, run_missing
from benchmarks.proposal_scenario import (
    CANDIDATES_NM,
    PILOT_NM,
    STARTS_H,
    TIMES_H,
    Bench,
    Tissue,
)
from benchmarks.proposal_schedules import CANDIDATES, SCHEDULED, SCHEDULES, ScheduleBench
from benchmarks.proposal_tables import tables, wrong_table
from chiploop.inference.posterior import Posterior

BOUNDED = ("eig", "eig_batch_limit", "voi", "thompson", "d_optimal_bounded")


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return Tissue.usual()


def after_pilot(bench: Bench) -> tuple[Bench, Posterior]:
    bench.run(PILOT_NM)
    return bench, bench.fit(None)[0]


@pytest.fixture(scope="module")
def started(tissue: Tissue) -> tuple[Bench, Posterior]:
    return after_pilot(Bench(tissue, 0))


@pytest.fixture(scope="module")
def started_with_schedules(tissue: Tissue) -> tuple[Bench, Posterior]:
    return after_pilot(ScheduleBench(tissue, 0))


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "grid"])
def test_a_policy_gives_four_candidates_of_the_scenario(
    name: str, started: tuple[Bench, Posterior]
) -> None:
    if name in OF_BOTORCH and not is_installed():
        pytest.skip("BoTorch is not installed")
    doses = POLICIES[name](*started, np.random.default_rng(0))
    assert len(doses) == 4
    assert set(doses) <= set(CANDIDATES_NM)


@pytest.mark.parametrize("name", BOUNDED)
def test_a_bounded_policy_gives_only_doses_that_the_table_allows(
    name: str, started: tuple[Bench, Posterior]
) -> None:
    table = started[0].table(started[1], bounded=True)
    open_nm = np.array(CANDIDATES_NM)[table.allowed[0]]
    assert open_nm.max() <= 10.0 * max(PILOT_NM)
    for seed in range(3):
        doses = POLICIES[name](*started, np.random.default_rng(seed))
        for line, dose in enumerate(doses):
            assert table.allowed[line][CANDIDATES_NM.index(dose)]


def test_a_batch_under_its_limit_is_expected_to_harm_a_quarter_of_a_chip_at_most(
    tissue: Tissue,
) -> None:
    # a truth whose default batch passes the limit
    started = after_pilot(Bench(tissue, 36))
    table = started[0].table(started[1], bounded=True)

    def harmed(name: str) -> float:
        doses = POLICIES[name](*started, np.random.default_rng(0))
        places = [CANDIDATES_NM.index(dose) for dose in doses]
        return sum(table.risk[i][k] for i, k in enumerate(places) if CANDIDATES_NM[k] > 0.0)

    assert harmed("eig_batch_limit") <= 0.25 < harmed("eig")


def test_two_batches_of_the_grid_give_each_of_its_doses_once(tissue: Tissue) -> None:
    bench = Bench(tissue, 3)
    bench.doses_nm = list(PILOT_NM)
    first = POLICIES["grid"](bench, None, np.random.default_rng(0))  # type: ignore[arg-type]
    bench.doses_nm += first
    second = POLICIES["grid"](bench, None, np.random.default_rng(0))  # type: ignore[arg-type]
    assert sorted(first + second) == sorted(GRID_DOSES_NM)


def test_in_doubt_doses_are_spread_out_and_none_is_above_what_was_read(
    started: tuple[Bench, Posterior],
) -> None:
    doses = in_doubt(*started, np.random.default_rng(0))
    assert len(doses) == 4 and set(doses) <= set(CANDIDATES_NM)
    assert 0.0 in doses and len(set(doses)) == 3
    assert 800.0 < max(doses) <= 1.02 * max(PILOT_NM)


def test_a_flaw_changes_the_truth_and_not_the_fitted_model(tissue: Tissue) -> None:
    right = Bench(tissue, 204)
    for name in FLAWS:
        flawed = Bench(tissue, 204, True, name)
        assert flawed.likelihood().model is tissue.model
        assert flawed.truth == pytest.approx(right.truth)
        assert np.isfinite(flawed.goal_nm()) and flawed.goal_nm() != right.goal_nm()


def test_a_signal_that_no_drug_blocks_keeps_its_fifth_and_needs_more_drug(tissue: Tissue) -> None:
    right, flawed = Bench(tissue, 204), Bench(tissue, 204, True, "unblocked")
    assert flawed.goal_nm() > 1.5 * right.goal_nm()
    shown = []
    for bench in (right, flawed):
        inlets = [bench.given(bench.truth_model, 0, dose) for dose in (0.0, 1e6)]
        got = bench.truth_model.simulate(bench.truth[None], inlets, TIMES_H, STARTS_H)
        shown.append(got.readouts[0, :, -1, 1])
    assert shown[0][0] == pytest.approx(shown[1][0])
    assert shown[0][1] < 0.02 * shown[0][0] and shown[1][1] > 0.1 * shown[1][0]


def test_dying_tissue_releases_ccl26_where_a_dose_kills_and_nowhere_else(tissue: Tissue) -> None:
    right, flawed = Bench(tissue, 204), Bench(tissue, 204, True, "dying")
    shown = []
    for bench in (right, flawed):
        inlets = [bench.given(bench.truth_model, 0, dose) for dose in (0.0, 10.0, 1e5)]
        got = bench.truth_model.simulate(bench.truth[None], inlets, TIMES_H, STARTS_H)
        shown.append(got.readouts[0, :, -1, 1])
    assert shown[0][:2] == pytest.approx(shown[1][:2], rel=1e-3)
    assert shown[1][2] > 3.0 * shown[0][2]


def test_a_flaw_whose_line_the_model_no_longer_has_is_refused() -> None:
    with pytest.raises(ValueError, match="0 times, not once"):
        flawed_text("J := 1;", FLAWS["unblocked"])


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_policy_of_schedules_gives_four_of_its_candidates(
    name: str, started_with_schedules: tuple[ScheduleBench, Posterior]
) -> None:
    given = SCHEDULED[name](*started_with_schedules, np.random.default_rng(0))
    assert len(given) == 4
    assert set(given) <= set(CANDIDATES)


def test_a_schedule_flows_in_its_hours_and_the_stimulus_in_all_of_them(tissue: Tissue) -> None:
    bench = ScheduleBench(tissue, 0)
    for name, flowing in SCHEDULES.items():
        inlet = bench.inlet(tissue.model, 0, 100.0, name)
        assert inlet.edges_h[0] == 0.0 and inlet.edges_h[-1] == 72.0
        hours = np.diff(inlet.edges_h)
        assert hours @ inlet.inputs[:, 1] == pytest.approx(
            100.0 * sum(off - on for on, off in flowing)
        )
        for on, off in flowing:
            at = int(np.searchsorted(inlet.edges_h, 24.0 + 0.5 * (on + off))) - 1
            assert inlet.inputs[at, 1] == 100.0
        assert (inlet.inputs[1:, 2:] == inlet.inputs[-1, 2:]).all()
        assert (inlet.inputs[0, 1:] == 0.0).all()


def test_whole_exposures_show_the_same_in_both_scenarios(tissue: Tissue) -> None:
    plain, scheduled = Bench(tissue, 5), ScheduleBench(tissue, 5)
    for bench in (plain, scheduled):
        bench.run(PILOT_NM)
    assert plain.readouts == scheduled.readouts
    plain.run([300.0])
    scheduled.run([(300.0, "second half")])
    assert plain.readouts != scheduled.readouts
    assert scheduled.schedules == ["whole"] * 4 + ["second half"]


def test_botorch_is_told_dose_and_the_share_of_either_half() -> None:
    assert place(np.array([0.0, 1.0, 3.0, 1e5]))[[0, 1, 3]] == pytest.approx([0.0, 0.0, 1.0])
    assert {name: half_shares(name) for name in SCHEDULES} == {
        "whole": (1.0, 1.0),
        "first half": (1.0, 0.0),
        "second half": (0.0, 1.0),
        "pulses": (0.5, 0.5),
    }
    assert inputs([0.0, 3.0]).shape == (2, 1)
    assert len(np.unique(inputs(CANDIDATES), axis=0)) == len(CANDIDATES)


def row(seed: int, policy: str, chips: int, unsafe: int = 0, **more: Any) -> dict[str, Any]:
    """A run by hand whose interval is 50 to 100 nM."""
    step = {"lower": 50.0, "median": 70.0, "upper": 100.0, "doubt": more.pop("doubt", False)}
    usual = {"wrong": False, "gate": False, "truth": 80.0, "met": chips < 80, "cpu_s": 1.0}
    doses = [0.0] * (chips // 4) + [30.0] * (chips - chips // 4)
    steps = [step] * (chips // 4)
    own = {"seed": seed, "policy": policy, "chips": chips, "unsafe": unsafe}
    return {**usual, **own, "doses": doses, "steps": steps, **more}


def test_the_report_counts_chips_harm_and_coverage() -> None:
    rows = [row(0, "eig", 8), row(1, "eig", 16, unsafe=3, truth=120.0), row(2, "eig", 40)]
    found = report(rows)["eig"]
    assert found["chips_median"] == 16.0 and found["met"] == 3
    assert found["unsafe_percent"] == pytest.approx(100.0 * 3 / 64)
    assert (found["coverage"]["hits"], found["coverage"]["of"]) == (2, 3)
    assert found["coverage_all_looks"] == pytest.approx((2 + 10) / (2 + 4 + 10))
    assert found["vehicle_percent"] == pytest.approx(25.0)


def test_ratios_are_of_the_seeds_that_both_policies_have() -> None:
    rows = [row(s, "eig", 8) for s in range(4)] + [row(9, "eig", 80)]
    rows += [row(s, "grid", 16) for s in range(4)] + [row(8, "grid", 4)]
    r = report(rows)["grid"]["eig_over_this"]
    assert r["pairs"] == 4
    assert r["ratio"] == r["lower"] == r["upper"] == 0.5
    assert r["mean_ratio"] == pytest.approx(0.5)


def test_the_bootstrap_keeps_the_pairs_together() -> None:
    chips = np.array([4.0, 8.0, 16.0, 32.0, 64.0])
    # each seed's own ratio is 1/2, however the seeds are drawn
    r = ratio(np.stack([chips, 2.0 * chips], axis=1))
    assert r["lower"] == r["upper"] == r["ratio"] == 0.5
    apart = ratio(np.stack([chips, 2.0 * chips[::-1]], axis=1))
    assert apart["lower"] < 0.5 < apart["upper"]
    assert (apart["fewer"], apart["more"]) == (3, 2)


def test_a_share_has_its_exact_binomial_interval() -> None:
    found = share(36, 40)
    assert (found["lower"], found["upper"]) == pytest.approx((0.7634, 0.9721), abs=1e-4)
    assert share(0, 40)["lower"] == 0.0 and share(40, 40)["upper"] == 1.0


def test_bars_say_what_is_not_reached() -> None:
    rows = [row(s, "eig", 12) for s in range(10)]
    rows += [row(s, "random", 16) for s in range(10)] + [row(s, "grid", 24) for s in range(10)]
    told = bars(report(rows))
    assert [bar["reached"] for bar in told] == [False, True, True, False]
    assert told[1]["aim_reached"] and "0.500" in told[1]["found"]
    assert not bars(report(rows), "eig_batch_limit")
    assert "10 of 10" in told[3]["found"]
    harmed = bars(report([{**one, "unsafe": 1} for one in rows]))
    assert not harmed[2]["reached"]


def test_fresh_seeds_stand_beside_the_first_ones_and_are_not_mixed_with_them() -> None:
    rows = [row(s, p, 8) for s in range(4) for p in ("eig", "eig_batch_limit", "random", "grid")]
    rows += [row(100 + s, "eig_batch_limit", 12) for s in range(4)]
    rows += [row(100 + s, p, 16) for s in range(4) for p in ("eig", "random", "grid")]
    told = proposal.told_of(rows, range(40))
    assert told["policies"]["eig_batch_limit"]["chips_median"] == 8.0
    assert told["fresh"]["policies"]["eig_batch_limit"]["chips_median"] == 12.0
    assert told["every_seed"]["eig_batch_limit"]["seeds"] == 8
    assert told["policies"]["random"]["eig_batch_limit_over_this"]["ratio"] == 1.0
    assert told["fresh"]["policies"]["random"]["eig_batch_limit_over_this"]["ratio"] == 0.75
    assert [bar["policy"] for bar in told["fresh"]["bars"]] == ["eig"] * 4 + ["eig_batch_limit"] * 4
    text = proposal.text_of(told)
    assert "| `eig_batch_limit` | 4 | 12 [12, 12] | 12.0 | 4 | 1.33 [1.33, 1.33] |" in text
    bar = next(line for line in text.splitlines() if "0.67 x random" in line)
    assert bar.count("NO") == 4 and "0.750 [0.75, 0.75]" in bar


def test_wrong_truths_are_told_by_their_kind() -> None:
    wrong: dict[str, Any] = {"wrong": True, "truth": 300.0}
    rows = [row(0, "eig", 8, **wrong), row(0, "eig", 80, flaw="dying", doubt=True, **wrong)]
    told = proposal.told_of(rows, range(40))
    assert told["wrong"]["eig"]["chips_median"] == 8.0
    assert told["flaws"]["dying"]["eig"]["chips_median"] == 80.0
    assert not told["policies"] and not told["flaws"]["unblocked"]
    lines = wrong_table({"other model": told["wrong"], **told["flaws"]}).splitlines()
    # ends by its interval, misses; ends undoubted, misses; doubted at some time
    assert lines[2].split(" | ")[4:9] == ["1", "1", "1", "1", "0"]
    assert lines[3].split(" | ")[4:9] == ["0", "0", "0", "0", "1"]


def test_the_page_shows_the_tables_that_the_stored_rows_give() -> None:
    page = (proposal.DOCS / "benchmarks_proposal.md").read_text("utf-8")
    told = proposal.told_of(read(proposal.ROWS), range(40))
    shown = list(tables(told, tuple(LABELS)))
    assert len(shown) == 5
    for one in shown:
        assert one in page


def test_an_interval_in_doubt_is_not_counted_as_trusted() -> None:
    wrong: dict[str, Any] = {"wrong": True, "gate": True, "truth": 300.0}
    rows = [row(0, "eig", 48, doubt=True, **wrong), row(1, "eig", 8, **wrong)]
    found = report(rows)["eig with the gate"]
    assert found["not_doubted"]["hits"] == 1
    assert found["not_doubted_and_missed"]["hits"] == 1
    assert found["coverage"]["hits"] == 0


def test_a_run_that_has_a_row_is_not_run_again(tmp_path: Path) -> None:
    path, ran = tmp_path / "rows.jsonl", []

    def run(case: Case) -> dict[str, Any]:
        ran.append(case)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return row(case.seed, case.policy, 8, wrong=case.wrong, gate=case.gate, flaw=case.flaw)

    asked = [Case(0, "eig"), Case(0, "eig", True), Case(0, "eig", True, True)]
    asked.append(Case(0, "eig", True, False, "dying"))
    with pytest.raises(KeyboardInterrupt):
        run_missing(asked, path, run)
    rows = run_missing([*asked, asked[0]], path, run)
    assert ran == [asked[0], asked[1], asked[2], asked[2], asked[3]]
    assert [Case.of(one) for one in rows] == asked
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == rows


def test_the_fixed_chips_are_fitted_once(tissue: Tissue) -> None:
    found = row_of(tissue, Case(300, FIXED))
    assert found["chips"] == len(found["doses"]) == 20 and found["doses"][-1] == 100.0
    assert len(found["steps"]) == 1 and found["steps"][0]["chips"] == 20
    assert found["steps"][0]["lower"] < found["steps"][0]["upper"]


def test_a_row_without_a_flaw_is_of_the_other_model() -> None:
    assert Case.of(row(3, "eig", 8, wrong=True)) == Case(3, "eig", True)


def test_a_case_that_two_processes_ran_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    twice = [row(0, "eig", 8), row(1, "eig", 16), row(0, "eig", 80)]
    path.write_text("".join(json.dumps(one) + "\n" for one in twice), encoding="utf-8")
    assert read(path) == twice[:2]


@pytest.mark.parametrize("there", [True, False])
def test_policies_of_botorch_are_run_only_where_it_is_there(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposal, "is_installed", lambda: there)
    every = (*POLICIES, *SCHEDULED)
    found = list(proposal.cases(["plain", "wrong", "schedules"], every, range(30)))
    assert len(set(found)) == len(found)
    assert any(case.policy in OF_BOTORCH for case in found) == there
    assert {case.seed for case in found if case.wrong} == set(range(20))
    flawed = list(proposal.cases(["flaws"], every, range(30)))
    assert {case.flaw for case in flawed} == set(FLAWS) and all(case.wrong for case in flawed)
    assert len(set(flawed)) == len(flawed) == 20 * len(FLAWS) * len(proposal.FLAWED)
    fresh = list(proposal.cases(["fresh"], every, range(30)))
    assert {case.seed for case in fresh} == set(range(100, 140))
    assert {case.policy for case in fresh} == {"eig", "eig_batch_limit", "random", "grid"}
    assert {case.policy for case in found} >= set(SCHEDULED) | {"eig", "random", "grid"}


def test_the_figure_has_a_row_for_each_policy_and_the_same_bytes_again(tmp_path: Path) -> None:
    assert set(LABELS) == {*POLICIES, *SCHEDULED}
    told = {"policies": report([row(s, p, 8 + s) for s in range(3) for p in LABELS])}
    write_figures(told, tmp_path / "a")
    write_figures(told, tmp_path / "b")
    first = (tmp_path / "a" / "proposal_policies.svg").read_bytes()
    assert first == (tmp_path / "b" / "proposal_policies.svg").read_bytes()
    assert all(title.encode() in first for title in LABELS.values())
