# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from anomalib_clip3dad.geometry import DEFAULT_VIEWS, VIEW_ANGLES, rotation_matrix, view_rotations

# the table of CPMF's views, 1 to 27
TABLE = """
0 0 0 | 0 0 -15 | 0 0 15 | 0 -15 0 | 0 -15 -15 | 0 -15 15 | 0 15 0 | 0 15 -15 | 0 15 15
-15 0 0 | -15 0 -15 | -15 0 15 | -15 -15 0 | -15 -15 -15 | -15 -15 15 | -15 15 0 | -15 15 -15 | -15 15 15
15 0 0 | 15 0 -15 | 15 0 15 | 15 -15 0 | 15 -15 -15 | 15 -15 15 | 15 15 0 | 15 15 -15 | 15 15 15
"""


def equation_1(x, y, z):
    first = [[math.cos(x), math.sin(x), 0], [-math.sin(x), math.cos(x), 0], [0, 0, 1]]
    second = [[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]]
    third = [[1, 0, 0], [0, math.cos(z), math.sin(z)], [0, -math.sin(z), math.cos(z)]]
    result = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            for k in range(3):
                for m in range(3):
                    result[i, j] += first[i][k] * second[k][m] * third[m][j]
    return result


def test_equation_1_against_its_sums():
    angles = torch.rand(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 6 - 3
    rotations = rotation_matrix(*angles.unbind(1))
    for rotation, angle in zip(rotations, angles, strict=True):
        np.testing.assert_allclose(rotation.numpy(), equation_1(*angle.tolist()), atol=1e-12)


def test_equation_1_by_hand():
    quarter = math.pi / 2
    assert rotation_matrix(quarter, quarter, quarter).round().tolist() == [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    # entry (1, 2) of the product is sin(theta_x) cos(theta_z) - cos(theta_x) sin(theta_y) sin(theta_z)
    assert rotation_matrix(math.radians(30), 0.0, math.radians(60))[0, 1].item() == pytest.approx(0.25)


def test_angles_broadcast():
    assert rotation_matrix(torch.zeros(4, 1), torch.zeros(5), 0.3).shape == (4, 5, 3, 3)


def test_view_angles_are_the_table():
    rows = [[float(angle) for angle in entry.split()] for entry in TABLE.replace("\n", "|").split("|") if entry.strip()]
    assert VIEW_ANGLES.tolist() == rows


def test_views_count_from_one():
    assert DEFAULT_VIEWS == (5, 9, 14, 19, 27)
    a = math.radians(15)
    expected = [equation_1(*angles) for angles in ((0, -a, -a), (0, a, a), (-a, -a, -a), (a, 0, 0), (a, a, a))]
    rotations = view_rotations(DEFAULT_VIEWS)
    assert rotations.dtype == torch.float32
    np.testing.assert_allclose(rotations.numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("views", [(0, 5), (28,), (-1,), ()])
def test_unknown_view_is_refused(views):
    with pytest.raises(ValueError, match="from 1 to 27"):
        view_rotations(views)
