"""Do the data contradict the model? A test with a known rate of false alarms, and what it points at.

Belongs here: the statistics, on plain arrays. Not here: in which ways a model may be wrong (misfit_directions),
how well each readout is predicted (predictive_checks), what is done about it.

In the prior's standard normals z, with standardised residuals r and their Jacobian J at the mode, let e = [r; z]
and A = [J; I]. If model, prior and scatter are right and the residuals close to linear in z, e at the mode is a
draw of N(0, M) with the projector M = I - A (A'A)^-1 A': nothing is estimated twice, so that the test is as sharp
as the data allow, where a posterior predictive p shrinks to the middle. A suspicion is a set of directions W, each
the shift of the residuals that one plausible size of a flaw would make. What no parameter takes up of it is M W.

Each family of suspicions gives one statistic: the likelihood ratio of flaws with independent N(0, 1) sizes,
    1/2 sum t^2 / (1 + g) - 1/2 sum ln(1 + g),   g: eigenvalues of W'M W, t: W'e along their vectors,
in which a direction that could not be seen anyway weighs nothing. Families share one false alarm rate: the
smallest of their p values, each divided by its family's weight, is compared with what it is in draws of N(0, M).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import chi2

THRESHOLD = 0.07
"""False alarms that the gate allows at one look: share of studies of a right model in which it fires. Measured by
benchmarks/misfit_gate.py. Whoever stops at the first alarm of four cycles is stopped more often and needs 0.03."""
DRAWS = 4000
"""Of N(0, M): the p value at the threshold is then known to 0.004."""
VISIBLE = 1.0
"""A flaw of plausible size that shifts e by fewer sd than this can not be told from none."""
REPORTED_P = 0.05
"""Suspicions with a larger p of their own are not put into words."""


@dataclass(frozen=True)
class Suspicion:
    """One way in which a model may be wrong."""

    family: str
    name: str
    """Plain, such as ``TEER lags`` or ``fixed constant ks``."""
    directions: np.ndarray
    """(m, k) shift of the standardised residuals by one plausible size of each of its flaws."""
    sentence: str
    """What it means if it is true; may hold ``{size}``, filled where there is one direction."""
    unit: str = ""
    plausible: float = 1.0
    """That size, in ``unit``."""


@dataclass(frozen=True)
class Finding:
    """What the data say of one suspicion."""

    name: str
    family: str
    p_value: float
    """Of its directions alone (chi-squared); 1 where they leave no trace that a parameter does not take up."""
    visible: float
    """How many sd of e a flaw of plausible size shifts in the direction that is seen best."""
    size: float
    """Of the flaw, in the suspicion's unit: posterior mean under N(0, plausible size); NaN for more than one."""
    size_sd: float
    sentence: str


@dataclass(frozen=True)
class MisfitVerdict:
    """Whether the data contradict the model."""

    fires: bool
    p_value: float
    """P(a contradiction as large in any family | the model is right)."""
    threshold: float
    """It fires at or below this p value."""
    family_p: Mapping[str, float]
    """Family -> its own p value."""
    findings: tuple[Finding, ...] = field(repr=False)
    """Every suspicion, smallest p first."""
    sentences: tuple[str, ...]
    """For a scientist."""

    @property
    def test_p(self) -> dict[str, float]:
        """Return suspicion -> its own p value, smallest first."""
        return {finding.name: finding.p_value for finding in self.findings}

    @property
    def blind(self) -> tuple[str, ...]:
        """Return the suspicions that these data could not confirm even if they were true."""
        return tuple(f.name for f in self.findings if f.visible < VISIBLE)


@dataclass(frozen=True)
class Unexplained:
    """What a fit leaves of data and prior."""

    e: np.ndarray
    """(m + p,) residuals and standard normals at the mode."""
    basis: np.ndarray
    """(m + p, p) orthonormal basis of what the parameters take up."""

    @classmethod
    def of(cls, residuals: np.ndarray, z: np.ndarray, jacobian: np.ndarray) -> Unexplained:
        """Return it from residuals (m,) and their Jacobian (m, p) at z (p,)."""
        if jacobian.shape != (residuals.size, z.size):
            raise ValueError(
                f"a Jacobian {jacobian.shape} does not fit {residuals.size} residuals "
                f"and {z.size} standard normals"
            )
        for name, values in (("residuals", residuals), ("z", z), ("Jacobian", jacobian)):
            if not np.isfinite(values).all():
                raise ValueError(f"{name} of the mode are not all finite")
        basis = np.linalg.qr(np.concatenate([jacobian, np.eye(z.size)]))[0]
        return cls(np.concatenate([residuals, z]), basis)

    def left(self, vectors: np.ndarray) -> np.ndarray:
        """Return M times vectors (m + p, k)."""
        return np.asarray(vectors - self.basis @ (self.basis.T @ vectors))


def misfit_verdict(
    residuals: np.ndarray,
    z: np.ndarray,
    jacobian: np.ndarray,
    suspicions: Sequence[Suspicion],
    rng: np.random.Generator,
    weights: Mapping[str, float] | None = None,
    threshold: float = THRESHOLD,
    draws: int = DRAWS,
) -> MisfitVerdict:
    """Return whether the data contradict the model, and which suspicions they support.

    Parameters
    ----------
    residuals : (m,)
        Standardised, at the mode.
    z : (p,)
        Everything that was estimated, as standard normals of the prior.
    jacobian : (m, p)
        Of the residuals by z.
    suspicions
        Their directions may be shorter than m: residuals of censored readouts come last and are not tested.
    weights
        Family -> share of the false alarms that it may use, relative to the others; 1 where absent.

    Raises
    ------
    ValueError
        Where shapes do not fit or a number is not finite.
    """
    rest = Unexplained.of(residuals, z, jacobian)
    if not suspicions:
        raise ValueError("a misfit gate without a suspicion would never fire")
    left = rest.left(np.column_stack([padded(s, rest) for s in suspicions]))
    gram, scores = left.T @ left, left.T @ rest.e
    place = places(suspicions)
    chance = np.column_stack([scores, normal_draws(gram, draws, rng)])
    family_p, scaled = {}, []
    for family in dict.fromkeys(s.family for s in suspicions):
        at = np.concatenate(
            [own for s, own in zip(suspicions, place, strict=True) if s.family == family]
        )
        p = rank_p(likelihood_ratio(gram[np.ix_(at, at)], chance[at]))
        family_p[family] = float(p[0])
        scaled.append(p / (weights or {}).get(family, 1.0))
    smallest = np.min(scaled, axis=0)
    p_value = float((smallest <= smallest[0]).mean())
    findings = sorted(
        (
            finding(s, gram[np.ix_(at, at)], scores[at])
            for s, at in zip(suspicions, place, strict=True)
        ),
        key=lambda f: f.p_value,
    )
    fires = p_value <= threshold
    return MisfitVerdict(
        fires,
        p_value,
        threshold,
        family_p,
        tuple(findings),
        in_words(fires, p_value, threshold, family_p, findings, weights or {}),
    )


def padded(suspicion: Suspicion, rest: Unexplained) -> np.ndarray:
    """Return its directions (m + p, k): a flaw shifts residuals, never the prior."""
    m, k = suspicion.directions.shape
    if m > rest.e.size - rest.basis.shape[1]:
        raise ValueError(
            f"{suspicion.name}: directions of {m} residuals, "
            f"there are {rest.e.size - rest.basis.shape[1]}"
        )
    if not np.isfinite(suspicion.directions).all():
        raise ValueError(f"{suspicion.name}: its directions are not all finite")
    return np.concatenate([suspicion.directions, np.zeros((rest.e.size - m, k))])


def places(suspicions: Sequence[Suspicion]) -> list[np.ndarray]:
    """Return where the directions of each stand among those of all."""
    ends = np.cumsum([s.directions.shape[1] for s in suspicions])
    return np.split(np.arange(ends[-1]), ends[:-1])


def normal_draws(gram: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return (k, n) draws of W'e under a right model: N(0, W'M W)."""
    values, vectors = np.linalg.eigh(gram)
    spread = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(spread @ rng.standard_normal((len(gram), n)))


def likelihood_ratio(gram: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the log likelihood ratio (n,) of flaws along W with W'M W (k, k) for scores W'e (k, n)."""
    values, vectors = np.linalg.eigh(gram)
    g = np.maximum(values, 0.0)[:, None]
    t = vectors.T @ scores
    return np.asarray((0.5 * t**2 / (1.0 + g) - 0.5 * np.log1p(g)).sum(axis=0))


def rank_p(statistic: np.ndarray) -> np.ndarray:
    """Return of each (n,) the share of all that are at least as large, itself among them."""
    order = np.sort(statistic)
    return np.asarray(1.0 - np.searchsorted(order, statistic, side="left") / statistic.size)


def finding(suspicion: Suspicion, gram: np.ndarray, scores: np.ndarray) -> Finding:
    """Return what the data say of one suspicion by itself, from its W'M W (k, k) and W'e (k,)."""
    g, vectors = np.linalg.eigh(gram)
    t = vectors.T @ scores
    most = float(g.max(initial=0.0))
    # directions that the parameters take up but for rounding say nothing
    seen = g > 1e-8 * max(most, 1e-4)
    squares = float((t[seen] ** 2 / g[seen]).sum())
    p_value = float(chi2.sf(squares, int(seen.sum()))) if seen.any() else 1.0
    size = size_sd = float("nan")
    if len(g) == 1:
        # e ~ N(size M W, M) and size ~ N(0, 1), in plausible sizes
        size = suspicion.plausible * float(scores[0]) / (1.0 + most)
        size_sd = suspicion.plausible / float(np.sqrt(1.0 + most))
    said = f"{size:+.2g} {suspicion.unit}".strip() + f" (sd {size_sd:.2g})"
    return Finding(
        suspicion.name,
        suspicion.family,
        p_value,
        float(np.sqrt(most)),
        size,
        size_sd,
        suspicion.sentence.replace("{size}", said),
    )


def in_words(
    fires: bool,
    p_value: float,
    threshold: float,
    family_p: Mapping[str, float],
    findings: Sequence[Finding],
    weights: Mapping[str, float],
) -> tuple[str, ...]:
    """Return the verdict for a scientist: first the whole, then what it rests on."""
    if not fires:
        return (
            f"Nothing in these data contradicts the model (p {p_value:.2g}). That does not show that it is right: "
            "a flaw that the estimated parameters can take up leaves no trace.",
        )
    found = [
        f"The data contradict the model (p {p_value:.2g}; a right model is accused in "
        f"{100 * threshold:.0f} of 100 studies): its intervals, and doses proposed from them, are in doubt."
    ]
    guilty = min(family_p, key=lambda family: family_p[family] / weights.get(family, 1.0))
    seen = [f for f in findings if f.p_value <= REPORTED_P and f.visible >= VISIBLE]
    named = [f for f in seen if f.family == guilty][:3]
    found += [f"{f.name} (p {f.p_value:.2g}): {f.sentence}" for f in named]
    if not named:
        found.append(f"Many small deviations together, none alone, in: {guilty}.")
    others = [f.name for f in seen if f.family != guilty and f.p_value <= REPORTED_P / 10][:3]
    if others:
        found.append(f"It may show as well in: {', '.join(others)}.")
    return tuple(found)
