"""The file beside a model that a PEtab problem of others tells of: what is known, and places for what is not.

Belongs here: that file. Not here: the SBML (petab_import_sbml).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from chiploop.models.petab_import import ImportedModel
from chiploop.models.petab_import_priors import known_prior, said, written
from chiploop.models.petab_import_sbml import ReadSbml, read_sbml
from chiploop.models.sbml_text import sbml_document

MARK = "FILL IN"
MOST_VALUES = 6


def foreign(problem: Any, text: str, path: Path, name: str | None) -> ImportedModel:
    """Return the model of a problem that chiploop did not write."""
    own_name = name or name_of(text, path)
    sbml = read_sbml(problem, text, own_name)
    fill_in: list[str] = []
    notes: list[str] = []
    lines = [
        f"# From the PEtab problem {path.name}. chiploop takes this model once a person has filled in what PEtab",
        f"# does not say; each place is marked {MARK}. Nothing here was guessed.",
        f"model: {own_name}",
        *inputs_part(problem, fill_in),
        *readouts_part(problem, sbml, fill_in),
        *estimated_part(problem, sbml, fill_in),
    ]
    if sbml.apart:
        notes.append(
            f"not in the model, so not of it: {', '.join(sbml.apart)} (noise, or what single measurements name)"
        )
    if len(problem.condition_df) == 1 and len(
        problem.condition_df.columns.drop("conditionName", errors="ignore")
    ):
        notes.append("what the only condition sets is part of the model now")
    rested = problem.measurement_df.get("preequilibrationConditionId")
    if rested is not None and rested.notna().any():
        notes.append(
            "the problem begins at steady states of other conditions; a chip begins where its model does"
        )
    notes.append(f"its {len(problem.measurement_df)} measurements were not imported")
    return ImportedModel(own_name, sbml.text, "\n".join(lines) + "\n", tuple(fill_in), tuple(notes))


def name_of(text: str, path: Path) -> str:
    """Return the id of the SBML's model, else the problem's file name, as the name of a model."""
    identifier = sbml_document(text, path.name).getModel().getIdAttribute()
    wish = re.sub(r"[^A-Za-z0-9._-]", "_", identifier or path.stem).lstrip("._-")
    return wish[:64] or "model"


def inputs_part(problem: Any, fill_in: list[str]) -> list[str]:
    """Return the places for inputs, stimuli, and constants of chip, donor and drug."""
    lines = [
        f"# {MARK}: which constant of the text is the flow rate in uL/h, which one the drug at the inlet in nM.",
        "#inputs: {flow_rate_ul_h: ?, drug_nm: ?}",
        f"# {MARK}: which are stimuli at the inlet in nM, with their molar mass.",
        "#stimuli:",
        "#  ?: {input: ?, molar_mass: ? kDa}",
        f"# {MARK}, where the text has them: constants that the files of donor, chip and drug set.",
        "#donor: {flg_dose: ?}",
        "#chip: {channel_volume_ul: ?, area_cm2: ?}",
        "#drug: {free_fraction: ?}",
    ]
    table = problem.condition_df
    columns = [c for c in table.columns if c != "conditionName"] if len(table) > 1 else []
    if columns:
        lines.append("# What the problem's conditions set, any of which may be one of these:")
    for column in columns:
        values = [str(v) for v in dict.fromkeys(table[column].tolist()) if v == v]
        more = ", ..." if len(values) > MOST_VALUES else ""
        lines.append(f"#   {column}: {', '.join(values[:MOST_VALUES])}{more}")
    told = f" (the conditions set {', '.join(columns)})" if columns else ""
    fill_in.append(f"inputs: the flow rate, and the drug where there is one{told}")
    fill_in.append(
        "stimuli, and the constants that donor, chip and drug set, where the model has them"
    )
    return lines


def readouts_part(problem: Any, sbml: ReadSbml, fill_in: list[str]) -> list[str]:
    """Return the places for readouts and viability."""
    lines = [
        f"# {MARK}: unit and kind (moment, window_mean, window_loss) of each readout.",
        "#readouts:",
    ]
    for key, row in problem.observable_df.iterrows():
        scale = row.get("observableTransformation")
        is_log = isinstance(scale, str) and scale.startswith("log")
        symbol = sbml.symbols.get(str(key))
        if symbol is None:
            formula = sbml.unread[str(key)]
            lines.append(f"#  {key}: its formula is filled by each measurement: {formula}")
            fill_in.append(f"readout {key}: a symbol of the text for {formula}")
            continue
        scale = "log" if is_log else "linear"
        lines.append(f"#  {key}: {{symbol: {symbol}, kind: ?, unit: ?, scale: {scale}}}")
    lines += [
        f"# {MARK}: the state or formula that is the viable fraction, 1 to 0.",
        "#viability: ?",
    ]
    fill_in.append(f"readouts: kind and unit of {', '.join(sbml.symbols) or 'what is read'}")
    fill_in.append("viability: the state or formula that is the viable fraction")
    return lines


def estimated_part(problem: Any, sbml: ReadSbml, fill_in: list[str]) -> list[str]:
    """Return the estimated parameters with their priors, and places for those that chiploop has no prior like."""
    table = problem.parameter_df
    rows = {str(k): row for k, row in table.iterrows() if int(row["estimate"]) == 1}
    rows = {key: row for key, row in rows.items() if key not in sbml.apart}
    known, unknown = [], []
    without_unit = []
    model = sbml_document(sbml.text, "model").getModel()
    for key, row in rows.items():
        unit = model.getParameter(key).getUnits() or "?"
        if unit == "?":
            without_unit.append(key)
        try:
            prior = known_prior(row)
        except ValueError:
            unknown.append(f'#  {key}: {{kind: ?, unit: "{unit}"}}    # {said(row)}')
            continue
        numbers = ", ".join(
            f"{name}: {value if isinstance(value, str) else written(value)}"
            for name, value in prior.items()
        )
        known.append(f'  {key}: {{{numbers}, unit: "{unit}"}}')
    lines = ["estimated:" if known else "#estimated:", *known]
    if unknown:
        lines.append(
            f"# {MARK}: a prior, lognormal (median, ln_sd) or truncated_normal (mean, sd, low, high)."
        )
        lines += unknown
        names = [line.partition(":")[0].lstrip("# ") for line in unknown]
        fill_in.append(f"estimated: a prior of {', '.join(names)}")
    if without_unit:
        fill_in.append(f'estimated: the unit of {", ".join(without_unit)}; "?" stands there')
    return lines
