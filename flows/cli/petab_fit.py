"""``chiploop petab fit``: the parameters of a PEtab problem with the highest likelihood, and how far they may go.

Belongs here: options, how a fit is shown, its files. Not here: how it is made (chiploop.inference.petab_fit,
petab_profiles), figures (chiploop.report.petab_figures).
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.inference.petab_profiles import Profile
    from chiploop.inference.petab_result import PetabFit

PARAMETER_FILE = "parameters.tsv"
WATERFALL_FILE = "waterfall.svg"
PROFILE_FILE = "profiles.svg"
TABLE_COLUMNS = (
    "parameterId", "parameterScale", "lowerBound", "upperBound", "nominalValue", "estimate",
)  # fmt: skip
MOST_STARTS = 10_000


def fit(
    problem: Path = typer.Argument(help="YAML file of a PEtab problem (version 1)."),
    starts: int = typer.Option(
        20, "--starts", min=1, max=MOST_STARTS, help="Points drawn between the bounds."
    ),
    seed: int = typer.Option(1, "--seed", min=0, help="Seed of the starts."),
    hops: int = typer.Option(
        20, "--hops", min=0, help="How often each start leaves its optimum to look for another."
    ),
    profiles: bool = typer.Option(
        False, "--profiles", help="95 % profile likelihood intervals of all parameters."
    ),
    out: Path | None = typer.Option(
        None,
        "--out",
        metavar="FOLDER",
        help=f"Write {PARAMETER_FILE}, which petab evaluate --parameters reads, and figures.",
    ),
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Fit the estimated parameters within their bounds; changes no file of the problem.

    Exit code 0, or 3 for a problem that is not valid, not supported or can not be simulated. With --json: {"ok",
    "file", "engine", "reason", "seed", "hops", "llh", "found_best", "found_on", "redrawn", "starts": [{"llh",
    "start_llh", "climb_llh", "converged", "iterations", "reason", "hops_kept", "redrawn"}], "parameters": {id:
    {"estimate", "scale", "estimate_on_scale", "se", "lower_bound", "upper_bound", "at_bound"}},
    "identifiability"}, and with --profiles "profiles": {id: {"lower", "upper", "lower_on_scale",
    "upper_on_scale", "lower_open", "upper_open", "points": [[value on scale, llh]]}}. Starts are sorted, the
    best first. "se" is on the parameter's scale, null where there is none; "at_bound" is "lower", "upper" or
    null; an end that is open is null, and "lower_open" or "upper_open" says why. With priors in the parameter
    table the posterior is maximised: "log_posterior" stands beside "llh", and in its place in "starts" and
    "points".
    """
    from chiploop.inference.petab_fit import fit as fit_problem
    from chiploop.inference.petab_profiles import profiled
    from chiploop.models.petab_problem import read_problem

    files = files_in(out, profiles)
    refuse_existing(files, force)
    read = read_problem(problem)
    tell = _telling()
    found: tuple[Profile, ...] = ()
    try:
        fitted = fit_problem(read, starts, seed, hops, tell)
        if profiles:
            fitted, found = profiled(fitted, tell)
    finally:
        tell("")
    if out is not None:
        _write(fitted, found, files)
    if as_json:
        print_json(fit_as_json(fitted, found, read.fallback_reason))
        return
    _show(fitted, found, read.fallback_reason)
    for file in files:
        print(f"written: {file}")


def files_in(out: Path | None, has_profiles: bool) -> list[Path]:
    """Return the files that are written into a folder, which is made where it is missing."""
    if out is None:
        return []
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as trouble:
        raise WrongUse(f"{out} can not be a folder: {trouble.strerror or trouble}") from None
    names = [PARAMETER_FILE, WATERFALL_FILE, *([PROFILE_FILE] if has_profiles else [])]
    return [out / name for name in names]


def fit_as_json(
    fitted: PetabFit, profiles: Sequence[Profile], fallback_reason: str
) -> dict[str, Any]:
    """Return the plain values that ``--json`` shows."""
    from chiploop.inference.petab_profiles import verdict

    target = fitted.target
    word = "log_posterior" if target.priors else "llh"
    told: dict[str, Any] = {
        "ok": True,
        "file": target.problem.path.name,
        "engine": target.problem.simulator.engine,
        "reason": fallback_reason or None,
        "seed": fitted.seed,
        "hops": fitted.hops,
        "llh": fitted.log_likelihood,
        **({"log_posterior": fitted.log_density} if target.priors else {}),
        "found_best": fitted.found_best,
        "found_on": fitted.found_on or None,
        "redrawn": sum(each.redrawn for each in fitted.starts),
        "starts": [
            {
                word: finite(each.log_density),
                f"start_{word}": finite(each.start_log_density),
                f"climb_{word}": finite(each.climb_log_density),
                "converged": each.converged,
                "iterations": each.iterations,
                "reason": each.reason,
                "hops_kept": each.hops_kept,
                "redrawn": each.redrawn,
            }
            for each in fitted.starts
        ],
        "parameters": {
            each.name: {
                "estimate": each.value,
                "scale": each.scale,
                "estimate_on_scale": each.on_scale,
                "se": each.sd_on_scale,
                "lower_bound": each.lower,
                "upper_bound": each.upper,
                "at_bound": each.at_bound or None,
            }
            for each in fitted.estimates
        },
        "identifiability": verdict(fitted, profiles),
    }
    if profiles:
        told["profiles"] = {
            profile.name: {
                "lower": linear(profile.lower, estimate.scale),
                "upper": linear(profile.upper, estimate.scale),
                "lower_on_scale": profile.lower,
                "upper_on_scale": profile.upper,
                "lower_open": profile.lower_reason or None,
                "upper_open": profile.upper_reason or None,
                "points": [
                    [float(at), float(height)]
                    for at, height in zip(profile.at, profile.log_density, strict=True)
                ],
            }
            for profile, estimate in zip(profiles, fitted.estimates, strict=True)
        }
    return told


def finite(value: float) -> float | None:
    """Return a log-likelihood, None where there is none."""
    return value if math.isfinite(value) else None


def linear(on_scale: float | None, scale: str) -> float | None:
    """Return a value on the linear scale."""
    from chiploop.models.petab_likelihood import SCALES

    return None if on_scale is None else float(SCALES[scale][1](on_scale))


def _telling() -> Any:
    """Return what shows a person who looks on how far the fit is: one line, written over."""
    if not sys.stderr.isatty():
        return lambda text: None

    def tell(text: str) -> None:
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    return tell


def _write(fitted: PetabFit, profiles: Sequence[Profile], files: Sequence[Path]) -> None:
    from chiploop.report.petab_figures import profiles_figure, waterfall_figure, write_svg

    write_to(files[0], lambda path: write_parameters(fitted, path))
    write_to(files[1], lambda path: write_svg(lambda: waterfall_figure(fitted), path))
    if profiles:
        write_to(files[2], lambda path: write_svg(lambda: profiles_figure(fitted, profiles), path))


def write_parameters(fitted: PetabFit, path: Path) -> None:
    """Write a parameter table of PEtab with the estimates as nominal values."""
    values = fitted.values
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerow(TABLE_COLUMNS)
        for name, each in fitted.target.problem.parameters.items():
            value = values.get(name, each.nominal)
            bounds = [repr(end) if math.isfinite(end) else "" for end in (each.lower, each.upper)]
            rows.writerow([name, each.scale, *bounds, repr(value), int(each.is_estimated)])


def _show(fitted: PetabFit, profiles: Sequence[Profile], fallback_reason: str) -> None:
    from chiploop.inference.petab_profiles import verdict

    problem = fitted.target.problem
    print(
        f"{problem.path.name}: {len(problem.tables.measurements)} measurements, "
        f"{len(fitted.parameters)} estimated parameter(s), {len(fitted.starts)} start(s), seed {fitted.seed}"
    )
    engine = f"engine: {problem.simulator.engine}"
    if fallback_reason:
        engine += f", since ours does not support it: {fallback_reason}"
    print(engine)
    print("\n".join([*waterfall_lines(fitted), "", *parameter_lines(fitted, profiles), ""]))
    print(verdict(fitted, profiles))


def parameter_lines(fitted: PetabFit, profiles: Sequence[Profile]) -> list[str]:
    """Return a table of the parameters, its ends of intervals on the linear scale."""
    estimates = fitted.estimates
    width = max(len("parameter"), *(len(each.name) for each in estimates))
    head = f"  {'parameter':<{width}} {'estimate':>11} {'scale':>5} {'on it':>9} {'se':>8} {'bound':>5}"
    lines = [head + (f" {'95 % from':>10} {'to':>10}" if profiles else "")]
    for place, each in enumerate(estimates):
        sd = "" if each.sd_on_scale is None else f"{each.sd_on_scale:.2g}"
        line = (
            f"  {each.name:<{width}} {each.value:11.5g} {each.scale:>5} {each.on_scale:9.4f} {sd:>8} "
            f"{each.at_bound:>5}"
        )
        if profiles:
            for end in (profiles[place].lower, profiles[place].upper):
                value = linear(end, each.scale)
                line += f" {'open' if value is None else f'{value:.4g}':>10}"
        lines.append(line.rstrip())
    return lines


def waterfall_lines(fitted: PetabFit) -> list[str]:
    """Return the best log-likelihood and where the starts ended, equal ends in one line."""
    from chiploop.inference.petab_result import SAME

    count, best = len(fitted.starts), fitted.log_density
    what = "log posterior" if fitted.target.priors else "log-likelihood"
    first = sum(each.climb_log_density > best - SAME for each in fitted.starts)
    lines = [
        f"{what} {best:.5f}, found by {fitted.found_best} of {count} start(s) (within {SAME:g})"
    ]
    if fitted.hops:
        lines[0] += f"; {first} of them by the first climb alone, before {fitted.hops} hops"
    if fitted.target.priors:
        lines.append(
            f"with priors of {len(fitted.target.priors)} parameter(s); the log-likelihood there is "
            f"{fitted.log_likelihood:.5f}"
        )
    if fitted.found_on:
        lines.append(f"no start ended there: the point was found {fitted.found_on}")
    elif fitted.found_best == 1 and count > 1:
        lines.append("only one start found it: a higher one may exist; try more --starts or --hops")
    redrawn = sum(each.redrawn for each in fitted.starts)
    if redrawn:
        lines.append(f"{redrawn} drawn point(s) could not be simulated and were drawn again")
    lines += ["", "  ends of the starts   starts  converged"]
    ends: list[list[Any]] = []
    for each in fitted.starts:
        if not ends or not each.log_density > ends[-1][0] - SAME:
            ends.append([each.log_density, 0, 0])
        ends[-1][1] += 1
        ends[-1][2] += each.converged
    return lines + [f"  {llh:18.4f} {n:8d} {done:10d}" for llh, n, done in ends]
