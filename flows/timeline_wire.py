"""Prefect's API as the timeline uses it: states of task runs with the times they happened at, and artifacts.

Belongs here: requests and their bodies. Not here: what is shown (timeline, timeline_pages).

Plain HTTP with a bound on every answer: Prefect's own client tries again for minutes where a server is gone, and
its task runs are told by a stream that drops what it holds then. Imports no Prefect. Task runs are told as the
events by which Prefect's own engine does (``prefect.utilities.engine.emit_task_run_state_change_event``).
"""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

ANSWER_WITHIN_S = 5.0
MOST_AT_ONCE = 200
"""Of what one request asks for or tells."""


class TimelineAway(Exception):
    """The server did not answer, or refused."""


@dataclass(frozen=True)
class BarState:
    """A state of one bar on the timeline."""

    bar: str
    """Id of the task run."""
    flow_run: str
    name: str
    """Of the bar."""
    tag: str
    kind: str
    """Prefect's type of state: ``RUNNING``, ``COMPLETED``, ``FAILED``."""
    called: str
    """The state's own name."""
    at_utc: str
    message: str
    begun_utc: str
    ended_utc: str | None = None

    def event(self) -> dict[str, Any]:
        """Return the event that tells it; the same one has the same id."""
        run = {
            "name": self.name,
            "task_key": "chiploop.programme",
            "dynamic_key": self.bar,
            "run_count": 1,
            "flow_run_run_count": 1,
            "tags": [self.tag],
            "expected_start_time": self.begun_utc,
            "start_time": self.begun_utc,
            **({"end_time": self.ended_utc} if self.ended_utc else {}),
        }
        return {
            "id": str(uuid.uuid5(uuid.UUID(self.bar), f"{self.called} {self.at_utc}")),
            "occurred": self.at_utc,
            "event": f"prefect.task-run.{self.called}",
            "resource": {
                "prefect.resource.id": f"prefect.task-run.{self.bar}",
                "prefect.resource.name": self.name,
                "prefect.state-name": self.called,
                "prefect.state-type": self.kind,
                "prefect.state-timestamp": self.at_utc,
                "prefect.state-message": self.message,
                "prefect.orchestration": "client",
            },
            "related": [
                {
                    "prefect.resource.id": f"prefect.flow-run.{self.flow_run}",
                    "prefect.resource.role": "flow-run",
                }
            ],
            "payload": {
                "intended": {"from": None, "to": self.kind},
                "initial_state": None,
                "validated_state": {
                    "type": self.kind,
                    "name": self.called,
                    "message": self.message,
                    "state_details": {},
                    "data": None,
                },
                "task_run": run,
            },
        }


class TimelineApi:
    """A Prefect server."""

    def __init__(self, api_url: str) -> None:
        self._at = urlsplit(api_url)

    def ask(self, method: str, path: str, body: Any) -> Any:
        """Send one request; return the answer. TimelineAway where there is none, or it is a refusal."""
        assert self._at.hostname is not None
        connection = http.client.HTTPConnection(
            self._at.hostname, self._at.port, timeout=ANSWER_WITHIN_S
        )
        try:
            text = json.dumps(body, allow_nan=False)
            headers = {"Content-Type": "application/json"}
            connection.request(method, f"{self._at.path}{path}", text, headers)
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            raise TimelineAway(str(problem)) from problem
        finally:
            connection.close()
        if answer.status >= 300:
            raise TimelineAway(f"{method} {path}: {answer.status} {said[:300]!r}")
        return json.loads(said) if said else None

    def every(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Return everything that a filter finds."""
        found: list[dict[str, Any]] = []
        while True:
            page = {**body, "limit": MOST_AT_ONCE, "offset": len(found)}
            answer = self.ask("POST", path, page)
            found += answer
            if len(answer) < MOST_AT_ONCE:
                return found

    def flow_runs(self, tag: str) -> list[dict[str, Any]]:
        """Return the flow runs with a tag, the newest first."""
        wanted = {"flow_runs": {"tags": {"all_": [tag]}}, "sort": "START_TIME_DESC"}
        return self.every("/flow_runs/filter", wanted)

    def task_runs(self, tag: str) -> list[dict[str, Any]]:
        """Return the task runs with a tag."""
        return self.every("/task_runs/filter", {"task_runs": {"tags": {"all_": [tag]}}})

    def tell(self, events: Sequence[dict[str, Any]]) -> None:
        """Tell events, each once however often it is told."""
        for begin in range(0, len(events), MOST_AT_ONCE):
            self.ask("POST", "/events", events[begin : begin + MOST_AT_ONCE])

    def tag_flow_run(self, flow_run: str, tag: str) -> None:
        """Put a tag on a flow run. Never as it is made: its tasks would have it too, and wait for the server."""
        self.ask("PATCH", f"/flow_runs/{flow_run}", {"tags": [tag]})

    def end_flow_run(self, flow_run: str, kind: str, message: str) -> None:
        """Say of a flow run how it ended, where Prefect's own engine could not: ``CRASHED``, ``COMPLETED``."""
        state = {"type": kind, "name": kind.capitalize(), "message": message}
        self.ask("POST", f"/flow_runs/{flow_run}/set_state", {"state": state, "force": True})

    def page(self, key: str) -> dict[str, Any] | None:
        """Return the newest artifact of a key; None where there is none."""
        wanted = {"artifacts": {"key": {"any_": [key]}}, "limit": 1}
        found = self.ask("POST", "/artifacts/latest/filter", wanted)
        return found[0] if found else None

    def put_page(self, flow_run: str, key: str, kind: str, data: str, description: str) -> None:
        """Add a version of an artifact."""
        body = {
            "key": key,
            "type": kind,
            "data": data,
            "description": description,
            "flow_run_id": flow_run,
        }
        self.ask("POST", "/artifacts/", body)
