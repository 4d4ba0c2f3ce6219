"""A virtual lab with tissue small enough to calculate by hand; run as a script, a lab process.

Belongs here: the fake tissue and its rig. Not here: anything that a real virtual lab needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from instruments.emulators.lab_process import main
from instruments.emulators.virtual_room import Rig, RigPump, Tissue

RIG = Rig(
    pumps=tuple(
        RigPump(line, role, volume_ul, diameter_mm)
        for line in ("L1", "L2")
        for role, volume_ul, diameter_mm in (("medium", 60_000.0, 26.72), ("low", 20_000.0, 19.13))
    ),
    chips=("C01", "C02"),
)


class FakeTissue:
    """Keeps what it felt: total volume of each pump and every interval."""

    def __init__(self) -> None:
        self.felt: list[list[Any]] = []

    def advance(
        self, start_h: float, end_h: float, line_flows_ul_h: dict[str, dict[str, float]]
    ) -> None:
        self.felt.append([start_h, end_h, line_flows_ul_h])

    def impedance(self, chip_id: str, time_h: float, frequency_hz: np.ndarray) -> np.ndarray:
        return np.full(
            frequency_hz.shape, complex(1000.0 * (1 + RIG.chips.index(chip_id)), -time_h)
        )

    def absorbance(self, plate: dict[str, Any], wavelength_nm: int) -> np.ndarray:
        optical_density = np.full((8, 12), np.nan)
        optical_density[0, : len(plate["wells"])] = wavelength_nm / 1000
        return optical_density

    def truth(self) -> dict[str, Any]:
        felt_ul = {f"{place.line}-{place.role}": 0.0 for place in RIG.pumps}
        for start_h, end_h, flows in self.felt:
            for line, roles in flows.items():
                for role, flow_ul_h in roles.items():
                    felt_ul[f"{line}-{role}"] += flow_ul_h * (end_h - start_h)
        return {"goals": {"half": np.float64(1.0)}, "felt_ul": felt_ul}

    def state(self) -> dict[str, Any]:
        return {"felt": self.felt}

    def restore(self, state: dict[str, Any]) -> None:
        self.felt = state["felt"]


def open_fake(settings: dict[str, Any], folder: Path) -> tuple[Rig, Tissue]:
    """Return the fake rig, whatever lab.json says."""
    return RIG, FakeTissue()


if __name__ == "__main__":
    sys.exit(main(open_tissue=open_fake))
