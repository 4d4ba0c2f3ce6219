"""One climb towards a maximum of a log-likelihood: its damping, what it learns of the curvature, when it ends.

Belongs here: the next step of one climb, and what a step taught. Not here: many climbs side by side, and points
(fisher_scoring), the best step within bounds (box_step).

The Fisher information tells how a log-likelihood bends down where the model can fit the data. Where it can not,
it errs, by a factor of 30 in one direction of a published problem (Boehm_JProteomeRes2014), and a climb creeps.
So each climb also learns from its gradients what the information leaves out (the secant part of NL2SOL; Dennis,
Gay and Welsch 1981), and uses that where it would have told the last step better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiploop.inference.box_step import box_step

CONVERGED = "nothing left to gain"
STUCK = "no step gains anything"
TOO_LONG = "as many steps as allowed"
NO_SLOPE = "no derivatives"


@dataclass(frozen=True)
class Rules:
    """When a climb is over, and how far it may go at once. A damping d takes d/2 off the gain of a step of 1."""

    gain: float = 1e-13
    """A climb ends where the quadratic model promises no more than this, with the least damping."""
    noise: float = 1e-4
    """Where no step gains anything, the promise up to which that is the accuracy of the simulation."""
    iterations: int = 300
    longest_step: float = 2.0
    """Of one parameter."""
    first_damping: float = 1.0
    least_damping: float = 1e-6
    most_damping: float = 1e8
    learns: bool = True
    """Whether gradients along the way may correct the curvature."""


@dataclass(frozen=True)
class View:
    """What is known of the log-likelihood at a point of p parameters."""

    gradient: np.ndarray
    """(p,)"""
    curvature: np.ndarray
    """(p, p) how far it bends down, positive; known without second derivatives."""


class Climber:
    """One climb on its way."""

    def __init__(self, rules: Rules, p: int) -> None:
        self.rules = rules
        self.damping, self.growth = rules.first_damping, 2.0
        self.was_refused = False
        self.iterations = 0
        self.reason = ""
        """Why it ended; empty while it goes on."""
        self.step = np.zeros(p)
        """The one that is tried next."""
        self.promised = 0.0
        self.secant = np.zeros((p, p))
        """Curvature that gradients along the way told of, beyond that of the views."""
        self.is_augmented = False

    def choose(self, view: View, lower: np.ndarray, upper: np.ndarray) -> None:
        """Choose the next step within bounds of the step, or say why there is none."""
        rules = self.rules
        low = np.maximum(lower, -rules.longest_step)
        high = np.minimum(upper, rules.longest_step)
        bent = self.bent(view.curvature)

        def promise(damping: float) -> float:
            damped = bent + damping * np.eye(len(low))
            self.step = box_step(view.gradient, damped, low, high)
            return float(view.gradient @ self.step - 0.5 * self.step @ bent @ self.step)

        self.promised = promise(self.damping)
        while self.promised <= rules.gain and self.damping > rules.least_damping:
            if self.was_refused or self.damping > rules.most_damping:
                left = promise(rules.least_damping)
                self.reason = CONVERGED if left <= rules.noise else STUCK
                return
            self.damping = max(rules.least_damping, self.damping / 100.0)
            self.promised = promise(self.damping)
        if self.promised <= rules.gain:
            self.reason = CONVERGED
        elif self.damping > rules.most_damping:
            self.reason = STUCK
        elif self.iterations >= rules.iterations:
            self.reason = TOO_LONG

    def bent(self, curvature: np.ndarray) -> np.ndarray:
        """Return the positive curvature that the next step counts with."""
        if not self.is_augmented:
            return curvature
        values, directions = np.linalg.eigh(curvature + self.secant)
        if values[0] > 0.0:
            return curvature + self.secant
        return (directions * np.abs(values)) @ directions.T

    def refuse(self) -> None:
        """Take in that the step gained nothing."""
        self.iterations += 1
        self.was_refused = True
        self.damping *= self.growth
        self.growth *= 2.0

    def take(self, gained: float, step: np.ndarray, before: View, after: View) -> None:
        """Take in what a step gained and saw."""
        self.iterations += 1
        self.was_refused = False
        ratio = min(gained / self.promised, 1.0)  # damping after Nielsen 1999
        self.damping *= max(0.1, 1.0 - (2.0 * ratio - 1.0) ** 3)
        self.damping = max(self.rules.least_damping, self.damping)
        self.growth = 2.0
        if not self.rules.learns:
            return
        plain = float(before.gradient @ step - 0.5 * step @ before.curvature @ step)
        size = float(step @ self.secant @ step)
        self.is_augmented = abs(plain - 0.5 * size - gained) < abs(plain - gained)
        bend = before.gradient - after.gradient
        along = float(bend @ step)
        if along <= 1e-12 * np.linalg.norm(bend) * np.linalg.norm(step):
            return
        beyond = bend - after.curvature @ step
        if size != 0.0:
            self.secant = self.secant * min(1.0, abs(float(step @ beyond) / size))
        miss = beyond - self.secant @ step
        self.secant = (
            self.secant
            + (np.outer(miss, bend) + np.outer(bend, miss)) / along
            - float(miss @ step) / along**2 * np.outer(bend, bend)
        )
