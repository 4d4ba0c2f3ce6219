"""What a model text may not hold, and the words and the line with which it is refused."""

from __future__ import annotations

import pytest

from chiploop.errors import FileNotValid
from chiploop.models.sbml import read_model
from tests.chiploop.models.sbml_texts import formula, read, sbml

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")

ANTIMONY_REFUSALS = [
    # the first line of each text is "model mine"
    (
        "x = 1; x' = -x*Q;\na = 1;\n0 = a - x;",
        r"algebraic rule _alg0 \(line 4\): an algebraic rule is not",
    ),
    ("x = 1; x' = -x*other;", r"parameter other \(line 2\): other has no value"),
    ("x = 1;\n\n// y' = 3\nx' = -x*y;\nspecies y;", r"species y \(line 5\): y has no value"),
    ("x = 1;\nx' = delay(x, 2);", r"rate rule x \(line 3\): delay is not supported; allowed are"),
    ("x = 1;\nx' = floor(x);", r"rate rule x \(line 3\): floor is not supported"),
    ("x = 1;\nx' = ceil(x);", r"rate rule x \(line 3\): ceil\w* is not supported"),
    ("x = 1;\nx' = factorial(x);", r"rate rule x \(line 3\): factorial is not supported"),
    ("x = 1;\nx' = rem(x, 2) + quotient(x, 3);", r"rate rule x \(line 3\): rem is not supported"),
    ("x = 1; x' = 1;\ny := rateOf(x);", r"assignment rule y \(line 3\): rateOf is not supported"),
    ("x = 1;\nx' = normal(1, 2);", "model mine: Error in model string, line"),
    ("x = 1; x' = -x*;", "line 2"),
    ("x = 1; x' = -x*a; a := b + 1; b := a + 1;", "Loop detected"),
    ("x = 1;\nx' = x > 2;", r"rate rule x \(line 3\): x > 2 is a comparison where a number"),
    ("x = 1;\nx' = piecewise(1, x, 2);", r"\(line 3\): x is a number where a comparison is needed"),
    (
        "x = 1;\nx' = piecewise(1, x > 2);",
        r"\(line 3\): .* has no value where none of its conditions",
    ),
    ("x = 1;\nx' = x/0;", r"rate rule x \(line 3\): x / 0: it divides by zero"),
    ("x = 1;\nx' = x/(k - k);\nk = 1;", r"rate rule x \(line 3\): .*divides by zero"),
    ("x = 1;\nx' = x/z;\nz := k - k; k = 1;", r"rate rule x \(line 3\): it divides by zero"),
    ("x = 1;\nx' = x*sqrt(-2);", r"rate rule x \(line 3\): .* is not a real number"),
    ("x = 1;\nx' = x + arcsin(2);", r"\(line 3\): .*asin\(2\) is not a real number"),
    ("x = 1;\nx' = x + ln(-1) ;", r"\(line 3\): .* is not a real number"),
    ("x = 1;\nx' = min(x, inf);", r"\(line 3\): inf is not a number to calculate with"),
    ("x = 1; x' = k;\nk = inf;", r"parameter k \(line 3\): k has no value"),
    ("x' = 1;", r"parameter x \(line 2\): x has no value"),
    (
        "x = 1; x' = 1;\ntime_ = 2;",
        r"parameter time_ \(line 3\): the name time_ stands for the time",
    ),
    ("species S;\nS = 1; R1: S -> ;", r"reaction R1 \(line 3\): it has no rate"),
    ("species S;\nS = 1;\n S -> ; 3*delay(S, 1);", r"reaction _J0 \(line 4\): delay is not"),
    (
        "x = 1; x' = -x;\nx > 0;",
        r"constraint \(line 3\): a constraint is not supported",
    ),
    # events
    (
        "x = 1; x' = -x;\nat (x < 0.5): x = 1;",
        r"event _E0 \(line 3\): its trigger x < 0.5 does not depend",
    ),
    (
        "x = 1; x' = -x;\nstop: at time > x: x = 1;",
        r"event stop \(line 3\), trigger: it depends on x, not",
    ),
    (
        "x = 1; x' = -x;\nstop: at time > 2 && x > 3: x = 1;",
        r"event stop \(line 3\): .* comparison of time",
    ),
    (
        "x = 1; x' = -x;\nstop: at time == 2: x = 1;",
        r"event stop \(line 3\): .* not a comparison of time",
    ),
    ("x = 1; x' = -x;\nstop: at time < 2: x = 1;", r"event stop \(line 3\): .* ends with time"),
    ("x = 1; x' = -x; k = 2;\nstop: at k*time > 2: x = 1;", r"event stop \(line 3\): .*not linear"),
    ("x = 1; x' = -x;\nstop: at time^2 > 2: x = 1;", r"event stop \(line 3\): .*not linear"),
    ("x = 1; x' = -x;\nstop: at sin(time) > 0: x = 1;", r"event stop \(line 3\): .*not linear"),
    (
        "x = 1; x' = -x;\nstop: at time > T: x = 1;\nT = 2; a: at time > 3: T = 4;",
        "depends on T, not",
    ),
    (
        "x = 1; x' = -x;\nstop: at x after time > 2: x = 1;",
        r"event stop \(line 3\), delay: it depends on x",
    ),
    (
        "x = 1; x' = -x;\nstop: at -1 after time > 2: x = 1;",
        r"\(line 3\): its delay is -1; allowed is 0",
    ),
    (
        "x = 1; x' = -x;\nstop: at 3 after time > 2: x = x + 1;",
        r"event stop \(line 3\), x =: .* delayed",
    ),
    (
        "x = 1; x' = -x; T = 0; d = 1;\nstop: at d after time > T: x = 1;",
        r"event stop \(line 3\): it may be triggered at the start and its delay d may be 0",
    ),
    (
        "x = 1; x' = -x;\na: at time > 2: x = 1;\nb: at time >= 2: x = 3;",
        r"event b \(line 4\): it may happen at the same moment as event a and both concern x",
    ),
    (
        "x = 1; x' = -x; y = 1; T = 2;\na: at time > 2: x = 1;\nb: at time > T: y = x;",
        r"event b \(line 4\): it may happen at the same moment as event a and both concern x",
    ),
    (
        "x = 1; x' = -x; T = 3;\na: at time > 2, priority=1: x = 1;\nb: at time > T: x = 3;",
        r"event b \(line 4\): .* a priority is not supported there",
    ),
    (
        "x = 1; x' = -x;\nat time > 1: x = 1;\nat time > 2: x = delay(x, 1);",
        r"_E1 \(line 4\), x =: delay",
    ),
    (
        "compartment C = 2; species S in C; S = 1; S' = -S;\ngrow: at time > 1: C = 3;",
        r"species S .*: it has a rate rule for its concentration, and an event changes the size of C",
    ),
    (
        "compartment C; C := 2*V; V = 1; species S in C; S = 1;\nS' = -S;\ngrow: at time > 1: V = 3;",
        r"rate rule S \(line 3\): .* an event changes the size of C through V",
    ),
    (
        "compartment C = 2; species S in C; S = 1; R: S -> ; C*S;\ngrow: at time > 1: C = 3, S = 2;",
        r"event grow \(line 3\): it sets the concentration S and the size of C at once",
    ),
    (
        "compartment E = 1; species T in E; T = 3; E' = 1; compartment D; D := 1 + T; species U in D;\n"
        "U = 1; W = 1; W' = U; grow: at time > 1: T = 3, U = 1;",
        r"event grow \(line 3\): it sets concentrations in D, whose size depends on amount_of_T",
    ),
    # conditions on time
    (
        "x = 1;\nx' = piecewise(1, time > x, 2);",
        r"rate rule x \(line 3\): .* compares time with x, which",
    ),
    ("x = 1;\nx' = piecewise(1, time*time > 4, 2);", r"rate rule x \(line 3\): .* is not a moment"),
    ("x = 1;\nx' = piecewise(1, sin(time) > 0, 2);", r"rate rule x \(line 3\): .* is not a moment"),
    ("x = 1;\nx' = piecewise(1, time == 4, 2);", r"rate rule x \(line 3\): .* is not a moment"),
]


@pytest.mark.parametrize(("body", "words"), ANTIMONY_REFUSALS)
def test_an_antimony_text_that_would_be_simulated_wrongly_is_refused(body: str, words: str) -> None:
    with pytest.raises(FileNotValid, match=words) as refusal:
        read(body if "Q" not in body else f"Q = 1; {body}")
    assert str(refusal.value).startswith("model mine")


COMPARTMENT = (
    '<listOfCompartments><compartment id="C" size="2" spatialDimensions="3" constant="true"/>'
    "</listOfCompartments>\n"
)
PARAMETERS = (
    '<listOfParameters><parameter id="x" value="1" constant="false"/>\n'
    '<parameter id="k" value="1" constant="true"/></listOfParameters>\n'
)


def species(attributes: str) -> str:
    return (
        f'<listOfSpecies><species id="A" hasOnlySubstanceUnits="false" boundaryCondition="false" '
        f'constant="false" {attributes}/></listOfSpecies>\n'
    )


def reaction(inside: str, attributes: str = 'fast="false"') -> str:
    return (
        f'<listOfReactions>\n<reaction id="R" reversible="false" {attributes}>{inside}</reaction>'
        "</listOfReactions>\n"
    )


def rate_rule(inner: str, name: str = "x") -> str:
    return f'<listOfRules>\n<rateRule variable="{name}">{formula(inner)}</rateRule></listOfRules>'


LAW = f"<kineticLaw>{formula('<ci>C</ci>')}</kineticLaw>"
SBML_REFUSALS = [
    (sbml(PARAMETERS + rate_rule("<ci>nowhere</ci>")), r"line 7: .*nowhere"),
    (sbml(PARAMETERS + "<listOfParameters/>"), r"not valid SBML: line 3: Only one of each"),
    ("<sbml", "not valid SBML: line 1"),
    ("<html></html>", "not valid SBML: line 1"),
    (
        '<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2"><model name="m">'
        '<listOfCompartments><compartment name="C"/></listOfCompartments></model></sbml>',
        "it is SBML level 1; allowed are levels 2 and 3",
    ),
    (
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"/>',
        "holds no model|not valid SBML",
    ),
    (
        sbml(PARAMETERS).replace(
            'level="3"',
            'xmlns:comp="http://www.sbml.org/sbml/level3/version1/comp/version1" '
            'comp:required="true" level="3"',
            1,
        ),
        "needs the SBML package comp; allowed is SBML core",
    ),
    (
        sbml(PARAMETERS).replace(
            'level="3"',
            'xmlns:foo="http://www.sbml.org/sbml/level3/version1/foo/version1" '
            'foo:required="true" level="3"',
            1,
        ),
        "requires an SBML Level 3 package unavailable",
    ),
    (
        sbml(
            COMPARTMENT
            + species('compartment="C" initialAmount="1"')
            + reaction(LAW, 'fast="true"')
        ),
        r"reaction R \(line 7\): a fast reaction is not supported",
    ),
    (
        sbml(
            COMPARTMENT
            + species('compartment="C" initialAmount="1"')
            + reaction(
                '<listOfReactants><speciesReference species="A" stoichiometry="1" constant="true"/>'
                "</listOfReactants>"
            )
        ),
        r"reaction R \(line 7\): it has no rate",
    ),
    (
        sbml(
            COMPARTMENT
            + species('compartment="C" initialAmount="1"')
            + reaction(
                '<listOfReactants><speciesReference species="A" constant="true"/></listOfReactants>'
                + LAW
            )
        ),
        r"reaction R \(line 7\): the stoichiometry of A has no value",
    ),
    (
        sbml(COMPARTMENT.replace('size="2"', "") + species('compartment="C" initialAmount="1"')),
        r"compartment C \(line 4\): C has no value",
    ),
    (
        sbml(COMPARTMENT + species('compartment="C"') + rate_rule("<ci>C</ci>", "A")),
        r"species A \(line 5\): A has no value",
    ),
    (sbml(COMPARTMENT + species('initialAmount="1"')), r"line 5: .*compartment"),
    (
        sbml(
            COMPARTMENT
            + "<listOfConstraints>\n<constraint>"
            + formula("<apply><gt/><ci>C</ci><cn>1</cn></apply>")
            + "</constraint></listOfConstraints>"
        ),
        r"constraint \(line 6\): a constraint is not supported",
    ),
    (
        sbml(
            PARAMETERS
            + "<listOfRules>\n<algebraicRule>"
            + formula("<apply><minus/><ci>x</ci><ci>k</ci></apply>")
            + "</algebraicRule></listOfRules>"
        ),
        r"algebraic rule \(line 7\): an algebraic rule is not supported",
    ),
    (
        sbml(
            PARAMETERS
            + rate_rule(
                '<apply><csymbol encoding="text" '
                'definitionURL="http://www.sbml.org/sbml/symbols/rateOf">r</csymbol><ci>k</ci></apply>'
            ),
            3,
            2,
        ),
        r"rate rule x \(line 7\): .* is not supported",
    ),
    (sbml(PARAMETERS + rate_rule("<notanumber/>")), r"rate rule x \(line 7\): nan is not a number"),
    (sbml(PARAMETERS + rate_rule("<infinity/>")), r"rate rule x \(line 7\): inf is not a number"),
    (
        sbml(PARAMETERS + '<listOfRules>\n<rateRule variable="x"/></listOfRules>', 3, 2),
        r"x \(line 7\): it has no",
    ),
    (
        sbml(
            PARAMETERS
            + '<listOfEvents>\n<event id="e" useValuesFromTriggerTime="true"/></listOfEvents>',
            3,
            2,
        ),
        r"event e \(line 7\).*: it has no formula",
    ),
]


@pytest.mark.parametrize(("text", "words"), SBML_REFUSALS, ids=range(len(SBML_REFUSALS)))
def test_an_sbml_text_that_would_be_simulated_wrongly_is_refused(text: str, words: str) -> None:
    with pytest.raises(FileNotValid, match=words) as refusal:
        read_model(text, "mine")
    assert str(refusal.value).startswith("model mine")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("// at time > 1\n/* x' = 3;\n */ x = 1;\nx' = floor(x);", r"rate rule x \(line 5\)"),
        (
            "x = 1; R1: -> x; 1;\nR2: -> x; 1; # -> x; 3\n\n -> x; floor(x); species x;",
            r"_J\d \(line 5\)",
        ),
        (
            "x = 1; x' = 1;\nE1: at time > 1: x = 1;\n\nat time > x: x = 1;",
            r"event _E\d \(line 5\)",
        ),
        ("x = 1; x' = f(x);\n", r"rate rule x \(line 5\), function f: floor is not"),
        ("ax = 2;\na.x = 1;", "model mine"),
        ("xx = 1; x = 3;\nxx' = 1;\nx2 = floor(x);", r"initial assignment x2 \(line 4\)"),
    ],
)
def test_the_line_is_that_of_the_text_that_a_person_wrote(body: str, words: str) -> None:
    before = "function f(x)\n floor(x)\nend\n" if "f(x);" in body and "floor" not in body else ""
    with pytest.raises(FileNotValid, match=words):
        read_model(f"{before}model mine\n{body}\nend\n", "mine")
