"""How the schedules of a study must fit into its exposures, and what its tubing can deliver.

Belongs here: one short rule per fact. Not here: the keys of a schedule (study_schedules), the other parts
(study_checks).

A schedule that does not fit an exposure is told of once: what its parts would be is not looked at then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chiploop.study_findings import Found, Rule
from chiploop.study_schedules import WHOLE, Schedule, least_part_h, schedule_parts

_SLACK_H = 1e-9


def _keys_stand_together(schedules: Any) -> Iterator[Found]:
    for name, one in schedules.items():
        yield from _key_trouble(name, one)


def _key_trouble(name: str, one: Schedule) -> Iterator[Found]:
    if one.times > 1 and one.every_h is None:
        yield Found(
            ("schedules", name, "times"),
            f"{one.times} pulses, and it is not said how often",
            'write for example "every: 16 h"',
        )
    if one.times > 1 and one.for_h is None:
        yield Found(
            ("schedules", name, "times"),
            f"{one.times} pulses, and it is not said how long each lasts",
            'write for example "for: 8 h"',
        )
    if one.times == 1 and one.every_h is not None:
        yield Found(
            ("schedules", name, "every"),
            f"every {one.every_h:g} h, and it is not said how many times",
            'write for example "times: 3"',
        )
    if one.for_h is not None and one.every_h is not None and one.times > 1:
        if one.every_h < one.for_h - _SLACK_H:
            yield Found(
                ("schedules", name, "every"),
                f"a pulse of {one.for_h:g} h every {one.every_h:g} h: they overlap",
            )
        elif one.every_h <= one.for_h + _SLACK_H:
            yield Found(
                ("schedules", name, "every"),
                f"pulses of {one.for_h:g} h every {one.every_h:g} h leave nothing between them; that is one dose",
                f'write "for: {one.times * one.for_h:g} h"',
            )


def _exposure_trouble(name: str, one: Schedule, exposure_h: float) -> Iterator[Found]:
    if one.from_h >= exposure_h - _SLACK_H:
        yield Found(
            ("schedules", name, "from"),
            f"drug from {one.from_h:g} h on; the exposure ends at {exposure_h:g} h",
        )
        return
    lasts_h = exposure_h - one.from_h if one.for_h is None else one.for_h
    end_h = one.from_h + (one.times - 1) * (one.every_h or 0.0) + lasts_h
    if end_h > exposure_h + _SLACK_H:
        what = "the last pulse" if one.times > 1 else "the drug"
        yield Found(
            ("schedules", name),
            f"{what} ends at {end_h:g} h; the exposure ends at {exposure_h:g} h",
        )


def _fits(name: str, one: Schedule, exposure_h: float) -> bool:
    """Return whether the parts of a schedule can be told."""
    return not [*_key_trouble(name, one), *_exposure_trouble(name, one, exposure_h)]


def _pulses_stay_in_the_exposure(schedules: Any, timeline: Any) -> Iterator[Found]:
    for name, one in schedules.items():
        if not [*_key_trouble(name, one)]:
            yield from _exposure_trouble(name, one, timeline.exposure_h)


def _whole_is_whole(schedules: Any, timeline: Any) -> Iterator[Found]:
    one = schedules.get(WHOLE)
    if one is not None and _fits(WHOLE, one, timeline.exposure_h):
        if len(schedule_parts(one, timeline.exposure_h)) > 1 or one.stimulus is not None:
            yield Found(
                ("schedules", WHOLE),
                f'"{WHOLE}" is the whole exposure in the usual stimulus; this one is not',
                "give it another name",
            )


def _parts_can_be_delivered(
    schedules: Any, timeline: Any, perfusion: Any, chip: Any, lines: Any
) -> Iterator[Found]:
    fewest = min((len(line.chips) for line in lines), default=0)
    if fewest:
        yield from parts_too_short(schedules, timeline, perfusion, chip, fewest)


def parts_too_short(
    schedules: Any, timeline: Any, perfusion: Any, chip: Any, fewest: int
) -> Iterator[Found]:
    """Yield the schedules with a part that a line of so few chips can not deliver before its end."""
    least_h = least_part_h(
        perfusion.flow_rate_ul_h, chip.channel_volume_ul, chip.dead_volume_ul, fewest
    )
    for name, one in schedules.items():
        if not _fits(name, one, timeline.exposure_h):
            continue
        parts = schedule_parts(one, timeline.exposure_h)
        short = [part for part in parts if part.end_h - part.start_h < least_h - _SLACK_H]
        if len(parts) > 1 and short:
            part = short[0]
            what = "with" if part.has_drug else "without"
            yield Found(
                ("schedules", name),
                f"{part.end_h - part.start_h:g} h {what} drug, from {part.start_h:g} h to {part.end_h:g} h, is "
                f"too short: it has come through the tubing and filled the channel after {least_h:.3g} h",
            )


def _schedules_differ(schedules: Mapping[str, Schedule], timeline: Any) -> Iterator[Found]:
    seen: dict[Any, str] = {}
    for name, one in schedules.items():
        if not _fits(name, one, timeline.exposure_h):
            continue
        parts = (
            one.arm,
            *(
                (round(part.start_h, 9), round(part.end_h, 9), part.has_drug)
                for part in schedule_parts(one, timeline.exposure_h)
            ),
        )
        if parts in seen:
            yield Found(
                ("schedules", name), f'it is the same as "{seen[parts]}"; one of them is enough'
            )
        seen.setdefault(parts, name)


SCHEDULE_RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("schedules",), _keys_stand_together),
    (("schedules", "timeline"), _pulses_stay_in_the_exposure),
    (("schedules", "timeline"), _whole_is_whole),
    (("schedules", "timeline", "perfusion", "chip", "lines"), _parts_can_be_delivered),
    (("schedules", "timeline"), _schedules_differ),
)
"""Parts that a rule needs -> the rule."""
