"""The recalibration benchmark for people: lines, tables, verdicts.

Belongs here: printing what was measured. Not here: measuring (recalibration).
"""

from __future__ import annotations

from typing import Any

from benchmarks.recalibration_peers import versions
from benchmarks.simulation import number, verdict

BAR_COLD_S, BAR_WARM_S, BAR_ESS = 10.0, 3.0, 1000.0
CONVERGED = 1.05
"""R-hat above which a peer's sample is no reference: it is said, and not compared with."""
INSTALL = "pip install 'chiploop[bench-peers]'"


def report(found: dict[str, Any]) -> None:
    """Print everything for people."""
    facts, speed = found["machine"], found["rates"]
    print(
        f"{facts['processor']}, {facts['cores']} cores, {facts['lanes']} lanes ({facts['lanes_for']}), "
        f"load {number(facts['load'], '.1f')}"
    )
    shown = ("python", "numpy", "scipy", "numba", "llvmlite", *sorted(versions()))
    print(", ".join(f"{name} {facts[name]}" for name in shown))
    print(
        f"{found['chips']} chips, {found['readouts']} readouts, {len(found['parameters'])} parameters; "
        f"our likelihood and the peers' differ by {found['densities_differ_by']:.0e}"
    )
    print(
        f"Engine on all cores: {speed['densities_per_s']:,.0f} densities/s in batches, "
        f"{speed['densities_one_by_one_per_s']:,.0f} one by one, "
        f"{speed['gradients_one_by_one_per_s']:,.0f} gradients/s one by one"
    )
    start = found["start"]
    print(
        f"\nNew process, empty cache: {start['since_start_s']:.1f} s from the start of Python, "
        f"{start['wall_s']:.1f} s of them the calibration; "
        f"{'passed' if start['passed'] else 'NOT passed'}"
    )
    for name, bar in (("cold", BAR_COLD_S), ("warm", BAR_WARM_S)):
        row = found[name]
        print(
            f"{name}: {row['wall_s']:.2f} s (slowest {row['slowest_wall_s']:.2f}; {row['cpu_s']:.2f} s of "
            f"processor), {row['passed']} of {row['seeds']} passed; {verdict(row['wall_s'], bar, False)}"
        )
        print(
            f"      {row['claimed_ess']:,.0f} effective particles claimed, means scatter "
            f"{row['excess_mean']:.2f} x what that says (worst {row['excess_worst']:.2f}, chance up to "
            f"{row['excess_limit']:.2f}): {row['counted_ess']:,.0f} counted; "
            f"{verdict(row['counted_ess'], BAR_ESS, True)}; {row['ess_per_s']:,.0f}/s"
        )
        for text in row["failures"]:
            print(f"      not passed: {text}")
    report_peers(found)


def report_peers(found: dict[str, Any]) -> None:
    """Print the peers, ratios and agreement."""
    print(
        f"\n{'':30} {'steps':>12} {'wall s':>7} {'burn-in':>8} {'ESS worst':>9} {'median':>7} {'R-hat':>6} "
        f"{'ESS/s':>7} {'/cpu s':>7}"
    )
    for name, row in found["peers"].items():
        print(
            f"{name:30} {row['chains']:>3} x {row['steps']:>6,} {row['wall_s']:7.0f} {row['burn_in_s']:8.0f} "
            f"{row['ess']:9,.0f} {row['ess_median']:7,.0f} {row['rhat']:6.3f} {row['ess_per_s']:7.2f} "
            f"{row['ess_per_cpu_s']:7.2f}"
        )
        if row["rhat"] > CONVERGED:
            print(f"{'':30} has not converged: its effective size is a guess from above")
    for peer, packages in found["missing"].items():
        if packages:
            print(f"{peer} is not measured: {', '.join(packages)} not installed ({INSTALL})")
    for reason in found["failed"]:
        print(reason)
    for row in found["ratios"].values():
        line = verdict(row["cold"], row["bar"], True)
        print(
            f"Against {row['best']}: {row['cold']:.1f} x the effective draws per second cold ({line}), "
            f"{row['warm']:.1f} x warm; {row['cold_by_processor_time']:.1f} x by processor time, "
            f"{row['cold_without_its_burn_in']:.1f} x if its burn-in were free"
        )
    if "amici" in found:
        own = found["amici"]
        print(
            f"AMICI: one gradient of the study {1e3 * own['gradient_s']:,.0f} ms of one core, "
            f"{own['gradient_s'] / own['our_gradient_s']:.0f} x ours ({1e3 * own['our_gradient_s']:.1f} ms), so "
            f"pyPESTO on it takes that much longer; built in {own['build_s']:.0f} s; readouts within "
            f"{own['readouts_differ_by']:.0e} of ours, derivatives within {own['slopes_differ_by']:.0e}"
        )
    names = list(found["agreement"])
    print("\nOurs (cold, all seeds) beside the others:")
    print("gap of the means in sd (in combined errors), ratio of the sds (in combined errors)")
    print(f"{'':8} {'mean':>7} {'sd':>6}" + "".join(f"  {name[:26]:>26}" for name in names))
    base = found["marginals"]["cold"]
    for j, name in enumerate(found["parameters"]):
        line = f"{name:8} {base['mean'][j]:7.3f} {base['sd'][j]:6.3f}"
        for other in names:
            row = found["agreement"][other]
            line += (
                f"  {row['mean_gap_sd'][j]:8.3f} ({row['mean_score'][j]:5.1f}) "
                f"{row['sd_ratio'][j]:5.3f} ({row['sd_score'][j]:4.1f})"
            )
        print(line)
    told = found["judged"]
    for name in names:
        row = found["agreement"][name]
        if name in told["not_converged"]:
            print(f"{name}: has not converged, so it is no reference")
        elif row["agrees"]:
            print(f"{name}: agrees (no score beyond {row['limit']:.1f})")
        else:
            print(
                f"{name}: DISAGREES in {', '.join(row['apart'])} (a score beyond {row['limit']:.1f})"
            )
    if not told["same_density"]:
        print(
            "The peers' density is not that of our calibration: nothing above compares like with like"
        )
