# SPDX-License-Identifier: Apache-2.0
"""The model that CONTRIBUTING.md writes, made from its text alone: trained, tested, exported, and in a grid."""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.engine import Engine

from anomalib_clip3dad.benchmark.grid import Job, make_jobs
from anomalib_clip3dad.benchmark.job import run_job
from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.inference import RGBXYZInferencer

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def model_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The class, in a module of its own."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 60
    (tmp_path / "mean_normals.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("mean_normals").MeanNormals
    sys.modules.pop("mean_normals")


def parts(root: Path) -> dict[str, Any]:
    return {"root": root, "size": (64, 80), "num_train": 2, "num_validation": 2, "num_good": 2, "num_defects": 1}


def engine(folder: Path) -> Engine:
    return Engine(default_root_dir=folder, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)


def test_it_trains_tests_predicts_and_exports(model_class: Any, tmp_path: Path) -> None:
    data, trainer, model = Toy3D(**parts(tmp_path), category="gear", k_shot=2), engine(tmp_path), model_class()
    trainer.fit(model, datamodule=data)
    assert trainer.trainer.global_step == 1  # one pass over two shots
    assert model.model.mean.any()
    result = trainer.test(model, datamodule=data, verbose=False)[0]
    assert set(result) == {"image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_AUPRO"}
    item = data.test_data[0]
    answer = model.predict(item.image, item.depth_map)
    assert answer.pred_label is not None  # validation has set a threshold
    assert len(list((Path(trainer.trainer.default_root_dir) / "images/test/good").glob("*.png"))) == 2

    again = model_class()
    file = trainer.trainer.checkpoint_callback.best_model_path
    assert trainer.test(again, datamodule=data, ckpt_path=file, verbose=False)[0] == result
    exported = trainer.export(model, "onnx", tmp_path, ckpt_path=file)
    found = RGBXYZInferencer(exported).predict(item.image, item.depth_map)
    torch.testing.assert_close(found.anomaly_map, answer.anomaly_map, atol=1e-4, rtol=0)


@pytest.mark.usefixtures("model_class")
def test_it_stands_in_a_grid(tmp_path: Path) -> None:
    data = {"class_path": "anomalib_clip3dad.data.Toy3D", "init_args": parts(tmp_path)}
    entry = {"name": "mean normals", "class_path": "mean_normals.MeanNormals"}
    make: Callable[..., list[Job]] = make_jobs
    (job,) = make(data, ["gear"], [1], [0], [entry], {"accelerator": "cpu", "max_steps": 50}, 64)
    record = run_job(job)
    assert record["test_samples"] == 6
    assert 0 <= record["image_AUROC"] <= 1
