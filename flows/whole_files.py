"""Small text files of a run that are written whole or not at all.

Belongs here: the draft and its change of name. Not here: what stands in them, raw signals (record.raw_files).
"""

from __future__ import annotations

from pathlib import Path

from flows.fault_points import reached


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all: who dies in the middle leaves a draft, and what was there before."""
    draft = path.with_name(f"{path.name}.unfinished")
    draft.write_text(text, encoding="utf-8", newline="\n")
    reached("file_drafted")
    draft.replace(path)
