# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomalib.metrics.aupro import _AUPRO as AUPRO
from PIL import Image
from scipy.ndimage import label
from torch.nn.functional import interpolate

from anomalib_clip3dad.benchmark.evaluation import RawEvaluator, at_one_size
from anomalib_clip3dad.errors import InputError

LIMITS = (0.3, 0.05)


def fixed(count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth maps (N, S, S) and masks of several components, some touching at a corner, on every other sample."""
    generator = torch.Generator().manual_seed(0)
    maps = interpolate(torch.rand(count, 1, 8, 8, generator=generator), size=(size, size), mode="bilinear")[:, 0]
    masks = torch.zeros(count, size, size, dtype=torch.bool)
    edge = size // 8
    for sample in range(0, count, 2):
        top, left = torch.randint(0, size - 4 * edge, (2,), generator=generator).tolist()
        masks[sample, top : top + edge, left : left + 2 * edge] = True
        masks[sample, top + edge : top + 2 * edge, left + 2 * edge : left + 3 * edge] = True  # touches at a corner
        masks[sample, -edge:, :3] = True
    return maps + 0.3 * masks * torch.rand(count, 1, 1, generator=generator), masks


def components(masks: np.ndarray) -> np.ndarray:
    """Labels from 1, each component of each sample its own, joined at corners, too."""
    labels, found = np.zeros(masks.shape, int), 0
    for place, mask in enumerate(masks):
        of_one, number = label(mask, np.ones((3, 3)))
        labels[place] = np.where(of_one > 0, of_one + found, 0)
        found += number
    return labels


def area(fpr: np.ndarray, pro: np.ndarray, limit: float) -> float:
    """Under the curve up to the limit, where it is interpolated, as a share of it."""
    below = fpr < limit
    return float(np.trapezoid(np.append(pro[below], np.interp(limit, fpr, pro)), np.append(fpr[below], limit)) / limit)


def slow_aupro(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """Every distinct score is a threshold; each is applied to all pixels."""
    labels = components(masks)
    curve = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        above = maps >= threshold
        overlaps = [above[labels == number].mean() for number in range(1, labels.max() + 1)]
        curve.append((float(above[labels == 0].mean()), float(np.mean(overlaps))))
    fpr, pro = np.array(curve).T
    return area(fpr, pro, limit)


def official_aupro(maps: np.ndarray, masks: np.ndarray, limit: float, thresholds: int = 100) -> float:
    """As MVTec 3D-AD's evaluation defines it: thresholds equidistant in rank of the flawless pixels' scores."""
    labels = components(masks)
    flawless = np.sort(maps[labels == 0])
    regions = [maps[labels == number] for number in range(1, labels.max() + 1)]
    curve = [(1.0, 1.0)]
    for rank in np.linspace(0, len(flawless) - 1, thresholds, dtype=int):
        overlap = np.mean([(region > flawless[rank]).mean() for region in regions])
        curve.append((1 - (rank + 1) / len(flawless), overlap))
    fpr, pro = np.array(curve)[::-1].T
    return area(fpr, pro, limit)


def ours(maps: torch.Tensor, masks: torch.Tensor, limit: float) -> float:
    metric = AUPRO(fpr_limit=limit)
    for few, truth in zip(maps.split(4), masks.split(4), strict=True):
        metric.update(few, truth)
    return metric.compute().item()


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("ties", [False, True])
def test_aupro_is_that_of_the_slow_reference(limit: float, ties: bool) -> None:
    maps, masks = fixed(6, 32)
    maps = (maps * 20).round() / 20 if ties else maps
    assert ours(maps, masks, limit) == pytest.approx(slow_aupro(maps.numpy(), masks.numpy(), limit), abs=1e-5)


@pytest.mark.parametrize(("limit", "tolerance"), [(0.3, 2e-3), (0.05, 2e-2)])
def test_aupro_is_near_the_official_hundred_thresholds(limit: float, tolerance: float) -> None:
    """Up to 0.05 there are five of the hundred, so the official curve is coarse there."""
    maps, masks = fixed(8, 64)
    exact = ours(maps, masks, limit)
    assert official_aupro(maps.numpy(), masks.numpy(), limit) == pytest.approx(exact, abs=tolerance)
    # and it is the number of thresholds alone that sets them apart
    assert official_aupro(maps.numpy(), masks.numpy(), limit, 20_000) == pytest.approx(exact, abs=2e-4)


def test_aupro_of_many_pixels_is_exact() -> None:
    """More than float32 can count: 2^24."""
    maps, masks = fixed(1, 512)
    assert ours(maps.repeat(72, 1, 1), masks.repeat(72, 1, 1), 0.3) == pytest.approx(ours(maps, masks, 0.3), abs=1e-4)


def test_aupro_takes_seconds() -> None:
    maps, masks = fixed(100, 240)
    start = perf_counter()
    ours(maps, masks, 0.3)
    assert perf_counter() - start < 10


@pytest.fixture
def files(tmp_path: Path) -> tuple[list[str], list[str]]:
    """A good and a faulty image of 20 x 30, and the masks: none, and the left half."""
    mask = np.zeros((20, 30), np.uint8)
    mask[:, :15] = 255
    Image.new("RGB", (30, 20)).save(tmp_path / "000.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return [str(tmp_path / "000.png")] * 2, ["", str(tmp_path / "mask.png")]


def batch(images: list[str], maps: torch.Tensor, labels: tuple[bool, bool] = (False, True)) -> SimpleNamespace:
    return SimpleNamespace(
        image_path=images, anomaly_map=maps, pred_score=maps.amax((-2, -1)), gt_label=torch.tensor(labels)
    )


@pytest.mark.parametrize(("size", "shape"), [("native", (20, 30)), (10, (10, 10)), (48, (48, 48))])
def test_maps_and_masks_meet_at_one_size(files: tuple[list[str], list[str]], size: int | str, shape: tuple) -> None:
    images, masks = files
    maps = torch.rand(2, 1, 7, 7)
    judged = at_one_size(batch(images, maps), masks, size)  # type: ignore[arg-type]
    assert judged.gt_mask.shape == judged.anomaly_map.shape == (2, *shape)
    assert not judged.gt_mask[0].any()
    assert judged.gt_mask[1, :, : shape[1] // 2].all()
    assert not judged.gt_mask[1, :, shape[1] // 2 :].any()
    assert torch.equal(judged.anomaly_map, interpolate(maps, shape, mode="bilinear")[:, 0])


def test_faulty_samples_need_masks(files: tuple[list[str], list[str]]) -> None:
    with pytest.raises(InputError, match="its mask is in no file"):
        at_one_size(batch(files[0], torch.rand(2, 7, 7)), [None, None], 10)


def test_metrics_are_of_raw_scores_whatever_their_range(files: tuple[list[str], list[str]]) -> None:
    """Two batches: torchmetrics would take one for probabilities and the other for logits."""
    images, masks = files
    evaluator = RawEvaluator("native")
    data = SimpleNamespace(
        test_data=SimpleNamespace(samples=SimpleNamespace(image_path=images[1:], mask_path=masks[1:]))
    )
    trainer = SimpleNamespace(datamodule=data)
    truth = torch.zeros(20, 30)
    truth[:, :15] = 1
    for scale in (0.5, 30.0):
        maps = scale * torch.stack([torch.zeros(20, 30), 0.5 + truth])
        evaluator.on_test_batch_end(trainer, None, None, batch(images, maps), 0)
    found = {metric.name: metric.compute().item() for metric in evaluator.test_metrics}
    assert found == pytest.approx(
        {
            "image_AUROC": 1.0,
            "image_AUPR": 1.0,
            "pixel_AUROC": 1 - 0.5 * 300 / 1800,  # the second batch's right half is above the first one's left
            # half of the regions at no false positive, the rest at 1/6 (300 of 1800 flawless pixels), up to 0.3
            "pixel_AUPRO": (0.5 / 6 + 0.3 - 1 / 6) / 0.3,
        },
        abs=1e-6,
    )
