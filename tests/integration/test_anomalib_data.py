# SPDX-License-Identifier: Apache-2.0
"""The model on anomalib's own RGB + 3D data modules, which resize the image and never the cloud."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from anomalib.data import ADAM3D, AnomalibDataModule, Folder3D, MVTec3D
from anomalib.engine import Engine

from anomalib_clip3dad.data import MVTec3DXYZ, Toy3D
from anomalib_clip3dad.models import Clip3dAd

pytestmark = pytest.mark.slow

LOADERS = {"train_batch_size": 2, "eval_batch_size": 3, "num_workers": 0}


def without_nan_paths(data: AnomalibDataModule) -> AnomalibDataModule:
    """Mend what stops anomalib 2.7.0's MVTec3D and ADAM3D on pandas 3, whatever the model: NaN for "no mask"."""
    setup = data._setup

    def mended(stage: str | None = None) -> None:
        setup(stage)
        for part in (data.train_data, data.test_data):
            part.samples["mask_path"] = part.samples["mask_path"].fillna("")

    data._setup = mended  # type: ignore[method-assign]
    return data


def mvtec(root: Path) -> AnomalibDataModule:
    return without_nan_paths(MVTec3D(root=root, category="gear", **LOADERS))


def adam(root: Path) -> AnomalibDataModule:
    shutil.copytree(root / "gear", Path("adam") / "gear")
    for masks in Path("adam").rglob("gt"):
        masks.rename(masks.with_name("ground_truth"))
    return without_nan_paths(ADAM3D(root="adam", category="gear", **LOADERS))


def folder(root: Path) -> AnomalibDataModule:
    gear = root / "gear"
    return Folder3D(
        name="gears",
        root=gear,
        normal_dir="train/good/rgb",
        normal_depth_dir="train/good/xyz",
        abnormal_dir="test/colour/rgb",
        abnormal_depth_dir="test/colour/xyz",
        mask_dir="test/colour/gt",
        normal_test_dir="test/good/rgb",
        normal_test_depth_dir="test/good/xyz",
        val_split_mode="same_as_test",
        **LOADERS,
    )


def xyz(root: Path) -> AnomalibDataModule:
    return MVTec3DXYZ(root=root, category="gear", k_shot=2, **(LOADERS | {"num_workers": 1}))


def toy(root: Path) -> AnomalibDataModule:  # noqa: ARG001
    counts = {"num_train": 2, "num_validation": 1, "num_good": 1, "num_defects": 1}
    return Toy3D(root="toy", category="ring", size=(64, 64), k_shot=1, **counts, **LOADERS)


@pytest.mark.parametrize("make", [mvtec, adam, folder, xyz, toy])
def test_trains_tests_and_predicts(
    make: Callable[[Path], AnomalibDataModule], toy_root: Path, tiny_clip: str, tmp_path: Path
) -> None:
    data = make(toy_root)
    model = Clip3dAd(tiny_clip, pretrained=None, layers=[1, 3])
    engine = Engine(max_steps=2, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)
    engine.fit(model, datamodule=data)
    assert engine.trainer.global_step == 2
    result = engine.test(model, datamodule=data, verbose=False)[0]
    assert set(result) == {"image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_AUPRO"}
    predictions = engine.predict(model, datamodule=data)
    assert sum(len(batch.pred_score) for batch in predictions) == len(data.test_data)
    runs = list(tmp_path.glob("results/**/v0"))  # the training with its test, and the prediction
    assert len(runs) == 2
    assert all(len(list((run / "images").rglob("*.png"))) == len(data.test_data) for run in runs)
