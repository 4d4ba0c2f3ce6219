"""``chiploop hold``: what people are told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli.main import command_line
from tests.flows.cli.run_folder import run_by_hand


def test_the_way_on_names_the_folder_where_it_is_not_the_usual_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = run_by_hand(tmp_path / "elsewhere")
    words = ["hold", files.run_id, "--runs", str(files.runs)]
    assert command_line(words) == 0
    assert f"chiploop resume {files.run_id} --runs {files.runs} lets it" in capsys.readouterr().out
    usual = run_by_hand(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    assert command_line(["hold", usual.run_id]) == 0
    assert f"chiploop resume {usual.run_id} lets it go on" in capsys.readouterr().out
