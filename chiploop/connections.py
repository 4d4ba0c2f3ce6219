"""Which line feeds which chip where valves let a chip be fed by several.

Belongs here: a connection and the study as it is connected, which connections an exposure may have. Not here:
which one teaches most (connected_doses), turning valves (instruments), what the journal says of them
(record.turns).

A connection is chip -> the line that feeds it, for chips that a valve has given to another line than their
own; None where nobody knows. Who is not in it is at home, on the line under which the study's file has it. No
connection leaves a line without chips: a pump would press against closed ports.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chiploop.study import Line, Study

Connection = Mapping[str, str | None]
"""Chip -> line that feeds it where that is not its own; None where nobody knows."""
MOST_CONNECTIONS = 8
"""How many are compared for one exposure; each takes simulations of its own."""


def home_lines(study: Study) -> tuple[Line, ...]:
    """Return the lines as the study's file has them."""
    return study.home_lines or study.lines


def home_of(study: Study, chip: str) -> str:
    """Return the line under which the study's file has a chip; KeyError where there is no such chip."""
    return {c: line.id for line in home_lines(study) for c in line.chips}[chip]


def lines_that_may_feed(study: Study, chip: str) -> tuple[str, ...]:
    """Return the lines that can feed a chip, its own first."""
    return (home_of(study, chip), *study.valves.get(chip, ()))


def line_in(study: Study, connection: Connection, chip: str) -> str | None:
    """Return the line that feeds a chip in a connection; None where nobody knows."""
    return connection.get(chip, home_of(study, chip))


def connection_of(study: Study) -> dict[str, str]:
    """Return the connection that a study stands in."""
    return {
        chip: line.id
        for line in study.lines
        for chip in line.chips
        if home_of(study, chip) != line.id
    }


def connected(study: Study, connection: Connection) -> Study:
    """Return the study with its chips on the lines that feed them; those of which nobody knows are on none.

    ValueError where a line can not feed a chip.
    """
    home = home_lines(study)
    moved = {c: line for c, line in connection.items() if line != home_of(study, c)}
    for chip, line_id in moved.items():
        if line_id is not None and line_id not in study.valves.get(chip, ()):
            raise ValueError(f"no valve lets {line_id} feed {chip}")
    if not moved:
        return (
            study.model_copy(update={"lines": home, "home_lines": ()})
            if study.home_lines
            else study
        )
    donors = {chip: donor for line in home for chip, donor in line.chips.items()}
    own = {
        line.id: {c: d for c, d in donors.items() if line_in(study, moved, c) == line.id}
        for line in home
    }
    lines = tuple(line.model_copy(update={"chips": own[line.id]}) for line in home)
    return study.model_copy(update={"lines": lines, "home_lines": home})


def with_chips_that_may_be_on(study: Study, connection: Connection, line_id: str) -> Study:
    """Return the study as it is connected; a line that feeds nobody for certain has the chips that may be on it.

    For plain medium, without which the chip that is there would stand dry. As many are counted as leave a single
    one below the limit of flow, should the others not be there. Beside chips that are there for certain none is
    counted: those would have its share too, on top of all that the limits count for them.
    """
    if any(line_in(study, connection, chip) == line_id for chip in study.chip_ids):
        return connected(study, connection)
    most = max(1, int(study.limits.flow_rate_ul_h / study.perfusion.flow_rate_ul_h + 1e-9))
    doubtful = [
        chip
        for chip in study.valves
        if line_in(study, connection, chip) is None and line_id in lines_that_may_feed(study, chip)
    ]
    return connected(study, {**connection, **dict.fromkeys(doubtful[:most], line_id)})


def connections_of(
    study: Study, now: Connection, without_lines: Collection[str] = ()
) -> tuple[dict[str, str | None], ...]:
    """Return the connections that the next exposure may have: as it is now, then those of the fewest turns.

    At most ``MOST_CONNECTIONS``, in the order of the study's file among as many turns. A chip stays where a line
    of its valve is held (``without_lines``) or nobody knows where it is: that valve is not turned.
    """
    stays = dict(now)
    free = [
        chip
        for chip in study.valves
        if line_in(study, now, chip) is not None
        and not set(lines_that_may_feed(study, chip)) & set(without_lines)
    ]
    found: list[dict[str, str | None]] = [stays]
    for turns in range(1, len(free) + 1):
        for chips in itertools.combinations(free, turns):
            others = [
                [one for one in lines_that_may_feed(study, c) if one != line_in(study, now, c)]
                for c in chips
            ]
            for lines in itertools.product(*others):
                if len(found) == MOST_CONNECTIONS:
                    return tuple(found)
                one = without_home(study, {**stays, **dict(zip(chips, lines, strict=True))})
                if not empty_lines(study, one):
                    found.append(one)
    return tuple(found)


def without_home(study: Study, connection: Connection) -> dict[str, str | None]:
    """Return a connection without the chips that are at home."""
    return {c: line for c, line in connection.items() if line != home_of(study, c)}


def empty_lines(study: Study, connection: Connection) -> tuple[str, ...]:
    """Return the lines that a connection leaves without chips."""
    fed = {line_in(study, connection, chip) for chip in study.chip_ids}
    return tuple(line.id for line in home_lines(study) if line.id not in fed)


def turns_between(study: Study, before: Connection, after: Connection) -> dict[str, str]:
    """Return chip -> line of the valves that must turn from one connection to another."""
    return {
        chip: line
        for chip in study.valves
        if (line := line_in(study, after, chip)) is not None
        and line != line_in(study, before, chip)
    }


def words(study: Study, chips: Iterable[str], connection: Connection) -> str:
    """Return which line feeds chips in a connection, for people."""
    told = []
    for chip in chips:
        line = line_in(study, connection, chip)
        home = "" if line == home_of(study, chip) else f" in place of {home_of(study, chip)}"
        told.append(f"{chip} fed by {line}{home}" if line else f"{chip} by nobody knows which line")
    return ", ".join(told)


def dose_unit(study: Study, chip: str) -> str:
    """Return the name of what shares a deviation of its doses from what is noted: a line, or those that valves
    join.

    A chip that changes between lines has had doses of several; they are taken to deviate alike, as stocks that
    they share do.
    """
    own = home_of(study, chip)
    if not study.valves:
        return own
    joined = {own}
    pairs = [set(lines_that_may_feed(study, c)) for c in study.valves]
    while grown := {name for pair in pairs if pair & joined for name in pair} - joined:
        joined |= grown
    return "+".join(line.id for line in home_lines(study) if line.id in joined)
