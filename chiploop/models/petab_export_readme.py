"""What a person must know of an exported PEtab folder.

Belongs here: words. Not here: numbers (petab_export).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chiploop.measurement import Readout
from chiploop.models.petab_export import ExportedProblem

COLUMNS = """## What the ids mean
- `segment_<k>_start_h`, `segment_<k>_<input>`: what a chip is given from that hour on, as it arrived there (behind
  the dead volume). A chip with fewer segments than others has the rest after its last readout.
- `segment_<k>_begins_window`: 1 where a collection window begins with the segment. Then `collected_<X>`, the
  integral of X, is set to 0, and `<X>_at_window_start` to X. The mean over a window is `collected_<X>` over its
  length.
- `<X>_population`, `<X>_spread`, `<X>_deviation_of_<donor>`: a donor's own X is
  population * exp(spread * deviation). The deviation is a standard normal.
- `<X>_value`: X of the model text, where a table can not set X by its own id.
- `dose_factor_of_<line>`: drug that a line gives over drug that was noted.
- `effect_<...>`: a standard normal; its loading times itself is part of a reading on the readout's scale: what the
  readings of a chip, a donor or a plate's standard curve share. The noise of a measurement is what it shares with
  no other.
- Values of SBML parameters that no condition sets are those of all chips.
"""
OBJECTIVE = """## The objective
The sum of PEtab's log-likelihood and of each prior's log density over its parameter on the parameter's scale (ln
for `log`) is chiploop's log posterior density of the same parameters, effects among them, up to a constant:

    chiploop = PEtab + {constant!r}

It is the sum of ln(measurement) over the `log` observables: PEtab takes the density of a value, chiploop that of
its logarithm. chiploop itself integrates the effects out: its posterior is the (Gaussian) integral of
exp(PEtab + constant) over them. Where a program takes a `parameterScaleNormal` prior as a density over the linear
value (`Prior.neglogprior` of the library `petab` 0.8 does, pyPESTO does not), its sum of priors has -ln(value) of
each `log` parameter more. Bounds stand 8 sd of the prior from its middle.
"""
TRUNCATED = """
{names}: the prior is a normal within the bounds. What the bounds cut off is a constant too:
a program that does not make up for it (pyPESTO) has {constant!r} less than the library
`petab`, which does. chiploop samples in standard normals z, over which the density of these parameters has another
form (times dx/dz): the distribution is the same, but the place of its maximum is not.
"""
WAYS_BACK = """## Back to chiploop
`chiploop petab evaluate problem.yaml` evaluates the problem. `chiploop petab import problem.yaml --out FOLDER`
makes the two files of the model from it again, by `model_notes.json` and `model_facts.yaml`, which nothing else
needs.
"""


def readme(problem: ExportedProblem) -> str:
    """Return the page that goes with the files."""
    told = notices(problem)
    lines = [
        f"# PEtab problem of a chiploop study, model {problem.model_name}",
        "",
        f"PEtab version 1; `problem.yaml` names the other files. Conditions: {len(problem.chips)}, one per chip.",
        f"Observables: {len(problem.observables)}. Measurements: {len(problem.measurements)}. "
        f"Estimated parameters: {len(problem.parameters)},",
        f"{len(problem.effects)} of them effects that readings share. Time is in hours since the study began;",
        "other units are those of the model text.",
        "",
        "## Left out",
        *(f"- {one}." for one in told or ["nothing: no readout is censored or failed"]),
        "",
        COLUMNS,
        OBJECTIVE.format(constant=problem.measurement_constant) + truncated(problem),
        WAYS_BACK,
    ]
    return "\n".join(lines)


def truncated(problem: ExportedProblem) -> str:
    """Return what is to be known of truncated normals; empty where there are none."""
    names = ", ".join(one.name for one in problem.parameters if one.truncated is not None)
    constant = problem.truncation_constant
    return TRUNCATED.format(names=names, constant=constant) if names else ""


def notices(problem: ExportedProblem) -> list[str]:
    """Return one line for each kind of readout that was left out."""
    told = []
    if problem.censored:
        told.append(
            f"{len(problem.censored)} censored readout(s) left out, see censored.tsv "
            f"({counted(problem.censored)}): PEtab version 1 has no censoring, so the objective is that of the "
            "others alone"
        )
    if problem.failed:
        told.append(
            f'{len(problem.failed)} readout(s) with qc "fail" left out, see failed.tsv '
            f"({counted(problem.failed)}): chiploop does not learn from them either"
        )
    return told


def counted(readouts: Sequence[Readout]) -> str:
    """Return how many of each kind."""
    return ", ".join(f"{n} {name}" for name, n in Counter(r.readout for r in readouts).items())
