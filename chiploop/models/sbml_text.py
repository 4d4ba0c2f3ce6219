"""The text of a model as libsbml's document, and the place in that text that a message names.

Belongs here: telling Antimony from SBML, what libsbml and libantimony refuse, kinds of elements that are
refused without reading a formula, line numbers. Not here: formulas (sbml_math), what the elements mean (sbml).
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Any

from chiploop.errors import FileNotValid

DEEPEST_SBML = 1000
"""Elements within elements; libsbml itself recurses, and a process dies where its stack ends."""
ANTIMONY = threading.Lock()
"""libantimony keeps what it has loaded in one place for the whole process."""
ALLOWED_ELEMENTS = (
    "allowed are compartments, species, parameters, reactions, rate rules, assignment rules, "
    "initial assignments, functions and events at known times"
)
CORE_PACKAGES = ("l3v2extendedmath",)
"""What libsbml keeps as a package although level 3 version 2 has it in its core."""
DEFINITIONS = {
    "reaction": r"{0}\s*:(?!=)",
    "event": r"{0}\s*:(?!=)",
    "function": r"function\s+{0}",
    "rate rule": r"{0}\s*'\s*=",
    "assignment rule": r"{0}\s*:=",
    "initial assignment": r"{0}\s*=(?!=)",
    "parameter": r"{0}\s*=(?!=)",
    "compartment": r"{0}\s*=(?!=)",
    "species": r"{0}\s*=(?!=)",
}
"""Kind of element -> how Antimony writes its definition."""
UNNAMED = {
    "reaction": ("_J", r"(?m)(?:^|(?<=;))(?![^;\n]*?\w\s*:)[^;\n]*?[-=]>"),
    "event": ("_E", r"(?<!\w)(?<!:)(?<!:\s)at\b"),
    "constraint": ("", r"(?m)(?:^|(?<=;))[^;:\n'=]*?(?<![-=])[<>]"),
    "algebraic rule": ("_alg", r"(?m)(?:^|(?<=;))\s*0\s*="),
}
"""Kind of element -> how Antimony names one without a name, and how that one looks in the text."""


@dataclass(frozen=True)
class ModelSource:
    """A model text that libsbml has read."""

    name: str
    document: Any
    """libsbml's SBMLDocument; it has to live as long as any of its elements is in use."""
    antimony: str | None
    """The Antimony text, its comments blanked; None where the text is SBML."""

    @property
    def model(self) -> Any:
        """libsbml's Model."""
        return self.document.getModel()

    def place(self, kind: str, identifier: str, element: Any = None) -> str:
        """Return the words that name an element: model, kind, id and line in the person's own text."""
        if self.antimony is None:
            line = element.getLine() if element is not None else 0
        else:
            line = antimony_line(self.antimony, kind, identifier)
        words = f"model {self.name}, {kind}" + (f" {identifier}" if identifier else "")
        return f"{words} (line {line})" if line else words


def read_source(text: str, name: str) -> ModelSource:
    """Return the document of an Antimony or SBML text.

    Raises FileNotValid where the text is not valid, or holds elements of a kind that is not supported.
    """
    text = text.lstrip("\ufeff")
    if text.lstrip().startswith("<"):
        refuse_deep(text, name)
        source = ModelSource(name, sbml_document(text, name), None)
    else:
        source = ModelSource(name, parse(antimony_to_sbml(text, name)), without_comments(text))
    refuse_elements(source)
    if source.antimony is None:
        refuse_inconsistency(source)
    return source


def refuse_deep(text: str, name: str) -> None:
    """Raise FileNotValid for SBML that is nested deeper than libsbml can bear."""
    level = 0
    for tag in re.finditer(r"<(/?)[A-Za-z_][^<>]*?(/?)>", text):
        level += -1 if tag[1] else 0 if tag[2] else 1
        if level > DEEPEST_SBML:
            raise FileNotValid(
                f"model {name}: line {text.count(chr(10), 0, tag.start()) + 1}: more than "
                f"{DEEPEST_SBML} elements stand within each other; split the formula into parts"
            )


def antimony_to_sbml(text: str, name: str) -> str:
    """Return the SBML that libantimony makes of an Antimony text; FileNotValid where it refuses the text."""
    import antimony

    with ANTIMONY:
        antimony.clearPreviousLoads()
        if antimony.loadAntimonyString(text) < 0:
            raise FileNotValid(f"model {name}: {antimony_reason(text)}")
        sbml: str = antimony.getSBMLString(antimony.getMainModuleName())
        antimony.clearPreviousLoads()
    return sbml


def antimony_reason(text: str) -> str:
    """Return why libantimony refused this text, in its words where they can be read."""
    import antimony

    try:
        return " ".join(antimony.getLastError().split())
    except UnicodeDecodeError:  # it cuts its own message within a letter
        strange = next(i for i, line in enumerate(text.splitlines(), start=1) if not line.isascii())
        return (
            f"it is not valid Antimony; the first letter outside ASCII stands on line {strange}, "
            "and such letters are for comments alone"
        )


def parse(text: str) -> Any:
    """Return libsbml's document of a text; what is wrong with it stands in the document."""
    import libsbml

    # the text is decoded already, whatever its first line says; every line stays at its place
    body = re.sub(r"\A(\s*)<\?xml\b[^>]*\?>", r"\1", text)
    return libsbml.readSBMLFromString(f'<?xml version="1.0" encoding="UTF-8"?>{body}')


def sbml_document(text: str, name: str) -> Any:
    """Return libsbml's document of an SBML text; FileNotValid where it is not SBML of level 2 or 3."""
    document = parse(text)
    refuse_errors(document, name)
    if document.getLevel() not in (2, 3):
        raise FileNotValid(
            f"model {name}: it is SBML level {document.getLevel()}; allowed are levels 2 and 3"
        )
    if document.getModel() is None:
        raise FileNotValid(f"model {name}: the SBML text holds no model")
    for i in range(document.getNumPlugins()):
        package = document.getPlugin(i).getPackageName()
        is_known = document.getLevel() < 3 or package in CORE_PACKAGES
        if not is_known and document.getPackageRequired(package):
            raise FileNotValid(
                f"model {name}: it needs the SBML package {package}; allowed is SBML core, "
                "and packages that are marked as not required"
            )
    return document


def refuse_errors(document: Any, name: str) -> None:
    """Raise FileNotValid for the errors that libsbml has found in a document."""
    import libsbml

    found = [document.getError(i) for i in range(document.getNumErrors())]
    serious = [e for e in found if e.getSeverity() >= libsbml.LIBSBML_SEV_ERROR]
    if serious:
        told = "; ".join(f"line {e.getLine()}: {told_error(e)}" for e in serious[:3])
        more = f"; and {len(serious) - 3} more" if len(serious) > 3 else ""
        raise FileNotValid(f"model {name}: it is not valid SBML: {told}{more}")


def told_error(error: Any) -> str:
    """Return what libsbml says about this text; not the rule that it quotes from the specification."""
    rule, _, rest = error.getMessage().partition("Reference:")
    detail = " ".join(rest.partition("\n")[2].split()) or " ".join(rule.split())
    return f"{error.getShortMessage()}: {detail}"


def refuse_inconsistency(source: ModelSource) -> None:
    """Raise FileNotValid where the document breaks a rule of SBML (unknown or doubled ids, circles ...)."""
    check_consistency(source.document)
    refuse_errors(source.document, source.name)


def check_consistency(document: Any) -> None:
    """Let libsbml check a document against the rules of SBML, units and manners apart."""
    import libsbml

    for category in (
        libsbml.LIBSBML_CAT_UNITS_CONSISTENCY,
        libsbml.LIBSBML_CAT_MODELING_PRACTICE,
        libsbml.LIBSBML_CAT_SBO_CONSISTENCY,
    ):
        document.setConsistencyChecks(category, False)
    document.checkConsistency()


def refuse_elements(source: ModelSource) -> None:
    """Raise FileNotValid for elements that are not supported whatever they hold."""
    model = source.model
    rules = [model.getRule(i) for i in range(model.getNumRules())]
    for rule in (rule for rule in rules if rule.isAlgebraic()):
        place = source.place("algebraic rule", rule.getIdAttribute(), rule)
        raise FileNotValid(f"{place}: an algebraic rule is not supported; {ALLOWED_ELEMENTS}")
    for i in range(model.getNumConstraints()):
        constraint = model.getConstraint(i)
        place = source.place("constraint", constraint.getIdAttribute(), constraint)
        raise FileNotValid(f"{place}: a constraint is not supported; {ALLOWED_ELEMENTS}")
    for i in range(model.getNumReactions()):
        reaction = model.getReaction(i)
        if reaction.isSetFast() and reaction.getFast():
            raise FileNotValid(
                f"{source.place('reaction', reaction.getId(), reaction)}: a fast reaction is not "
                "supported; allowed are reactions with a rate (fast='false')"
            )


def without_comments(text: str) -> str:
    """Return an Antimony text with its comments blanked, every line at its place."""
    return re.sub(
        r"/\*.*?\*/|//[^\n]*|#[^\n]*",
        lambda comment: re.sub(r"[^\n]", " ", comment.group()),
        text,
        flags=re.DOTALL,
    )


def antimony_line(text: str, kind: str, identifier: str) -> int:
    """Return the line of an element in an Antimony text without comments; 0 where it is not found."""
    mains = [m.start() for m in re.finditer(r"(?m)^\s*(?:model|module)\b", text)]
    begin = mains[-1] if mains else 0
    if kind in UNNAMED:
        prefix, pattern = UNNAMED[kind]
        counted = re.fullmatch(rf"{prefix}(\d*)", identifier)
        if counted:
            # of several that look alike the right one is known by its number alone
            found = list(re.finditer(pattern, text[begin:]))
            index = int(counted.group(1) or 0)
            return line_at(text, begin + found[index].end()) if index < len(found) else 0
    last = re.escape(identifier.rsplit("__", 1)[-1])
    word = rf"(?<![\w.])\$?{last}(?!\w)"
    for pattern in (DEFINITIONS.get(kind, word).replace("{0}", word), word):
        for start in (begin, 0):
            found_at = re.compile(pattern).search(text, start)
            if found_at:
                return line_at(text, found_at.end())
    return 0


def line_at(text: str, position: int) -> int:
    """Return the line, from 1, of a position in a text."""
    return text.count("\n", 0, position) + 1
