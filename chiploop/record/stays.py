"""What chips got that valves give from line to line, and what stood in the tubing when they came.

Belongs here: segments by line, in time order, to schedules with stays. Not here: what pumps delivered
(replay), how tubing delays it (models.inlet).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chiploop.connections import home_of
from chiploop.dosing import MAX_END_DEVIATION, ChipSchedule, ChipSegment, Stay
from chiploop.study import Study


def stayed(
    study: Study, found: Mapping[str, Sequence[tuple[str, ChipSegment]]]
) -> dict[str, ChipSchedule]:
    """Return chip -> schedule of (line, segment) of every chip; the first stay is at home from the beginning
    on.
    """
    of_line: dict[str, dict[float, ChipSegment]] = {}
    for own in found.values():
        for line, segment in own:
            of_line.setdefault(line, {})[segment.start_h] = segment
    moved = {line: [rows[at] for at in sorted(rows)] for line, rows in of_line.items()}
    return {chip: _schedule(study, chip, own, moved) for chip, own in found.items()}


def first_stay(study: Study, chip: str) -> tuple[Stay, ...]:
    """Return where a chip is from the beginning on: at home; nothing in a study without valves."""
    return (Stay(home_of(study, chip), 0.0),) if study.valves else ()


def _schedule(
    study: Study,
    chip: str,
    own: Sequence[tuple[str, ChipSegment]],
    moved: Mapping[str, Sequence[ChipSegment]],
) -> ChipSchedule:
    stays = list(first_stay(study, chip))
    segments: list[ChipSegment] = []
    for line, segment in sorted(own, key=lambda one: one[1].start_h):
        if line != stays[-1].line:
            if segments:
                segments[-1] = until(segments[-1], segment.start_h)
            stays.append(
                Stay(line, segment.start_h, tubing_of(study, moved[line], segment.start_h))
            )
        segments.append(segment)
    return ChipSchedule(chip, tuple(segments), tuple(stays))


def until(segment: ChipSegment, time_h: float) -> ChipSegment:
    """Return a segment that rounding ends a little after the chip was given to another line, as ended then.

    Its volume stays what was counted. One that ends later than rounding can is returned as it is.
    """
    lasts_h = segment.end_h - segment.start_h
    if not time_h < segment.end_h <= time_h + 2.0 * MAX_END_DEVIATION * lasts_h:
        return segment
    faster = lasts_h / (time_h - segment.start_h)
    return replace(segment, end_h=time_h, flow_rate_ul_h=segment.flow_rate_ul_h * faster)


def tubing_of(study: Study, moved: Sequence[ChipSegment], time_h: float) -> tuple[ChipSegment, ...]:
    """Return what a line moved last before a study time, as much as its tubing holds at least."""
    kept: list[ChipSegment] = []
    volume_ul = 0.0
    for segment in reversed([one for one in moved if one.start_h < time_h]):
        if volume_ul > study.chip.dead_volume_ul * 1.001:
            break
        segment = until(segment, time_h)
        kept.append(segment)
        hours = segment.end_h - segment.start_h
        volume_ul += segment.flow_rate_ul_h * (segment.line_chips or 1) * hours
    return tuple(reversed(kept))


def with_stay(
    study: Study, schedules: Mapping[str, ChipSchedule], chip: str, line: str, from_h: float
) -> ChipSchedule:
    """Return a chip's schedule as it goes on on another line, whose tubing the chips there know."""
    own = schedules[chip]
    if own.stays and own.stays[-1].line == line:
        return own
    there = [s for c, s in schedules.items() if s.stays and s.stays[-1].line == line and c != chip]
    tubing: tuple[ChipSegment, ...] = ()
    if there:
        last = there[0].stays[-1]
        since = [s for s in there[0].segments if s.start_h >= last.from_h]
        tubing = tubing_of(study, (*last.tubing, *since), from_h)
    segments = own.segments
    if segments:
        segments = (*segments[:-1], until(segments[-1], from_h))
    return replace(own, segments=segments, stays=(*own.stays, Stay(line, from_h, tubing)))
