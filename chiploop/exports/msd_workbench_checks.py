"""Do the replicates of a Workbench export agree with their printed means, and are they all there?

Belongs here: checks of rows that were read. Not here: reading them (msd_workbench).
They flag and do not refuse: a well that a person excluded in Workbench leaves the mean and stays in
the file, which looks the same as a row that was altered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Final

from chiploop.exports.export import ExportRow

MEANS: Final = {
    "Mean": "Signal",
    "Adj. Sig. Mean": "Adjusted Signal",
    "% Recovery Mean": "% Recovery",
    "Calc. Conc. Mean": "Calc. Concentration",
}
"""Column that repeats the mean over the replicates -> column that it is the mean of."""
MEAN_OFF: Final = "mean is not that of its replicates"
FEWER: Final = "fewer replicates than the others"


def check_replicates(
    rows: Sequence[ExportRow], decimals: Mapping[tuple[int, int], int]
) -> tuple[list[ExportRow], list[str]]:
    """Return the rows of one plate with doubtful replicates flagged as failed, and notes.

    Parameters
    ----------
    decimals : (line, column) -> digits after the point, as printed; they bound the rounding.
    """
    found: dict[tuple[str, str, str], list[ExportRow]] = {}
    for row in rows:
        one = row.readout
        found.setdefault((one.sample, one.analyte, row.statistic), []).append(row)
    bad: dict[tuple[str, str], tuple[str, str]] = {}
    for (sample, analyte, column), printed in found.items():
        source = found.get((sample, analyte, MEANS.get(column, "")), [])
        what = _disagreement(column, printed, source, decimals)
        if what:
            bad.setdefault((sample, analyte), (MEAN_OFF, what))
    counts = {
        (sample, analyte): len(members)
        for (sample, analyte, column), members in found.items()
        if column == "Signal"
    }
    usual = Counter(counts.values()).most_common(1)[0] if counts else (0, 0)
    for key, n in counts.items():
        if n < usual[0] and usual[1] > 1:
            bad.setdefault(key, (FEWER, f"{n} replicates, the others have {usual[0]}"))
    if not bad:
        return list(rows), []
    flagged = []
    for row in rows:
        one = row.readout
        if (one.sample, one.analyte) in bad:
            reason = bad[one.sample, one.analyte][0]
            row = replace(row, readout=replace(one, qc="fail", reasons=(*one.reasons, reason)))
        flagged.append(row)
    notes = [
        f"{sample}, {analyte}: {what}: a replicate is missing, excluded or altered"
        for (sample, analyte), (_, what) in bad.items()
    ]
    return flagged, notes


def _disagreement(
    column: str,
    printed: Sequence[ExportRow],
    source: Sequence[ExportRow],
    decimals: Mapping[tuple[int, int], int],
) -> str:
    numbers = [row.readout.value for row in source if math.isfinite(row.readout.value)]
    means = [row.readout.value for row in printed if math.isfinite(row.readout.value)]
    if not numbers or not means:
        return ""
    mean = fmean(numbers)
    digits = min(decimals[row.line, row.column] for row in (*printed, *source))
    # One unit of the last digit that both have: half of it for the mean, half for its members.
    allowed = 1.0000001 * 10.0**-digits
    worst = max(means, key=lambda value: abs(value - mean))
    return f"{column} is {worst:g}, not {mean:.6g}" if abs(worst - mean) > allowed else ""
