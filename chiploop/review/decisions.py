"""What a form of the page asks for, as a command of the command line.

Belongs here: fields of a form -> words of a command. Not here: whether it is allowed (the command), requests
(pages).

A field never becomes an option of its own: each stands behind the ``=`` of one, and names of runs, chips and lines
are those of the record.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


class FormIncomplete(Exception):
    """A form that lacks what its decision needs."""


def reason_in(form: Mapping[str, str], asked: str) -> str:
    """Return the reason of a form; FormIncomplete where there is none."""
    why = form.get("why", "").strip()
    if not why:
        raise FormIncomplete(f"{asked} needs its reason; nothing was decided")
    return why


def doses_in(
    form: Mapping[str, str], before: Mapping[str, tuple[str, str]], lines: Collection[str]
) -> list[str]:
    """Return ``--dose`` options for the lines whose dose or schedule a person changed.

    ``before``: line -> (dose, schedule) as the form showed it.
    """
    found = []
    for line in lines:
        dose = form.get(f"dose-{line}", "").strip()
        schedule = form.get(f"schedule-{line}", before[line][1]).strip()
        if (dose, schedule) == before[line]:
            continue
        if not dose:
            raise FormIncomplete(
                f"line {line} has no dose; write one such as 100 nM, or vehicle. Nothing was decided"
            )
        by = f"@{schedule}" if schedule and schedule != "whole" else ""
        found.append(f"--dose={line}={dose}{by}")
    return found


def approve_words(run_id: str, proposal: str, why: str, doses: Collection[str] = ()) -> list[str]:
    """Return the command that approves a proposal, or a person's own doses in its place."""
    return ["approve", run_id, f"--proposal={proposal}", f"--why={why}", *doses]


def preview_words(run_id: str, doses: Collection[str]) -> list[str]:
    """Return the command that scores a person's doses and puts nothing on record."""
    return ["propose", run_id, *doses]


def reject_words(run_id: str, proposal: str, why: str) -> list[str]:
    """Return the command that rejects a proposal."""
    return ["reject", run_id, f"--proposal={proposal}", f"--why={why}"]


def exclude_words(
    run_id: str, chip: str, readout: str, time: str, why: str, take_back: bool
) -> list[str]:
    """Return the command that leaves readings out of later fits, or takes them in again."""
    words = ["exclude", run_id, chip, f"--why={why}"]
    if readout:
        words.append(f"--readout={readout}")
    if time:
        words.append(f"--time={time}")
    return [*words, "--take-back"] if take_back else words


def exclude_image_words(
    run_id: str, image_set: str, place: str, why: str, take_back: bool
) -> list[str]:
    """Return the command that leaves an image out of its chip's readout, or takes it in again."""
    words = ["exclude", run_id, f"--why={why}", f"--image={image_set}:{place}"]
    return [*words, "--take-back"] if take_back else words


def exclude_wells_words(
    run_id: str, plate: str, wells: Collection[str], why: str, take_back: bool
) -> list[str]:
    """Return the command that leaves wells out of their plate, or takes them in again."""
    words = ["exclude", run_id, f"--why={why}", *(f"--well={plate}:{well}" for well in wells)]
    return [*words, "--take-back"] if take_back else words
