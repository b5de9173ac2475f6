# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest
import release_gs_clip
import torch
from lightning.pytorch import Trainer

from anomalib_clip3dad.models import GsClip
from anomalib_clip3dad.models.gs_clip.trained import SHIPPED


def test_what_a_training_has_learned_is_taken_by_name(
    tiny_clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = GsClip(tiny_clip, None, vv_from=None, num_points=1024, seed=1, visualizer=False)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    monkeypatch.setitem(SHIPPED, "toy3d", tmp_path / "toy3d.safetensors")
    monkeypatch.setattr(sys, "argv", ["release_gs_clip.py", str(tmp_path / "model.ckpt")])
    release_gs_clip.main()
    taken = GsClip(tiny_clip, None, vv_from=None, num_points=1024, trained="toy3d", visualizer=False)
    learned = model.state_dict()
    for name, value in taken.state_dict().items():
        torch.testing.assert_close(value, learned[name], rtol=0, atol=0, equal_nan=True)
