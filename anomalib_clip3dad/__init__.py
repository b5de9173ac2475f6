# SPDX-License-Identifier: Apache-2.0
"""Few-shot 3D anomaly detection on RGB + organised XYZ for anomalib.

Importing this package makes its models known to anomalib by name. The import is cheap: torch and anomalib's models,
which take seconds, are imported when they are first used.
"""

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from .lazy import lazily
from .registration import register_with

if TYPE_CHECKING:
    from .data import Eyecandies, Folder3DXYZ, MVTec3DXYZ, Toy3D
    from .inference import RGBXYZInferencer
    from .models import Btf, Clip3dAd, Clip3dAdPlus, Lsfa

__all__ = [
    "Btf",
    "Clip3dAd",
    "Clip3dAdPlus",
    "Eyecandies",
    "Folder3DXYZ",
    "Lsfa",
    "MVTec3DXYZ",
    "RGBXYZInferencer",
    "Toy3D",
]
__version__ = version("anomalib_clip3dad")

_ROOMS = {
    "models": ("Btf", "Clip3dAd", "Clip3dAdPlus", "Lsfa"),
    "data": ("Eyecandies", "Folder3DXYZ", "MVTec3DXYZ", "Toy3D"),
    "inference": ("RGBXYZInferencer",),
}

# OpenVINO and NNCF report imports and conversions to Google Analytics unless the user has opted out. Both do without
# the package that sends; None is how Python marks a package as missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

register_with("anomalib.models", f"{__name__}.models")
register_with("anomalib.cli.cli", f"{__name__}.anomalib_command")


__getattr__ = lazily(
    __name__,
    {name: f".{room}" for room, names in _ROOMS.items() for name in names} | dict.fromkeys(_ROOMS, ""),
)


def __dir__() -> list[str]:
    return sorted({*vars(sys.modules[__name__]), *__all__})
