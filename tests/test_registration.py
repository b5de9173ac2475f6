# SPDX-License-Identifier: Apache-2.0
import anomalib.models
import pytest
from anomalib.models import get_model, list_models

from anomalib_clip3dad import Clip3dAd
from anomalib_clip3dad.models import Clip3dAd as FromModels


def test_anomalib_lists_the_model() -> None:
    assert "clip3d_ad" in list_models()
    assert FromModels is Clip3dAd


@pytest.mark.parametrize("name", ["clip3d_ad", "Clip3dAd", {"class_path": "Clip3dAd"}])
def test_anomalib_makes_the_model(tiny_clip: str, name: str | dict[str, str]) -> None:
    model = get_model(name, clip_model=tiny_clip, pretrained=None, layers=[1, 3], views=[5, 9])
    assert type(model) is Clip3dAd
    assert model.views == (5, 9)


def test_nothing_is_allowed_that_anomalib_does_not_allow() -> None:
    assert not any("clip3dad" in module for module in anomalib.models.ALLOWED_MODULES)
