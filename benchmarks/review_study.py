"""Studies for the benchmark of the review page: the demo study with more lines and cycles.

Belongs here: the text of a study of so many lines. Not here: running it (review_campaigns), measuring (review).
"""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

DEMO = Path(__file__).parents[1] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"
LADDER_NM = (0, 10, 30, 60, 120, 240, 480, 30)
"""Doses of the pilot, line after line, and again from the start."""
DONORS = ("D1", "D2", "D3")


def write_study(folder: Path, chips: int, cycles: int) -> Path:
    """Write a study of so many chips, three to a line, into a folder and return its file.

    Exposures last 24 h, so that six of them fit into the demo's syringes.
    """
    yaml = YAML()
    study = yaml.load(DEMO.read_text(encoding="utf-8"))
    lines = -(-chips // len(DONORS))
    width = len(str(chips))
    study["name"] = f"review_{chips}_chips_{cycles}_cycles"
    study["title"] = f"Dose finding on {chips} chips in {cycles} cycles"
    study["donors"] = [str(DEMO.parents[1] / "donors" / f"{donor}.yaml") for donor in DONORS]
    study["lines"] = [
        {
            "id": f"L{line + 1}",
            "chips": {
                f"C{len(DONORS) * line + place + 1:0{width}d}": donor
                for place, donor in enumerate(DONORS)
                if len(DONORS) * line + place < chips
            },
        }
        for line in range(lines)
    ]
    study["first_doses"] = [f"{LADDER_NM[line % len(LADDER_NM)]} nM" for line in range(lines)]
    study["timeline"].update(cycles=cycles, exposure="24 h")
    study["sampling"].update(teer=["12 h", "24 h"], effluent=["12 h", "24 h"])
    for goal in study["goals"]:
        goal["exposure"] = "24 h"
    for name in ("dose_volume", "day_volume", "total_volume", "readout_age"):
        del study["limits"][name]  # follow from the timeline
    path = folder / f"{study['name']}.yaml"
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(study, file)
    return path
