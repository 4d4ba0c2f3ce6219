"""``chiploop schema`` prints what editors read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from chiploop.protocols_path import protocols_folder
from chiploop.study_yaml import read_yaml
from flows.cli.main import command_line
from tests.chiploop.twin.patients import BLANK

DEMO = protocols_folder() / "studies" / "ad_jak_dose_finding.yaml"


@pytest.fixture
def schema(capsys: pytest.CaptureFixture[str]) -> Any:
    assert command_line(["schema"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_editor_accepts_the_demo_study(schema: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(read_yaml(DEMO).values, schema)


@pytest.mark.parametrize("flow", ["60 ul/h", "60", "1,5 mL/h", "60 nM"])
def test_an_editor_underlines_a_wrong_quantity(schema: Any, flow: str) -> None:
    values = read_yaml(DEMO).values
    values["perfusion"]["flow_rate"] = flow
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, schema)


def test_an_editor_underlines_an_unknown_key(schema: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read_yaml(DEMO).values | {"cycels": 1}, schema)


def test_the_schema_is_written_to_a_file_and_a_bad_place_is_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "study.schema.json"
    assert command_line(["schema", "-o", str(path)]) == 0
    assert json.loads(path.read_text(encoding="utf-8"))["properties"]["chiploop"]
    assert command_line(["schema", "-o", str(tmp_path / "none" / "x.json")]) == 2


def test_an_editor_underlines_what_says_who_a_patient_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line(["schema", "--patient"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    good = {**BLANK, "age_years": "90+", "modifiers": {"stress": {"parameter": "d1"}}}
    jsonschema.validate(good, schema)
    wrong: list[dict[str, Any]] = [
        {"patient": "Miller"},
        {"name": "Miller"},
        {"age_years": 97},
        {"baseline": {"birthday": 1}},
        {"consent": {"scope": ["fun"], "delete_after": "2030-12-31"}},
    ]
    for one in wrong:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good | one, schema)
