"""Sets of acceptance rules: named, with a source, editable, and refused with the line where wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.assays.acceptance_rules import acceptance_rules
from chiploop.errors import FileNotValid
from chiploop.protocols_path import protocols_folder

SHIPPED = sorted((protocols_folder() / "acceptance").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_set_is_valid_and_says_where_it_comes_from(path: Path) -> None:
    rules = acceptance_rules(path.stem)
    assert rules.name == path.stem and "ICH M10" in rules.source
    assert rules.to_be_confirmed  # nobody has read the source itself yet


def test_ligand_binding_is_not_the_rule_of_chromatography() -> None:
    binding, other = acceptance_rules("ligand_binding"), acceptance_rules("chromatography")
    assert (binding.calibrators.recovery, binding.calibrators.recovery_at_limits) == (0.20, 0.25)
    assert (other.calibrators.recovery, other.calibrators.recovery_at_limits) == (0.15, 0.20)
    assert binding.acceptance.least_levels == 6 and binding.acceptance.passing_levels == 0.75
    assert binding.quality_controls.passing == pytest.approx(2 / 3, abs=1e-3)


def test_an_edited_copy_is_taken_by_its_path(tmp_path: Path) -> None:
    text = (protocols_folder() / "acceptance" / "ligand_binding.yaml").read_text(encoding="utf-8")
    own = tmp_path / "ours.yaml"
    own.write_text(text.replace("parallelism_cv: 30 %", "parallelism_cv: 12 %"), encoding="utf-8")
    assert acceptance_rules(own).dilutions.parallelism_cv == 0.12


def test_what_is_wrong_in_a_set_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotValid, match="allowed are chromatography, ligand_binding"):
        acceptance_rules("none_such")
    text = (protocols_folder() / "acceptance" / "ligand_binding.yaml").read_text(encoding="utf-8")
    own = tmp_path / "wrong.yaml"
    own.write_text(text.replace("linearity: 20 %", "linearity: plenty"), encoding="utf-8")
    line = text.splitlines().index(next(one for one in text.splitlines() if "linearity" in one))
    with pytest.raises(FileNotValid, match=f"line {line + 1}, dilutions.linearity"):
        acceptance_rules(own)
