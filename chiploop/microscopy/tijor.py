"""TiJOR: how often the junctions' lines are crossed by rectangles growing from a middle, per length.

Belongs here: crossings and lengths. Not here: the mask (junctions). After Terryn et al., Cytometry A 83:235
(2013), who grow one set of rectangles from the middle of an image; here each block of an image has its own set,
which uses all of the image and gives its scatter. The value hangs on the size of cells: a net of isotropic lines
of length L on an area A has 2 L / (pi A), whatever its gaps. Compare it only between images of like cells.
"""

from __future__ import annotations

import numpy as np

STEP_UM = 5.0
"""Between one rectangle and the next."""


def crossings(lines: np.ndarray, working_um: float) -> tuple[int, float]:
    """Return the crossings of all rectangles in one block of a skeleton, and their length in um."""
    rows, columns = lines.shape
    step = max(1, round(STEP_UM / working_um))
    count, length = 0, 0
    for size in range(step, min(rows, columns) // 2, step):
        top, bottom = rows // 2 - size, rows // 2 + size
        left, right = columns // 2 - size, columns // 2 + size
        for line in (
            lines[top, left:right],
            lines[bottom, left:right],
            lines[top:bottom, left],
            lines[top:bottom, right],
        ):
            # a line that lies along the side is one crossing, not one for each pixel
            count += int(np.count_nonzero(line[1:] & ~line[:-1])) + int(line[0])
            length += line.size
    return count, length * working_um
