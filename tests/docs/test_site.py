"""The documentation says what the program does: commands are known or carried out, no key of a study lacks."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from chiploop.study import schema_text
from flows.cli.main import app, command_line

DOCS = Path(__file__).parents[2] / "docs"
PROJECT = DOCS.parent
PAGES = [DOCS / "first_study.md", DOCS / "teaching.md", *sorted((DOCS / "howto").glob("*.md"))]
STUDY = PROJECT / "protocols" / "studies" / "ad_jak_dose_finding.yaml"
CARRIED_OUT = ("check", "plan", "model check", "model show", "model simulate", "instruments list")
"""Commands that touch no instrument and take no minutes; the others are looked up."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def commands(page: Path) -> Iterator[list[str]]:
    for block in blocks(page, "bash"):
        for line in block.splitlines():
            if line.startswith("chiploop "):
                yield shlex.split(line)[1:]


def options_of(words: list[str]) -> tuple[set[str], list[str]]:
    """Return the options that a command has, and its words that are left behind its verbs."""
    command: Any = typer.main.get_command(app)
    left = list(words)
    while hasattr(command, "get_command"):
        verb = left.pop(0)
        found = command.get_command(None, verb)
        assert found is not None, f"chiploop has no {verb}"
        command = found
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)}, left


def test_every_command_of_a_page_is_one_of_the_program() -> None:
    seen = 0
    for page in PAGES:
        for words in commands(page):
            options, left = options_of(words)
            wrong = [w for w in left if w.startswith("-") and w.split("=")[0] not in options]
            assert not wrong, f"{page.name}: chiploop {shlex.join(words)} has no {wrong}"
            seen += 1
    assert seen >= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = STUDY.read_text(encoding="utf-8")
    for language in ("yaml", "toml"):
        for block in blocks(page, language):
            first, _, _ = block.partition("\n")
            if first.startswith("# "):
                path = tmp_path / first.removeprefix("# ")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block, encoding="utf-8")
            else:  # a part of the study
                study = with_part(study, block)
    (tmp_path / "my_study.yaml").write_text(study, encoding="utf-8")
    for one in ("my_skin.ant", "my_skin.yaml"):
        shutil.copyfile(PROJECT / "tests" / "flows" / one, tmp_path / one)
    for words in commands(page):
        if shlex.join(words).startswith(CARRIED_OUT):
            ended = command_line(words)
            told = capsys.readouterr()
            assert ended == 0, f"chiploop {shlex.join(words)}: {told.out}{told.err}"


def with_part(study: str, block: str) -> str:
    """Return the study with one key's value in place of its own; a key below another keeps its neighbours."""
    key, _, rest = block.partition(":")
    if "\n" not in rest.strip() and rest.strip() and not rest.startswith("\n"):
        changed, count = re.subn(rf"(?m)^{key}:.*$", block.strip(), study)
    else:
        inner = rest.strip().partition(":")[0]
        changed, count = re.subn(rf"(?m)^ +{inner}:.*$", f"  {rest.strip()}", study)
    assert count == 1, f"the study has no {block}"
    return changed


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_reference", DOCS / "study_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_key_of_the_schema_stands_in_the_reference(reference: ModuleType) -> None:
    schema = json.loads(schema_text())
    text = reference.reference(schema)
    for name, part in {"The file": schema, **schema["$defs"]}.items():
        own = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for key, one in part.get("properties", {}).items():
            (row,) = [line for line in own.splitlines() if line.startswith(f"| `{key}` |")]
            assert ("**needed**" in row) == (key in part.get("required", ()))
            if "const" not in one and one.get("description"):
                assert one["description"].split()[0] in row
    assert len(re.findall(r"^\| `", text, re.M)) > 60


def test_a_key_that_is_new_in_the_schema_is_new_in_the_reference(reference: ModuleType) -> None:
    new = {"properties": {"humidity": {"type": "number", "minimum": 3, "description": "Of | air."}}}
    assert "| `humidity` | Of \\| air. | number, ≥ 3 | nothing |" in reference.reference(new)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]*)"', page.read_text("utf-8")
        )
        assert not loaded, f"{page.name} loads {loaded}"
    for name in ("model", "statistics"):
        text = (tmp_path / f"{name}.html").read_text("utf-8")
        assert text.count("<math ") >= 8 and ("<mtable" in text) == (name == "model")
        assert "$$" not in text and "MathJax" not in text and "\\frac" not in text
