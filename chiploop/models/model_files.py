"""A model's text from disk, and its formulas; whatever is wrong with the file is said in words.

Belongs here: what may go wrong before reading a text. Not here: what a text may hold (sbml), what stands beside
it (facts).
"""

from __future__ import annotations

from pathlib import Path

from chiploop.errors import FileNotValid
from chiploop.models.symbolic import SymbolicModel

LARGEST_TEXT_BYTES = 5_000_000
"""Of a model text; the largest of public libraries that a chip could need are below 1 MB."""


def text_of(path: Path) -> str:
    """Return a model text; FileNotValid where the file gives none."""
    try:
        if path.is_dir():
            raise FileNotValid(f"{path} is a folder, not a file")
        if not path.exists():
            raise FileNotValid(f"there is no file {path}")
        if not path.is_file():
            raise FileNotValid(f"{path} is not a file that can be read as text")
        if path.stat().st_size > LARGEST_TEXT_BYTES:
            raise FileNotValid(
                f"{path} is larger than {LARGEST_TEXT_BYTES / 1e6:g} MB: another kind of file"
            )
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise FileNotValid(
            f"{path} can not be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if not raw.strip():
        raise FileNotValid(f"{path} is empty")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FileNotValid(f'{path} is UTF-16 text; save it as "UTF-8"')
    if b"\x00" in raw:
        raise FileNotValid(f"{path} is not a text file")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise FileNotValid(f'{path} is not UTF-8 text at line {line}; save it as "UTF-8"') from None


def formulas_of(text: str, name: str) -> SymbolicModel:
    """Return the formulas of a model text; FileNotValid for every text that gives none."""
    from chiploop.models.sbml import read_model

    model = read_model(text, name)
    if not model.rates:
        raise FileNotValid(
            f"model {name}: nothing in it changes with time; a model holds rate rules (X' = ...) or "
            "reactions"
        )
    return model
