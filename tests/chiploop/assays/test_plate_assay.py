"""A whole plate judged: curves, beads, dilutions, controls, anchors, samples at several dilutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.curves import judge, write_plate
from chiploop.assays.acceptance_rules import AcceptanceRules, acceptance_rules
from chiploop.assays.curve_groups import Asked
from chiploop.assays.curve_weights import Shape, Weighting
from chiploop.assays.plate_assay import CONTROLS_FAILED, AnalyteResult, plate_results
from chiploop.assays.plate_contents import WellContent
from chiploop.assays.plate_wells import AnalyteWells, AssayWell, wells_of_export
from chiploop.assays.standards_table import Standards
from chiploop.exports import read_export

LEVELS = [1000.0 / 2.0**i for i in range(9)]


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, float]]]:
    path = tmp_path_factory.mktemp("plate") / "plate.csv"
    return path, write_plate(path)


@pytest.fixture(scope="module")
def results(plate: tuple[Path, dict[str, dict[str, float]]]) -> tuple[AnalyteResult, ...]:
    path, standards = plate
    return judge(read_export(path), standards)


def truth_of(sample: str) -> float:
    """Return the concentration that the plate was written with."""
    return 40.0 * 1.2 ** (int(sample.removeprefix("Unknown")) - 1) * 3.0


def clean(concentration: float) -> float:
    return 0.05 + 3.0 / (1.0 + (200.0 / concentration) ** 1.2) if concentration else 0.05


def wells_with(
    samples: dict[str, tuple[float, float]] | None = None,
    controls: dict[str, tuple[float, float]] | None = None,
    anchors: tuple[float, ...] = (),
    bend: Callable[[float], float] = lambda _: 1.0,
    seed: int = 3,
) -> AnalyteWells:
    """Return a made plate in duplicate: sample -> (concentration in the sample, dilution)."""
    rng = np.random.default_rng(seed)
    contents: list[tuple[WellContent, float]] = []
    for level in [*LEVELS, 0.0]:
        content = WellContent(
            "standard" if level else "blank",
            f"S{level:g}",
            "",
            level,
            "pg/mL",
            is_anchor=level in anchors,
        )
        contents.append((content, clean(level) * bend(level)))
    for name, (true, dilution) in (samples or {}).items():
        content = WellContent("sample", name, name.split(":")[0], dilution=dilution)
        contents.append((content, clean(true / dilution)))
    for name, (true, nominal) in (controls or {}).items():
        contents.append((WellContent("control", name, "", nominal, "pg/mL"), clean(true)))
    wells = []
    for content, signal in contents:
        for _ in range(2):
            noisy = signal + rng.normal() * math.hypot(0.004, 0.02 * signal)
            wells.append(AssayWell(f"W{len(wells)}", content, noisy))
    return AnalyteWells("P1", "IL-6", "OD", "pg/mL", tuple(wells))


def judged(wells: AnalyteWells, rules: AcceptanceRules | None = None) -> AnalyteResult:
    (found,) = plate_results([wells], rules, "4pl")
    return found


def test_every_analyte_has_its_curve_and_one_exponent_serves_the_plate(
    results: tuple[AnalyteResult, ...],
) -> None:
    assert len(results) == 30
    assert len({one.curve.fit.weighting.number for one in results}) == 1
    assert sum(one.qc != "fail" for one in results) >= 20
    for one in results:
        assert len(one.samples) == 31 and all(len(sample.wells) == 2 for sample in one.samples)


def test_concentrations_are_those_that_the_plate_was_written_with(
    results: tuple[AnalyteResult, ...],
) -> None:
    held, n = 0, 0
    for one in results:
        for sample in one.samples:
            estimate = sample.estimate
            if math.isfinite(estimate.value):
                n += 1
                held += estimate.interval[0] <= truth_of(sample.sample) <= estimate.interval[1]
    assert n > 400
    # Samples of an analyte share a curve: fewer independent ones than n.
    assert held / n == pytest.approx(0.95, abs=0.03)


def test_a_plate_whose_standards_fail_gives_no_numbers(
    results: tuple[AnalyteResult, ...],
) -> None:
    failed = [one for one in results if one.qc == "fail"]
    assert failed
    for one in failed:
        assert one.reasons and one.detection is None and one.series == ()
        assert all(math.isnan(sample.estimate.value) for sample in one.samples)


def with_lines(path: Path, lines: list[str], extra: list[str], to: Path) -> Path:
    """Write an export with one more table before its end mark."""
    end = lines.index('"-- CRC --"')
    to.write_text("\r\n".join([*lines[:end], *extra, "", *lines[end:], ""]), encoding="utf-8")
    return to


def test_a_well_with_few_beads_is_flagged_and_kept(
    plate: tuple[Path, dict[str, dict[str, float]]], tmp_path: Path
) -> None:
    path, standards = plate
    lines = path.read_text(encoding="utf-8").splitlines()
    count = lines.index('"DataType:","Count"')
    at = next(i for i in range(count, len(lines)) if '"Unknown5"' in lines[i])
    cells = lines[at].split(",")
    cells[3] = '"12"'  # location holds a comma, then the sample, then the first analyte
    lines[at] = ",".join(cells)
    limits = ['"DataType:","Per Bead Count"']
    names = [f'"A{i + 1:02d}"' for i in range(30)]
    limits += ['"Analyte:",' + ",".join(names), '"Per Bead:",' + ",".join(['"50"'] * 30)]
    own = read_export(with_lines(path, lines, limits, tmp_path / "own.csv"))
    none = read_export(with_lines(path, lines, [], tmp_path / "none.csv"))
    # The file's own limit of 50 stands before the 200 of a rule set, which serves where it has none.
    for export, limit, told in ((own, 200, "few_beads (12 of 50)"), (none, 35, "(12 of 35)")):
        found = wells_of_export(
            export, standards=Standards(standards, {}, {}), least_beads=limit
        ).analytes[:1]
        (one,) = plate_results(found, asked="4pl")
        flagged = [
            sample
            for sample in one.samples
            if any("few_beads" in reason for reason in sample.estimate.reasons)
        ]
        assert [sample.sample for sample in flagged] == ["Unknown5"]
        estimate = flagged[0].estimate
        assert any(told in reason for reason in estimate.reasons)
        assert estimate.qc == "warn" and estimate.n == 2 and flagged[0].beads == 12


def test_dilution_of_the_file_is_taken_back(
    plate: tuple[Path, dict[str, dict[str, float]]], tmp_path: Path
) -> None:
    path, standards = plate
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines.index('"DataType:","Median"')
    wells = lines[first + 2 : first + 98]
    table = ['"DataType:","Dilution Factor"', '"Location","Sample","Dilution Factor"']
    table += [
        ",".join(line.split(",")[:3]) + (',"4"' if "Unknown" in line else ',"1"') for line in wells
    ]
    diluted = with_lines(path, lines, table, tmp_path / "diluted.csv")
    both = [
        plate_results(wells_of_export(export, standards=Standards(standards, {}, {})).analytes[:6])
        for export in (read_export(path), read_export(diluted))
    ]
    compared = 0
    for one, other in zip(*both, strict=True):
        for plain, times in zip(one.samples, other.samples, strict=True):
            assert times.dilution == 4.0
            if math.isfinite(plain.estimate.value):
                assert times.estimate.value == pytest.approx(4.0 * plain.estimate.value)
                assert np.array(times.estimate.interval) == pytest.approx(
                    4.0 * np.array(plain.estimate.interval)
                )
                compared += 1
            elif plain.estimate.censoring == "left":
                assert times.estimate.upper == pytest.approx(4.0 * plain.estimate.upper)
    assert compared > 80


def test_controls_within_the_rule_accept_the_run_and_others_fail_every_sample() -> None:
    samples = {"A": (120.0, 1.0)}
    good = judged(wells_with(samples, {"low": (30.0, 30.0), "high": (400.0, 400.0)}))
    assert good.control_verdict is not None and good.control_verdict.accepted
    assert good.qc == "ok" and good.samples[0].estimate.qc == "ok"
    bad = judged(wells_with(samples, {"low": (30.0, 30.0), "high": (400.0, 200.0)}))
    assert bad.control_verdict is not None and not bad.control_verdict.accepted
    assert [level.n_passed for level in bad.control_verdict.levels] == [2, 0]
    assert bad.qc == "fail" and "0 of 2 controls of 200 pass, 50% must" in bad.reasons
    # The number stays to be looked at; it is no result.
    estimate = bad.samples[0].estimate
    assert estimate.qc == "fail" and CONTROLS_FAILED in estimate.reasons
    assert estimate.value == pytest.approx(good.samples[0].estimate.value)


def test_a_control_without_a_concentration_is_read_and_not_judged() -> None:
    wells = wells_with()
    content = WellContent("control", "POS")
    more = tuple(AssayWell(f"X{i}", content, clean(60.0)) for i in range(2))
    found = judged(AnalyteWells("P1", "IL-6", "OD", "pg/mL", (*wells.wells, *more)))
    assert found.control_verdict is None and found.qc == "ok"
    assert found.controls[0].estimate.value == pytest.approx(60.0, rel=0.1)


def test_anchors_help_the_curve_and_are_not_judged() -> None:
    def bend(level: float) -> float:
        return 1.5 if level and level <= 8.0 else 1.0

    plain = judged(wells_with(bend=bend))
    assert sum(not level.passed for level in plain.curve.levels) >= 2
    low = (LEVELS[-1], LEVELS[-2])
    anchored = judged(wells_with(bend=bend, anchors=low))
    marked = [level for level in anchored.curve.levels if level.is_anchor]
    assert [level.concentration for level in marked] == sorted(low)
    assert not any(level.passed for level in marked)
    assert anchored.curve.fit.y.size == plain.curve.fit.y.size
    assert anchored.curve.lloq > max(low)


def test_rules_name_anchors_by_standard_or_as_lowest_and_highest() -> None:
    rules = acceptance_rules()

    def with_anchors(*names: str) -> AcceptanceRules:
        calibrators = rules.calibrators.model_copy(update={"anchors": names})
        return rules.model_copy(update={"calibrators": calibrators})

    assert not any(level.is_anchor for level in judged(wells_with()).curve.levels)
    found = judged(wells_with(), with_anchors("S500", "lowest", "of another plate"))
    named = [level.concentration for level in found.curve.levels if level.is_anchor]
    assert named == [LEVELS[-1], 500.0]
    assert found.curve.lloq == LEVELS[-2]
    # Six levels of nine are no longer enough where three of them are anchors and one is bad.
    few = judged(
        wells_with(bend=lambda level: 1.4 if level == 62.5 else 1.0),
        with_anchors("S1000", "S500", "S250"),
    )
    assert few.qc == "fail" and "of 6 calibrators" in few.reasons[-1]


def test_a_sample_at_several_dilutions_is_parallel_or_hooked() -> None:
    parallel = {f"A:{i}": (800.0, 2.0**i) for i in range(4)}
    found = judged(wells_with(parallel))
    assert [one.series for one in found.series] == ["A"]
    verdict = found.series[0].verdict
    assert found.series[0].dilutions == (1.0, 2.0, 4.0, 8.0)
    assert verdict.is_parallel and verdict.is_linear and not verdict.is_hooked
    # Undiluted wells that hook: they read as if there were less in the sample.
    hooked = {f"A:{i}": (800.0 / (5.0 if i == 0 else 1.0), 2.0**i) for i in range(4)}
    bad = judged(wells_with(hooked)).series[0].verdict
    assert bad.is_hooked and bad.qc == "fail" and "trust the most diluted" in bad.reasons[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_signal_that_the_reader_could_not_give_is_a_bound(side: str) -> None:
    wells = wells_with()
    content = WellContent("sample", "X", dilution=10.0)
    reason = "saturated" if side == "right" else "low_signal"
    lost = tuple(AssayWell(f"X{i}", content, math.nan, side, (reason,)) for i in range(2))
    found = judged(AnalyteWells("P1", "IL-6", "OD", "pg/mL", (*wells.wells, *lost)))
    estimate = found.samples[0].estimate
    assert estimate.censoring == side and math.isnan(estimate.value)
    bound = estimate.lower if side == "right" else estimate.upper
    limit = found.curve.uloq if side == "right" else found.curve.lloq
    assert bound == pytest.approx(10.0 * limit)
    assert reason in estimate.reasons


def test_an_analyte_without_standards_is_left_out() -> None:
    wells = wells_with({"A": (50.0, 1.0)})
    bare = AnalyteWells("P1", "TNF", "OD", "", wells.of_roles("sample"))
    found = plate_results([wells, bare], asked="4pl")
    assert [one.wells.analyte for one in found] == ["IL-6"]
    assert plate_results([bare]) == ()


def test_auto_takes_a_model_and_says_why() -> None:
    (found,) = plate_results([wells_with()])
    assert found.choice is not None and found.choice.model == found.curve.fit.model
    assert found.choice.reason.startswith(found.curve.fit.model)


SIGNALS = st.one_of(
    st.sampled_from([math.nan, 0.0, -1.0, 1e-9, 1e9, 1e150, 3.0]),
    st.floats(0.0, 4.0),
)
WELLS = st.lists(
    st.tuples(
        st.sampled_from(["standard", "standard", "standard", "blank", "sample", "control"]),
        st.sampled_from([1e-9, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 1e12]),
        SIGNALS,
        st.sampled_from([1.0, 2.0, 1000.0]),
        st.sampled_from(["none", "left", "right"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=15, deadline=None)
@given(
    wells=WELLS,
    asked=st.sampled_from(["auto", "3pl", "4pl", "5pl"]),
    weights=st.sampled_from(["none", "1/y2", "power", "floor_and_cv"]),
)
def test_whatever_stands_on_a_plate_is_judged_or_refused(
    wells: list[tuple[str, float, float, float, str, bool]], asked: Asked, weights: Shape
) -> None:
    made = []
    for i, (role, level, signal, dilution, side, anchor) in enumerate(wells):
        content = WellContent(
            role,  # type: ignore[arg-type]
            f"N{i // 3}",
            concentration=level if role in ("standard", "control") else None,
            dilution=dilution if role in ("sample", "control") else 1.0,
            is_anchor=anchor and role == "standard",
        )
        made.append(AssayWell(f"W{i}", content, signal, side if math.isnan(signal) else "none"))
    given_wells = AnalyteWells("P1", "IL-6", "OD", "", tuple(made))
    for one in plate_results([given_wells], None, asked, Weighting(weights)):
        for sample in one.samples:
            estimate = sample.estimate
            # A number stands within the limits of an accepted curve, or there is none.
            if math.isfinite(estimate.value) and one.curve.qc != "fail":
                inside = estimate.value / sample.dilution
                assert one.curve.lloq * 0.999 <= inside <= one.curve.uloq * 1.001
            if one.curve.qc == "fail":
                assert math.isnan(estimate.value) and estimate.qc == "fail"
