"""How the valves of a study must fit its lines, and what its tubing needs before one turns.

Belongs here: one short rule per fact. Not here: ports and makes (lab.toml), which line feeds which chip in an
exposure (connections), the other parts (study_checks).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chiploop.study_findings import Found, Rule, unknown
from chiploop.study_schedule_checks import parts_too_short


def _valves_join_known_lines(valves: Mapping[str, Any], lines: Any) -> Iterator[Found]:
    home = {chip: line for line in lines for chip in line.chips}
    ids = {line.id: line for line in lines}
    for chip, further in valves.items():
        if chip not in home:
            yield from unknown(chip, home, ("valves", chip), "chip of a line")
            continue
        own = home[chip]
        for position, name in enumerate(further):
            place = ("valves", chip, position)
            if name not in ids:
                yield from unknown(name, ids, place, "line of the study")
            elif name == own.id:
                yield Found(place, f"{name} is the line of {chip} already; name the others")
            elif name in further[:position]:
                yield Found(place, f"{name} is here twice")
            elif ids[name].drug != own.drug:
                yield Found(
                    place,
                    f"{name} gives {ids[name].drug} and {own.id} {own.drug}: a chip gets one drug in a study",
                )


def fewest_chips(valves: Mapping[str, Any], lines: Any) -> dict[str, int]:
    """Return line -> the fewest chips that it may have to feed: one at least, since no line is left without."""
    return {line.id: max(1, sum(chip not in valves for chip in line.chips)) for line in lines}


def _tubing_is_rinsed(
    valves: Mapping[str, Any], lines: Any, timeline: Any, perfusion: Any, chip: Any
) -> Iterator[Found]:
    """What stood in a line's tubing and before a closed port is gone before a valve turns."""
    least = fewest_chips(valves, lines)
    home = {c: line.id for line in lines for c in line.chips}
    joined = {name for c, further in valves.items() for name in (home.get(c), *further)}
    for name in (line.id for line in lines if line.id in joined):
        given_ul = perfusion.flow_rate_ul_h * timeline.turnaround_h * least[name]
        if given_ul < chip.dead_volume_ul:
            yield Found(
                ("timeline", "turnaround"),
                f"with {least[name]} chip on it {name} gives {given_ul:g} uL until the next exposure; its tubing "
                f"holds {chip.dead_volume_ul:g} uL and must be rinsed before a valve turns",
                f"at least {chip.dead_volume_ul / perfusion.flow_rate_ul_h / least[name]:.3g} h",
            )
            return


def _parts_can_be_delivered_to_few(
    valves: Mapping[str, Any],
    schedules: Any,
    timeline: Any,
    perfusion: Any,
    chip: Any,
    lines: Any,
) -> Iterator[Found]:
    """A line that valves leave with fewer chips is slower: its tubing takes longer."""
    fewest = min(fewest_chips(valves, lines).values(), default=0)
    if valves and fewest < min(len(line.chips) for line in lines):
        yield from parts_too_short(schedules, timeline, perfusion, chip, fewest)


VALVE_RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("valves", "lines"), _valves_join_known_lines),
    (("valves", "lines", "timeline", "perfusion", "chip"), _tubing_is_rinsed),
    (
        ("valves", "schedules", "timeline", "perfusion", "chip", "lines"),
        _parts_can_be_delivered_to_few,
    ),
)
"""Parts that a rule needs -> the rule."""
