# SPDX-License-Identifier: Apache-2.0
from importlib.metadata import version

import torch

from anomalib_clip3dad.export.describe import describe
from anomalib_clip3dad.export.metadata import Metadata
from anomalib_clip3dad.models import Clip3dAd
from anomalib_clip3dad.weights import weights_hash
from tests.deployed import Deployed


def test_what_is_said_of_a_model(deployed: Deployed) -> None:
    model = deployed.model
    found = describe(model, (60, 80))
    assert (found.model, found.version, found.class_name) == ("Clip3dAd", version("anomalib_clip3dad"), "cable gland")
    assert found.training_files == ["train/good/rgb/000.png"]
    assert found.image_threshold == model.post_processor.image_threshold.item()
    assert found.pixel_threshold == model.post_processor.pixel_threshold.item()
    assert found.weights_hash == weights_hash(model.model.state_dict())
    assert (found.input_size, found.compression) == ((60, 80), None)
    assert "metres" in found.units["xyz"]
    assert Metadata.from_texts(found.to_texts(), "a.onnx") == found


def test_other_weights_have_another_hash(deployed: Deployed) -> None:
    before = describe(deployed.model).weights_hash
    adapter = deployed.model.model.image_adapter.up.weight
    kept = adapter.detach().clone()
    with torch.no_grad():
        adapter[0, 0] += 1
        assert describe(deployed.model).weights_hash != before
        adapter.copy_(kept)


def test_without_a_validation_there_is_no_threshold(tiny_clip: str) -> None:
    found = describe(Clip3dAd(tiny_clip, None, "nut", visualizer=False))
    assert (found.image_threshold, found.pixel_threshold, found.input_size) == (None, None, None)
    assert found.training_files == []
