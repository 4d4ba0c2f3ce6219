"""Model texts, small and published, that the tests of reading and of exporting share.

Belongs here: texts and the frames around them. Not here: what they should mean (test_sbml).
"""

from __future__ import annotations

from pathlib import Path

from chiploop.models.sbml import read_model
from chiploop.models.symbolic import SymbolicModel

MODELS = Path(__file__).parents[3] / "chiploop" / "models"
PETAB_CASES = [f"petab_test_suite/v1_sbml/{i:04d}/_model.xml" for i in range(1, 21)] + [
    f"petab_problems/{name}/model_{name}.xml"
    for name in ("Boehm_JProteomeRes2014", "Raia_CancerResearch2011", "Brannmark_JBC2010")
]
MATH = 'xmlns="http://www.w3.org/1998/Math/MathML"'
NAMESPACES = {
    (2, 1): "http://www.sbml.org/sbml/level2",
    (2, 4): "http://www.sbml.org/sbml/level2/version4",
    (3, 1): "http://www.sbml.org/sbml/level3/version1/core",
    (3, 2): "http://www.sbml.org/sbml/level3/version2/core",
}


def antimony(body: str) -> str:
    return f"model mine\n{body}\nend\n"


def sbml(body: str, level: int = 3, version: int = 1, of_model: str = "") -> str:
    return (
        f'<?xml version="1.0"?>\n<sbml xmlns="{NAMESPACES[level, version]}" level="{level}" '
        f'version="{version}">\n<model id="mine" {of_model}>\n{body}\n</model>\n</sbml>\n'
    )


def formula(inner: str) -> str:
    return f"<math {MATH}>{inner}</math>"


def read(body: str) -> SymbolicModel:
    return read_model(antimony(body), "mine")


REACTION_WITH_LOCALS = f"""
<listOfCompartments><compartment id="C" size="2" spatialDimensions="3" constant="true"/></listOfCompartments>
<listOfSpecies>
 <species id="A" compartment="C" initialConcentration="3" hasOnlySubstanceUnits="false"
  boundaryCondition="false" constant="false"/>
 <species id="B" compartment="C" initialAmount="1" hasOnlySubstanceUnits="false"
  boundaryCondition="false" constant="false"/>
</listOfSpecies>
<listOfParameters><parameter id="k" value="100" constant="true"/>
 <parameter id="R_k" value="7" constant="true"/></listOfParameters>
<listOfReactions><reaction id="R" reversible="false" fast="false">
 <listOfReactants><speciesReference species="A" stoichiometry="2" constant="true"/></listOfReactants>
 <listOfProducts><speciesReference species="B" stoichiometry="1" constant="true"/></listOfProducts>
 <kineticLaw>{formula("<apply><times/><ci>C</ci><ci>k</ci><ci>A</ci></apply>")}
  <listOfLocalParameters><localParameter id="k" value="0.25"/></listOfLocalParameters>
 </kineticLaw></reaction></listOfReactions>"""

STOICHIOMETRY_AND_FACTORS = f"""
<listOfCompartments><compartment id="C" size="2" spatialDimensions="3" constant="true"/></listOfCompartments>
<listOfSpecies>
 <species id="A" compartment="C" initialConcentration="3" hasOnlySubstanceUnits="false"
  boundaryCondition="false" constant="false"/>
 <species id="B" compartment="C" initialAmount="1" hasOnlySubstanceUnits="true"
  boundaryCondition="false" constant="false" conversionFactor="ten"/>
</listOfSpecies>
<listOfParameters><parameter id="k" value="0.25" constant="true"/>
 <parameter id="half" value="0.5" constant="true"/>
 <parameter id="ten" value="10" constant="true"/></listOfParameters>
<listOfInitialAssignments><initialAssignment symbol="used">
 {formula("<apply><times/><cn>4</cn><ci>half</ci></apply>")}</initialAssignment>
</listOfInitialAssignments>
<listOfReactions><reaction id="R" reversible="false" fast="false">
 <listOfReactants><speciesReference id="used" species="A" constant="true"/></listOfReactants>
 <listOfProducts><speciesReference id="made" species="B" stoichiometry="3" constant="true"/>
 </listOfProducts>
 <kineticLaw>{formula("<apply><times/><ci>C</ci><ci>k</ci><ci>A</ci></apply>")}</kineticLaw>
</reaction></listOfReactions>"""

LEVEL_2 = f"""
<listOfFunctionDefinitions><functionDefinition id="twice">
 {formula("<lambda><bvar><ci>x</ci></bvar><apply><times/><cn>2</cn><ci>x</ci></apply></lambda>")}
</functionDefinition></listOfFunctionDefinitions>
<listOfCompartments><compartment id="C" size="2"/></listOfCompartments>
<listOfSpecies><species id="A" compartment="C" initialConcentration="3"/>
 <species id="B" compartment="C" initialAmount="1"/></listOfSpecies>
<listOfParameters><parameter id="n" value="3"/></listOfParameters>
<listOfReactions><reaction id="R">
 <listOfReactants><speciesReference species="A"><stoichiometryMath>
  {formula("<apply><minus/><ci>n</ci><cn>1</cn></apply>")}</stoichiometryMath></speciesReference>
 </listOfReactants>
 <listOfProducts><speciesReference species="B"/></listOfProducts>
 <kineticLaw>{formula("<apply><times/><ci>k</ci><apply><ci>twice</ci><ci>A</ci></apply></apply>")}
  <listOfParameters><parameter id="k" value="0.25"/></listOfParameters></kineticLaw>
</reaction></listOfReactions>
<listOfEvents><event id="stop"><trigger>
 {
    formula(
        '<apply><gt/><csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">'
        "t</csymbol><cn>2</cn></apply>"
    )
}</trigger>
 <listOfEventAssignments><eventAssignment variable="B">{formula("<cn>5</cn>")}</eventAssignment>
 </listOfEventAssignments></event></listOfEvents>"""

CONSTANT_SPECIES = f"""
<listOfCompartments><compartment id="C" size="2" spatialDimensions="3" constant="false"/>
 <compartment id="D" size="4" spatialDimensions="3" constant="true"/></listOfCompartments>
<listOfSpecies>
 <species id="A" compartment="C" initialConcentration="3" hasOnlySubstanceUnits="false"
  boundaryCondition="true" constant="true"/>
 <species id="B" compartment="C" initialAmount="3" hasOnlySubstanceUnits="true"
  boundaryCondition="true" constant="true"/>
 <species id="K" compartment="D" initialConcentration="3" hasOnlySubstanceUnits="false"
  boundaryCondition="true" constant="true"/>
 <species id="M" compartment="D" initialAmount="3" hasOnlySubstanceUnits="false"
  boundaryCondition="true" constant="true"/>
</listOfSpecies>
<listOfParameters><parameter id="p" value="1" constant="false"/></listOfParameters>
<listOfRules><rateRule variable="C">{formula("<cn>0.5</cn>")}</rateRule>
 <rateRule variable="p">{
    formula("<apply><plus/><ci>A</ci><ci>B</ci><ci>K</ci><ci>M</ci></apply>")
}</rateRule></listOfRules>"""

FEATURES: dict[str, str] = {
    "reactions in two sizes, amounts and concentrations": antimony(
        "compartment C = 2; compartment D = 0.5; species S in C; species T in D;"
        "substanceOnly species B in C; species $X in C; S = 2; T = 1; B = 4; X = 1.5;"
        "R1: S + X -> 2 B + T; C*k*S*X; R2: T -> S; D*k*T/(1 + B); k = 0.3; f := R1 + R2*S;"
    ),
    "a size with a rate rule dilutes what is in it": antimony(
        "compartment C = 2; species S in C; substanceOnly species B in C; species $X in C;"
        "S = 2; B = 4; X = 3; C' = 0.2; R1: S -> B; C*k*S*X; k = 0.1;"
    ),
    "a size with an assignment rule, and one with an initial assignment": antimony(
        "compartment C; C := 2 + sin(time); compartment D; D = 3*k; species S in C; species T in D;"
        "S = 2; T = k; R1: S -> T; k*S*C; k = 0.4; q := S + T*D;"
    ),
    "a constant species in a size that varies keeps its amount": sbml(CONSTANT_SPECIES),
    "rules for species": antimony(
        "compartment C = 2; species S in C; species T in C; substanceOnly species B in C; S = 2;"
        "B = 1; S' = -k*S; T := S + 1; B' = k*S*C; k = 0.7;"
    ),
    "events set concentrations, sizes and parameters": antimony(
        "compartment C = 2; species S in C; S = 2; R1: S -> ; C*k*S; k = 0.1; dose = 1.5; C' = 0.1;"
        "first: at time >= 1: S = S + dose; second: at 2 < time: C = 2*C;"
        "third: at time > 3: k = 3*k, S = time; fourth: at 4 after time >= 3.5: k = 0.01;"
    ),
    "an event moves a size that a rule defines": antimony(
        "compartment C; V = 2; C := 3*V; species S in C; S = 2; R1: S -> ; C*k*S; k = 0.1;"
        "grow: at time >= 1: V = 4; both: at time >= 2: V = 1, S = 7;"
    ),
    "a delayed event with values from its end": antimony(
        "x = 1; x' = -0.1*x; late: at 2 after time >= 1, fromTrigger=false: x = 2*x;"
        "other: at (time >= begin + 4.5): x = x + 1; begin = 1;"
    ),
    "piecewise, in time and in states": antimony(
        "T = 2.5; pulse := piecewise(3, time < T, 1, time < 2*T && time >= T, 0.2);"
        "on := piecewise(1, !(pulse > 2) || x > 3, 0); x = 1; x' = on*pulse - 0.3*x;"
        "y = 0; y' = piecewise(1, x > 1.2 && x <= 3 && x != 2, 4, x == 7, 2 + pulse);"
    ),
    "functions": "function twice(v)\n 2*v\nend\nfunction hill(x, K, n)\n x^n/(K^n + x^n)\nend\n"
    "function mean(k, x)\n (x + twice(k))/2\nend\n"
    + antimony("k = 0.3; x' = hill(x, k, 2) - mean(x, k); x = 2; y := twice(hill(x, 1, 3));"),
    "elementary functions": antimony(
        "x = 0.5; x' = 0.01*x; a := exp(x) + ln(x) + log10(x) + sqrt(x) + x^1.5 + root(3, x);"
        "b := abs(-x) + min(x, 1, time) + max(x, 0.2) + log(x) + pi + exponentiale;"
        "c := sin(x) + cos(x) + tan(x) + sinh(x) + cosh(x) + tanh(x);"
        "d := arcsin(x/4) + arccos(x/4) + arctan(x) + arcsinh(x) + arccosh(1 + x) + arctanh(x/4);"
        "e := sec(x) + csc(x) + cot(x) + sech(x) + csch(x) + coth(x) + arcsec(1 + x) + arccsch(x);"
        "f := avogadro*1e-23 + 1.25e-7*x + 2*x*time;"
    ),
    "names that other readers take for something else": antimony(
        "E1 = 2; S = 3; N = 4; I = 5; Q = 6; lambda = 7; zeta = 1; S_ = 2; None = 1; oo = 3; x = 1;"
        "zoo = 1; Abs = 3; E = 1; O = 4; x' = E1 + S*N - I + Q*lambda + zeta*S_*None + oo*zoo - Abs;"
        "y := E^O;"
    ),
    "starts that rest on each other": antimony(
        "k1 = 2; k2 = 3*k1; total := k1 + k2 + x; x = total0/y; total0 = 8*R1; y = 4; x' = -k2*x*y;"
        "y' = -y*tau; tau = x + time; compartment C = 3; species A in C; A = x; R1: A -> ; 1 + k2;"
    ),
    "locals, in level 3": sbml(REACTION_WITH_LOCALS),
    "stoichiometries with ids, conversion factors": sbml(
        STOICHIOMETRY_AND_FACTORS, of_model='conversionFactor="half"'
    ),
    "level 2": sbml(LEVEL_2, 2, 4),
}
