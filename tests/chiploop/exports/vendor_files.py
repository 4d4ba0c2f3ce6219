"""What several tests of vendor files share: a real file with one thing changed in it.

Belongs here: reading and rewriting the text of a shared file. Not here: any test.
"""

from __future__ import annotations

from pathlib import Path


def text_of(shared_data: Path, name: str) -> str:
    """Return the text of a real file."""
    return (shared_data / "vendor_exports" / name).read_bytes().decode("utf-8")


def changed(shared_data: Path, tmp_path: Path, name: str, old: str, new: str) -> Path:
    """Return a copy of a real file in which one text, there at least once, is another one."""
    text = text_of(shared_data, name)
    assert old in text
    path = tmp_path / name
    path.write_bytes(text.replace(old, new, 1).encode())
    return path
