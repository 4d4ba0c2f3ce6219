"""A run on Prefect's timeline: a bar for every dose and hold of a line, and pages for every cycle.

Belongs here: what of record and journal is told to Prefect, and when. Not here: requests (timeline_wire), the
pages (timeline_pages), steps that Prefect times itself (tasks).

The look has a thread and connections of its own and follows record and journal, as ``telling`` does. The run does
not know of it: a dose never waits for Prefect; what a server missed while it was gone is told at the next look,
with the times at which it happened. Nothing is read back from Prefect but what it was told before.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from chiploop.record.actions import Action, Event, action_of, cycle_in
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from flows.opening import RunFiles
from flows.record_place import place_of
from flows.run_names import programme_name, run_name, run_tag, step_of
from flows.timeline_pages import pages_of
from flows.timeline_wire import BarState, TimelineApi, TimelineAway

LOOK_EVERY_S = 5.0
MOST_SHARE = 0.02
"""Of the time that looks may take: the interpreter is the run's."""
MOST_TOLD_AGAIN = 1000
"""Events of Prefect's own that are told again after a server was gone: what it had not written is lost with it."""
ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})

_log = logging.getLogger(__name__)


def bars_of(events: Sequence[Event], run: str, tag: str, flow_run: str) -> list[BarState]:
    """Return every state that the journal shows of a run's programmes, each programme's in time order.

    A programme is one bar: it begins with the first start command and ends with the last pump.
    """
    keyed = sorted((e for e in events if "/" in e.key), key=lambda e: (e.key, e.seq))
    programmes: dict[str, list[tuple[Action, list[Event]]]] = {}
    for _, rows in groupby(keyed, key=lambda e: e.key):
        own = list(rows)
        if any(event.kind == "intent" for event in own):
            action = action_of(own)
            programmes.setdefault(action.intent.programme_key, []).append((action, own))
    states: list[BarState] = []
    for key, parts in programmes.items():
        states += bar_of(key, parts, run, tag, flow_run)
    return states


def bar_of(
    key: str, parts: Sequence[tuple[Action, list[Event]]], run: str, tag: str, flow_run: str
) -> list[BarState]:
    """Return the states of one programme; none where nothing was sent."""
    sent = [event for _, rows in parts for event in rows if event.kind == "sent"]
    if not sent:
        return []
    programme = parts[0][0].intent.programme
    name = step_of(run, cycle_in(key) or 0, programme_name(programme, key))
    bar, begun = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{tag} {key}")), min(e.at_utc for e in sent)
    begun_h = min(action.begun_h for action, _ in parts)
    told = f"begun at {begun_h:.4g} h of study time, for {programme.duration_h:.4g} h"
    states = [BarState(bar, flow_run, name, tag, "RUNNING", "Running", begun, told, begun)]
    held = [e for _, rows in parts for e in rows if e.kind == "ambiguous"]
    if held:
        at = held[-1].at_utc
        why = str(held[-1].body["reason"])
        states.append(BarState(bar, flow_run, name, tag, "FAILED", "Held", at, why, begun, at))
    ends = [action.end for action, _ in parts]
    if all(end is not None for end in ends):
        at = max(end.at_utc for end in ends if end is not None)
        given = [float(end.body.get("delivered_ul") or 0.0) for end in ends if end is not None]
        called = "Completed" if all(e and e.kind == "outcome" for e in ends) else "Settled"
        told = f"{sum(given):.4g} uL given, {programme.delivered_nm:.4g} nM"
        states.append(BarState(bar, flow_run, name, tag, "COMPLETED", called, at, told, begun, at))
    return states


class Timeline:
    """Follows a run and tells Prefect."""

    def __init__(self, files: RunFiles, api: TimelineApi) -> None:
        self.files, self.api = files, api
        self.flow_run: str | None = None
        """The flow run of this process, once it runs."""
        self._handed: deque[dict[str, Any]] = deque()
        self._handed_told: deque[dict[str, Any]] = deque(maxlen=MOST_TOLD_AGAIN)
        self.place = place_of(files.runs)
        """Asked for here: what a command line names is not known to the thread."""
        self.run = run_name(files.run_id, files.simulated)
        self.tag = run_tag(files.run_id, files.token)
        self._known: dict[str, str] | None = None
        """Bar -> the flow run in which it began; None until Prefect was asked."""
        self._told: set[str] = set()
        self._pages: dict[str, str] = {}
        self._seen: tuple[int, ...] = ()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="timeline", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def take(self, event: dict[str, Any]) -> None:
        """Take an event of Prefect's own engine, to be told with the next look."""
        self._handed.append(event)

    def stop(self) -> None:
        """Look a last time, and no more."""
        self._ending.set()
        self._thread.join()
        self.try_to_look()

    def try_to_look(self) -> None:
        """Look once; nothing that fails here is the run's trouble."""
        try:
            self.look()
        except TimelineAway as problem:
            _log.info("Prefect's server does not answer; what it misses follows: %s", problem)
            # what it took and had not written is gone with it
            self._known, self._seen = None, ()
            self._told.clear()
            self._pages.clear()
            self._handed.extendleft(reversed(self._handed_told))
            self._handed_told.clear()
        except Exception:  # a look that fails must not be the last one
            _log.exception("the timeline could not be told; the next look follows")

    def look(self) -> None:
        """Tell what is new. TimelineAway where the server does not answer."""
        if not self.place.is_there() or not self.files.journal.exists():
            return
        own = self.flow_run
        if own is None:
            return
        if self._known is None:
            self.api.tag_flow_run(own, self.tag)
            self._end_others(own)
            self._known = {one["id"]: one["flow_run_id"] for one in self.api.task_runs(self.tag)}
        self._tell_handed()
        with self.place.open(create=False) as record, Journal(self.files.journal) as journal:
            events = [e for e in journal.events() if e.run_id == self.files.run_id]
            seen = (len(events), *counts(record, self.files.run_id))
            if seen == self._seen:
                return
            self._tell_bars(events, own)
            self._put_pages(record, journal.actions(self.files.run_id), own)
        self._seen = seen

    def _tell_handed(self) -> None:
        fresh = list(self._handed)
        self.api.tell(fresh)
        for event in fresh:
            self._handed_told.append(event)
            self._handed.popleft()

    def _end_others(self, own: str) -> None:
        for one in self.api.flow_runs(self.tag):
            if one["id"] != own and one["state_type"] not in ENDED:
                why = "its process was killed; the run was resumed"
                self.api.end_flow_run(str(one["id"]), "CRASHED", why)

    def _tell_bars(self, events: Sequence[Event], own: str) -> None:
        assert self._known is not None
        fresh = []
        for state in bars_of(events, self.run, self.tag, own):
            fact = state.event()["id"]
            if fact not in self._told:
                began_in = self._known.setdefault(state.bar, own)
                fresh.append((fact, BarState(**{**vars(state), "flow_run": began_in})))
        self.api.tell([state.event() for _, state in fresh])
        self._told.update(fact for fact, _ in fresh)

    def _put_pages(self, record: Record, actions: Sequence[Action], own: str) -> None:
        files = self.files
        made = pages_of(
            record, actions, files.study, self.run, files.run_id, files.folder, self._pages
        )
        for page in made:
            if page.key not in self._pages:
                there = self.api.page(page.key)
                self._pages[page.key] = "" if there is None else str(there["data"])
            if self._pages[page.key] != page.data:
                self.api.put_page(own, page.key, page.kind, page.data, page.description)
                self._pages[page.key] = page.data

    def _watch(self) -> None:
        wait_s = LOOK_EVERY_S
        while not self._ending.wait(wait_s):
            begun_s = time.thread_time()
            self.try_to_look()
            wait_s = max(LOOK_EVERY_S, (time.thread_time() - begun_s) / MOST_SHARE)


def counts(record: Record, run_id: str) -> tuple[int, ...]:
    """Return what tells whether a page may have changed."""
    return (
        len(record.calibrations(run_id)),
        len(record.proposals(run_id)),
        len(record.decisions(run_id)),
        len(record.readouts(run_id)),
    )


@contextmanager
def timeline(files: RunFiles) -> Iterator[Timeline]:
    """Show a run on the timeline of this process's Prefect server for the length of a ``with`` block."""
    following = Timeline(files, TimelineApi(os.environ["PREFECT_API_URL"]))
    following.start()
    try:
        yield following
    finally:
        following.stop()
