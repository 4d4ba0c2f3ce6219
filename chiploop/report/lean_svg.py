"""A Matplotlib SVG that weighs a third: the same picture in fewer letters.

Belongs here: elements and their looks. Not here: paths (svg_paths), names of ids, titles (svg).

Nothing that a reader sees moves: markers and text keep their place to a hundredth of a point, a drawn line or the
edge of a band to ``svg_paths.LINE_PT``, which is finer than a printer's dot. What goes: points of a line between
which it is straight, groups that say nothing, grounds without colour, shapes kept apart though they are used once,
digits, and looks said again at each mark, which become classes. A class carries the figure's own short name, for a
report has many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from chiploop.report.svg_paths import joined, moved, said, shorter_path

Element = ElementTree.Element

AT_LEAST = 3
"""Of one look, before it becomes a class."""
XLINK = "{http://www.w3.org/1999/xlink}"
STROKE = re.compile(r"M-?[\d.]+ ?-?[\d.]+(?:[hv]-?[\d.]+|l-?[\d.]+ ?-?[\d.]+)")
"""A shortened path of one straight line."""
OPACITY = re.compile(r"(?:^|;) *opacity")


def lean(text: str, short: str) -> str:
    """Return an SVG with one root in fewer letters; ``short`` begins the names of its classes."""
    root = ElementTree.fromstring(text)
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]
        one.text, one.tail = (one.text if one.tag == "text" else None), None
        for key in [key for key in one.attrib if key.startswith(XLINK)]:
            one.set(key.removeprefix(XLINK), one.attrib.pop(key))
    _inline_what_is_used_once(root)
    _flatten(root)
    _join_by(root, "clip-path", lambda one: "transform" not in one.attrib)
    for one in root.iter():
        _shorten(one)
    _drop_unseen(root)
    _draw_in_one_go(root)
    _string_up(root, short)
    _join_by(root, "style", lambda one: not OPACITY.search(one.get("style", "")))
    styles = _classes(root, short)
    if styles:
        look = ElementTree.Element("style")
        look.text = styles
        root.insert(0, look)
    return "".join(_written(root))


def _inline_what_is_used_once(root: Element) -> None:
    """Put a shape where it is used, where that is one place; drop those that nobody uses."""
    used = Counter(one.get("href", "") for one in root.iter("use"))
    parents = {child: parent for parent in root.iter() for child in parent}
    shapes = {
        f"#{one.get('id')}": one for defs in root.iter("defs") for one in defs if one.tag == "path"
    }
    for use in list(root.iter("use")):
        shape = shapes.get(use.get("href", ""))
        if shape is None or used[use.get("href", "")] != 1 or "transform" in use.attrib:
            continue
        by = (float(use.get("x", "0")), float(use.get("y", "0")))
        style = "; ".join(filter(None, (use.get("style"), shape.get("style"))))
        more = {k: v for k, v in use.attrib.items() if k not in ("href", "x", "y", "style")}
        use.tag = "path"
        use.attrib.clear()
        use.attrib.update({"d": moved(shape.get("d", ""), by), **more})
        if style:
            use.set("style", style)
        parents[shape].remove(shape)
    for name, shape in shapes.items():
        if name not in used:
            parents[shape].remove(shape)


def _flatten(parent: Element) -> None:
    """Take out groups that say nothing, and lists of shapes that are empty."""
    for child in list(parent):
        _flatten(child)
    kept: list[Element] = []
    for child in parent:
        if child.tag == "g" and not child.attrib:
            kept += list(child)
        elif not (child.tag in ("g", "defs") and len(child) == 0):
            kept.append(child)
    parent[:] = kept


def _join_by(parent: Element, key: str, allowed: Callable[[Element], bool]) -> None:
    """Say what neighbours have in common once, on a group about them."""
    for child in parent:
        _join_by(child, key, allowed)
    kept: list[Element] = []
    run: list[Element] = []

    def close() -> None:
        is_worth_it = len(run) > (1 if key == "clip-path" else AT_LEAST - 1)
        if is_worth_it:
            group = ElementTree.Element("g", {key: run[0].attrib[key]})
            for one in run:
                del one.attrib[key]
                group.extend(list(one) if one.tag == "g" and not one.attrib else [one])
            kept.append(group)
        else:
            kept.extend(run)
        run.clear()

    for child in parent:
        value = child.get(key)
        can = value is not None and child.tag in ("g", "use", "path", "text") and allowed(child)
        if run and (not can or value != run[0].get(key)):
            close()
        if can:
            run.append(child)
        else:
            kept.append(child)
    close()
    parent[:] = kept


def _draw_in_one_go(root: Element) -> None:
    """Make one path of lines of one look that follow each other: neither has an inside, so none hides another."""
    lines = {
        f"#{one.get('id')}": one
        for defs in root.iter("defs")
        for one in defs
        if one.tag == "path" and STROKE.fullmatch(one.get("d", ""))
    }
    gone: set[str] = set()
    for parent in list(root.iter()):
        kept: list[Element] = []
        before: dict[str, str] | None = None
        for child in parent:
            line = lines.get(child.get("href", "")) if child.tag == "use" else None
            if line is not None and set(child.keys()) <= {"href", "x", "y", "style"}:
                gone.add(child.get("href", ""))
                by = (float(child.get("x", "0")), float(child.get("y", "0")))
                start = re.match(r"M(-?[\d.]+) ?(-?[\d.]+)", line.get("d", ""))
                assert start is not None
                place = joined([float(start[1]) + by[0], float(start[2]) + by[1]])
                style = ";".join(filter(None, (child.get("style"), line.get("style"))))
                child = ElementTree.Element(
                    "path", {"d": f"M{place}{line.get('d', '')[start.end() :]}", "style": style}
                )
            look = {k: v for k, v in child.attrib.items() if k != "d"}
            if child.tag == "path" and look == before and _is_plain_line(child):
                kept[-1].set("d", kept[-1].get("d", "") + child.get("d", ""))
                continue
            kept.append(child)
            before = look if child.tag == "path" and _is_plain_line(child) else None
        parent[:] = kept
    for defs in root.iter("defs"):
        defs[:] = [one for one in defs if f"#{one.get('id')}" not in gone]
    _flatten(root)


def _string_up(root: Element, short: str) -> None:
    """Make of marks of one shape and look that follow each other the corners of a line that is not drawn."""
    shapes = {f"#{one.get('id')}": one for defs in root.iter("defs") for one in defs}
    markers: dict[tuple[str, str], str] = {}
    all_defs = ElementTree.Element("defs")
    for parent in list(root.iter()):
        kept: list[Element] = []
        for (href, style), run in _runs_of_marks(parent, shapes):
            if len(run) < AT_LEAST or not href:
                kept += run
                continue
            if (href, style) not in markers:
                markers[href, style] = name = f"{short}m{len(markers) + 1}"
                marker = ElementTree.SubElement(
                    all_defs,
                    "marker",
                    {"id": name, "markerUnits": "userSpaceOnUse", "overflow": "visible"},
                )
                look = ";".join(filter(None, (style, shapes[href].get("style"))))
                ElementTree.SubElement(
                    marker, "path", {"d": shapes[href].get("d", ""), "style": look}
                )
            points = " ".join(f"{one.get('x', '0')} {one.get('y', '0')}" for one in run)
            look = f"fill:none;marker:url(#{markers[href, style]})"
            kept.append(ElementTree.Element("polyline", {"points": points, "style": look}))
        parent[:] = kept
    used = {one.get("href") for one in root.iter("use")}
    for defs in root.iter("defs"):
        defs[:] = [one for one in defs if one.tag != "path" or f"#{one.get('id')}" in used]
    if len(all_defs):
        root.insert(0, all_defs)
    _flatten(root)


def _runs_of_marks(
    parent: Element, shapes: Mapping[str, Element]
) -> Iterator[tuple[tuple[str, str], list[Element]]]:
    """Yield children of an element in runs: marks of one shape and look together, others alone."""

    def kind(one: Element) -> tuple[str, str, int]:
        is_mark = (
            one.tag == "use"
            and set(one.keys()) <= {"href", "x", "y", "style"}
            and one.get("href") in shapes
            and shapes[one.get("href", "")].tag == "path"
        )
        return (one.get("href", ""), one.get("style", ""), 0) if is_mark else ("", "", id(one))

    for (href, style, _), run in groupby(parent, key=kind):
        yield (href, style), list(run)


def _is_plain_line(one: Element) -> bool:
    """Return whether a path has no inside that could hide another, and lets nothing shine through."""
    style = one.get("style", "")
    is_open = "fill:none" in style or STROKE.fullmatch(one.get("d", "")) is not None
    return is_open and "opacity" not in style and "dasharray" not in style


def _shorten(one: Element) -> None:
    """Write an element's numbers and looks in fewer letters."""
    if "d" in one.attrib:
        one.set("d", shorter_path(one.attrib["d"]))
    for key in ("x", "y", "width", "height"):
        if key in one.attrib and re.fullmatch(r"-?[\d.]+", one.attrib[key]):
            one.set(key, said(float(one.attrib[key])))
    if "style" in one.attrib:
        one.set("style", re.sub(r"([:;]) +", r"\1", one.attrib["style"]).rstrip(";"))
    if "transform" in one.attrib:
        turned = re.sub(r" *rotate\(-?0(?:\.0*)?(?: [^)]*)?\)", "", one.attrib["transform"])
        turned = re.sub(r"-?\d+\.\d+", lambda number: said(float(number[0])), turned).strip()
        del one.attrib["transform"]
        place = re.fullmatch(r"translate\((\S+) (\S+)\)", turned)
        if place is not None and one.tag == "text" and not {"x", "y"} & set(one.attrib):
            one.attrib.update({"x": place[1], "y": place[2]})
        elif turned:
            one.set("transform", turned)


def _drop_unseen(root: Element) -> None:
    """Take out shapes with neither fill nor line: the ground of a figure or panel that has no colour."""
    for parent in list(root.iter()):
        parent[:] = [
            one
            for one in parent
            if one.tag != "path" or "id" in one.attrib or one.get("style") != "fill:none"
        ]


def _classes(root: Element, short: str) -> str:
    """Give looks that are said often a class each; return the style sheet of these."""
    often = Counter(one.attrib["style"] for one in root.iter() if "style" in one.attrib)
    names = {
        look: f"{short}{number}"
        for number, look in enumerate(
            (look for look, times in often.items() if times >= AT_LEAST), start=1
        )
    }
    for one in root.iter():
        if one.get("style") in names:
            one.set("class", names[one.attrib.pop("style")])
    return "".join(f".{name}{{{look}}}" for look, name in names.items())


def _written(one: Element) -> Iterator[str]:
    """Yield the text of an element, one line each."""
    told = "".join(f" {key}={quoteattr(value)}" for key, value in one.attrib.items())
    inner = escape(one.text or "")
    if not len(one) and not inner:
        yield f"<{one.tag}{told}/>\n"
        return
    yield f"<{one.tag}{told}>{inner}"
    if len(one):
        yield "\n"
    for child in one:
        yield from _written(child)
    yield f"</{one.tag}>\n"
