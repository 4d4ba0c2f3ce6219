"""``chiploop image``: the JSON object, the overlay, and what is wrong with a file or an option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from chiploop.microscopy.synthetic import Monolayer, MonolayerSettings, monolayer
from chiploop.microscopy.synthetic_section import SectionSettings, section
from flows.cli.main import command_line

ONE: Monolayer = monolayer(
    np.random.default_rng(3), MonolayerSettings(shape=(512, 512), missing=0.2)
)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """An OME-TIFF with the channels ZO-1 and DAPI."""
    path = tmp_path / "two.ome.tif"
    metadata = {
        "axes": "CYX",
        "PhysicalSizeX": 0.325,
        "PhysicalSizeY": 0.325,
        "Channel": {"Name": ["ZO-1", "DAPI"]},
    }
    tifffile.imwrite(
        path, np.stack([ONE.junctions, ONE.nuclei]), metadata=metadata, compression="zlib"
    )
    return path


def told(capsys: pytest.CaptureFixture[str], arguments: list[Any], code: int = 0) -> dict[str, Any]:
    assert command_line(["image", *map(str, arguments), "--json"]) == code
    return dict(json.loads(capsys.readouterr().out))


def test_junctions_with_cells_from_the_nuclear_channel(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(
        capsys, [two, "--measure", "junctions", "--channel", "ZO-1", "--nuclei-channel", "DAPI"]
    )
    coverage, tijor = found["readouts"]
    assert (
        found["ok"] is True
        and found["pixel_size_um"] == 0.325
        and found["channels"] == ["ZO-1", "DAPI"]
    )
    assert coverage["readout"] == "junction_coverage" and tijor["readout"] == "TiJOR"
    assert abs(coverage["value"] - ONE.truth.coverage) < 2.0 * coverage["sd"]
    assert found["details"]["cells_from"] == "nuclei" and len(found["sha256"]) == 64
    level = found["details"]["junction_level"]
    again = told(
        capsys,
        [
            two,
            "--measure",
            "junctions",
            "--channel",
            "1",
            "--nuclei-channel",
            "2",
            "--junction-level",
            level,
        ],
    )
    assert again["readouts"][0]["value"] == pytest.approx(coverage["value"], abs=0.003)
    assert "given" in again["readouts"][0]["method"]


def test_labels_made_elsewhere_take_the_place_of_the_nuclei(
    two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.zeros((512, 512), dtype=np.uint16)
    for number, (y, x) in enumerate(np.rint(ONE.truth.nuclei_px).astype(int), start=1):
        labels[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5] = number
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    arguments = [two, "--labels", tmp_path / "labels.tif"]
    found = told(capsys, [*arguments, "--measure", "junctions", "--channel", "1"])
    assert found["details"]["cells_from"] == "labels"
    assert found["readouts"][0]["value"] == pytest.approx(ONE.truth.coverage, abs=0.03)
    found = told(capsys, [*arguments, "--measure", "nuclei", "--channel", "2"])
    assert found["details"]["nuclei"] == len(np.unique(labels)) - 1


def test_nuclei_and_their_overlay(
    two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "image",
        str(two),
        "--measure",
        "nuclei",
        "--channel",
        "2",
        "--overlay",
        str(tmp_path / "n.png"),
    ]
    assert command_line(arguments) == 0
    out = capsys.readouterr().out
    assert "nuclei_density" in out and "written:" in out
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")
    assert command_line(arguments) == 2  # it is there already
    assert "add --force" in capsys.readouterr().err


def test_thickness_of_a_plain_colour_file_with_a_declared_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = section(np.random.default_rng(1), SectionSettings(shape=(300, 500), pixel_size_um=2.0))
    tifffile.imwrite(tmp_path / "he.tif", one.rgb, photometric="rgb")
    arguments = [tmp_path / "he.tif", "--measure", "thickness", "--pixel-size", "2um"]
    found = told(capsys, arguments)
    assert (
        abs(found["readouts"][0]["value"] - np.median(one.thickness_um))
        < 3 * found["readouts"][0]["sd"]
    )
    tifffile.imwrite(tmp_path / "layer.tif", one.layer.astype(np.uint8))
    given = told(capsys, [*arguments, "--labels", tmp_path / "layer.tif"])
    assert given["readouts"][0]["value"] == pytest.approx(found["readouts"][0]["value"], rel=0.04)


def test_an_image_without_junctions_ends_with_6_and_no_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).normal(300.0, 20.0, (512, 512)).astype(np.uint16)
    path = tmp_path / "noise.tif"
    tifffile.imwrite(path, noise)
    arguments = [path, "--measure", "junctions", "--pixel-size", "0.325um"]
    found = told(capsys, arguments, code=6)
    assert found["ok"] is False and found["readouts"][0]["value"] is None
    assert command_line(["image", *map(str, arguments)]) == 6
    assert "no junction stands out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--measure", "junctions"], 2, "it has 2 channels (ZO-1, DAPI); name one by --channel"),
        (["--measure", "junctions", "--channel", "ZO1"], 2, "no channel 'ZO1'; allowed are 1 to 2"),
        (["--measure", "nuclei", "--channel", "2", "--pixel-size", "1um"], 3, "declared are 1 um"),
        (["--measure", "nuclei", "--channel", "2", "--pixel-size", "1"], 2, "such as 0.325um"),
        (["--measure", "nuclei", "--channel", "2", "--z", "4"], 2, "--z 4; allowed are 1 to 1"),
        (
            ["--measure", "nuclei", "--channel", "2", "--nuclei-channel", "1"],
            2,
            "goes with --measure junctions",
        ),
        (["--measure", "thickness"], 3, "a stained section is a colour image"),
        (["--measure", "mitoses"], 2, "mitoses"),
        (
            ["--measure", "nuclei", "--channel", "2", "--overlay", "a.pdf"],
            2,
            "written as .png or .svg",
        ),
        (
            ["--measure", "junctions", "--channel", "1", "--junction-level", "0"],
            2,
            "numbers above 0",
        ),
    ],
)
def test_wrong_use_and_files_that_do_not_fit_are_told(
    more: list[str], code: int, message: str, two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["image", str(two), *more, "--json"]) == code
    captured = capsys.readouterr()
    assert message in " ".join(captured.err.split()) and "Traceback" not in captured.err
    assert json.loads(captured.out)["ok"] is False


def test_a_cut_file_and_one_of_another_size_are_refused(
    two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.ome.tif"
    cut.write_bytes(two.read_bytes()[:-2000])
    assert command_line(["image", str(cut), "--measure", "nuclei", "--channel", "2"]) == 3
    assert "cut.ome.tif: incomplete" in capsys.readouterr().err
    tifffile.imwrite(tmp_path / "small.tif", np.zeros((64, 64), dtype=np.uint8))
    arguments = [
        "image",
        str(two),
        "--measure",
        "nuclei",
        "--channel",
        "2",
        "--labels",
        str(tmp_path / "small.tif"),
    ]
    assert command_line(arguments) == 3
    assert "both must show the same place" in capsys.readouterr().err
