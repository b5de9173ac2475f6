# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_clip3dad.export.graph import trace
from anomalib_clip3dad.export.metadata import OUTPUTS
from anomalib_clip3dad.models import Clip3dAd
from tests.deployed import Deployed, batch


def test_a_program_for_any_size_and_number_of_samples(deployed: Deployed) -> None:
    model = deployed.model.train()
    transform = model.pre_processor.transform
    program, outputs = trace(model, None)
    assert model.training
    assert model.pre_processor.transform is transform
    assert outputs == OUTPUTS
    run = program.module()
    for size, count in (((48, 48), 1), ((60, 80), 3), ((100, 31), 2)):
        image, xyz = batch(size, count)
        with torch.no_grad():
            expected = model.eval()(image, xyz)
        found = dict(zip(outputs, run(image, xyz), strict=True))
        torch.testing.assert_close(found["pred_score"], expected.pred_score, atol=1e-4, rtol=0)
        torch.testing.assert_close(found["anomaly_map"], expected.anomaly_map, atol=1e-3, rtol=0)


@pytest.mark.parametrize("arguments", [{}, {"post_processor": False}])
def test_without_a_threshold_no_labels(tiny_clip: str, arguments: dict[str, bool]) -> None:
    model = Clip3dAd(tiny_clip, None, "tire", layers=[1], views=[], visualizer=False, **arguments)
    assert trace(model, (48, 48))[1] == ("pred_score", "anomaly_map")
