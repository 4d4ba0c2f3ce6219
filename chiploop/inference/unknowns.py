"""Everything that a calibration estimates, as one vector of standard normals.

Belongs here: what stands where in the vector, and what each chip makes of it. Not here: shapes of priors (prior),
data (likelihood).

    z = [population's parameters | how much donors differ | donors' deviations | dose errors | effects]

Of several drugs the population's parameters are the model's with the first drug's own, then the other drugs'.

Each is N(0, 1) a priori. A chip's parameter j is map_j(z_j + s_j exp(l_j t_j) e_dj): the population's z_j, the
donors' spread with its own uncertainty t_j, its donor's deviation e_dj (non-centred, so that a donor without
data is a draw from the population). Its drug is exp(sd d_line) times what was noted. Effects belong to readouts of
chips and donors (``scatter``): those that must be sampled since a censored value hangs on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from chiploop.inference.prior import Prior


@dataclass(frozen=True)
class Unknowns:
    """What stands where in the vector of a calibration."""

    prior: Prior
    donors: tuple[str, ...]
    """In the order of their deviations."""
    donor_of: np.ndarray
    """(chips,) index of each chip's donor."""
    lines: tuple[str, ...]
    """Groups of chips that share a dose error; empty where doses are taken as noted."""
    line_of: np.ndarray
    """(chips,) index of each chip's line."""
    effects: tuple[str, ...] = ()
    """Names of sampled effects."""
    drug_of: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    """(chips,) index of each chip's drug among the prior's; empty where there is one drug."""

    @classmethod
    def of(
        cls,
        prior: Prior,
        chips: Sequence[str],
        donors: Mapping[str, str],
        lines: Mapping[str, str],
        effects: Sequence[str] = (),
        drugs: Mapping[str, str] | None = None,
    ) -> Unknowns:
        """Return the unknowns of these chips; ``donors`` and ``lines`` say whose and where each is.

        ``drugs``: chip -> its drug where the prior knows several; KeyError where one is missing, ValueError for
        one that the prior does not know.
        """
        known = prior.drugs.drugs
        donor_ids = tuple(sorted({donors[chip] for chip in chips}))
        line_ids = tuple(sorted({lines[chip] for chip in chips})) if prior.dose_sd > 0 else ()
        return cls(
            prior,
            donor_ids,
            np.array([donor_ids.index(donors[chip]) for chip in chips], dtype=int),
            line_ids,
            np.array([line_ids.index(lines[chip]) if line_ids else 0 for chip in chips], dtype=int),
            tuple(effects),
            np.array(
                [known.index((drugs or {})[chip]) for chip in chips] if known else [], dtype=int
            ),
        )

    @property
    def p(self) -> int:
        """Number of the population's parameters."""
        return len(self.prior.specs)

    @property
    def q(self) -> int:
        """Number of parameters that differ between donors."""
        return len(self.prior.donor_spreads)

    @property
    def dims(self) -> int:
        """Length of the vector."""
        return self.at_effects.stop

    @property
    def at_spreads(self) -> slice:
        """Place of the donors' spreads."""
        return slice(self.p, self.p + self.q)

    @property
    def at_deviations(self) -> slice:
        """Place of the donors' deviations, donor by donor."""
        start = self.p + self.q
        return slice(start, start + self.q * len(self.donors))

    @property
    def at_doses(self) -> slice:
        """Place of the dose errors."""
        start = self.at_deviations.stop
        return slice(start, start + len(self.lines))

    @property
    def at_effects(self) -> slice:
        """Place of the sampled effects."""
        start = self.at_doses.stop
        return slice(start, start + len(self.effects))

    @property
    def names(self) -> tuple[str, ...]:
        """A name of each entry of the vector."""
        varied = [spread.name for spread in self.prior.donor_spreads]
        return (
            *self.prior.names,
            *(f"spread of {name}" for name in varied),
            *(f"{name} of {donor}" for donor in self.donors for name in varied),
            *(f"dose of {line}" for line in self.lines),
            *self.effects,
        )

    @property
    def varied(self) -> np.ndarray:
        """(q,) index of each parameter that differs between donors."""
        names = self.prior.names
        return np.array([names.index(s.name) for s in self.prior.donor_spreads], dtype=int)

    @property
    def is_shared(self) -> bool:
        """Whether all chips have the same parameters."""
        return not self.q and not self.drug_of.size

    def spreads(self, z: np.ndarray) -> np.ndarray:
        """Return sd (n, q) of the donors' deviations, in units of the population's standard normals."""
        sd = np.array([s.sd for s in self.prior.donor_spreads])
        ln_sd = np.array([s.ln_sd for s in self.prior.donor_spreads])
        with np.errstate(over="ignore"):
            return np.asarray(self.units() * sd * np.exp(ln_sd * z[:, self.at_spreads]))

    def units(self) -> np.ndarray:
        """Return (q,): what turns a spread as stated into one of the population's standard normals."""
        return np.array([1.0 / self.prior.specs[j].spread for j in self.varied])

    def deviations(self, z: np.ndarray) -> np.ndarray:
        """Return the donors' deviations (n, donors, q), standard normals."""
        return z[:, self.at_deviations].reshape(len(z), len(self.donors), self.q)

    def donor_standard(self, z: np.ndarray) -> np.ndarray:
        """Return the donors' parameters (n, donors, p) as standard normals of the population's prior."""
        own = np.repeat(z[:, None, : self.p], len(self.donors), axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            own[:, :, self.varied] += self.spreads(z)[:, None] * self.deviations(z)
        return own

    def chip_parameters(self, z: np.ndarray) -> np.ndarray:
        """Return parameters (n, p) where all chips share them, otherwise (n, chips, p)."""
        if self.is_shared:
            return self.prior.parameters(z[:, : self.p])
        of_donors = self.prior.parameters(self.donor_standard(z))
        return self.own(of_donors[:, self.donor_of], np.arange(len(self.donor_of)))

    @property
    def per_chip(self) -> int:
        """Number of parameters that one chip has."""
        return self.prior.per_chip

    def own(self, values: np.ndarray, chip: np.ndarray) -> np.ndarray:
        """Return the values (n, m, per_chip) that chips (m,) have of values (n, m, p) of all entries."""
        if not self.drug_of.size:
            return values
        places = self.prior.drugs.places[self.drug_of[chip]]
        return np.take_along_axis(values, places[None], axis=2)

    def at_entries(self, by_own: np.ndarray, chip: np.ndarray) -> np.ndarray:
        """Return derivatives (n, m, p) by all entries from those (n, m, per_chip) by the chips' (m,) own."""
        if not self.drug_of.size:
            return by_own
        result = np.zeros((*by_own.shape[:2], self.p))
        places = self.prior.drugs.places[self.drug_of[chip]]
        np.put_along_axis(result, np.broadcast_to(places[None], by_own.shape), by_own, axis=2)
        return result

    def drug_factors(self, z: np.ndarray) -> np.ndarray | None:
        """Return the factor (n, chips) of each chip's drug; None where doses are taken as noted."""
        if not self.lines:
            return None
        return np.asarray(np.exp(self.prior.dose_sd * z[:, self.at_doses])[:, self.line_of])

    def chained(self, z: np.ndarray, slopes: np.ndarray, chip: np.ndarray) -> np.ndarray:
        """Return derivatives (n, m, dims) by z of m quantities, without the effects' own.

        ``slopes`` (n, m, per_chip) are those by the parameters of the quantity's own ``chip`` (m,), with the
        drug's factor (n, m, per_chip + 1) where there are dose errors.
        """
        n, m = slopes.shape[:2]
        result = np.zeros((n, m, self.dims))
        donor = self.donor_of[chip]
        _, dx = self.prior.mapped(self.donor_standard(z))
        by_own = self.at_entries(slopes[..., : self.per_chip], chip) * dx[:, donor]
        result[..., : self.p] = by_own
        if self.q:
            by_own = by_own[..., self.varied]
            spread, deviation = self.spreads(z), self.deviations(z)
            ln_sd = np.array([s.ln_sd for s in self.prior.donor_spreads])
            result[..., self.at_spreads] = by_own * (spread * ln_sd)[:, None] * deviation[:, donor]
            own = by_own * spread[:, None]
            for d in range(len(self.donors)):
                start = self.at_deviations.start + d * self.q
                result[..., start : start + self.q] = own * (donor == d)[:, None]
        factors = self.drug_factors(z)
        if factors is not None:
            by_dose = slopes[..., -1] * factors[:, chip] * self.prior.dose_sd
            result[..., self.at_doses] = by_dose[..., None] * (
                self.line_of[chip][:, None] == np.arange(len(self.lines))
            )
        return result
