"""What stands beside a model: read without compiling, and every slip told with its line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chiploop.errors import FileNotValid
from chiploop.models.facts import MODELS, DonorSpread, model_facts, read_model_facts, truth_of
from chiploop.models.tissue_model import load_model
from chiploop.protocols_path import protocols_folder
from chiploop.study import load_study

STUDIES = sorted((protocols_folder() / "studies").glob("*.yaml"))
SKIN = MODELS["skin_chip"]


def written(folder: Path, old: str, new: str) -> Path:
    """Return a copy of skin_chip's text beside its facts with some of them replaced."""
    facts = SKIN.with_suffix(".yaml").read_text("utf-8")
    assert old in facts
    (folder / "skin_chip.ant").write_text(SKIN.read_text("utf-8"), "utf-8")
    (folder / "skin_chip.yaml").write_text(facts.replace(old, new), "utf-8")
    return folder / "skin_chip.ant"


@pytest.mark.parametrize("name", MODELS)
def test_every_shipped_model_can_be_used_by_a_study(name: str) -> None:
    facts, problems = read_model_facts(MODELS[name], for_study=True)
    assert problems == []
    assert facts is not None and facts.model == name
    assert (facts.virtual_truth is None) == name.startswith("virtual_")
    if facts.virtual_truth:
        truth, why_none = truth_of(facts, facts.readouts)
        assert truth is not None and why_none == ""
        assert list(truth.stimuli) == list(facts.stimuli)
        assert set(truth.constants) == set(facts.constants)


def test_checking_a_study_compiles_nothing() -> None:
    heavy = "{'antimony', 'libsbml', 'sympy', 'numba', 'llvmlite', 'scipy'}"
    code = (
        "import sys; from chiploop.study import load_study; from chiploop.plan import notes\n"
        f"notes(load_study({str(STUDIES[0])!r})); print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_facts_that_a_study_reads_are_those_of_its_compiled_model(path: Path) -> None:
    study = load_study(path)
    model = load_model(study.tissue.path, study.tissue.measured(study.assays))
    assert model.sha256 == study.tissue.sha256
    assert model.compiled.inputs == study.tissue.input_symbols
    assert [spec.name for spec in model.readouts] == list(study.tissue.measured(study.assays))


WRONG = [
    ("model: skin_chip", "model: skin", 'model: "skin" stands beside skin_chip.ant'),
    ("inputs: {", "input: {", '"input" is not a key here (did you mean "inputs"?)'),
    ("molar_mass: 15.0 kDa", "molar_mass: 15.0", "stimuli.IL-4.molar_mass"),
    ("molar_mass: 15.0 kDa", "molar_mass: 15.0 nM", "stimuli.IL-4.molar_mass"),
    ("input: I13_in", "input: I4_in", "I4_in is the input of something else too"),
    ("area_cm2: A", "area: A", "area is not known here; known: channel_volume_ul"),
    ("area_cm2: A", "area_cm2: A2", "names A2, which skin_chip.ant does not define"),
    ("kind: window_loss", "kind: loss", "must be 'moment', 'window_mean' or 'window_loss'"),
    ("viability: V", "viability: a-b", '"a-b" is not a name of a model text'),
    ("potency: IC50", "potency: Bmax", "Bmax is not one of the estimated parameters with a logn"),
    ("low: 0.0, high: 1.0", "low: 2.0, high: 1.0", "estimated.Fmax.high: 1 is not above low, 2"),
    ("ln_sd: 0.3, unit: 1/h", "sd: 0.3, unit: 1/h", "estimated.ktox"),
    ("only_for: [TSLP]", "only_for: [TSLPP]", "TSLPP is not one of the readouts"),
    ("  TC50:  {", "  V_ch:  {", "V_ch is set as channel_volume_ul and can not be estimated"),
    ("  TC50:  {", "  D_in:  {", "D_in is an input and can not be estimated"),
    ("virtual_truth: virtual_skin_chip", "virtual_truth: nowhere", '"nowhere" is neither'),
    ("  kB:   {sd: 0.15", "  V_ch: {sd: 0.15", "V_ch is not estimated, so what donors differ in"),
    ("  kB:   {sd: 0.15", "  kX: {sd: 0.15", "names kX, which skin_chip.ant does not define"),
    ("kB:   {sd: 0.15", "kB:   {sd: 0.0", "between_donors.kB.sd"),
    ("kB:   {sd: 0.15, ln_sd: 0.4", "kB:   {sd: 0.15, ln_sd: -1", "between_donors.kB.ln_sd"),
    ("kB:   {sd: 0.15, ln_sd: 0.4", "kB:   {sd: 0.15", "between_donors.kB.ln_sd"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG)
def test_a_slip_is_told_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(FileNotValid) as refusal:
        model_facts(written(tmp_path, old, new))
    told = str(refusal.value)
    assert message in told
    line = next(
        number
        for number, text in enumerate((tmp_path / "skin_chip.yaml").read_text().splitlines(), 1)
        if new.splitlines()[0] in text
    )
    assert f"line {line}, " in told


UNMEASURED = [
    ("  TEER: {symbol: TEER, kind: moment", "  TER: {symbol: TEER, kind: moment", "TEER is missing"),
    ("symbol: C26, kind: window_mean", "symbol: C26, kind: moment", "they alone are of kind moment"),
    ("unit: ohm*cm2, scale: log", "unit: kohm*cm2, scale: log", "TEER is measured in ohm*cm2"),
    ("symbol: C26, kind: window_mean, unit: pg/mL", "symbol: C26, kind: window_mean, unit: ng/mL",
     "CCL26 is measured in pg/mL on the log scale, not in ng/mL"),
    ("  ldh_release: {", "  death: {", "ldh_release and it alone is of kind window_loss"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), UNMEASURED)
def test_what_no_instrument_gives_is_no_readout_of_a_study(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = written(tmp_path, old, new)
    facts, problems = read_model_facts(path, for_study=True)
    assert facts is None
    assert any(message in problem.message and problem.line for problem in problems)
    assert read_model_facts(path)[1] == []


def test_a_parameter_of_one_readout_is_estimated_where_that_is_read() -> None:
    facts = model_facts(SKIN)
    demo = [spec.name for spec in facts.estimated_for(("TEER", "CCL26", "ldh_release"))]
    assert len(demo) == 16 and "s26" in demo and "s17" not in demo
    other = [spec.name for spec in facts.estimated_for(("TEER", "CCL17"))]
    assert set(demo) - set(other) == {"s26"}
    assert set(other) - set(demo) == {"s17"}


def test_donors_differ_in_parameters_that_are_estimated_from_these_readouts(tmp_path: Path) -> None:
    facts = model_facts(SKIN)
    assert facts.donor_spreads_for(("TEER", "CCL26")) == (
        DonorSpread("EC13", 0.2, 0.4),
        DonorSpread("IC50", 0.15, 0.4),
        DonorSpread("kB", 0.15, 0.4),
    )
    more = model_facts(written(tmp_path, "  kB:   {sd: 0.15", "  s26:  {sd: 0.3"))
    assert [one.name for one in more.donor_spreads_for(("TEER", "CCL26"))] == [
        "EC13",
        "IC50",
        "s26",
    ]
    assert [one.name for one in more.donor_spreads_for(("TEER",))] == ["EC13", "IC50"]


def test_a_model_need_not_say_that_donors_differ(tmp_path: Path) -> None:
    text = SKIN.with_suffix(".yaml").read_text("utf-8")
    facts = model_facts(written(tmp_path, text[text.index("between_donors:") :], ""))
    assert facts.between_donors == {}
    assert facts.donor_spreads_for(("TEER",)) == ()


def test_a_truth_without_what_the_study_reads_is_none(tmp_path: Path) -> None:
    facts = model_facts(SKIN)
    truth, why_none = truth_of(facts, ("TEER", "IL-31"))
    assert truth is None and why_none == "virtual_skin_chip, the virtual_truth, has no IL-31"
    alone = facts.model_copy(update={"virtual_truth": None})
    assert truth_of(alone, ("TEER",)) == (None, "model skin_chip names no virtual_truth")


def test_a_truth_beside_the_model_goes_before_the_shipped_one(tmp_path: Path) -> None:
    text = written(tmp_path, "viability: V", "viability: V")
    shipped = MODELS["virtual_skin_chip"]
    assert model_facts(text).truth_path() == shipped
    (tmp_path / shipped.name).write_text(shipped.read_text("utf-8"), "utf-8")
    assert model_facts(text).truth_path() == (tmp_path / shipped.name).resolve()
