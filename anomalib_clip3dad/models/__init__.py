# SPDX-License-Identifier: Apache-2.0
"""The anomalib models of this package."""

from anomalib import models as anomalib_models

from anomalib_clip3dad.data import Eyecandies, Folder3DXYZ, MVTec3DXYZ, Toy3D  # noqa: F401  # known by name, too

from .btf import Btf
from .clip3d_ad import Clip3dAd
from .clip3d_ad_plus import Clip3dAdPlus
from .gs_clip import GsClip
from .lsfa import Lsfa

__all__ = ["Btf", "Clip3dAd", "Clip3dAdPlus", "GsClip", "Lsfa"]

# `get_model("clip3d_ad")` and `list_models()` see every direct subclass of AnomalibModule. `get_model({"class_path":
# "Clip3dAd"})`, which benchmarks and configs use, looks the name up in anomalib.models (seen in anomalib 2.7.0).
for _model in (Btf, Clip3dAd, Clip3dAdPlus, GsClip, Lsfa):
    setattr(anomalib_models, _model.__name__, _model)
