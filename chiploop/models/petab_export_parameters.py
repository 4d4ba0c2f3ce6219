"""What a calibration estimates, as rows of a PEtab parameter table.

Belongs here: which parameters there are, their ids, scales, priors, bounds, and how they come from chiploop's
standard normals. Not here: what shares an effect (petab_export_tables), SBML (petab_export_sbml).

The population's parameters keep their natural values, so that a reader knows them; so do the donors' spreads and
the dose factors. Deviations and effects are standard normals. On its scale every parameter but a truncated normal
is mean + sd z, so that its prior there is the normal N(mean, sd).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from chiploop.errors import FileNotValid
from chiploop.inference.prior import Prior
from chiploop.inference.unknowns import Unknowns
from chiploop.models.tissue_model import PriorSpec

REACH_SD = 8.0
"""Bounds stand so many sd of the prior from its middle: what lies outside is 1e-15 of it."""


@dataclass(frozen=True)
class ExportedParameter:
    """One estimated parameter of a PEtab problem."""

    name: str
    title: str
    """What a person reads."""
    unit: str
    scale: str
    """"lin" or "log": that of PEtab."""
    mean: float
    sd: float
    """Of the normal prior on the scale, before any truncation."""
    column: int | None
    """Place in chiploop's vector of standard normals; None for an effect, which chiploop integrates out."""
    truncated: PriorSpec | None = None
    """Its prior, where that is a truncated normal."""
    role: str = ""
    """"population" or "spread" where the model's file has a place for its prior, else empty."""
    subject: str = ""
    """The parameter of the text that the role is about."""

    @property
    def nominal(self) -> float:
        """The prior's median, linear; without the last digit, in which exp(ln(60)) is not 60."""
        return float(f"{self.value(0.0):.15g}")

    def value(self, z: float) -> float:
        """Return the linear value of a standard normal."""
        if self.truncated is not None:
            return float(Prior.of([self.truncated]).parameters(np.array([z]))[0])
        on_scale = self.mean + self.sd * z
        return math.exp(on_scale) if self.scale == "log" else on_scale

    def log_slope(self, z: float) -> float:
        """Return ln of the derivative of the value, on its scale, by the standard normal."""
        if self.truncated is not None:
            return float(np.log(Prior.of([self.truncated]).mapped(np.array([z]))[1][0]))
        return math.log(self.sd)

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound, linear."""
        low, high = self.mean - REACH_SD * self.sd, self.mean + REACH_SD * self.sd
        if self.truncated is not None:
            low, high = max(low, self.truncated.low), min(high, self.truncated.high)
        return (math.exp(low), math.exp(high)) if self.scale == "log" else (low, high)

    @property
    def log_share(self) -> float:
        """ln of the part of the normal prior that lies between the bounds; 0 but for a truncated normal."""
        if self.truncated is None:
            return 0.0
        low, high = norm.cdf(Prior.bounds(self.truncated))
        return math.log(high - low)

    @property
    def prior(self) -> tuple[str, str]:
        """Type and parameters in PEtab's words."""
        kind = "normal" if self.truncated is not None else "parameterScaleNormal"
        return kind, f"{float(self.mean)!r};{float(self.sd)!r}"


class Names:
    """Ids for what has a name of its own: one each, none twice, none that the model has."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self.known: dict[str, str] = {}

    def of(self, text: str) -> str:
        """Return the id of a text: its letters, digits and _, with a number where it is taken."""
        if text not in self.known:
            wish = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in text)
            wish = f"_{wish}" if wish[:1].isdigit() else wish
            name, count = wish, 1
            while name in self.taken:
                count += 1
                name = f"{wish}_{count}"
            self.taken.add(name)
            self.known[text] = name
        return self.known[text]

    def population(self, name: str) -> str:
        """Return the id of the population's value of a parameter that differs between donors."""
        return self.of(f"{name}_population")

    def spread(self, name: str) -> str:
        """Return the id of how much a parameter differs between donors."""
        return self.of(f"{name}_spread")

    def deviation(self, name: str, donor: str | None = None) -> str:
        """Return the id of a donor's deviation, or of the one in the SBML that conditions set."""
        return self.of(f"{name}_deviation" + ("" if donor is None else f"_of_{donor}"))

    def value(self, name: str) -> str:
        """Return the id of the parameter that a quantity takes its value from."""
        return self.of(f"{name}_value")

    def collected(self, symbol: str, collector: int) -> str:
        """Return the id of a symbol's integral over a window."""
        return self.numbered(f"collected_{symbol}", collector)

    def at_start(self, symbol: str, collector: int) -> str:
        """Return the id of what a symbol was where a window began."""
        return self.numbered(f"{symbol}_at_window_start", collector)

    def numbered(self, text: str, collector: int) -> str:
        """Return the id of a text for one collector; the first bears no number."""
        return self.of(text if collector == 0 else f"{text} {collector + 1}")

    def dose_factor(self, line: str | None = None) -> str:
        """Return the id of a line's dose factor, or of the one in the SBML that conditions set."""
        return self.of("dose_factor" + ("" if line is None else f"_of_{line}"))


def exported_parameters(
    prior: Prior,
    unknowns: Unknowns,
    names: Names,
    own_id: Callable[[str], str],
    donors: Collection[str],
    dosed: Collection[str],
) -> tuple[ExportedParameter, ...]:
    """Return the parameters of a problem, effects apart.

    Parameters
    ----------
    own_id
        Of the SBML parameter that holds the population's value of an estimated parameter.
    donors
        Those with a readout.
    dosed
        Lines with a readout that were given any drug.

    Raises
    ------
    FileNotValid
        Where a truncated normal differs between donors: SBML has no normal distribution function.
    """
    found = []
    between = {spread.name: spread for spread in prior.donor_spreads}
    for j, spec in enumerate(prior.specs):
        is_lognormal = spec.kind == "lognormal"
        if spec.name in between and not is_lognormal:
            raise FileNotValid(
                f"{spec.name} differs between donors within bounds, which takes the normal distribution "
                "function, and SBML has none; allowed are parameters with a lognormal prior"
            )
        found.append(
            ExportedParameter(
                own_id(spec.name),
                spec.name,
                spec.unit,
                "log" if is_lognormal else "lin",
                math.log(spec.center) if is_lognormal else spec.center,
                spec.spread,
                j,
                None if is_lognormal else spec,
                "population",
                spec.name,
            )
        )
    for k, spread in enumerate(prior.donor_spreads):
        if spread.ln_sd > 0:
            name, title = names.spread(spread.name), f"sd of ln({spread.name}) between donors"
            column = unknowns.at_spreads.start + k
            mean = math.log(spread.sd)
            found.append(
                ExportedParameter(
                    name, title, "1", "log", mean, spread.ln_sd, column, None, "spread", spread.name
                )
            )
    for d, donor in enumerate(unknowns.donors):
        for k, spread in enumerate(prior.donor_spreads) if donor in donors else ():
            column = unknowns.at_deviations.start + d * unknowns.q + k
            name = names.deviation(spread.name, donor)
            title = f"deviation of {spread.name} of donor {donor}"
            found.append(ExportedParameter(name, title, "sd", "lin", 0.0, 1.0, column))
    for k, line in enumerate(unknowns.lines):
        if line in dosed:
            name, title = names.dose_factor(line), f"drug given over drug noted, line {line}"
            column = unknowns.at_doses.start + k
            found.append(ExportedParameter(name, title, "1", "log", 0.0, prior.dose_sd, column))
    return tuple(found)
