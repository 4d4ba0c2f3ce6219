"""Small TIFF files for tests, written by tifffile; and monolayers drawn by hand, not by the generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

PIXEL_UM = 0.325


def two_channels(rows: int = 61, columns: int = 83, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, (2, rows, columns)).astype(np.uint16)


def write_ome(
    path: Path, values: np.ndarray, axes: str = "CYX", pixel_um: float = PIXEL_UM, **more: Any
) -> Path:
    metadata: dict[str, Any] = {"axes": axes, "PhysicalSizeX": pixel_um, "PhysicalSizeY": pixel_um}
    if axes == "CYX" and len(values) == 2:
        metadata["Channel"] = {"Name": ["ZO-1", "DAPI"]}
    tifffile.imwrite(path, values, metadata=metadata, **more)
    return path


def square_net(
    cells: int = 12, cell_px: int = 40, lost: tuple[tuple[int, int], ...] = ()
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return an image of square cells, seeds as labels, and the covered share of the inner border.

    ``lost`` names upright sides without junction: (row, column) of the cell on their left.
    """
    size = cells * cell_px
    image = np.zeros((size, size))
    for i in range(1, cells):
        image[i * cell_px, :] = 1.0
        image[:, i * cell_px] = 1.0
    for row, column in lost:
        image[row * cell_px + 1 : (row + 1) * cell_px, (column + 1) * cell_px] = 0.0
    image = gaussian_filter(image, 1.4) * np.sqrt(2.0 * np.pi) * 1.4
    noise = np.random.default_rng(5).normal(0.0, 25.0, image.shape)
    labels = np.zeros(image.shape, dtype=np.int32)
    middle = np.arange(cells) * cell_px + cell_px // 2
    for i, y in enumerate(middle):
        for j, x in enumerate(middle):
            labels[y - 2 : y + 3, x - 2 : x + 3] = i * cells + j + 1
    sides = 2 * cells * (cells - 1)
    # cells at the image's edge share no border that is asked: only sides that an inner cell has count
    inner = sides - 4 * (cells - 1)
    share = 1.0 - len(lost) / inner
    return np.clip(200.0 + 900.0 * image + noise, 0, 4095).astype(np.uint16), labels, share
