# SPDX-License-Identifier: Apache-2.0
"""One model with every trained part drawn at random, its checkpoint and what was exported from it.

The fixture `deployed` of all tests makes it once.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from anomalib.engine import Engine
from lightning.pytorch import Trainer

from anomalib_clip3dad.models import Clip3dAd
from tests.conftest import bumpy_part

FIXED = (60, 80)


class Deployed(NamedTuple):
    model: Clip3dAd
    checkpoint: Path
    onnx: Path  # for images of any size
    openvino: Path  # for images of FIXED alone


def make_model(clip_name: str) -> Clip3dAd:
    torch.manual_seed(0)
    model = Clip3dAd(clip_name, None, "cable gland", layers=[1, 3], views=[5, 9], visualizer=False)
    for parameter in model.parameters():
        if parameter.requires_grad:  # what starts at zero would hide all that comes before it
            torch.nn.init.normal_(parameter, std=0.2)
    model.training_files = ["train/good/rgb/000.png"]
    raw = model.eval()
    raw.post_processor.enable_normalization = False
    with torch.no_grad():
        answers = [raw(*(values[None] for values in bumpy_part(seed=seed))) for seed in range(3)]
    raw.post_processor.enable_normalization = True
    post = model.post_processor
    for name in ("image", "pixel"):
        values = torch.cat(
            [getattr(a, {"image": "pred_score", "pixel": "anomaly_map"}[name]).flatten() for a in answers]
        )
        getattr(post, f"{name}_min").copy_(values.min() - 0.1)
        getattr(post, f"{name}_max").copy_(values.max() + 0.1)
        getattr(post, f"_{name}_threshold").copy_(values.median() + 0.01)  # apart from every score
    return model


def deploy(clip_name: str, folder: Path) -> Deployed:
    """Make it; the exports take more than a minute."""
    model = make_model(clip_name)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(folder / "model.ckpt")
    onnx = model.to_onnx(folder)
    engine: Any = Engine(accelerator="cpu", default_root_dir=folder)
    openvino = engine.export(model, "openvino", folder, input_size=FIXED, ckpt_path=folder / "model.ckpt")
    return Deployed(model, folder / "model.ckpt", onnx, openvino)


def batch(size: tuple[int, int], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Different parts, (B, 3, H, W) each, the last with points missing."""
    image, xyz = (
        torch.stack(values) for values in zip(*(bumpy_part(*size, seed=i) for i in range(count)), strict=True)
    )
    xyz[-1, :, 20:30, 30:40] = 0
    return image, xyz
