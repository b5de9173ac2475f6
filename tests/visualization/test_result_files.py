# SPDX-License-Identifier: Apache-2.0
import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomalib.data import DepthBatch, DepthItem
from PIL import Image

from anomalib_clip3dad.geometry import foreground_mask
from anomalib_clip3dad.report import read_surface
from anomalib_clip3dad.visualization import DepthVisualizer, ResultFiles
from anomalib_clip3dad.visualization.result_files import write_mask
from tests.conftest import bumpy_part


def judging(has_threshold: bool) -> SimpleNamespace:
    """A model, as far as files need it."""
    post = SimpleNamespace(enable_normalization=True, normalized_image_threshold=torch.tensor(0.5))
    return SimpleNamespace(has_threshold=has_threshold, post_processor=post)


def batch(first: int) -> DepthBatch:
    return DepthBatch(
        image=torch.rand(2, 3, 8, 8),
        pred_score=torch.tensor([0.25, 0.75]),
        pred_label=torch.tensor([False, True]),
        pred_mask=torch.stack([torch.zeros(8, 8, dtype=torch.bool), torch.eye(8, dtype=torch.bool)]),
        image_path=[f"parts/new/rgb/{first + i:03d}.jpg" for i in range(2)],
    )


def test_masks_have_the_size_of_the_image(tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    Image.new("RGB", (32, 16)).save(file)
    item = DepthItem(image=torch.zeros(3, 8, 8), image_path=str(file), pred_mask=torch.eye(8, dtype=torch.bool))
    write_mask(item, tmp_path / "masks" / "wide.png")
    mask = np.asarray(Image.open(tmp_path / "masks" / "wide.png"))
    assert (mask == 255 * np.kron(np.eye(8), np.ones((2, 4)))).all()


def test_the_summary_counts_by_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strategy = SimpleNamespace(barrier=lambda: None)
    files, trainer = ResultFiles(), SimpleNamespace(default_root_dir=tmp_path, is_global_zero=True, strategy=strategy)
    model, samples = judging(has_threshold=True), batch(0)
    samples.gt_label = torch.tensor([False, True])
    samples.image_path = ["parts/test/good/rgb/000.png", "parts/test/hole/rgb/000.png"]
    files.on_test_start(trainer, model)
    files.on_test_batch_end(trainer, model, None, samples, 0)
    files.on_test_end(trainer, model)
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == ["1 of 2 samples labelled faulty.", "  good: 0 of 1", "  hole: 1 of 1"]
    assert said[3] == f"Results: {tmp_path} (report.html, run.json, scores.csv)"
    assert said[4] == f"Report: {tmp_path / 'report.html'}"


def predict(folder: Path, has_threshold: bool, batches: int = 2) -> list[dict[str, str]]:
    strategy = SimpleNamespace(barrier=lambda: None)
    files, trainer = ResultFiles(), SimpleNamespace(default_root_dir=folder, is_global_zero=True, strategy=strategy)
    model = judging(has_threshold)
    files.on_predict_start(trainer, model)
    for index in range(batches):
        files.on_predict_batch_end(trainer, model, None, batch(2 * index), index)
    files.on_predict_end(trainer, model)
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_and_a_mask_for_each_sample(tmp_path: Path) -> None:
    rows = predict(tmp_path / "new", has_threshold=True)
    assert [row["file"] for row in rows] == [f"parts/new/rgb/00{i}.jpg" for i in range(4)]
    assert [float(row["score"]) for row in rows] == [0.25, 0.75] * 2
    assert [row["label"] for row in rows] == ["good", "faulty"] * 2
    masks = sorted((tmp_path / "new/masks").rglob("*.png"))
    assert [mask.name for mask in masks] == ["000.png", "001.png", "002.png", "003.png"]
    assert not np.asarray(Image.open(masks[0])).any()
    assert (np.asarray(Image.open(masks[1])) == 255 * np.eye(8)).all()  # one channel


def test_each_sample_has_its_surface(tmp_path: Path) -> None:
    strategy = SimpleNamespace(barrier=lambda: None)
    files, trainer = ResultFiles(), SimpleNamespace(default_root_dir=tmp_path, is_global_zero=True, strategy=strategy)
    samples = batch(0)
    image, xyz = bumpy_part(48, 48)
    samples.image, samples.depth_map = image.expand(2, 3, 48, 48), xyz.expand(2, 3, 48, 48)
    samples.anomaly_map = torch.stack([torch.zeros(48, 48), torch.ones(48, 48)])
    files.on_test_start(trainer, judging(has_threshold=True))
    files.on_test_batch_end(trainer, judging(has_threshold=True), None, samples, 0)
    part = foreground_mask(xyz[None])[0]
    for number, score in enumerate((0, 1)):
        found = read_surface(tmp_path / f"surfaces/parts/new/00{number}.ply")
        assert np.allclose(found.points, xyz[:, part].T)
        assert (found.scores == score).all()
    assert json.loads((tmp_path / "run.json").read_text()) == {"model": "SimpleNamespace", "threshold": 0.5}


def test_without_a_threshold_there_is_no_verdict(tmp_path: Path) -> None:
    rows = predict(tmp_path, has_threshold=False)
    assert {row["label"] for row in rows} == {""}
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize("batches", [1, 2])
def test_what_was_predicted_so_far_is_on_disk(tmp_path: Path, batches: int) -> None:
    predict(tmp_path, has_threshold=True)  # an older table goes
    assert len(predict(tmp_path, has_threshold=True, batches=batches)) == 2 * batches


def unorganised() -> DepthBatch:
    """Two clouds of 30 points, some padding, and anything for an image."""
    xyz = torch.randn(2, 3, 1, 30)
    xyz[1, :, :, 20:] = 0
    return DepthBatch(
        image=torch.full((2, 3, 8, 8), 0.5),
        depth_map=xyz,
        gt_label=torch.tensor([False, True]),
        gt_mask=torch.rand(2, 1, 30) > 0.5,
        anomaly_map=torch.rand(2, 1, 30),
        pred_score=torch.tensor([0.25, 0.75]),
        pred_label=torch.tensor([False, True]),
        pred_mask=torch.rand(2, 1, 30) > 0.5,
        image_path=[f"shapes/{category}/test/000.pcd" for category in ("bag0", "cap0")],
    )


def test_unorganised_points_get_a_cloud_with_scores_and_no_mask(tmp_path: Path) -> None:
    strategy = SimpleNamespace(barrier=lambda: None)
    trainer = SimpleNamespace(default_root_dir=tmp_path, is_global_zero=True, strategy=strategy, loggers=[])
    files, model, samples = ResultFiles(), judging(has_threshold=True), unorganised()
    files.on_predict_start(trainer, model)
    files.on_predict_batch_end(trainer, model, None, samples, 0)
    DepthVisualizer().on_predict_batch_end(trainer, model, None, samples, 0)
    files.on_predict_end(trainer, model)
    for place, (category, count) in enumerate((("bag0", 30), ("cap0", 20))):
        found = read_surface(tmp_path / f"surfaces/{category}/test/000.ply")
        assert np.array_equal(found.points, samples.depth_map[place, :, 0, :count].T.numpy())
        assert np.array_equal(found.scores, samples.anomaly_map[place, 0, :count].numpy())
        assert not len(found.faces)
        assert (tmp_path / f"images/{category}/test/000.png").is_file()
    assert not (tmp_path / "masks").exists()
