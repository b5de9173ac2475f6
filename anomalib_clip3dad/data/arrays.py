# SPDX-License-Identifier: Apache-2.0

"""One part as users hold it, in files, arrays or tensors, in the one form that all else works with."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from anomalib_clip3dad.data.files import as_rgb
from anomalib_clip3dad.data.intrinsics import Intrinsics, checked, read_intrinsics
from anomalib_clip3dad.data.pictures import to_unit
from anomalib_clip3dad.data.plausible import check_sample
from anomalib_clip3dad.data.reading import as_organised, read_image, read_organised
from anomalib_clip3dad.errors import InputError

Array = str | Path | np.ndarray | Tensor


class Part(NamedTuple):
    """An image and its cloud.

    Attributes:
        image: (3, H, W) float32 RGB in [0, 1].
        xyz: (3, H, W) float32 metres, camera frame, (0, 0, 0) = not measured.
    """

    image: Tensor
    xyz: Tensor


def as_part(image: Array, xyz: Array, camera: Intrinsics | str | Path | None = None) -> Part:
    """Read or convert an image and its 3D data and check that they belong together.

    Args:
        image: A file; or RGB as array (H, W, 3) or tensor (3, H, W), of 8 or 16 bit or floats in [0, 1].
        xyz: A file (`read_organised`); or organised XYZ of floats in metres, camera frame, (0, 0, 0), not finite or
            masked = not measured, as array (H, W, 3) or as tensor (3, H, W).
        camera: For files, arrays and tensors that hold depth (H, W) or points (N, 3): its intrinsics or their file.

    Returns:
        The part, on the CPU and without gradients.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a file cannot be read, a shape, type or range is another, the cloud is not in metres, the two do
            not show the same pixels, or they hold too little or cannot be right (`check_sample`).
    """
    picture = _picture(image)
    size = (picture.shape[1], picture.shape[2])
    cloud = _cloud(xyz, _camera(camera), size)
    if cloud.shape != picture.shape:
        shown = [" x ".join(map(str, values.shape[1:])) for values in (picture, cloud)]
        msg = f"image has H x W = {shown[0]} but xyz has {shown[1]}; they must show the same pixels"
        raise InputError(msg)
    check_sample(_name(image, "image"), picture.numpy(), _name(xyz, "xyz"), cloud.numpy())
    return Part(picture, cloud)


def _name(value: Array, argument: str) -> str:
    return str(value) if isinstance(value, str | Path) else argument


def _camera(camera: Any) -> Intrinsics | None:
    if isinstance(camera, str | Path):
        return read_intrinsics(camera)
    if camera is None or isinstance(camera, Intrinsics):
        return camera if camera is None else checked("camera", camera._asdict())
    msg = f"camera: found {_described(camera)}; give Intrinsics(fx, fy, cx, cy, ...) or their JSON file"
    raise InputError(msg)


def _picture(image: Array) -> Tensor:
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, np.ma.MaskedArray):
        if np.ma.is_masked(image):
            msg = "image: found masked pixels; RGB has a colour in each pixel: fill them"
            raise InputError(msg)
        image = image.data
    values = _plain(image, "image", "(3, H, W)", "(H, W, 3)")
    try:
        return torch.from_numpy(as_rgb(to_unit(values)))
    except InputError as error:
        msg = f"image: {error}"
        raise InputError(msg) from None


def _cloud(xyz: Array, camera: Intrinsics | None, size: tuple[int, int]) -> Tensor:
    if isinstance(xyz, str | Path):
        return read_organised(xyz, camera, size)
    if isinstance(xyz, np.ma.MaskedArray):
        if xyz.dtype.kind not in "iuf":
            msg = f"xyz: found {xyz.dtype}; numbers are needed"
            raise InputError(msg)
        xyz = xyz.filled(np.nan) if xyz.dtype.kind == "f" else xyz.filled(0)
    if isinstance(xyz, np.ndarray):
        return as_organised("xyz", xyz, camera, size)
    if isinstance(xyz, Tensor) and xyz.ndim == 2 and camera is not None:
        return as_organised("xyz", _numpy(xyz, "xyz"), camera, size)
    return as_organised("xyz", _plain(xyz, "xyz", "(3, H, W)", "(H, W, 3)"), camera, size)


def _plain(value: Any, name: str, of_tensors: str, of_arrays: str) -> np.ndarray:
    """Array (H, W, 3) of a tensor (3, H, W) or an array (H, W, 3), or an error that says what it is instead."""
    wanted = f"give a file, an array {of_arrays} or a tensor {of_tensors}"
    if not isinstance(value, Tensor | np.ndarray):
        msg = f"{name}: found {_described(value)}; {wanted}"
        raise InputError(msg)
    shape, tensor = tuple(value.shape), isinstance(value, Tensor)
    if len(shape) == 3 and shape[0 if tensor else -1] == 3 and min(shape) > 0:
        return value if isinstance(value, np.ndarray) else rearrange(_numpy(value, name), "c h w -> h w c")
    hint = ""
    if len(shape) == 4:
        hint = "; this is a batch: give one of it, or call predict_batch"
    elif len(shape) == 3 and shape[-1 if tensor else 0] == 3:
        hint = ", channels last: permute(2, 0, 1)" if tensor else ", channels first: numpy.moveaxis(x, 0, -1)"
    msg = f"{name}: found {_described(value)}; {wanted}{hint}"
    raise InputError(msg)


def _numpy(value: Tensor, name: str) -> np.ndarray:
    """Values of a tensor wherever it is, without its gradient."""
    if value.dtype in _NUMBERS and value.layout is torch.strided and not value.is_meta:
        return value.detach().resolve_neg().cpu().as_subclass(Tensor).numpy()
    msg = f"{name}: found a tensor of {value.dtype} ({value.layout}); dense float32 is needed"
    raise InputError(msg)


_NUMBERS = {torch.bool, torch.uint8, torch.uint16, torch.int16, torch.int32, torch.int64}
_NUMBERS |= {torch.float16, torch.float32, torch.float64, torch.int8, torch.uint32}


def _described(value: Any) -> str:
    return f"{type(value).__name__} {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
