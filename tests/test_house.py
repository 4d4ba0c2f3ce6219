"""The rules of the house that a machine can read: layers, the lock, names, first lines of files.

Belongs here: rules about the whole tree. Not here: rules about one part (in that part's tests).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
LAYERS = ("flows", "instruments", "chiploop")
SOURCES = sorted(path for layer in LAYERS for path in (PROJECT / layer).rglob("*.py"))
TESTS = sorted((PROJECT / "tests").rglob("*.py"))

ROOM_NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "core", "manager", "controller"}
LEFT_OPEN = re.compile(r"\b(TO" r"DO|FIX" r"ME|raise NotImplemented" r"Error)\b")


def lock_entries() -> list[str]:
    """Return the entries of the lock without comments; one per package and range of Pythons."""
    return re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", LOCK).strip())


def locked_versions() -> dict[str, list[Version]]:
    """Return the pinned versions of each package by its canonical name."""
    versions: dict[str, list[Version]] = {}
    for entry in lock_entries():
        name, pinned = re.split(r"==|[ ;\\]", entry)[:2]
        versions.setdefault(canonicalize_name(name.split("[")[0]), []).append(Version(pinned))
    return versions


def test_arrows_point_down_only() -> None:
    # in a process of its own: it switches off every logger that is there, for the tests after it too
    asked = (
        "from importlinter.cli import lint_imports as lint; raise SystemExit(lint(no_cache=True))"
    )
    command = [sys.executable, "-c", asked]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 broken" in ended.stdout


def test_layers_are_those_of_the_design() -> None:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    assert [c["layers"] for c in contracts if c["type"] == "layers"] == [list(LAYERS)]


def test_lock_names_no_host_and_no_path() -> None:
    requirement_lines = [line for line in LOCK.splitlines() if not line.startswith(" ")]
    assert not re.search(r"://|--index|--extra|--find|--trusted", LOCK)
    assert [
        line for line in requirement_lines if "/" in line or " @ " in line or line[:1] == "."
    ] == []


def test_lock_pins_every_entry_with_a_hash() -> None:
    entries = lock_entries()
    assert len(entries) > 50
    assert [e for e in entries if not re.match(r"[\w.\-\[\],]+==[\w.]+( ;[^\\]+)? \\\n", e)] == []
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_lock_meets_every_bound_of_the_project() -> None:
    asked = [
        *PYPROJECT["build-system"]["requires"],
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["project"]["optional-dependencies"]["dev"],
    ]
    locked = locked_versions()
    for requirement in map(Requirement, asked):
        versions = locked[canonicalize_name(requirement.name)]
        assert [v for v in versions if v not in requirement.specifier] == [], str(requirement)


def test_prefect_is_held_below_the_fastapi_that_breaks_it() -> None:
    bounds = {
        Requirement(text).name: Requirement(text) for text in PYPROJECT["project"]["dependencies"]
    }
    assert not bounds["fastapi"].specifier.contains("0.151.0")
    assert bounds["fastapi"].specifier.contains("0.150.0")


def test_version_is_the_same_everywhere() -> None:
    version = PYPROJECT["project"]["version"]
    assert f'__version__ = "{version}"' in (PROJECT / "chiploop/__init__.py").read_text()
    assert f"version: {version}\n" in (PROJECT / "CITATION.cff").read_text()
    assert f"[{version}]" in (PROJECT / "CHANGELOG.md").read_text()


def test_no_room_is_named_so_that_anything_may_be_put_there() -> None:
    rooms = {path: {path.stem, path.parent.name} for path in SOURCES}
    assert {p for p, names in rooms.items() if names & ROOM_NAMES_THAT_SAY_NOTHING} == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_file_opens_with_what_belongs_there(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_nothing_is_left_open(path: Path) -> None:
    assert LEFT_OPEN.findall(path.read_text(encoding="utf-8")) == []
