"""``chiploop report`` makes the page again, the same to the byte, in any process and without any network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chiploop.report import chromium_pdf
from flows.cli.main import command_line
from tests.flows.cli.run_folder import run_by_hand

PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "runs"
    for _ in range(2):
        run_by_hand(folder)
    return folder


def names(runs: Path) -> tuple[str, str]:
    first, second = sorted(path.parent.name for path in runs.glob("*/run.json"))
    return first, second


@pytest.mark.slow
def test_the_page_is_made_from_the_record_and_is_the_same_in_two_processes(
    runs: Path, tmp_path: Path
) -> None:
    run, pages = names(runs)[0], []
    for salt in ("1", "2"):
        out = tmp_path / salt
        out.mkdir()
        command = ["report", run, "--runs", str(runs), "--out", str(out)]
        code = "import sys; from flows.cli.main import command_line; raise SystemExit(command_line(sys.argv[1:]))"
        ended = subprocess.run(
            [sys.executable, "-c", code, *command],
            cwd=PROJECT, env={"PATH": "", "PYTHONHASHSEED": salt, "PYTHONPATH": str(PROJECT)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        pages.append((out / "report.html").read_bytes())
    assert pages[0] == pages[1] and run.encode() in pages[0]


def test_two_runs_are_compared_and_every_figure_is_written(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = names(runs)
    command = ["report", first, "--compare", second, "--runs", str(runs), "--out", str(tmp_path)]
    assert command_line([*command, "--figures", str(tmp_path / "f"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["simulated"] is True and told["printed_by"] == ""
    page = (tmp_path / f"compare_{second}.html").read_text(encoding="utf-8")
    assert first in page and second in page and "A has no calibration yet" in page
    # nothing is calibrated here, so figures that need a posterior say so, in the page and in the answer
    assert told["not_drawn"] and all("ValueError" in why for why in told["not_drawn"].values())
    assert page.count("This figure could not be drawn") == page.count('class="broken"') > 0
    assert {Path(file).suffix for file in told["files"]} >= {".html"}


def test_without_a_browser_the_pdf_has_plain_pages_and_says_so(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chromium_pdf, "browser", lambda: None)
    command = ["report", names(runs)[0], "--runs", str(runs), "--out", str(tmp_path), "--pdf"]
    assert command_line(command) == 0
    assert "No browser that prints was found" in capsys.readouterr().out
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_browser_that_fails_is_told_and_leaves_no_pdf(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chromium_pdf, "browser", lambda: shutil.which("false") or sys.executable)
    command = ["report", names(runs)[0], "--runs", str(runs), "--out", str(tmp_path), "--pdf"]
    assert command_line(command) == 2
    assert "could not print the report" in capsys.readouterr().err
    assert not (tmp_path / "report.pdf").exists()


@pytest.mark.slow
def test_an_installed_browser_prints_the_page(
    chromium_program: Path, runs: Path, tmp_path: Path
) -> None:
    command = ["report", names(runs)[0], "--runs", str(runs), "--out", str(tmp_path), "--pdf"]
    assert command_line(command) == 0
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", content)) >= 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["nobody"], "there is no run nobody"),
        (["{0}", "--compare", "nobody"], "there is no run nobody"),
        (["{0}", "--compare", "{0}"], "names the same run"),
        (["{0}", "--out", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_what_can_not_be_reported_is_told(
    more: list[str], said: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    command = ["report", *(one.format(*names(runs)) for one in more), "--runs", str(runs)]
    assert command_line(command) == 2
    assert said in capsys.readouterr().err
