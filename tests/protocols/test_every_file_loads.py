"""Every protocol that ships is valid by the rules that a user's own file must meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.protocols_path import protocols_folder
from chiploop.study import check_study
from chiploop.study_fields import FROM_FILE, Part
from chiploop.study_references import FOLDERS
from chiploop.study_yaml import read_yaml
from chiploop.twin.patient_file import patient_of

STUDIES = sorted((protocols_folder() / "studies").glob("*.yaml"))
PATIENTS = sorted((protocols_folder() / "patients").glob("*.yaml"))
PARTS = [
    (path, kind)
    for kind, folder in FOLDERS.items()
    for path in sorted((protocols_folder() / folder).glob("*.yaml"))
]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_is_valid(path: Path) -> None:
    assert check_study(path) == []


@pytest.mark.parametrize(("path", "kind"), PARTS, ids=lambda value: getattr(value, "stem", ""))
def test_every_drug_chip_donor_and_kit_is_valid_and_named_as_its_file(
    path: Path, kind: type[Part]
) -> None:
    text = read_yaml(path)
    assert text.problems == []
    assert text.values.pop("chiploop") == 1
    part = kind.model_validate(text.values, context=FROM_FILE, by_alias=True, by_name=False)
    assert getattr(part, "name", None) == path.stem or getattr(part, "id", None) == path.stem


@pytest.mark.parametrize("path", PATIENTS, ids=lambda path: path.stem)
def test_every_patient_is_valid_made_up_and_named_as_its_file(path: Path) -> None:
    assert patient_of(path).patient == path.stem
    assert "made up" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [path for path, _ in PARTS], ids=lambda path: path.stem)
def test_every_constant_says_where_it_comes_from(path: Path) -> None:
    if path.parent.name not in ("drugs", "chips"):
        return
    bare = [
        line
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(character.isdigit() for character in line.partition(": ")[2])
        and "#" not in line
        and not line.startswith(("chiploop", "name", "title"))
    ]
    assert bare == []
