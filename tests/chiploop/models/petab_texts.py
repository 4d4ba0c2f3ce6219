"""Small PEtab problems, written to a folder for a test."""

from __future__ import annotations

from pathlib import Path

from chiploop.models.sbml_text import antimony_to_sbml

DECAY = "A = 2; k = 0.5; A' = -k*A"
"""A rate rule, and nothing else."""
EXCHANGE = """
compartment c = 1
species A in c, B in c
A = a0; B = b0; a0 = 1; b0 = 0
fwd: A -> B; c*k1*A
rev: B -> A; c*k2*B
k1 = 0.8; k2 = 0.6
"""


def write_problem(
    folder: Path,
    model: str,
    *,
    conditions: str = "conditionId\nc0",
    observables: str = "observableId observableFormula noiseFormula\no A 1",
    measurements: str = "observableId simulationConditionId time measurement\no c0 1 1",
    parameters: str = "k lin 0 10 0.5 1",
    yaml: str = "",
) -> Path:
    """Write the files of a problem and return its YAML file; cells are separated by blanks, ~ is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    text = model if model.startswith("<") else antimony_to_sbml(model, "model")
    (folder / "model.xml").write_text(text, encoding="utf-8")
    head = "parameterId parameterScale lowerBound upperBound nominalValue estimate\n"
    tables = {
        "conditions": conditions,
        "observables": observables,
        "measurements": measurements,
        "parameters": head + parameters,
    }
    for name, table in tables.items():
        lines = ["\t".join(line.split()).replace("~", "") for line in table.strip().splitlines()]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = folder / "problem.yaml"
    path.write_text(
        yaml
        or "format_version: 1\nparameter_file: parameters.tsv\nproblems:\n"
        "- sbml_files: [model.xml]\n  condition_files: [conditions.tsv]\n"
        "  measurement_files: [measurements.tsv]\n  observable_files: [observables.tsv]\n",
        encoding="utf-8",
    )
    return path
