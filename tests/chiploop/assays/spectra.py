"""Spectra of known circuits for the tests of impedance, written here apart from the code under test."""

from __future__ import annotations

import cmath
import math

import numpy as np

from chiploop.measurement import ImpedanceSpectrum


def coth(x: complex) -> complex:
    return cmath.cosh(x) / cmath.sinh(x) if abs(x) < 300 else 1.0 + 0j


def point(hz: float, r: float, rs: float, q: float, alpha: float, k: float = 0.0) -> complex:
    """Return Z of one frequency; with k that of two facing channels, r lambda coth(L / lambda)."""
    barrier = 1.0 / (1.0 / r + q * (2j * math.pi * hz) ** alpha)
    if k == 0.0:
        return rs + barrier
    per_length = k  # L = 1: r L = k, z L = barrier
    lam = cmath.sqrt(barrier / per_length)
    return rs + per_length * lam * coth(1.0 / lam)


def a_spectrum(
    r: float = 3000.0,
    rs: float = 200.0,
    q: float = 2e-6,
    alpha: float = 0.9,
    k: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
    hz: np.ndarray | None = None,
    drift: float = 0.0,
) -> ImpedanceSpectrum:
    """Return a spectrum whose R rises by ``drift`` from first to last point, with noise on both parts."""
    hz = np.logspace(5, 0, 31) if hz is None else hz
    moment = np.linspace(0.0, 1.0, hz.size)
    z = np.array(
        [point(f, r * (1.0 + drift * s), rs, q, alpha, k) for f, s in zip(hz, moment, strict=True)]
    )
    rng = np.random.default_rng(seed)
    error = rng.normal(size=hz.size) + 1j * rng.normal(size=hz.size)
    return ImpedanceSpectrum("C01", 0.0, hz, z + noise * np.abs(z) * error)
