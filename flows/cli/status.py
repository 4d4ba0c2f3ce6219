"""``chiploop status``: where the runs of a folder stand, now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flows.cli.screen import JSON_OPTION, paint, print_json
from flows.runs_folder import runs_option

if TYPE_CHECKING:
    from flows.run_status import RunStatus

RUNS = typer.Option(Path("runs"), "--runs", help="Folder of the runs.")
COLOURS = {
    "running": "green",
    "waiting for a person": "yellow",
    "on hold": "yellow",
    "interrupted": "red",
    "finished": "cyan",
}


def status(
    run: str | None = typer.Argument(
        None,
        metavar="[RUN]",
        help="Run id, or the run's folder; without it, all that have not ended.",
    ),
    runs: Path = RUNS,
    every: bool = typer.Option(False, "--all", help="Runs that have ended, too."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Show where a run stands: state, day, what it does now, what it asks of you.

    Opens no port and changes nothing. Exit code 0 where all is well, 7 where a person is needed (an open proposal,
    a held line or run), 4 where nobody works on a run that has not ended; of several the worst. With --json:
    {"ok", "runs": [{"run_id", "state", "cycle", "time_h", "doing", "held_lines", "proposal", "exit_code", ...}],
    "recalibration": {"scheduled", "process", "pages", "last"} or null, as chiploop serve keeps it}.
    """
    from flows.opening import FACTS_FILE, known_run
    from flows.run_status import now_s, status_of
    from flows.serving_place import facts, lines

    if run is not None:
        found = [status_of(known_run(run, runs), now_s())]
    else:
        names = sorted(path.parent.name for path in runs.glob(f"*/{FACTS_FILE}"))
        found = [status_of(known_run(name, runs), now_s()) for name in names]
        if not every:
            found = [one for one in found if one.state != "finished" and not one.given_up]
    by_night = facts(runs) if run is None else None
    worst = max((one.exit_code for one in found), key=severity, default=0)
    if as_json:
        told = {"ok": worst == 0, "runs": [one.facts() for one in found]}
        print_json(told | {"recalibration": by_night})
    elif not found:
        print(f"No run in {runs} is under way; --all shows those that have ended.")
    else:
        print("\n\n".join("\n".join(status_lines(one, runs)) for one in found))
    if by_night is not None and not as_json:
        print("\n".join(["", *lines(by_night)]))
    if worst:
        raise typer.Exit(worst)


def severity(exit_code: int) -> int:
    """Return how bad an exit code is: nobody at work is worse than a person asked for."""
    return {0: 0, 7: 1}.get(exit_code, 2)


def status_lines(one: RunStatus, runs: Path) -> list[str]:
    """Return a run's status for people."""
    from flows.opening import PREFECT_FOLDER
    from flows.prefect_server import pages_address
    from flows.run_status import STALE_S, since

    where = runs_option(runs)
    mark = "SIMULATED  " if one.simulated else ""
    day = f"day {one.time_h / 24:.1f} of {one.end_h / 24:.1f}, cycle {one.cycle} of {one.cycles}"
    lines = [f"{mark}{one.run_id}  {day}  {paint(one.state.upper(), COLOURS[one.state])}"]
    if one.doing and one.process is not None:
        ago = f" ({since(one.quiet_s)} ago)" if one.quiet_s is not None else ""
        lines.append(f"  last step  {one.doing}{ago}")
    if one.process is not None and (pages := pages_address(runs / one.run_id / PREFECT_FOLDER)):
        lines.append(f"  timeline   {pages}")
    if one.quiet_s is not None and one.quiet_s > STALE_S and one.state == "running":
        lines.append(
            f"  {paint('LOOK', 'red')}: nothing done for {since(one.quiet_s)}; process {one.process} may hang"
        )
    if one.proposal is not None and one.state != "finished":
        doses = ", ".join(
            f"{line} {nm:g} nM" if nm else f"{line} vehicle"
            for line, nm in one.proposal.doses.items()
        )
        risk = one.proposal.highest_risk
        told = "" if risk is None else f"; highest risk {100 * risk:.0f} %"
        lines += [
            f"  proposed   {doses}{told}",
            f"             chiploop propose {one.run_id}{where} shows why, chiploop approve | reject decides;",
            "             nothing is dosed before",
        ]
    if one.held_by and one.state != "finished":
        lines.append(
            f"  held by    {one.held_by}; chiploop resume {one.run_id}{where} lets it go on"
        )
    if one.fed_by and one.state != "finished":
        told = ", ".join(f"{chip} by {line}" for chip, line in one.fed_by.items())
        lines.append(f"  fed by     {told}; other chips by their own line")
    if one.given_up:
        return [
            *lines,
            f"  {one.given_up}; chiploop resume {one.run_id}{where} would take it up all the same",
        ]
    for line, why in one.held_lines.items():
        lines.append(f"  line {line} HELD: {why}; chiploop settle {one.run_id}{where}")
    if one.state == "interrupted":
        lines += [
            f"  {one.ended}",
            f"  nobody works on it: pumps end by their own targets. chiploop resume {one.run_id}{where}",
        ]
    return lines
