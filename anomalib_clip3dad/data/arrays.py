# SPDX-License-Identifier: Apache-2.0

"""One part as users hold it, in files, arrays or tensors, in the one form that all else works with."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from anomalib_clip3dad.data.intrinsics import Intrinsics, read_intrinsics
from anomalib_clip3dad.data.reading import as_organised, read_image, read_organised
from anomalib_clip3dad.errors import InputError

Array = str | Path | np.ndarray | Tensor


class Part(NamedTuple):
    """A picture and its cloud.

    Attributes:
        image: (3, H, W) float32 RGB in [0, 1].
        xyz: (3, H, W) float32 metres, camera frame, (0, 0, 0) = not measured.
    """

    image: Tensor
    xyz: Tensor


def as_part(image: Array, xyz: Array, camera: Intrinsics | str | Path | None = None) -> Part:
    """Read or convert a picture and its 3D data and check that they belong together.

    Args:
        image: a file; or RGB as array (H, W, 3), 8 bit or in [0, 1], or as tensor (3, H, W) in [0, 1].
        xyz: a file (`read_organised`); or organised XYZ in metres, camera frame, (0, 0, 0) or not finite = not
            measured, as array (H, W, 3) or as tensor (3, H, W).
        camera: for files and arrays that hold depth (H, W) or points (N, 3): its intrinsics or their file.

    Returns:
        The part.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a file cannot be read, a shape is another, the cloud is not in metres, or the two do not show the
            same pixels.
    """
    picture = _picture(image)
    size = (picture.shape[1], picture.shape[2])
    cloud = _cloud(xyz, read_intrinsics(camera) if isinstance(camera, str | Path) else camera, size)
    if cloud.shape != picture.shape:
        shown = [" x ".join(map(str, values.shape[1:])) for values in (picture, cloud)]
        msg = f"image has H x W = {shown[0]} but xyz has {shown[1]}; they must show the same pixels"
        raise InputError(msg)
    return Part(picture, cloud)


def _picture(image: Array) -> Tensor:
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[-1] == 3:
        scale = 255.0 if image.dtype == np.uint8 else 1.0
        image = torch.from_numpy(rearrange(image, "h w c -> c h w") / scale)
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3:
        msg = f"image: found {_described(image)}; give a file, an array (H, W, 3) or a tensor (3, H, W)"
        raise InputError(msg)
    picture = image.to(torch.float32)
    if not (picture.isfinite().all() and picture.min() >= 0 and picture.max() <= 1):
        msg = f"image: found values from {picture.min():g} to {picture.max():g}; RGB in [0, 1], or 8 bit, is needed"
        raise InputError(msg)
    return picture


def _cloud(xyz: Array, camera: Intrinsics | None, size: tuple[int, int]) -> Tensor:
    if isinstance(xyz, str | Path):
        return read_organised(xyz, camera, size)
    if isinstance(xyz, Tensor):
        if xyz.ndim != 3 or xyz.shape[0] != 3:
            msg = f"xyz: found {_described(xyz)}; give a file, an array (H, W, 3) or a tensor (3, H, W)"
            raise InputError(msg)
        xyz = rearrange(xyz, "c h w -> h w c").cpu().numpy()
    if not isinstance(xyz, np.ndarray):
        msg = f"xyz: found {_described(xyz)}; give a file, an array (H, W, 3) or a tensor (3, H, W)"
        raise InputError(msg)
    return as_organised("xyz", xyz, camera, size)


def _described(value: Any) -> str:
    return f"{type(value).__name__} {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
