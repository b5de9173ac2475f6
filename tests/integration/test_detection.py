# SPDX-License-Identifier: Apache-2.0
"""What the offline model finds by prompts alone, and what training changes; docs/small_clip.md has the figures."""

from pathlib import Path

import pytest
import yaml
from anomalib.engine import Engine
from lightning.pytorch import seed_everything

from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.models import Clip3dAd

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Metrics on rings: random weights, the small CLIP, the same after a few steps on two shots."""
    root = tmp_path_factory.mktemp("rings")
    data = Toy3D(
        root,
        "ring",
        k_shot=2,
        num_train=2,
        num_validation=0,
        num_good=8,
        num_defects=4,
        val_split_mode="none",
        train_batch_size=2,
    )

    def test(pretrained: str | None, max_steps: int) -> dict[str, float]:
        seed_everything(0, verbose=False)
        tuned, offline = (
            yaml.safe_load((CONFIGS / name).read_text())["model"]["init_args"]
            for name in ("clip3dad_tuned.yaml", "offline.yaml")
        )
        model = Clip3dAd(**tuned | offline | {"pretrained": pretrained}, post_processor=False, visualizer=False)
        engine = Engine(
            default_root_dir=root / "results",
            max_steps=max_steps,
            logger=False,
            enable_progress_bar=False,
        )
        if max_steps > 0:
            engine.fit(model, datamodule=data)
        return dict(engine.test(model, datamodule=data, verbose=False)[0])

    return {"random": test(None, -1), "untrained": test("small", -1), "trained": test("small", 10)}


def test_the_small_clip_finds_defects_by_prompts_alone(found: dict[str, dict[str, float]]) -> None:
    random, untrained = found["random"], found["untrained"]
    assert untrained["image_AUROC"] > max(0.75, random["image_AUROC"] + 0.15)
    assert untrained["pixel_AUPRO"] > max(0.75, random["pixel_AUPRO"] + 0.15)


def test_training_moves_the_model_and_harms_no_map(found: dict[str, dict[str, float]]) -> None:
    """With all rates 0 nothing moves; with the paper's loss, a mean over all pixels, the AUPRO falls by 0.1 or more."""
    assert found["trained"] != found["untrained"]
    assert found["trained"]["image_AUROC"] > found["untrained"]["image_AUROC"] - 0.05
    assert found["trained"]["pixel_AUPRO"] > found["untrained"]["pixel_AUPRO"] - 0.03
