# SPDX-License-Identifier: Apache-2.0
"""Few-shot 3D anomaly detection on RGB + organised XYZ for anomalib.

Importing this package is all that anomalib needs to know its models by name. It costs next to nothing: what takes
seconds, torch and anomalib's models, is imported when somebody asks for it.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from .registration import register_with

if TYPE_CHECKING:
    from .models import Btf, Clip3dAd

__all__ = ["Btf", "Clip3dAd"]

register_with("anomalib.models", f"{__name__}.models")


def __getattr__(name: str) -> Any:
    if name in {*__all__, "models"}:
        models = importlib.import_module(f"{__name__}.models")
        return models if name == "models" else getattr(models, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*vars(sys.modules[__name__]), *__all__})
