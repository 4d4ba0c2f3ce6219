"""XML of a vendor file to a plain tree: no document type, no entity, nothing fetched, bounded depth.

Belongs here: elements, their text and where they begin. Not here: what an element means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from chiploop.errors import FileNotValid
from chiploop.exports.trouble import ExportIncomplete

DEEPEST: Final = 40
"""Elements within elements; exports of Bio-Plex Manager have nine."""


@dataclass(slots=True)
class Element:
    """One element."""

    tag: str
    """As written, with its prefix."""
    attributes: dict[str, str]
    line: int
    column: int
    text: str = ""
    """All text directly in it, the pieces between its children joined."""
    children: list[Element] = field(default_factory=list)

    def one(self, tag: str) -> Element | None:
        """Return the first child of a tag, None without one."""
        return next((child for child in self.children if child.tag == tag), None)

    def every(self, tag: str) -> list[Element]:
        """Return all children of a tag."""
        return [child for child in self.children if child.tag == tag]

    def said(self, tag: str) -> str:
        """Return the text of the first child of a tag, empty without one."""
        child = self.one(tag)
        return child.text.strip() if child is not None else ""


def parse(text: str, name: str) -> Element:
    """Return the root element.

    Raises
    ------
    ExportIncomplete : an element that is not closed.
    FileNotValid : a document type or entity, too deep, or text that is no XML.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    top = Element("", {}, 0, 0)
    stack = [top]

    def refuse(*_: object) -> None:
        raise FileNotValid(
            f"{name}, line {parser.CurrentLineNumber}: a document type or entity; exports have "
            "none, and none is read."
        )

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) > DEEPEST:
            raise FileNotValid(
                f"{name}, line {parser.CurrentLineNumber}: elements more than {DEEPEST} deep."
            )
        element = Element(tag, attributes, parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def characters(data: str) -> None:
        stack[-1].text += data

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse  # type: ignore[assignment]
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    try:
        parser.Parse(text, True)
    except expat.ExpatError as trouble:
        told = f"{name}, line {trouble.lineno}: incomplete: {expat.ErrorString(trouble.code)}"
        open_still = (
            expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
            expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        )
        if trouble.code in open_still or "no element found" in told:
            raise ExportIncomplete(f"{told}. Export it again.") from trouble
        raise FileNotValid(f"{told.replace('incomplete: ', '')}; it is no XML.") from trouble
    return top.children[0]
