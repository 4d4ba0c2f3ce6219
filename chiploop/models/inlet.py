"""What reaches a chip: pumped segments, delayed by the line's dead volume, as the model's inputs.

Belongs here: plug flow through tubing, units of the inputs. Not here: pumps, models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from chiploop.dosing import ChipSchedule, ChipSegment
from chiploop.models.facts import ModelFacts
from chiploop.study import Drug, Study

FLG_DOSE = {"wild_type": 1.0, "heterozygous": 0.5, "null": 0.1}


@dataclass(frozen=True)
class ChipInlet:
    """Inputs of one chip, constant within each segment."""

    chip_id: str
    edges_h: np.ndarray
    """(k+1,) boundaries of the segments, ascending; the first is where the simulation begins."""
    inputs: np.ndarray
    """(k, 2 + stimuli): flow rate in uL/h, drug in nM, the model's stimuli in nM in its file's order."""
    constants: Mapping[str, float]
    """Names of the model's file (``flg_dose``, ``area_cm2`` ...) -> value."""


def delayed(
    segments: Sequence[ChipSegment],
    facts: ModelFacts,
    dead_volume_ul: float,
    from_h: float,
    until_h: float = -np.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """Return edges (k+1,) and inputs (k, 2 + stimuli) at the chip, from ``from_h`` to the last segment's end.

    Where that ends before ``until_h`` nothing flows until then.

    Flow is felt at once; composition arrives after ``dead_volume_ul`` more has been pumped (plug flow): per
    chip, or by the whole line where segments say how many chips shared its flow.
    What stood in the tubing at the start carries no drug and no cytokine. Gaps have zero flow.
    """
    plain = (0.0,) * (1 + len(facts.stimuli))
    rows: list[tuple[float, float, float, tuple[float, ...]]] = []
    shares: list[int] = []
    clock = min([from_h, *(segment.start_h for segment in segments[:1])])
    for segment in segments:
        if segment.start_h > clock + 1e-9:
            rows.append((clock, segment.start_h, 0.0, plain))
            shares.append(1)
        composition = (segment.drug_nm, *facts.stimuli_nm(segment.stimulus_ng_ml))
        rows.append((segment.start_h, segment.end_h, segment.flow_rate_ul_h, composition))
        shares.append(segment.line_chips or 1)
        clock = segment.end_h
    if until_h > clock + 1e-9:
        rows.append((clock, until_h, 0.0, plain))
        shares.append(1)
    moved = [
        flow * share * (end - start)
        for (start, end, flow, _), share in zip(rows, shares, strict=True)
    ]
    pumped = np.cumsum([0.0, *moved])
    compositions = [plain] + [composition for *_, composition in rows]
    arrival = [-np.inf, *(pumped[:-1] + dead_volume_ul)]  # pumped volume at which each one arrives
    edges: list[float] = []
    inputs: list[tuple[float, ...]] = []
    for k, (start, end, flow, _) in enumerate(rows):
        cuts = [start, end]
        if flow > 0:
            cuts += [
                start + (volume - pumped[k]) / (flow * shares[k])
                for volume in arrival[1:]
                if pumped[k] < volume < pumped[k + 1]
            ]
        cuts = sorted(cuts)
        for a, b in zip(cuts[:-1], cuts[1:], strict=True):
            if b <= from_h or b - a < 1e-9:
                continue
            middle = pumped[k] + flow * shares[k] * (0.5 * (a + b) - start)
            index = int(np.searchsorted(arrival, middle, side="right")) - 1
            here = (flow, *compositions[index])
            begin = max(a, from_h)
            if inputs and np.allclose(inputs[-1], here, rtol=1e-12, atol=0.0):
                edges[-1] = b
                continue
            if not edges:
                edges.append(begin)
            edges.append(b)
            inputs.append(here)
    return np.array(edges), np.array(inputs).reshape(-1, 1 + len(plain))


def chip_inlet(
    study: Study, schedule: ChipSchedule, from_h: float = 0.0, until_h: float = -np.inf
) -> ChipInlet:
    """Return the inlet of one chip from what its line really delivered."""
    line = study.line_of(schedule.chip_id)
    if schedule.stays:
        edges, inputs = through_lines(study, schedule, from_h, until_h)
    else:
        dead_volume_ul = study.chip.dead_volume_ul / len(line.chips)
        edges, inputs = delayed(schedule.segments, study.tissue, dead_volume_ul, from_h, until_h)
    flg, drug = study.donor_of(schedule.chip_id).flg, study.drug_of(line.id)
    constants = chip_constants(study, study.tissue, flg, drug)
    return ChipInlet(schedule.chip_id, edges, inputs, constants)


def through_lines(
    study: Study, schedule: ChipSchedule, from_h: float, until_h: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return edges and inputs, as ``delayed``, of a chip that valves have given from line to line.

    The tubing is each line's own: a chip that comes to a line is reached first by what stands there.
    """
    edges, inputs = np.array([from_h]), np.zeros((0, 2 + len(study.tissue.stimuli)))
    for stay, following in zip_longest(schedule.stays, schedule.stays[1:]):
        begin = from_h if stay is schedule.stays[0] else max(from_h, stay.from_h)
        end = until_h if following is None else following.from_h
        own = [
            segment
            for segment in schedule.segments
            if segment.start_h >= stay.from_h and (following is None or segment.start_h < end)
        ]
        if (following is not None and end <= from_h) or not (own or end > begin):
            continue
        rows = (*stay.tubing, *own)
        part, felt = delayed(rows, study.tissue, study.chip.dead_volume_ul, begin, end)
        edges, inputs = np.concatenate([edges[:-1], part]), np.concatenate([inputs, felt])
    return edges, inputs


def chip_constants(
    study: Study, facts: ModelFacts, flg: str, drug: Drug | None = None
) -> dict[str, float]:
    """Return the constants that chip, drug and a donor's genotype set in a model, by its file's names.

    What the drug's file states goes before the chip's: a drug may partition into the wall in its own way.
    None for the only drug of the study; ValueError where it has several.
    """
    if drug is None and study.further_drugs:
        raise ValueError(f"{study.name} has {', '.join(study.drugs)}; say which one a chip gets")
    chip, drug = study.chip, drug or study.drug
    known = {
        "flg_dose": FLG_DOSE[flg],
        "channel_volume_ul": chip.channel_volume_ul,
        "tissue_volume_ul": chip.tissue_volume_ul,
        "area_cm2": chip.area_cm2,
        "permeability_drug_ul_h": chip.exchange_small_ul_h,
        "permeability_ligand_ul_h": chip.exchange_ligand_ul_h,
        "wall_volume_ul": chip.wall_volume_ul,
        "permeability_wall_ul_h": chip.wall_exchange_ul_h,
        "wall_partition": chip.wall_partition,
        "free_fraction": drug.free_fraction_medium,
        **drug.constants,
    }
    return {name: value for name, value in known.items() if name in facts.constants}
