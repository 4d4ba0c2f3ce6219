"""The soak: faults come by their seed, record and emulators are compared, what grows is seen, and it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import soak

NAMES = [f"L{number}-stimulus" for number in range(1, 9)]


def test_the_schedule_is_that_of_its_seed_has_every_kind_and_stalls_a_line_at_most_once() -> None:
    faults = soak.schedule(NAMES, 720.0, 1)
    assert faults == soak.schedule(NAMES, 720.0, 1) != soak.schedule(NAMES, 720.0, 2)
    assert all(30.0 <= one["request"]["at_h"] <= 576.0 for one in faults)
    assert {one["fault"] for one in faults} == set(soak.FAULTS)
    many = [one for seed in range(40) for one in soak.schedule(NAMES, 720.0, seed)]
    for kind, what in soak.FAULTS.items():
        share = sum(one["fault"] == kind for one in many) / 40.0
        expected = what.per_30_days + 2.718281828**-what.per_30_days  # at least one each
        assert share == pytest.approx(expected, rel=0.3)
    pumps = [one["request"]["pump"] for one in faults if "pump" in one["request"]]
    assert len(pumps) == len(set(pumps))


FAULTS: list[dict[str, Any]] = [
    {"fault": "pump stalls", "request": {"pump": "L2-stimulus", "kind": "block"}},
    {"fault": "plate file late", "request": {"file": True, "kind": "cut"}},
    {"fault": "plate file lost", "request": {"file": True, "kind": "lost"}},
]
TRUTH = {
    "met": {
        "pumps": {"drop_reply": 2, "drop_reply+flip_bit": 1, "flip_bit": 1, "unplugged": 3},
        "reader": {"drop_reply+unplug": 1},
        "teer": {},
    },
    "noisy_sweeps": [[48.0, "C01"]],
}
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("wire trouble", {"port": "pumps", "kind": "no answer", "times": 4}),
    ("wire trouble", {"port": "pumps", "kind": "no answer", "times": 2}),
    ("wire trouble", {"port": "pumps", "kind": "garbled", "times": 1}),
    ("wire trouble", {"port": "reader", "kind": "port lost", "times": 1}),
    ("instrument away", {"what": "reader of the CCL26 plate", "number": 1}),
    ("instrument back", {"what": "reader of the CCL26 plate", "number": 1}),
    ("plate lost", {"plate": "p"}),
]


def differing(**changed: Any) -> set[str]:
    whole: dict[str, Any] = {
        "faults": FAULTS,
        "truth": TRUTH,
        "events": EVENTS,
        "held": {"L2"},
        "flagged": {(48.0, "C01"), (72.0, "C05")},
        "n_late_files": 1,
    }
    return {one.of for one in soak.accounted(**{**whole, **changed}) if not one.agrees}


def test_a_record_that_has_all_that_happened_agrees() -> None:
    assert differing() == set()


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"held": set()}, {"pump stalls: line held"}),
        ({"held": {"L2", "L3"}}, {"lines held for no stall"}),
        ({"events": EVENTS[1:]}, {"pumps: no answer"}),
        ({"events": [*EVENTS, EVENTS[1]]}, {"pumps: no answer"}),
        ({"events": EVENTS[:2] + EVENTS[3:]}, {"pumps: garbled"}),
        ({"events": EVENTS[:4] + EVENTS[5:]}, {"reader: asked a person"}),
        ({"events": EVENTS[:5] + EVENTS[6:]}, {"reader: back, or missed"}),
        ({"events": EVENTS[:6]}, {"plate files lost"}),
        ({"flagged": {(48.0, "C02")}}, {"noisy sweeps flagged"}),
        ({"n_late_files": 0}, {"plate files late"}),
    ],
)
def test_what_the_record_lacks_or_has_too_much_differs(
    changed: dict[str, Any], found: set[str]
) -> None:
    assert differing(**changed) == found


@pytest.mark.parametrize(("last_mb", "flat"), [(540.0, True), (560.0, False)])
def test_memory_is_judged_from_the_end_of_the_warm_up(last_mb: float, flat: bool) -> None:
    rss_mb: dict[int, float] = {0: 200.0, 11: 400.0, 12: 500.0, 20: last_mb, 29: 510.0}
    assert (soak.growth(rss_mb) <= soak.FLAT) is flat


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_thirty_days_with_faults_end_with_every_fault_on_record_and_flat_memory(
    tmp_path: Path,
) -> None:
    found = soak.measure(soak.STUDY, 1, tmp_path)
    assert (found["chips"], found["days"], found["cycles"]) == (24, pytest.approx(30.0), 6)
    assert set(found["injected"]) == set(soak.FAULTS)
    assert [row for row in found["accounts"] if not row["agrees"]] == []
    assert soak.is_good(found), found
