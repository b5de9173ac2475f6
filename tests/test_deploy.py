# SPDX-License-Identifier: Apache-2.0
import importlib
import sys

import pytest

from anomalib_clip3dad import export, inference


def test_the_former_name_gives_the_same_and_says_the_new_one() -> None:
    sys.modules.pop("anomalib_clip3dad.deploy", None)
    with pytest.warns(DeprecationWarning, match=r"anomalib_clip3dad\.deploy is now anomalib_clip3dad\.inference"):
        former = importlib.import_module("anomalib_clip3dad.deploy")
    assert former.RGBXYZInferencer is inference.RGBXYZInferencer
    assert former.RGBXYZExportMixin is export.RGBXYZExportMixin
    assert former.Metadata is export.Metadata
