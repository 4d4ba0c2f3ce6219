"""Set-up fills the caches of a new computer and leaves no process behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_set_up_compiles_the_models_of_the_studies_and_makes_the_empty_database(
    tmp_path: Path,
) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-m", "flows.prepare"],
        env={**kept, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("skin_chip", "virtual_skin_chip", "psoriasis_chip", "virtual_psoriasis_chip"):
        assert f"model {name}: " in done.stdout
    assert "flow engine: ready" in done.stdout
    cached = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.parent.name == "models" for path in cached) >= 4
    assert any(path.name.endswith("-empty.db") for path in cached)
