"""A run on Prefect's timeline: named bars with their true times, pages per cycle; no server, no harm."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chiploop.dosing import PumpProgramme
from chiploop.record.actions import Event, Intent
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from flows.opening import RunFiles, known_run
from flows.prefect_server import PrefectServer
from flows.run_names import run_tag
from flows.timeline import Timeline, bars_of
from flows.timeline_pages import page_key
from flows.timeline_wire import TimelineApi, TimelineAway
from tests.flows.conftest import SMALL_STUDY, Warm
from tests.flows.run_checks import journal_of, only_run
from tests.flows.warm_chiploop import TIMELINE


@pytest.fixture(scope="module")
def shown(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    """A finished run that was shown on the timeline."""
    runs = tmp_path_factory.mktemp("shown")
    ended = warm.run("simulate", SMALL_STUDY, "--runs", runs, **{TIMELINE: "1"})
    assert ended.code == 0, ended.err
    return known_run(only_run(runs), runs)


@pytest.fixture
def api(prefect_api: PrefectServer) -> TimelineApi:
    return TimelineApi(prefect_api.api_url)


def settled(api: TimelineApi, flow_run: str, count: int) -> list[dict[str, Any]]:
    """Return the task runs of a run once the server has written them; it takes a second for that."""
    until_s = time.monotonic() + 20.0
    while True:
        found = api.every("/task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})
        if len(found) >= count and all(one["state_type"] == "COMPLETED" for one in found):
            return found
        assert time.monotonic() < until_s, [(one["name"], one["state_type"]) for one in found]
        time.sleep(0.1)


def test_every_flow_and_task_run_has_a_name_that_says_what_it_was(
    shown: RunFiles, api: TimelineApi
) -> None:
    tag, head = run_tag(shown.run_id, shown.token), f"SIMULATED {shown.run_id}"
    (flow_run,) = api.flow_runs(tag)
    assert (flow_run["name"], flow_run["state_type"]) == (head, "COMPLETED")
    with journal_of(shown.runs, shown.run_id) as journal:
        programmes = {a.intent.programme_key for a in journal.actions(shown.run_id)}
    found = settled(api, flow_run["id"], len(programmes) + 14)
    assert {one["flow_run_id"] for one in found} == {flow_run["id"]}
    names = [one["name"] for one in found]
    assert [name for name in names if not name.startswith(f"{head} · ")] == []
    whats = [name.removeprefix(f"{head} · ") for name in names]
    for what in (
        "before the doses · plain medium L1",
        "cycle 1 · dose L1 60 nM",
        "cycle 1 · dose L2 240 nM",
        "cycle 1 · stimulus without drug L1",
        "cycle 1 · read plate CCL26",
        "cycle 1 · fit",
        "cycle 2 · propose doses",
        "cycle 2 · fit",
    ):
        assert whats.count(what) == 1, (what, whats)
    assert sum(" · dose L" in name for name in names) == 4


def test_a_bar_has_the_times_of_the_journal_and_says_what_was_given(
    shown: RunFiles, api: TimelineApi
) -> None:
    tag = run_tag(shown.run_id, shown.token)
    with journal_of(shown.runs, shown.run_id) as journal:
        own = [e for e in journal.events() if "/c01/L1/dose/" in e.key]
    (flow_run,) = api.flow_runs(tag)
    found = settled(api, flow_run["id"], 1)
    (bar,) = [one for one in found if one["name"].endswith("dose L1 60 nM")]
    sent = min(e.at_utc for e in own if e.kind == "sent")
    outcome = max(e.at_utc for e in own if e.kind == "outcome")
    assert bar["start_time"][:23] == sent[:23] and bar["end_time"][:23] == outcome[:23]
    assert "nM" in bar["state"]["message"] and "uL given" in bar["state"]["message"]


def test_fit_doses_and_chips_of_every_cycle_are_pages(shown: RunFiles, api: TimelineApi) -> None:
    found = {}
    for cycle in (1, 2):
        for what in ("fit", "doses", "chips"):
            page = api.page(page_key(shown.run_id, cycle, what))
            assert page is not None, (cycle, what)
            assert page["description"].startswith(f"SIMULATED {shown.run_id} · cycle {cycle}")
            found[cycle, what] = page["data"]
    with Record(str(shown.runs / "record.sqlite")) as record:
        last = record.calibrations(shown.run_id)[-1].content
    assert (
        "**Fit passed**" in found[2, "fit"] and "| parameter | unit | median |" in found[2, "fit"]
    )
    assert all(f"| {goal['name']} |" in found[2, "fit"] for goal in last["goals"])
    assert "approve by auto" in found[2, "doses"] and "Why: the batch" in found[2, "doses"]
    rows = json.loads(found[1, "chips"])
    assert [row["chip"] for row in rows] == ["C01", "C02"]
    assert (
        {row["pumps"] for row in rows} == {"delivered"} and "TEER" in rows[0] and "CCL26" in rows[0]
    )


class Away:
    """A server that is away at first, and then keeps what it is told."""

    def __init__(self, flow_runs: Sequence[dict[str, Any]] = ()) -> None:
        self.is_away = True
        self.runs = list(flow_runs)
        self.bars: dict[str, dict[str, Any]] = {}
        self.handed: list[str] = []
        self.tagged: list[str] = []
        self.pages: dict[str, list[str]] = {}
        self.ended: list[str] = []
        self.known: list[dict[str, Any]] = []

    def flow_runs(self, tag: str) -> list[dict[str, Any]]:
        return self.runs

    def task_runs(self, tag: str) -> list[dict[str, Any]]:
        return self.known

    def tell(self, events: Sequence[dict[str, Any]]) -> None:
        self.handed += [event["handed"] for event in events if "handed" in event]
        self.bars |= {
            event["resource"]["prefect.resource.id"].removeprefix("prefect.task-run."): event
            for event in events
            if "resource" in event
        }

    def tag_flow_run(self, flow_run: str, tag: str) -> None:
        if self.is_away:
            raise TimelineAway("connection refused")
        self.tagged.append(flow_run)

    def end_flow_run(self, flow_run: str, kind: str, message: str) -> None:
        self.ended.append(f"{flow_run} {kind}")

    def page(self, key: str) -> None:
        return None

    def put_page(self, flow_run: str, key: str, kind: str, data: str, description: str) -> None:
        self.pages.setdefault(key, []).append(data)


FIRST, SECOND = (f"11111111-0000-0000-0000-00000000000{n}" for n in (1, 2))


def following(files: RunFiles, server: Any, flow_run: str = SECOND) -> Timeline:
    """Return what follows a run whose flow run has begun."""
    made = Timeline(files, server)
    made.flow_run = flow_run
    return made


def part_of(event: dict[str, Any]) -> str:
    """Return the flow run of an event."""
    (related,) = event["related"]
    return str(related["prefect.resource.id"]).removeprefix("prefect.flow-run.")


def test_what_a_server_missed_is_told_once_it_is_back_and_nothing_twice(shown: RunFiles) -> None:
    away: Any = Away()
    timeline = following(shown, away)
    timeline.take({"handed": "a fit began"})
    timeline.try_to_look()
    assert (away.bars, away.pages, away.handed) == ({}, {}, [])
    away.is_away = False
    timeline.try_to_look()
    whole = dict(away.bars)
    assert len(whole) == 8 and {bar["event"] for bar in whole.values()} == {
        "prefect.task-run.Completed"
    }
    assert len(away.pages) == 6 and away.handed == ["a fit began"]
    away.bars.clear()
    timeline.try_to_look()
    assert away.bars == {} and {len(versions) for versions in away.pages.values()} == {1}
    assert away.handed == ["a fit began"]


def test_what_a_killed_server_may_have_lost_is_told_again_under_the_same_ids(
    shown: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Any = Away()
    server.is_away = False
    timeline = following(shown, server)
    timeline.take({"handed": "a fit began"})
    timeline.look()
    whole = dict(server.bars)
    server.bars.clear()
    monkeypatch.setattr(timeline, "_tell_handed", gone)
    timeline.take({"handed": "a fit ended"})
    timeline.try_to_look()
    monkeypatch.undo()
    timeline.try_to_look()
    assert server.bars == whole
    assert server.handed == ["a fit began", "a fit began", "a fit ended"]


def gone() -> None:
    raise TimelineAway("it was killed")


def test_a_bar_stays_with_the_flow_run_in_which_it_began_and_the_killed_one_is_told_so(
    shown: RunFiles,
) -> None:
    both = [{"id": SECOND, "state_type": "RUNNING"}, {"id": FIRST, "state_type": "RUNNING"}]
    server: Any = Away(both)
    server.is_away = False
    following(shown, server).look()
    bar, begun = next((k, e) for k, e in server.bars.items() if "dose L1 60" in str(e["resource"]))
    assert part_of(begun) == SECOND and server.ended == [f"{FIRST} CRASHED"]
    assert server.tagged == [SECOND]
    resumed: Any = Away(both)
    resumed.is_away, resumed.known = False, [{"id": bar, "flow_run_id": FIRST}]
    following(shown, resumed).look()
    assert part_of(resumed.bars[bar]) == FIRST
    assert resumed.bars[bar]["id"] == begun["id"]


def test_a_look_that_fails_for_any_reason_is_not_the_runs_trouble(
    shown: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> list[Any]:
        raise KeyError("a bug of a page")

    monkeypatch.setattr("flows.timeline.pages_of", broken)
    away: Any = Away()
    away.is_away = False
    following(shown, away).try_to_look()
    assert len(away.bars) == 8 and away.pages == {}


def held_programme(path: Path, programme: PumpProgramme) -> list[Event]:
    """Return the rows of one dose that a note preceded, that was held and then settled by a person."""
    key = "r1/c02/L1/dose/L1-low"
    with Journal(path) as journal:
        journal.note("r1", key, 35.0, "a note before anything is sent")
        journal.intend(
            [
                Intent(
                    key,
                    "r1",
                    "r1/c02/L1/dose",
                    "L1-low",
                    programme,
                    10.0,
                    240.0,
                    0.0,
                    0.1,
                    0,
                    "s",
                    36.0,
                )
            ]
        )
        journal.sent(key, 36.0)
        journal.started(key, 36.0, "ok")
        journal.ambiguous(key, 40.0, "it lost its power", None)
        return journal.events()


def test_a_held_dose_is_red_with_its_reason_and_a_note_before_it_hides_nothing(
    tmp_path: Path,
) -> None:
    programme = PumpProgramme("L1", "dose", 62.0, 61.9, 24.0, (), 0.0, 1.0)
    events = held_programme(tmp_path / "journal.sqlite", programme)
    begun, held = bars_of(events, "SKIN-0042", "run SKIN-0042", "f")
    assert begun.name == held.name == "SKIN-0042 · cycle 2 · dose L1 62 nM"
    assert (begun.kind, held.kind, held.called) == ("RUNNING", "FAILED", "Held")
    assert held.message == "it lost its power"
    assert begun.at_utc == next(e.at_utc for e in events if e.kind == "sent")
