"""The soak: faults come by their seed, each has a trace of its own, and what grows is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import soak

NAMES = [f"L{number}-stimulus" for number in range(1, 9)]


def test_the_schedule_is_that_of_its_seed_within_the_run_and_stalls_a_line_at_most_once() -> None:
    faults = soak.schedule(NAMES, 720.0, 1)
    assert faults == soak.schedule(NAMES, 720.0, 1) != soak.schedule(NAMES, 720.0, 2)
    assert all(30.0 <= one["request"]["at_h"] <= 684.0 for one in faults)
    many = [one for seed in range(40) for one in soak.schedule(NAMES, 720.0, seed)]
    for kind, what in soak.FAULTS.items():
        share = sum(one["fault"] == kind for one in many) / 40.0
        assert share == pytest.approx(what.per_30_days, rel=0.35)
    pumps = [one["request"]["pump"] for one in faults if "pump" in one["request"]]
    assert len(pumps) == len(set(pumps))


def wire(folder: Path, *entries: tuple[str, bytes]) -> Path:
    path = folder / "pumps.jsonl"
    lines = [json.dumps({"direction": way, "hex": data.hex()}) for way, data in entries]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_lost_answer_and_a_flipped_bit_are_told_from_a_device_that_is_asked_twice(
    tmp_path: Path,
) -> None:
    ask, good, flipped = b"0DIS", b"I1.23", b"I1.22"
    usual: list[tuple[str, bytes]] = [("sent", ask), ("received", good)]
    assert (soak.lost(wire(tmp_path, *usual, *usual)), soak.garbled(tmp_path / "pumps.jsonl")) == (
        0,
        0,
    )
    assert soak.lost(wire(tmp_path, ("sent", ask), *usual)) == 1
    assert soak.garbled(wire(tmp_path, ("sent", ask), ("received", flipped), *usual)) == 1


@pytest.mark.parametrize(("last_mb", "flat"), [(540.0, True), (560.0, False)])
def test_memory_is_judged_from_the_end_of_the_warm_up(last_mb: float, flat: bool) -> None:
    rss_mb: dict[int, float] = {0: 200.0, 4: 400.0, 5: 500.0, 20: last_mb, 29: 510.0}
    assert (soak.growth(rss_mb) <= soak.FLAT) is flat


def test_a_fault_without_a_trace_is_counted_as_such(tmp_path: Path) -> None:
    wire(tmp_path, ("sent", b"0DIS"), ("received", b"I"))
    (tmp_path / "reader.jsonl").write_text("")
    faults: list[dict[str, Any]] = [
        {"fault": "pump stalls", "request": {"pump": "L2-stimulus"}},
        {"fault": "pump answer lost", "request": {"port": "pumps"}},
    ]
    rows = {row["fault"]: row for row in soak.accounted(faults, {"L2": "stalled"}, tmp_path)}
    assert (rows["pump stalls"]["injected"], rows["pump stalls"]["shown"]) == (1, 1)
    assert (rows["pump answer lost"]["injected"], rows["pump answer lost"]["shown"]) == (1, 0)
