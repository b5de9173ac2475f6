# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from anomalib_clip3dad.inference.folder import judge, list_parts
from anomalib_clip3dad.inference.on_ray import judge_on_ray
from anomalib_clip3dad.inference.runtimes import open_model
from tests.data.conftest import write_parts
from tests.deployed import Deployed


@pytest.mark.slow
def test_machines_that_share_the_work_say_the_same(deployed: Deployed, tmp_path: Path) -> None:
    write_parts(tmp_path, 3)
    parts, model = list_parts(tmp_path)[0], open_model(deployed.onnx)
    expected = {part.image: judge(model, part, tmp_path).score for part in parts}
    found = list(judge_on_ray(deployed.onnx, parts, tmp_path, None, "auto", None))
    assert {verdict.sample.image: verdict.score for verdict in found} == pytest.approx(expected, abs=1e-6)
