"""The misfit gate of a calibration at its mode.

Belongs here: what the gate needs of a likelihood and its model. Not here: the test (misfit), the suspicions
(misfit_directions).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import block_diag

from chiploop.errors import FitNotAccepted
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.misfit import MisfitVerdict, misfit_verdict
from chiploop.inference.misfit_directions import FAMILY_WEIGHTS, ResidualRows, suspicions
from chiploop.inference.search import Mode
from chiploop.inference.target import Target
from chiploop.models.batch import MAX_STEPS, Schedule
from chiploop.models.tissue_model import NUDGE, TissueModel, within_inlets

EARLIER_H = 1.0
"""Over which a prediction's slope in time is taken."""


def misfit_of(target: Target, mode: Mode, rng: np.random.Generator) -> MisfitVerdict:
    """Return whether the data of a calibration contradict its model.

    Raises FitNotAccepted where the model can not be simulated beside the mode.
    """
    likelihood, model = target.likelihood, target.likelihood.model
    estimated = model.estimated_names
    fixed = fixed_constants(model)
    predicted, effects = effects_at(target, mode.z, (*estimated, *fixed))
    rows = residual_rows(target, mode.z, predicted)
    order = likelihood.row_of[: likelihood.n_exact]
    by_name = {name: effects[order, j] for j, name in enumerate((*estimated, *fixed))}
    asked = suspicions(
        rows,
        by_entry(target, {name: by_name[name] for name in estimated}),
        {name: by_name[name] for name in fixed},
    )
    return misfit_verdict(mode.residuals, mode.z, mode.jacobian, asked, rng, FAMILY_WEIGHTS)


def by_entry(target: Target, by_parameter: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return entry -> derivative (m,) of the predictions by ln(value), from those by the model's parameters.

    A drug's own parameter moves the readouts of its own chips alone.
    """
    unknowns, likelihood = target.unknowns, target.likelihood
    entries = unknowns.prior.drugs
    if not entries.drugs:
        return by_parameter
    chip = likelihood.rows.chip[likelihood.row_of[: likelihood.n_exact]]
    names = likelihood.model.estimated_names
    own = entries.places[unknowns.drug_of[chip]][:, entries.parameter]
    return {
        name: np.where(own[:, entry] == entry, by_parameter[names[entries.parameter[entry]]], 0.0)
        for entry, name in enumerate(entries.names)
    }


def fixed_constants(model: TissueModel) -> tuple[str, ...]:
    """Return the constants that the model holds fixed, without a donor's own and those that are 0."""
    compiled = model.compiled
    known = {*model.estimated_names, model.constant_names.get("flg_dose", "")}
    return tuple(n for n in compiled.parameters if n not in known and compiled.defaults[n] != 0.0)


def residual_rows(target: Target, z: np.ndarray, predicted: np.ndarray) -> ResidualRows:
    """Return the uncensored readouts with the predictions (m,) of every readout on the residual's scale."""
    likelihood = target.likelihood
    order = likelihood.row_of[: likelihood.n_exact]
    used = [likelihood.used[i] for i in order]
    earlier, back_h = predicted_earlier(target, z)
    slope = np.where(back_h > 0.0, (predicted - earlier) / np.maximum(back_h, 1e-12), 0.0)
    scatter = likelihood.scatter
    own = [
        np.hypot(
            np.hypot(r.sd, scatter.reading.get(r.readout, 0.0)), scatter.chip.get(r.readout, 0.0)
        )
        for r in used
    ]
    return ResidualRows(
        readout=[r.readout for r in used],
        donor=[likelihood.donors[r.chip_id] for r in used],
        time_h=np.array([r.time_h for r in used]),
        dose_nm=np.array([dose_at(likelihood, r.chip_id, r.time_h) for r in used]),
        predicted=predicted[order],
        slope_per_h=slope[order],
        sd=np.array(own),
        factor=block_diag(*(block.factor for block in likelihood.blocks)),
    )


def dose_at(likelihood: Likelihood, chip: str, time_h: float) -> float:
    """Return the drug (nM) that reached a chip just before a time."""
    inlet = likelihood.inlets[likelihood.chips.index(chip)]
    before = int(np.searchsorted(inlet.edges_h, time_h - 1e-6)) - 1
    return float(inlet.inputs[max(before, 0), 1])


def predicted_earlier(target: Target, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions (m,) had every sampling been an hour earlier, and by how much it was (m,).

    Windows move as a whole; what would begin before the study moves less.
    """
    likelihood, unknowns = target.likelihood, target.unknowns
    times, starts = likelihood.times_h, likelihood.window_starts_h
    begin = max(inlet.edges_h[0] for inlet in likelihood.inlets)
    back = np.clip(np.where(np.isnan(starts), times, starts) - begin, 0.0, EARLIER_H)
    readouts = likelihood.model.simulate(
        unknowns.chip_parameters(z[None]),
        likelihood.inlets,
        times - back,
        starts - back,
        drug_factors=unknowns.drug_factors(z[None]),
    ).readouts
    rows = likelihood.rows
    found = likelihood.plain_means(readouts[:, rows.chip, rows.time, rows.readout])
    return found[0], back[rows.time]


def effects_at(
    target: Target, z: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions (m,) on the residual's scale and their derivatives (m, names) by ln(value).

    ``names`` are any constants of the model's text, estimated or fixed. Lanes share their steps, as for the
    sensitivities of a fit. Where the moment of a switch hangs on a constant its derivative is left at 0.
    """
    likelihood, unknowns, model = target.likelihood, target.unknowns, target.likelihood.model
    compiled, chips = model.compiled, len(likelihood.inlets)
    groups = max(1, -(-len(names) // (compiled.width - 1)))
    own = unknowns.chip_parameters(z[None])
    own = np.broadcast_to(own[:, None] if own.ndim == 2 else own, (1, chips, own.shape[-1]))
    lanes = np.repeat(model.rows(own), groups * compiled.width, axis=0)
    schedules = []
    for c, inlet in enumerate(likelihood.inlets):
        constants = {model.constant_names[key]: v for key, v in inlet.constants.items()}
        for name in [name for name in constants if name in names]:
            # among the rows' own values, where it can be moved
            lanes[:, c, compiled.parameters.index(name)] = constants.pop(name)
        schedules.append(Schedule(inlet.edges_h, inlet.inputs, constants))
    steps = np.zeros(len(names))
    place = [
        j // (compiled.width - 1) * compiled.width + 1 + j % (compiled.width - 1)
        for j in range(len(names))
    ]
    for j, name in enumerate(names):
        at = compiled.parameters.index(name)
        before = lanes[place[j], :, at].copy()
        lanes[place[j], :, at] = before * (1.0 + NUDGE)
        if moves_a_switch(model, lanes[[0, place[j]]]):
            lanes[place[j], :, at] = before
            continue
        steps[j] = np.log1p(NUDGE)
    times, starts = likelihood.times_h, likelihood.window_starts_h
    grid = np.unique(np.concatenate([times, starts[np.isfinite(starts)]]) + 0.0)
    factors = unknowns.drug_factors(z[None])
    result = compiled.run(
        lanes,
        schedules,
        within_inlets(grid, likelihood.inlets),
        rtol=model.rtol,
        max_steps=MAX_STEPS,
        input_factors=None
        if factors is None
        else model.factors(np.repeat(factors, len(lanes), axis=0)),
        is_steered=True,
    )
    rows = likelihood.rows
    readouts, _ = model.readings(result.observed, grid, times, starts)
    means = likelihood.plain_means(readouts[:, rows.chip, rows.time, rows.readout])
    if not np.isfinite(means).all():
        raise FitNotAccepted(f"model {model.name} can not be simulated beside the mode")
    change = (means[place] - means[0]).T
    return means[0], np.where(steps > 0.0, change / np.where(steps > 0.0, steps, 1.0), 0.0)


def moves_a_switch(model: TissueModel, pair: np.ndarray) -> bool:
    """Return whether an event or switch comes at another moment in the second of two rows (2, chips, all)."""
    if not (model.compiled.events or model.compiled.n_breakpoints):
        return False
    before, after = (model.compiled.moments(np.ascontiguousarray(rows)) for rows in pair)
    return bool((before != after).any())
