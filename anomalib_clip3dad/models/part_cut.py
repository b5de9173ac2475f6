# SPDX-License-Identifier: Apache-2.0
"""What a model reads of its samples: the whole picture and cloud, or the part cut out of both and enlarged."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from anomalib_clip3dad.geometry import PartBox, crop_image, crop_nearest, find_part

CROP_DETAIL = 2  # the picture that a part is cut out of is so many times what the model reads


class Cut(NamedTuple):
    """What a model is to read of B samples.

    Attributes:
        image: (B, 3, S, S) RGB in [0, 1].
        xyz: (B, 3, S, S), metres, camera frame, (0, 0, 0) = not measured.
        foreground: (B, S, S) bool, the part.
        box: where in the whole picture that is, see `find_part`; None for the whole.
    """

    image: Tensor
    xyz: Tensor
    foreground: Tensor
    box: PartBox | None


def cut_part(image: Tensor, xyz: Tensor, foreground: Tensor, size: tuple[int, int]) -> Cut:
    """Cut the part out of picture and cloud and enlarge it.

    Args:
        image: (B, 3, H, W) RGB in [0, 1].
        xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) = not measured.
        foreground: (B, H, W) bool, the part.
        size: rows and columns wanted.

    Returns:
        All three, and where they come from.
    """
    box = find_part(foreground)
    shown = crop_nearest(foreground[:, None].to(torch.uint8), box, size)[:, 0] > 0
    return Cut(crop_image(image, box, size), crop_nearest(xyz, box, size), shown, box)


def turn(cut: Cut, degrees: float) -> Cut:
    """Turn samples in the plane of their picture, about its middle.

    Args:
        cut: B samples.
        degrees: clockwise as one sees the picture.

    Returns:
        The samples; what comes in from outside is black and was not measured. The points move in the picture and
        keep their positions in space, whose surface bends alike wherever it stands.
    """
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    back = cut.image.new_tensor([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
    batch, _, height, width = cut.image.shape
    places = functional.affine_grid(back.expand(batch, -1, -1), [batch, 1, height, width], align_corners=False)
    nearest = functional.grid_sample(
        torch.cat([cut.xyz, cut.foreground[:, None].to(cut.xyz.dtype)], dim=1),
        places.to(cut.xyz.dtype),
        mode="nearest",
        align_corners=False,
    )
    image = functional.grid_sample(cut.image, places, align_corners=False)
    return Cut(image, nearest[:, :3], nearest[:, 3] > 0, cut.box)
