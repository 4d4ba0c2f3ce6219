"""What a sampler found within its time, and chains that run at once, each on a core of its own.

Belongs here: draws with the time at which they were there, processes. Not here: samplers (recalibration_peers,
recalibration_pypesto).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chiploop.inference.chains import bulk_ess

CHAINS = 2


class PeerFailed(Exception):
    """A peer is installed, but does not run."""


@dataclass(frozen=True)
class Chains:
    """What a sampler found within its time."""

    name: str
    draws: np.ndarray
    """(chains, steps, p) standard normals, all that the sampler kept."""
    burn_in: float
    """Share of the steps that is not yet of the posterior."""
    marks: tuple[tuple[float, int], ...]
    """(seconds from the first step, steps kept until then), ascending; tuning counts as time."""
    cpu_s: float

    @property
    def kept(self) -> np.ndarray:
        """Return the draws (chains, steps, p) after burn-in."""
        return self.after(self.draws.shape[1])

    @property
    def wall_s(self) -> float:
        """Return how long it ran."""
        return self.marks[-1][0]

    @property
    def burn_in_s(self) -> float:
        """Return how much of that came before the first draw that counts."""
        first = int(self.burn_in * self.draws.shape[1])
        return next(wall for wall, steps in self.marks if steps > first)

    def after(self, steps: int) -> np.ndarray:
        """Return what it would have given, had it ended after some steps."""
        return self.draws[:, int(self.burn_in * steps) : steps]

    def growth(self, points: int = 8) -> list[tuple[float, float]]:
        """Return (seconds, effective sample size of the worst parameter) at several moments."""
        found = []
        for part in np.linspace(1.0 / points, 1.0, points):
            wall, steps = next(mark for mark in self.marks if mark[0] >= part * self.wall_s - 1e-9)
            if steps >= 20:
                found.append((wall, float(bulk_ess(self.after(steps)).min())))
        return found


Found = tuple[np.ndarray, list[tuple[float, int]], float]
"""Draws (steps, p), marks, processor time of one chain."""


def together(name: str, chain: Callable[[int], Found], burn_in: float) -> Chains:
    """Return chains that ran at once, each in a process and on a core of its own."""
    context = multiprocessing.get_context("fork")
    before = os.environ.get("CHIPLOOP_THREADS")
    os.environ["CHIPLOOP_THREADS"] = "1"
    try:
        running = []
        for which in range(CHAINS):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=sent, args=(theirs, chain, which))
            process.start()
            theirs.close()
            running.append((process, ours))
        found: list[Found] = []
        for process, ours in running:
            try:
                found.append(ours.recv())
            except EOFError:
                raise PeerFailed(f"{name}: a chain ended with an error, see above") from None
            process.join()
    finally:
        if before is None:
            del os.environ["CHIPLOOP_THREADS"]
        else:
            os.environ["CHIPLOOP_THREADS"] = before
    steps = min(len(draws) for draws, _, _ in found)
    slowest = max((marks for _, marks, _ in found), key=lambda marks: marks[-1][0])
    return Chains(
        name,
        np.stack([draws[:steps] for draws, _, _ in found]),
        burn_in,
        tuple((wall, min(at, steps)) for wall, at in slowest),
        sum(cpu for _, _, cpu in found),
    )


def sent(pipe: Any, chain: Callable[[int], Found], which: int) -> None:
    """Run a chain and send what it found."""
    pipe.send(chain(which))
    pipe.close()
