"""The closed loop under Prefect: what a run does while the server is there, gone, or comes back.

Belongs here: names and settings of a flow run, and telling trouble of Prefect from that of the run. Not here:
steps (closed_loop), the server's process (prefect_server, prefect_keeper), what is shown (timeline).

Imports Prefect, so after the run's log is there and the server was started.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Protocol

from prefect import tags
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.closed_loop import closed_loop
from flows.laboratory import Laboratory
from flows.opening import RunFiles
from flows.prefect_keeper import Server, kept
from flows.prefect_server import FlowEngineTrouble
from flows.run_names import run_name, run_tag
from flows.timeline import timeline
from flows.timeline_wire import TimelineApi, TimelineAway

BACK_WITHIN_S = 60.0
"""How long a server that died at the very end is waited for, to say that the run is over; no chip waits then."""

_log = logging.getLogger(__name__)


class ReadyServer(Server, Protocol):
    """A Prefect server of this process."""

    def wait_ready(self, budget_s: float = ...) -> None:
        """Return once it answers."""


def run_loop(lab: Laboratory, files: RunFiles, server: ReadyServer) -> None:
    """Carry out the closed loop as a flow.

    Only the begin needs the server; where it dies later the run goes on and ends. Raises what the loop raises,
    and FlowEngineTrouble where Prefect's own trouble ended it early.
    """
    name, tag = run_name(files.run_id, files.simulated), run_tag(files.run_id, files.token)
    # the run has a heart of its own, and the thread of Prefect's is waited for at the end
    quiet = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    with quiet, tags(tag), kept(server), timeline(files):
        try:
            closed_loop.with_options(flow_run_name=name)(lab)
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
            tell_end(server, tag)


def tell_end(server: ReadyServer, tag: str) -> None:
    """Say to a server that was gone at the end of a run, once it is back, that the run is over."""
    with suppress(FlowEngineTrouble, TimelineAway):
        server.wait_ready(BACK_WITHIN_S)
        api = TimelineApi(os.environ["PREFECT_API_URL"])
        for one in api.flow_runs(tag)[:1]:
            api.end_flow_run(one["id"], "COMPLETED", "told after the server was gone")


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
