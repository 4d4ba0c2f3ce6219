"""What is drawn of a run's raw signals in a process of its own: of a cycle, without the wells left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from chiploop.record.signal_index import index_name
from chiploop.report.signal_parts import Signal, photograph
from flows.cli.main import command_line
from flows.review_jobs import main
from tests.flows.test_revising import PLATE, Case, case

__all__ = ["case"]


def drawn(case: Case) -> dict[str, Any]:
    """Draw the signals of the first cycle and return their index."""
    assert main(["signals", case.run_id, str(case.runs), "1"]) == 0
    folder = case.runs / case.run_id / "page" / "signals"
    found: dict[str, Any] = json.loads((folder / index_name(1)).read_text())
    assert all((folder / one["src"]).is_file() and not one["problem"] for one in found["figures"])
    return found


def test_a_plate_that_came_as_a_file_is_drawn_with_its_curve_and_anew_without_a_well(
    case: Case,
) -> None:
    before = drawn(case)
    assert [one["name"] for one in before["figures"]] == ["plate-c01-CCL26", "curve-c01-CCL26"]
    assert {one["plate"] for one in before["figures"]} == {PLATE}
    words = ["exclude", case.run_id, "--runs", str(case.runs), "--well", f"{PLATE}:A1", "--why", "x"]  # fmt: skip
    assert command_line(words) == 0
    after = drawn(case)
    assert "A1 (left out by" in after["figures"][0]["caption"]
    assert "none" in before["figures"][0]["caption"] and after["seen"] != before["seen"]


def test_trouble_is_told_where_it_is_looked_for(case: Case, capsys: Any) -> None:
    capsys.readouterr()
    assert main(["against", case.run_id, str(case.runs), "no_model"]) == 3
    assert "there is no model no_model" in capsys.readouterr().err
    assert main(["against", case.run_id, str(case.runs), "psoriasis_chip"]) == 3
    assert (
        "has no readouts of cycle 1 to learn from" in capsys.readouterr().err
    )  # nothing was dosed there


def test_an_image_is_drawn_in_so_many_dots_and_its_trouble_stays_its_own(tmp_path: Path) -> None:
    one = Signal("n/../x", "nuclei", "", lambda: Figure(figsize=(7.6, 3.0)), is_image=True)
    shown = photograph(one, tmp_path, True)
    assert shown["src"] == "n____x.png" and (shown["width"], shown["height"]) == (547, 216)
    data = (tmp_path / shown["src"]).read_bytes()
    assert int.from_bytes(data[16:20], "big") == 1094  # dots across, whatever the image has

    def broken() -> Figure:
        raise ValueError("no such channel")

    shown = photograph(Signal("y", "nuclei", "", broken, is_image=True), tmp_path, True)
    assert shown["problem"] == "ValueError: no such channel" and shown["src"] == ""
