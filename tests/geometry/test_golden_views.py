# SPDX-License-Identifier: Apache-2.0
"""What each view number shows, as an image that a person can look at: views.png, nine in a row.

It was drawn by the slow renderer from the table of CPMF's angles: `python -m tests.geometry.test_golden_views`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anomalib_clip3dad.geometry import MultiViewRenderer

from .scenes import organise
from .test_renderer import slow_views
from .test_views import TABLE, equation_1

GOLDEN = Path(__file__).with_name("views.png")
SIZE = 56


def stairs():
    """Image, cloud and foreground of an L with stairs, its quarters coloured."""
    row, column = np.mgrid[:48, :48]
    depth = 0.5 - 0.02 * (column // 12) - 0.01 * (row // 24)
    inside = (abs(row - 24) < 20) & (abs(column - 24) < 20) & ((row > 20) | (column < 18))
    colours = np.stack((0.9 * (row < 24), 0.8 * (column < 24), 0.3 + 0.4 * ((row // 4 + column // 4) % 2)))
    image = torch.from_numpy(colours.astype(np.float32))[None]
    return image, organise(depth), torch.from_numpy(inside)[None]


def sheet(images):
    """(27, 3, S, S) in [0, 1] as rows of nine, (3 S, 9 S, 3) bytes."""
    rows = np.asarray(images).reshape(3, 9, 3, SIZE, SIZE).transpose(0, 3, 1, 4, 2)
    return np.rint(255 * rows).astype(np.uint8).reshape(3 * SIZE, 9 * SIZE, 3)


def draw():
    """The image by the slow renderer."""
    angles = np.radians([[float(a) for a in entry.split()] for entry in TABLE.replace("\n", "|").split("|") if entry])
    rotations = torch.tensor(np.array([equation_1(*angle) for angle in angles]), dtype=torch.float32)
    return sheet(slow_views(*(part[0] for part in stairs()), rotations, SIZE)[0])


@pytest.fixture(scope="module")
def rendered():
    """All views in one go."""
    return sheet(MultiViewRenderer(range(1, 28), SIZE)(*stairs()).images[0])


def cell(picture, view):
    """One view of a sheet."""
    row, column = divmod(view - 1, 9)
    return picture[row * SIZE : (row + 1) * SIZE, column * SIZE : (column + 1) * SIZE].astype(int)


@pytest.mark.parametrize("view", range(1, 28))
def test_view_is_its_golden_picture_and_no_other(rendered, view):
    golden = np.asarray(Image.open(GOLDEN))
    differences = [abs(cell(rendered, view) - cell(golden, other)).mean() for other in range(1, 28)]
    # a point on the border of two pixels may fall into either on another machine: some pixels, not an image
    assert differences[view - 1] < 0.5
    assert sorted(differences)[1] > 4


if __name__ == "__main__":
    Image.fromarray(draw()).save(GOLDEN, optimize=True)
