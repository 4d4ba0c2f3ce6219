"""The closed loop under Prefect: what a run does while the server is there, gone, or comes back.

Belongs here: names and settings of a flow run, and telling trouble of Prefect from that of the run. Not here:
steps (closed_loop), the server's process (prefect_server, prefect_keeper), what is shown (timeline).

Imports Prefect, so after the run's log is there and the server was started.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from prefect.events.schemas.events import Event
from prefect.events.worker import EventsWorker, ProcessPoolForwardingEventsClient
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.closed_loop import closed_loop
from flows.laboratory import Laboratory
from flows.opening import RunFiles
from flows.prefect_keeper import Server, kept
from flows.prefect_server import FlowEngineTrouble
from flows.run_names import run_name
from flows.timeline import timeline
from flows.timeline_wire import TimelineApi, TimelineAway

BACK_WITHIN_S = 60.0
"""How long a server that died at the very end is waited for, to say that the run is over; no chip waits then."""

HANDED_WITHIN_S = 5.0

_log = logging.getLogger(__name__)


def take_nothing(event: dict[str, Any]) -> None:
    """Let an event go."""


class HandsOver:
    """Hands the events of Prefect's engine to the timeline, in place of the queue of another process.

    Prefect's own client holds a connection for them: it costs a task most of its time, drops what it holds where
    the server is gone, and is waited for at the end of the process.
    """

    def __init__(self, take: Callable[[dict[str, Any]], None]) -> None:
        self._take = take

    def put(self, item: tuple[str, Event]) -> None:
        """Take one event with its kind."""
        self._take(item[1].model_dump(mode="json"))


@contextmanager
def events_to(take: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Hand the events of Prefect's engine over for the length of a ``with`` block."""
    # the one client that Prefect lets others put in place of its own
    EventsWorker.set_client_override(ProcessPoolForwardingEventsClient, event_queue=HandsOver(take))
    try:
        yield
    finally:
        EventsWorker.drain_all(timeout=HANDED_WITHIN_S, at_exit=False)
        EventsWorker.set_client_override(None)


class ReadyServer(Server, Protocol):
    """A Prefect server of this process."""

    def wait_ready(self, budget_s: float = ...) -> None:
        """Return once it answers."""


def run_loop(lab: Laboratory, files: RunFiles, server: ReadyServer) -> None:
    """Carry out the closed loop as a flow.

    Only the begin needs the server; where it dies later the run goes on and ends. Raises what the loop raises,
    and FlowEngineTrouble where Prefect's own trouble ended it early.
    """
    name = run_name(files.run_id, files.simulated)
    # the run has a heart of its own, and the thread of Prefect's is waited for at the end
    quiet = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    with (
        quiet,
        kept(server),
        timeline(files) as shown,
        events_to(shown.take if shown else take_nothing),
    ):

        def runs(flow: Any, flow_run: Any, state: Any) -> None:
            if shown:
                shown.flow_run = str(flow_run.id)

        try:
            # no tags: a task of a tagged flow asks the server for a slot first, and fails where it is gone
            closed_loop.with_options(flow_run_name=name, on_running=[runs])(lab)
        except Exception as trouble:
            if not of_flow_engine(trouble) or came_of_ctrl_c(trouble):
                raise
            run = lab.record.run(lab.run_id)
            if run is None or run.state != "finished":
                # named trouble: it leaves the pumps to their targets
                raise FlowEngineTrouble(
                    f"Prefect's server was lost ({type(trouble).__name__}: {trouble})"
                ) from trouble
            _log.warning("Prefect's server was gone at the end of the run: %s", trouble)
            if shown and shown.flow_run:
                tell_end(server, shown.flow_run)


def tell_end(server: ReadyServer, flow_run: str) -> None:
    """Say to a server that was gone at the end of a run, once it is back, that the run is over."""
    with suppress(FlowEngineTrouble, TimelineAway):
        server.wait_ready(BACK_WITHIN_S)
        api = TimelineApi(os.environ["PREFECT_API_URL"])
        api.end_flow_run(flow_run, "COMPLETED", "told after the server was gone")


def came_of_ctrl_c(trouble: BaseException) -> bool:
    """Return whether an error was raised while Ctrl-C was dealt with.

    Prefect 3.8.8 does so where the interrupt meets it between two tasks ("Task run is not set").
    """
    seen: BaseException | None = trouble
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def of_flow_engine(trouble: BaseException) -> bool:
    """Return whether an error comes from Prefect or its connection, not from our own code."""
    return type(trouble).__module__.split(".")[0] in ("prefect", "httpx", "httpcore", "anyio")
