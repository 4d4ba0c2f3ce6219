"""A study that brings its own model: two files beside it, through the whole loop and its resumption.

Belongs here: the way of the model's files. Not here: what they may hold (tests/chiploop/models).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from chiploop.errors import FileNotValid
from chiploop.models.study_model import model_of
from chiploop.protocols_path import protocols_folder
from chiploop.record.chain import RecordConflict
from chiploop.record.record import Record
from chiploop.study import STUDY_FILE, check_study, load_study
from flows.opening import known_run, new_run
from tests.flows.conftest import SMALL_STUDY, Warm, edited
from tests.flows.run_checks import check_volumes, only_run, wait_until_nobody_is_left
from tests.flows.test_closed_loop import approve, wait_for_proposals

OWN = [
    ("model: skin_chip", "model: my_skin.ant"),
    ("  IL-4: 0.5 ng/mL\n  IL-13: 1 ng/mL\n", "  OSM: 5 ng/mL\n"),
    ("  CCL26: {kit: ccl26_elisa,", "  IL-1a: {kit: il1a_elisa,"),
    ("EC50_CCL26, readout: CCL26", "EC50_IL1a, readout: IL-1a"),
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study beside its own model, with a kit of its own project."""
    for suffix in (".ant", ".yaml"):
        shutil.copy(SMALL_STUDY.with_name("my_skin").with_suffix(suffix), tmp_path)
    kits = tmp_path / "protocols" / "kits"
    kits.mkdir(parents=True)
    kit = (protocols_folder() / "kits" / "ccl26_elisa.yaml").read_text(encoding="utf-8")
    kit = kit.replace("ccl26_elisa", "il1a_elisa").replace("readout: CCL26", "readout: IL-1a")
    (kits / "il1a_elisa.yaml").write_text(kit, encoding="utf-8")
    return edited(SMALL_STUDY, tmp_path, OWN)


def test_the_loop_runs_on_it_and_resumes_on_its_frozen_copy(
    study: Path, warm: Warm, tmp_path: Path
) -> None:
    edited(study, tmp_path, [("by: auto", "by: person")])
    runs = tmp_path / "runs"
    running = warm.start("simulate", study, "--runs", runs, "--json")
    wait_for_proposals(runs, 1, running)
    run_id = only_run(runs)
    running.kill()
    assert running.wait().code == -9
    wait_until_nobody_is_left(runs / run_id)
    assert "names no virtual_truth" in running.text("err")
    assert json.loads((runs / run_id / "run.json").read_text())["matched"] is True
    # whatever becomes of the files now, the run keeps its own
    text = (tmp_path / "my_skin.ant").read_text(encoding="utf-8")
    (tmp_path / "my_skin.ant").write_text(text.replace("kB = 0.03", "kB = 3.0"), encoding="utf-8")
    (tmp_path / "my_skin.yaml").unlink()
    approve(warm, runs, run_id)
    resumed = warm.start("resume", run_id, "--runs", runs, "--json")
    wait_for_proposals(runs, 2, resumed)
    approve(warm, runs, run_id)
    ended = resumed.wait()
    assert ended.code == 0, ended.err
    assert [cycle["cycle"] for cycle in ended.json["cycles"]] == [1, 2]
    assert ended.json["cycles"][-1]["truth"]["name"] == "EC50_IL1a"
    check_volumes(runs, run_id)
    frozen = load_study(runs / run_id / STUDY_FILE)
    assert Path(frozen.tissue.path) == (runs / run_id / "model" / "my_skin.ant").resolve()
    assert model_of(frozen).text == text
    with Record(str(runs / "record.sqlite")) as record:
        read = {r.readout for r in record.readouts(run_id)}
    assert read == {"TEER", "IL-1a", "ldh_release"}


def test_a_run_keeps_the_files_of_its_model_and_truth_and_the_record_their_digest(
    tmp_path: Path,
) -> None:
    study = load_study(SMALL_STUDY)
    files = new_run(study, tmp_path / "runs", 1, True, False)
    kept = sorted(path.name for path in (files.folder / "model").iterdir())
    assert kept == [
        f"{n}{s}" for n in ("skin_chip", "virtual_skin_chip") for s in (".ant", ".yaml")
    ]
    moved = files.folder.rename(tmp_path / files.run_id)
    again = known_run(str(moved), tmp_path)
    assert Path(again.study.tissue.path).parent == moved / "model"
    assert model_of(again.study).name == "skin_chip"
    truth = again.study.tissue.truth_path()
    assert truth is not None and truth.parent == moved / "model"
    with Record("sqlite://") as record:
        record.add_run(files.run_id, files.study, 1, True)
        # the same study, wherever its folder stands
        assert record.add_run(files.run_id, again.study, 1, True) is False
        changed = study.tissue.model_copy(update={"sha256": "0" * 64})
        with pytest.raises(RecordConflict, match=files.run_id):
            record.add_run(files.run_id, study.model_copy(update={"tissue": changed}), 1, True)


def test_a_frozen_copy_that_was_changed_is_refused(tmp_path: Path) -> None:
    files = new_run(load_study(SMALL_STUDY), tmp_path / "runs", 1, True, False)
    text = files.folder / "model" / "skin_chip.ant"
    text.write_text(text.read_text("utf-8").replace("kB = 0.025", "kB = 0.026"), "utf-8")
    with pytest.raises(FileNotValid, match="is not what it was when small was loaded"):
        model_of(known_run(str(files.folder), tmp_path).study)


MISSING = [
    ("no .yaml", "there is no my_skin.yaml beside"),
    ("no model", '"my_skin.ant" is neither a tissue model of chiploop nor a file'),
]


@pytest.mark.parametrize(("gone", "message"), MISSING)
def test_a_missing_file_is_told_on_the_line_of_the_model(
    study: Path, tmp_path: Path, gone: str, message: str
) -> None:
    (tmp_path / ("my_skin.yaml" if gone == "no .yaml" else "my_skin.ant")).unlink()
    (problem,) = check_study(study)
    assert (problem.line, problem.field) == (6, "model")
    assert message in problem.message


def test_a_wrong_line_of_its_yaml_is_told_with_the_file_and_the_line(
    study: Path, tmp_path: Path
) -> None:
    path = tmp_path / "my_skin.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("symbol: C,", "symbol: C26,"), encoding="utf-8")
    (problem,) = check_study(study)
    assert problem.field == "model"
    assert f"{path} (line 9, readouts.IL-1a.symbol)" in problem.message
    assert "names C26, which my_skin.ant does not define" in problem.message


def test_the_same_model_as_sbml_is_the_same_tissue(study: Path, tmp_path: Path) -> None:
    import antimony
    import numpy as np

    from chiploop.goals import goal_values

    antimony.clearPreviousLoads()
    antimony.loadAntimonyString((tmp_path / "my_skin.ant").read_text(encoding="utf-8"))
    sbml = antimony.getSBMLString("my_skin")
    ours = load_study(study)
    model = model_of(ours)
    (tmp_path / "my_skin.xml").write_text(sbml, encoding="utf-8")
    other = load_study(edited(study, tmp_path, [("my_skin.ant", "my_skin.xml")]))
    assert other.tissue.sha256 != ours.tissue.sha256
    parameters = np.array([[spec.center for spec in model.estimated]])
    found = [goal_values(m, ours, parameters) for m in (model, model_of(other))]
    for goal in ours.goals:
        assert found[0][goal.name] == pytest.approx(found[1][goal.name], rel=1e-6)
