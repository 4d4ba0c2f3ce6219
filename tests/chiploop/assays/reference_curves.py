"""Reference data of curves made by others, as the tests of curves read them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

WRITTEN_BY_NUMPY = re.compile(r"np\.float64\((.*)\)")
"""How the NIST data stand in the file: the repr of a number."""


def rows_of(shared_data: Path, name: str) -> list[dict[str, str]]:
    """Return the rows of a file of ``reference_curves``."""
    with (shared_data / "reference_curves" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def columns(rows: list[dict[str, str]], x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """Return two columns as numbers."""
    return np.array([number(row[x]) for row in rows]), np.array([number(row[y]) for row in rows])


def number(text: str) -> float:
    """Return a number, also where it stands as numpy's repr."""
    return float(WRITTEN_BY_NUMPY.sub(r"\1", text))


def printed(shared_data: Path, case: str) -> dict[str, float]:
    """Return quantity -> number of one case of ``reference_fits.csv``."""
    return {
        row["quantity"]: float(row["reference_printed"])
        for row in rows_of(shared_data, "reference_fits.csv")
        if row["case"] == case
    }


def dnase_run_1(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return concentration and density of run 1."""
    rows = [row for row in rows_of(shared_data, "dnase_elisa.csv") if row["Run"] == "1"]
    return columns(rows, "conc", "density")


def fgf_standards(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return expected pg/mL and log10 MFI of the FGF standards of drLumi's plate, background left out."""
    rows = [
        row
        for row in rows_of(shared_data, "luminex_30plex_standards.csv")
        if row["analyte"] == "FGF" and row["sample"].startswith("Standard")
    ]
    concentration, mfi = columns(rows, "expected_pg_ml", "mfi")
    return concentration, np.log10(mfi)
