"""lab.toml as it may leave the laboratory: without ways to reach people and without whatever may be a secret.

Belongs here: what is left out. Not here: keys of lab.toml (instruments).

``notify`` is left out whole: it has people's addresses, and names of places of passwords. Anywhere else a
value whose key speaks of a secret is left out, and so are user and password in a URL.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

LEFT_OUT = "left out"
SECTIONS = frozenset({"notify"})
SECRET_KEY = re.compile(
    r"passw|^pw$|secret|token|(api|access)?_?key$|auth|credential|private|webhook", re.IGNORECASE
)
USER_IN_URL = re.compile(r"(?<=://)\S*@")
PASSWORD_IN_TEXT = re.compile(r"(passw\w*|pwd)\s*=\s*\S+", re.IGNORECASE)
URL_SECRET = re.compile(r"(?<=://)(\S*?)[?#]\S*")


def lab_without_secrets(text: str) -> str:
    """Return a lab.toml without secrets; of one that can not be read nothing but that."""
    try:
        lab = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return "# lab.toml of the run could not be read as TOML, so it was left out whole\n"
    left = sorted(SECTIONS & set(lab))
    said = [f"# {', '.join(left)}: {LEFT_OUT}"] if left else []
    kept = {key: cleaned(key, value) for key, value in lab.items() if key not in SECTIONS}
    return "\n".join([*said, *lines(kept, ())]) + "\n"


def cleaned(key: str, value: Any) -> Any:
    """Return a value without secrets."""
    if isinstance(value, Mapping):
        return {name: cleaned(name, one) for name, one in value.items()}
    if SECRET_KEY.search(key):
        return LEFT_OUT
    if isinstance(value, list):
        return [cleaned(key, one) for one in value]
    if isinstance(value, str):
        return PASSWORD_IN_TEXT.sub("", URL_SECRET.sub(r"\1", USER_IN_URL.sub("", value)))
    return value


def lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Yield a table as lines of TOML: its values, then the tables below it."""
    own = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if path and (own or not table):
        yield f"[{'.'.join(map(quoted, path))}]"
    yield from (f"{quoted(key)} = {literal(value)}" for key, value in own.items())
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from lines(value, (*path, key))


def quoted(key: str) -> str:
    """Return a key as TOML writes it."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def literal(value: Any) -> str:
    """Return a value as TOML writes it, on one line."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{quoted(key)} = {literal(one)}" for key, one in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)  # numbers, dates
