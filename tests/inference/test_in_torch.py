# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from torch import nn

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.inference.in_torch import Torch
from tests.conftest import bumpy_part
from tests.deployed import Deployed


def test_it_answers_as_the_model_of_the_checkpoint(deployed: Deployed) -> None:
    image, xyz = (values[None] for values in bumpy_part(seed=7))
    answer = Torch(deployed.checkpoint, "cpu")(image.numpy(), xyz.numpy())
    with torch.inference_mode():
        expected = deployed.model(image, xyz)
    assert answer["pred_score"] == pytest.approx(expected.pred_score.numpy(), abs=1e-6)
    assert answer["anomaly_map"] == pytest.approx(expected.anomaly_map.numpy(), abs=1e-6)
    assert (answer["pred_mask"] == expected.pred_mask.numpy()).all()


@pytest.mark.parametrize("content", [[1], {"state_dict": {}}, {"tower_hash": "", "model": "Nothing"}])
def test_what_is_not_of_this_package(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=r"a\.ckpt: this is no checkpoint of a model of anomalib_clip3dad"):
        Torch(tmp_path / "a.ckpt")


def test_code_in_it_is_not_run(tmp_path: Path) -> None:
    torch.save({"tower_hash": "", "model": nn.Linear(1, 1)}, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="could run code of whoever made it"):
        Torch(tmp_path / "a.ckpt")
