# SPDX-License-Identifier: Apache-2.0
"""Eq. 1: the rotations of the views of CLIP3D-AD."""

from collections.abc import Sequence

import torch
from torch import Tensor

from anomalib_clip3dad.errors import InputError

# The paper gives v = 27 but no angles. These are CPMF's, its reference [6] for the renderings.
_AXIS_ANGLES = torch.tensor([0.0, -15.0, 15.0])

VIEW_ANGLES: Tensor = torch.cartesian_prod(_AXIS_ANGLES, _AXIS_ANGLES, _AXIS_ANGLES)
"""(27, 3): theta_x, theta_y, theta_z in degrees, theta_x outermost; row k - 1 is the paper's view k."""

DEFAULT_VIEWS: tuple[int, ...] = (5, 9, 14, 19, 27)
"""The five views that the paper uses (section 3.3.4), 1-based."""


def rotation_matrix(theta_x: Tensor | float, theta_y: Tensor | float, theta_z: Tensor | float) -> Tensor:
    """Compose the rotation of a view from its three angles.

    CLIP3D-AD, Eq. 1, exactly as printed. The subscripts are not the axes of rotation: theta_x rotates about z, theta_y
    about y, theta_z about x, and the first and the last rotate in the opposite direction to the usual right-handed
    matrices.

    Args:
        theta_x: Angle in radians, any shape; the three angles are broadcast.
        theta_y: Angle in radians.
        theta_z: Angle in radians.

    Returns:
        `(..., 3, 3)`, for column vectors in the camera frame.

    Example:
        >>> import math
        >>> rotation_matrix(math.pi / 2, 0.0, 0.0).round().int().tolist()
        [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    """
    x, y, z = torch.broadcast_tensors(*(torch.as_tensor(theta) for theta in (theta_x, theta_y, theta_z)))
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    first = _matrix((x.cos(), x.sin(), zero), (-x.sin(), x.cos(), zero), (zero, zero, one))
    second = _matrix((y.cos(), zero, y.sin()), (zero, one, zero), (-y.sin(), zero, y.cos()))
    third = _matrix((one, zero, zero), (zero, z.cos(), z.sin()), (zero, -z.sin(), z.cos()))
    return first @ second @ third


def view_rotations(views: Sequence[int]) -> Tensor:
    """Look up the rotations of the paper's views.

    CLIP3D-AD, Eq. 1, with the angles of `VIEW_ANGLES`.

    Args:
        views: 1-based view numbers, 1 to 27, as in the paper's Tables 5 and 7.

    Returns:
        `(v, 3, 3)` float32.

    Raises:
        ValueError: If there is no view, or a number is outside 1 to 27.

    Example:
        >>> view_rotations([1]).tolist()
        [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
    """
    last = len(VIEW_ANGLES)
    if len(views) == 0 or not all(1 <= view <= last for view in views):
        msg = f"`views` is {list(views)}, wanted one or more numbers from 1 to {last}: the paper counts from 1."
        raise InputError(msg)
    # computed in double precision, so that the constants are the nearest float32 values
    angles = VIEW_ANGLES[torch.tensor(views) - 1].double().deg2rad()
    return rotation_matrix(*angles.unbind(dim=1)).float()


SCAN_ANGLES: tuple[tuple[float, ...], tuple[float, ...]] = ((-45, -15, 0, 15, 45), (-30, -15, 15, 30))
"""Degrees about x, then about y, of GS-CLIP's nine views of a surface seen from one side (MVTec 3D-AD, by PointAD)."""

SURROUNDING_ANGLES: tuple[tuple[float, ...], tuple[float, ...]] = ((-144, -108, -72, -36, 0, 36, 72, 108, 144), ())
"""The same for clouds scanned from all sides (Real3D-AD, by PointAD)."""


def axis_rotations(about_x: Sequence[float], about_y: Sequence[float]) -> Tensor:
    """Compose the rotations of views about one axis at a time, as GS-CLIP and PointAD do.

    Args:
        about_x: Angles about the x axis in degrees, right-handed.
        about_y: Angles about the y axis in degrees, right-handed.

    Returns:
        `(v, 3, 3)` float32, those about x first.

    Example:
        >>> axis_rotations((90,), (90,)).round().int().tolist()
        [[[1, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]]
    """
    x, y = (torch.tensor(angles, dtype=torch.float64).deg2rad() for angles in (about_x, about_y))
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    pitch = _matrix((one, zero, zero), (zero, x.cos(), -x.sin()), (zero, x.sin(), x.cos()))
    zero, one = torch.zeros_like(y), torch.ones_like(y)
    yaw = _matrix((y.cos(), zero, y.sin()), (zero, one, zero), (-y.sin(), zero, y.cos()))
    return torch.cat([pitch, yaw]).float()


def _matrix(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Matrix (..., 3, 3) from three rows of three entries (...)."""
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
