"""The reference of study files as a page, written from their JSON schema.

Belongs here: from schema to Markdown. Not here: the schema (chiploop.study).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Schema = Mapping[str, Any]
HEAD = """# Study file reference

<!-- Written from the schema by docs/study_reference.py; not kept in the repository. -->

Every key of a study file, as `chiploop schema` prints it for editors. `chiploop check FILE` says everything
that is wrong with a file, with its line. Quantities are text with a unit (`"30 uL/h"`); a bare number, a
comma in a number and a unit of
another kind are refused. A key that is not here is refused too.

"""


def write_reference(path: Path) -> None:
    """Write the page where it is not there as it should be."""
    from chiploop.study import schema_text

    text = reference(json.loads(schema_text()))
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8", newline="\n")


def reference(schema: Schema) -> str:
    """Return the page of a schema: the file's own keys, then each part's."""
    parts = [HEAD, "## The file\n\n", *keys(schema)]
    for name, part in schema.get("$defs", {}).items():
        parts.append(f"\n## {name}\n\n")
        if told := part.get("description"):
            parts.append(f"{one_line(told)}\n\n")
        parts += keys(part) if part.get("properties") else [f"{shape(part)}\n"]
    return "".join(parts)


def keys(part: Schema) -> Iterator[str]:
    """Yield the table of a part's keys."""
    required = set(part.get("required", ()))
    yield "| key | what | value | where absent |\n|---|---|---|---|\n"
    for key, one in part.get("properties", {}).items():
        absent = "**needed**" if key in required else default(one)
        yield f"| `{key}` | {cell(one.get('description', ''))} | {cell(shape(one))} | {absent} |\n"


def default(one: Schema) -> str:
    """Return what stands where a key is absent."""
    if "default" not in one or one["default"] in (None, "", {}, []):
        return "nothing"
    return f"`{cell(json.dumps(one['default'], ensure_ascii=False))}`"


def shape(one: Schema) -> str:
    """Return what a value may be, in words."""
    if "$ref" in one:
        name = one["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    for choice in ("anyOf", "oneOf"):
        if choice in one:
            return " or ".join(dict.fromkeys(shape(part) for part in one[choice]))
    if "const" in one:
        return f"`{json.dumps(one['const'])}`"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    kind = one.get("type")
    if kind == "array":
        items = one.get("items") or one.get("prefixItems")
        inner = shape(items) if isinstance(items, Mapping) else "anything"
        return f"list of {inner}"
    if kind == "object":
        named = [*one.get("patternProperties", {}).values()]
        extra = one.get("additionalProperties")
        named += [extra] if isinstance(extra, Mapping) else []
        return f"by name: {shape(named[0])}" if named else "keys and values"
    if examples := one.get("examples"):
        return f"text such as `{examples[0]}`"
    words = {
        "string": "text",
        "integer": "whole number",
        "boolean": "true or false",
        None: "anything",
    }
    return f"{words.get(kind, str(kind))}{bounds(one)}"


def bounds(one: Schema) -> str:
    """Return the bounds of a number."""
    names = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    told = [f"{sign} {one[name]:g}" for name, sign in names.items() if name in one]
    return f", {' and '.join(told)}" if told else ""


def cell(text: str) -> str:
    """Return text as it may stand in a cell of a table."""
    return one_line(text).replace("|", "\\|").replace("<", "&lt;")


def one_line(text: str) -> str:
    """Return text without line breaks."""
    return " ".join(text.split())
