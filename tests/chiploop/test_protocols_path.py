"""Shipped protocols are found from a checkout and from an installed wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chiploop import protocols_path
from chiploop.errors import FileNotValid
from chiploop.protocols_path import protocols_folder

PROJECT = Path(__file__).resolve().parents[2]


def test_a_checkout_uses_the_folder_beside_the_package() -> None:
    assert protocols_folder() == PROJECT / "protocols"


def test_a_damaged_installation_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        protocols_path, "__file__", str(tmp_path / "chiploop" / "protocols_path.py")
    )
    with pytest.raises(FileNotValid, match="_protocols"):
        protocols_folder()


@pytest.mark.slow
def test_a_wheel_ships_the_protocols_and_finds_them(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    found = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "from chiploop.protocols_path import protocols_folder as f; print(f())",
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert Path(found) == (tmp_path / "installed" / "chiploop" / "_protocols").resolve()
    shipped = {path.relative_to(found) for path in Path(found).rglob("*.yaml")}
    assert shipped == {
        path.relative_to(PROJECT / "protocols") for path in (PROJECT / "protocols").rglob("*.yaml")
    }
