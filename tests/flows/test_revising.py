"""A plate calculated again: from its signal, another export or another layout; what was before stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chiploop.record.long_table import long_table
from chiploop.record.record import Record
from chiploop.study import load_study
from flows.cli.main import command_line
from flows.opening import new_run
from instruments.emulators.reader_files import FILE_WRITERS
from tests.flows.conftest import SMALL_STUDY
from tests.flows.test_file_looks import Bench, Tissue, opened

KIT = "CCL26: {kit: ccl26_elisa, replicates: 2"
PLATE = "small-CCL26-cycle1"


@dataclass
class Case:
    """A run that has read one plate from a file."""

    run_id: str
    runs: Path
    asked: dict[str, Any]
    bench: Bench

    def revise(self, *arguments: str) -> int:
        """Carry out the command."""
        given = ["revise", self.run_id, "--runs", str(self.runs), "--plate", PLATE, "--why", "air"]
        return command_line([*given, *arguments])

    def values(self) -> list[float]:
        """Return what stands on record."""
        with Record(str(self.runs / "record.sqlite")) as record:
            return [r.value for r in record.readouts(self.run_id)]


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    path = tmp_path / "study.yaml"
    path.write_text(SMALL_STUDY.read_text().replace(KIT, f"{KIT}, export: softmax_pro"))
    study = load_study(path)
    files = new_run(study, tmp_path / "runs", 1, True, False)
    for bench in opened(study, tmp_path / "runs", files.run_id, simulated=True):
        asked = bench.send()
        bench.write(asked)
        assert bench.look() == 0
        yield Case(files.run_id, tmp_path / "runs", asked, bench)


def export_again(case: Case, folder: Path, lift: float = 0.0, **changes: Any) -> str:
    """Write an export of the plate elsewhere; return its name."""
    ((_, content),) = FILE_WRITERS["softmax_pro"](case.asked | changes, Tissue(lift), "")
    (folder / "again.txt").write_bytes(content)
    return str(folder / "again.txt")


def test_an_export_that_was_made_again_supersedes_and_the_rows_before_stay(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = case.values()
    assert case.revise("--file", export_again(case, tmp_path, lift=0.3), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["revision"], told["readouts"], told["plate"]) == (2, 2, PLATE)
    assert case.values() != before
    with Record(str(case.runs / "record.sqlite")) as record:
        rows = [row for row in long_table(record, case.run_id) if row.stage == "derived"]
        assert [row.value for row in rows if row.superseded_by] == before
        assert [row.value for row in rows if not row.superseded_by] == case.values()
        digests = {row.raw_sha256 for row in rows}
        assert digests <= {f.sha256 for f in record.raw_files(case.run_id)} and len(digests) == 2
        assert record.verify().whole
    # from now on its signal is the one on record: nothing would change
    assert case.revise() == 1
    assert "comes out as it is on record" in capsys.readouterr().err


def test_another_layout_gives_other_chips_their_wells(case: Case, tmp_path: Path) -> None:
    first, second = case.values()
    swap = {"C01": "C02", "C02": "C01"}
    lines = ["well,role,concentration,chip,time"]
    for well in case.asked["wells"]:
        chip, kind = swap.get(well["chip"], ""), well["kind"]
        level = f"{well['concentration']} pg/mL" if kind == "standard" else ""
        lines.append(f"{well['well']},{kind},{level},{chip},{'36 h' if chip else ''}")
    layout = tmp_path / "layout.csv"
    layout.write_text("\n".join(lines) + "\n")
    assert case.revise("--layout", str(layout)) == 0
    assert case.values() == pytest.approx([second, first], rel=1e-12)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda case, folder: ["--file", export_again(case, folder, label="CLX")], 3, "named"),
        (lambda case, folder: ["--file", export_again(case, folder)], 1, "as it is on record"),
        (lambda case, folder: ["--plate", "p9"], 2, f"it has read: {PLATE}"),
        (lambda case, folder: ["--why", " "], 2, "needs its reason"),
    ],
)
def test_what_can_not_be_revised_is_told_and_nothing_is_added(
    change: Callable[[Case, Path], list[str]],
    code: int,
    said: str,
    case: Case,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = case.bench.lab.record.verify().rows
    assert case.revise(*change(case, tmp_path)) == code
    assert said in capsys.readouterr().err
    assert case.bench.lab.record.verify().rows == rows
