"""Check and plan say where a file is expected before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.study import Study, load_study
from flows.cli.main import command_line
from flows.file_places import expected_files
from tests.flows.conftest import SMALL_STUDY

KIT = "CCL26: {kit: ccl26_elisa, replicates: 2"


def study_with(folder: Path, instruments: str) -> tuple[Path, Study]:
    path = folder / "study.yaml"
    text = SMALL_STUDY.read_text().replace(KIT, f"{KIT}, export: gen5, deadline: 8 h")
    path.write_text(text.replace("instruments: virtual", f"instruments: {instruments}"))
    return path, load_study(path)


def test_of_a_virtual_lab_it_is_the_folder_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, study = study_with(tmp_path, "virtual")
    (told,) = expected_files(study)
    assert told.startswith("CCL26: a Gen5 text export in arriving/ of the run's folder")
    assert "within 8 h" in told
    for verb in ("check", "plan"):
        assert command_line([verb, str(path)]) == 0
        assert f"note: {told}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("", "file_folders.gen5 of {lab}, WHICH IS NOT NAMED THERE"),
        ('[file_folders.gen5]\npath = "{folder}"\n', "in {folder}, its plate"),
        ('[file_folders.gen5]\npath = "{folder}/no"\n', "in {folder}/no, WHICH IS NO FOLDER NOW"),
        ("[file_folders.gen5]\nplace = 1\n", "which can not be used as it is"),
    ],
)
def test_of_a_real_one_it_is_what_lab_toml_names(settings: str, told: str, tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text(settings.replace("{folder}", tmp_path.as_posix()))
    _, study = study_with(tmp_path, lab.as_posix())
    (said,) = expected_files(study)
    assert told.replace("{folder}", tmp_path.as_posix()).replace("{lab}", lab.as_posix()) in said
