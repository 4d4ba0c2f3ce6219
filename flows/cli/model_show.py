"""``chiploop model list`` and ``show``: what comes with chiploop, and what a model holds.

Belongs here: tables of words. Not here: reading models (chiploop.models).
"""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import FileNotValid
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.models.facts import ModelFacts

MODEL = typer.Argument(
    metavar="MODEL", help="Name of a model (chiploop model list), or path of an .ant or .xml."
)
WIDEST = 100
KINDS = {
    "moment": "value at a moment",
    "window_mean": "mean of the effluent over a collection window",
    "window_loss": "fall over a collection window",
}
"""Kind of readout -> in words."""


def list_models(as_json: bool = JSON_OPTION) -> None:
    """Show the models that come with chiploop; a study names one of them, or a file of your own.

    Reads files alone. With --json: {"ok", "models": [{"name", "title", "states", "estimated",
    "stimuli", "readouts", "hidden_truth_of", "virtual_truth", "path", "sha256"}]}.
    """
    from chiploop.models.facts import MODELS, model_facts
    from chiploop.models.text_notes import state_count, title_of

    facts = {name: model_facts(path) for name, path in MODELS.items()}
    models: list[dict[str, Any]] = []
    for name, path in MODELS.items():
        text = path.read_text(encoding="utf-8")
        one = facts[name]
        models.append(
            {
                "name": name,
                "title": title_of(text),
                "states": state_count(text),
                "estimated": list(one.estimated),
                "stimuli": list(one.stimuli),
                "readouts": list(one.readouts),
                "hidden_truth_of": [o for o, f in facts.items() if f.virtual_truth == name],
                "virtual_truth": one.virtual_truth,
                "path": str(path),
                "sha256": one.sha256,
            }
        )
    if as_json:
        print_json({"ok": True, "models": models})
        return
    for model in models:
        states = "" if model["states"] is None else f"{model['states']} states, "
        print(f"{paint(model['name'], 'cyan')}  {states}{len(model['estimated'])} estimated")
        _wrapped("  ", model["title"])
        _wrapped("  stimuli   ", ", ".join(model["stimuli"]))
        _wrapped("  readouts  ", ", ".join(model["readouts"]))
        if model["hidden_truth_of"]:
            _wrapped(
                "  ", f"hidden truth of virtual chips for {', '.join(model['hidden_truth_of'])}"
            )
        elif model["virtual_truth"]:
            _wrapped("  ", f"virtual chips: {model['virtual_truth']}")
        print()
    print("Next: chiploop model show NAME, chiploop model simulate NAME")


def show(
    model: str = MODEL,
    sbml: Path | None = typer.Option(
        None, "--sbml", metavar="OUT.xml", help="Write the model as SBML level 3."
    ),
    equations: bool = typer.Option(False, "--equations", help="Show the equations too."),
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show inputs, readouts, estimated parameters with their priors, and constants of a model.

    Comments beside numbers are the text's own, with its marks of their origin. Exit code 3 for a model that is
    not valid. With --json: {"ok", "model", "title", "path", "sha256", "facts": true where the .yaml is there,
    "inputs", "stimuli", "readouts", "viability", "estimated", "constants", "states", "equations"}.
    """
    from chiploop.models.facts import facts_path, model_path
    from chiploop.models.model_files import formulas_of, text_of

    path = model_path(model)
    refuse_existing([sbml], force)
    text = text_of(path)
    symbolic = formulas_of(text, path.stem)
    facts = facts_of(path) if facts_path(path).is_file() else None
    described = description(path, text, symbolic, facts)
    if sbml is not None:
        from chiploop.models.sbml_export import to_sbml

        written = to_sbml(text, path.stem)
        write_to(sbml, lambda file: file.write_text(written, encoding="utf-8", newline="\n"))
    if as_json:
        print_json(described)
        return
    _show(described, model, equations, facts is not None)
    if sbml is not None:
        print(f"\nwritten: {sbml}")


def facts_of(path: Path) -> ModelFacts:
    """Return what stands beside a model text; FileNotValid with the command that says more."""
    from chiploop.models.facts import model_facts

    try:
        return model_facts(path)
    except FileNotValid as refusal:
        raise FileNotValid(f"{refusal}\nMore is said by: chiploop model check {path}") from None


def description(path: Path, text: str, symbolic: Any, facts: ModelFacts | None) -> dict[str, Any]:
    """Return the plain values that ``--json`` shows."""
    from chiploop.models.text_notes import as_antimony, comments_of, equations_of, title_of

    comments = comments_of(text)
    constants = symbolic.constants
    told: dict[str, Any] = {
        "ok": True,
        "model": path.stem,
        "title": title_of(text),
        "path": str(path.resolve()),
        "sha256": hashlib.sha256(text.encode()).hexdigest() if facts is None else facts.sha256,
        "facts": facts is not None,
        "inputs": [],
        "stimuli": [],
        "readouts": [],
        "viability": None,
        "virtual_truth": None,
        "potency": None,
        "estimated": [],
    }
    known: set[str] = set()
    set_by: dict[str, str] = {}
    if facts is not None:
        known = {*facts.input_symbols, *facts.estimated}
        set_by = {
            symbol: f"{part}: {name}"
            for part in ("donor", "chip", "drug")
            for name, symbol in getattr(facts, part).items()
        }
        told |= _facts_as_json(facts, constants, comments)
    told["constants"] = [
        {
            "name": name,
            "value": value,
            "set_by": set_by.get(name),
            "comment": comments.get(name, ""),
        }
        for name, value in constants.items()
        if name not in known
    ]
    told["states"] = list(symbolic.rates)
    statements = equations_of(as_antimony(text))
    told["equations"] = {
        kind: list(getattr(statements, kind))
        for kind in ("rates", "formulas", "reactions", "events", "starts")
    }
    return told


def _facts_as_json(
    facts: ModelFacts, constants: dict[str, float], comments: dict[str, str]
) -> dict[str, Any]:
    from chiploop.inference.prior import Prior

    prior = Prior.of([prior.spec(name) for name, prior in facts.estimated.items()])
    bands, medians = prior.interval(0.9), prior.interval(0.0)[:, 0]
    inputs = [("flow rate", "uL/h", facts.inputs.flow_rate_ul_h)]
    if facts.inputs.drug_nm is not None:
        inputs.append(("drug", "nM", facts.inputs.drug_nm))
    inputs += [(name, "nM", stimulus.input) for name, stimulus in facts.stimuli.items()]
    return {
        "inputs": [
            {
                "name": symbol,
                "what": what,
                "unit": unit,
                "value": constants.get(symbol),
                "comment": comments.get(symbol, ""),
            }
            for what, unit, symbol in inputs
        ],
        "stimuli": [
            {"name": name, "input": stimulus.input, "molar_mass_g_mol": stimulus.molar_mass_g_mol}
            for name, stimulus in facts.stimuli.items()
        ],
        "readouts": [
            {
                "name": name,
                "symbol": spec.symbol,
                "kind": spec.kind,
                "unit": spec.unit,
                "scale": spec.scale,
            }
            for name, spec in facts.readouts.items()
        ],
        "viability": facts.viability,
        "virtual_truth": facts.virtual_truth,
        "potency": facts.potency,
        "estimated": [
            {
                "name": spec.name,
                "unit": spec.unit,
                "prior": spec.kind,
                "median": float(median),
                "low_90": float(low),
                "high_90": float(high),
                "value": constants.get(spec.name),
                "only_for": list(facts.estimated[spec.name].only_for),
                "comment": comments.get(spec.name, ""),
            }
            for spec, median, (low, high) in zip(prior.specs, medians, bands, strict=True)
        ],
    }


def _show(told: dict[str, Any], model: str, equations: bool, has_facts: bool) -> None:
    _wrapped(f"{paint(told['model'], 'cyan')}  ", told["title"], hanging="  ")
    print(f"sha256 {told['sha256']}")
    print(told["path"])
    if not has_facts:
        from chiploop.models.model_check import WANTED_BESIDE

        print(
            f"\nThere is no {told['model']}.yaml beside it: nothing is read out or estimated yet."
            "\nWhat must stand in it:"
        )
        print("\n".join(f"  {wanted}" for wanted in WANTED_BESIDE))
    else:
        _show_facts(told)
    print("\nOther constants" if has_facts else "\nConstants")
    width = max([4, *(len(c["name"]) for c in told["constants"])])
    for constant in told["constants"]:
        files = f"[{constant['set_by']}] " if constant["set_by"] else ""
        head = f"  {constant['name']:<{width}}  {constant['value']:<8.6g} "
        _wrapped(head, files + constant["comment"], hanging=" " * (width + 13))
    _wrapped(f"\n{len(told['states'])} states  ", ", ".join(told["states"]), hanging="  ")
    if equations:
        for kind, statements in told["equations"].items():
            if statements:
                print(f"\n{EQUATION_HEADS[kind]}")
            for statement in statements:
                print(f"  {_readable(statement) if kind == 'rates' else statement}")
    else:
        verb = "simulate" if has_facts else "check"
        print(f"Next: chiploop model show {model} --equations, chiploop model {verb} {model}")


EQUATION_HEADS = {
    "rates": "Rates",
    "formulas": "Formulas, true at all times",
    "reactions": "Reactions",
    "events": "Events",
    "starts": "Starts",
}


def _readable(rate: str) -> str:
    """Return a rate rule as d X/dt = ..."""
    name, _, formula = rate.partition("=")
    return f"d {name.strip().rstrip(chr(39)).strip()}/dt ={formula}"


def _show_facts(told: dict[str, Any]) -> None:
    print("\nInputs, set by the perfusion")
    width = max(len(i["name"]) for i in told["inputs"])
    masses = {s["input"]: s["molar_mass_g_mol"] for s in told["stimuli"]}
    for one in told["inputs"]:
        mass = f", {masses[one['name']] / 1000:g} kDa" if one["name"] in masses else ""
        what = f"stimulus {one['what']}" if mass else one["what"]
        print(f"  {one['name']:<{width}}  {what} ({one['unit']}{mass})")
    print("\nReadouts")
    width = max([4, *(len(r["name"]) for r in told["readouts"])])
    for one in told["readouts"]:
        unit = "no unit" if one["unit"] == "1" else one["unit"]
        _wrapped(
            f"  {one['name']:<{width}}  ",
            f"{unit}, {one['scale']} scale: {one['symbol']}, {KINDS[one['kind']]}",
            hanging=" " * (width + 4),
        )
    print(f"  viable fraction: {told['viability']}")
    print("\nEstimated parameters: median of the prior (90 % range)")
    width = max(len(e["name"]) for e in told["estimated"])
    for one in told["estimated"]:
        unit = "" if one["unit"] == "1" else one["unit"]
        median, low, high = (_figures(one[key]) for key in ("median", "low_90", "high_90"))
        band = f"{median} ({low} to {high}) {unit}"
        comment = _without_unit(one["comment"], one["unit"])
        also = [comment] if comment else []
        if one["name"] == told["potency"]:
            also.append("a drug's file sets this prior")
        if one["only_for"]:
            also.append(f"only where {' or '.join(one['only_for'])} is read")
        if one["value"] is not None and not math.isclose(
            one["value"], one["median"], rel_tol=0.005
        ):
            also.append(f"{one['value']:g} in the text")
        _wrapped(
            f"  {one['name']:<{width}}  {band:<34} ", "; ".join(also), hanging=" " * (width + 6)
        )


def _figures(value: float) -> str:
    """Return three significant figures, without an exponent where a person writes none."""
    return f"{float(f'{value:.3g}'):.15g}" if 1e-4 <= abs(value) < 1e7 else f"{value:.3g}"


def _without_unit(comment: str, unit: str) -> str:
    """Return a comment without the unit that it begins with, where that is the one shown already."""
    first, comma, rest = comment.partition(",")
    return rest.strip() if comma and first.strip().replace(" ", "*") == unit else comment


def _wrapped(head: str, text: str, hanging: str | None = None) -> None:
    """Print a head and text, broken at the width of the terminal."""
    width = max(40, min(WIDEST, shutil.get_terminal_size((80, 24)).columns))
    lead = len(re.sub(r"\x1b\[[0-9;]*m", "", head[head.rfind("\n") + 1 :]))
    filled = textwrap.fill(
        "x" * lead + text,
        width,
        subsequent_indent=" " * lead if hanging is None else hanging,
        break_on_hyphens=False,
        break_long_words=False,
        drop_whitespace=True,
    )
    print((head + filled[lead:]).rstrip())
