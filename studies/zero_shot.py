# SPDX-License-Identifier: Apache-2.0
"""Anomaly detection with a frozen CLIP by prompts alone: nothing is trained."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from anomalib.data import ImageBatch, InferenceBatch
from torch import Tensor
from tqdm import tqdm

from anomalib_clip3dad.clip.similarity import anomalous_share, enlarge, patch_shares
from anomalib_clip3dad.data import MVTec3DXYZ, Toy3D
from anomalib_clip3dad.geometry import find_part, paste_map
from anomalib_clip3dad.models import Clip3dAd
from anomalib_clip3dad.models.clip3d_ad.features import FrozenFeatures
from anomalib_clip3dad.models.clip3d_ad.scoring import anomaly_score
from anomalib_clip3dad.models.frozen_cache import join
from anomalib_clip3dad.toy import CATEGORIES

Result = dict[str, Any]  # JSON: metrics by name, some of them nested


class Samples(NamedTuple):
    """The frozen features of a category's test samples, for use with any prompts."""

    features: FrozenFeatures  # of N samples: image and views
    shown: Tensor  # (N, S, S) bool, the part in CLIP's input
    foreground: Tensor  # (N, H, W) bool, the part in the full image
    masks: Tensor  # (N, H, W) bool
    kinds: list[str]  # N: "good", "geometry", ...


def parts_of(category: str, root: str, num_good: int = 10, num_defects: int = 8, **kwargs: Any) -> MVTec3DXYZ:
    """A category of Toy3D, created if missing, with these numbers of test parts; or one in MVTec 3D-AD's layout."""
    if category in CATEGORIES:
        return Toy3D(root, category, num_good=num_good, num_defects=num_defects, **kwargs)
    return MVTec3DXYZ(root, category, **kwargs)


@torch.inference_mode()
def read(model: Clip3dAd, data: MVTec3DXYZ) -> Samples:
    """Compute the frozen features of all test samples.

    Args:
        model: Model in evaluation mode.
        data: Data module of a category.

    Returns:
        The samples, on the CPU.
    """
    data.setup()
    features, shown, foregrounds, masks = [], [], [], []
    for item in tqdm(data.test_data, desc=f"reading {data.category}", unit="sample", leave=False):
        image, xyz, foreground = model.prepare(item.image[None], item.depth_map[None])
        cut = model.cut(image, xyz, foreground)
        features.append(model.read(cut))
        shown.append(cut.foreground)
        foregrounds.append(foreground)
        mask = item.gt_mask.reshape(1, 1, *item.gt_mask.shape[-2:]).float()
        masks.append(torch.nn.functional.interpolate(mask, image.shape[-2:])[:, 0] > 0)
    kinds = list(data.test_data.samples.label)
    return Samples(join(features), torch.cat(shown), torch.cat(foregrounds), torch.cat(masks), kinds)


@torch.inference_mode()
def evaluate(samples: Samples, model: Clip3dAd) -> Result:
    """Score every sample with the untrained model, as a whole and by its parts, and compute the metrics.

    CLIP3D-AD, Eq. 9, 10 and 16-18.

    Args:
        samples: Frozen features of the model.
        model: Model with its prompts set.

    Returns:
        `model`: the score of the whole model; `picture`: that of the image alone; `picture_cls` and `views_cls`: that
        of the image's [CLS], and the mean over those of the views. Each has the AUROCs of `image_aurocs`; the first
        two also have `pixel_AUROC` and `pixel_AUPRO` of their maps.
    """
    features, size = samples.features, (samples.masks.shape[-2], samples.masks.shape[-1])
    core = model.model

    def metrics(score: Tensor, anomaly_map: Tensor | None = None) -> Result:
        found: Result = image_aurocs(score, samples.kinds)
        if anomaly_map is not None:
            if model.crop_to_part:
                anomaly_map = paste_map(anomaly_map, find_part(samples.foreground), size)
            image = torch.zeros(len(score), 3, 1, 1)
            found |= pixel_metrics(ImageBatch(image=image, anomaly_map=anomaly_map, gt_mask=samples.masks))
        return found

    everything = core.compare(features, samples.shown)
    assert isinstance(everything, InferenceBatch) and everything.pred_score is not None  # noqa: PT018, S101
    patches = core.decoder(features.tokens.unbind(dim=1))
    own_map = enlarge(patch_shares(patches, core.text), core.tower.grid_size, core.map_size)
    picture = anomalous_share(features.cls, core.text)
    return {
        "model": metrics(everything.pred_score, everything.anomaly_map),
        "picture": metrics(anomaly_score([picture], [own_map.amax(dim=(-2, -1))]), own_map),
        "picture_cls": metrics(picture),
        "views_cls": metrics(anomalous_share(features.view_cls, core.text).mean(dim=1)),
    }


def pixel_metrics(batch: ImageBatch) -> dict[str, float]:
    """Compute the model's own pixel metrics.

    Args:
        batch: Batch with `anomaly_map` (N, S, S) and `gt_mask`.

    Returns:
        `pixel_AUROC` and `pixel_AUPRO` (up to a false-positive rate of 0.3).
    """
    every: Any = Clip3dAd.configure_evaluator().test_metrics
    metrics = [metric for metric in every if "gt_mask" in metric.fields]
    for metric in metrics:
        metric.update(batch)
    return {metric.name: metric.compute().item() for metric in metrics}


def image_aurocs(scores: Tensor, kinds: Sequence[str]) -> dict[str, float]:
    """AUROC over all anomalous samples, and for each kind of defect.

    Args:
        scores: Scores (N,), larger = more anomalous.
        kinds: Kind of each sample: "good" or the kind of defect.

    Returns:
        `image_AUROC` for all, then one AUROC for each kind against the normal samples.

    Example:
        >>> image_aurocs(torch.tensor([0.1, 0.2, 0.3, 0.0]), ["good", "good", "colour", "missing"])
        {'image_AUROC': 0.5, 'colour': 1.0, 'missing': 0.0}
    """
    names = sorted(set(kinds) - {"good"})
    of_kind = {name: scores[torch.tensor([kind == name for kind in kinds])] for name in ("good", *names)}
    normal = of_kind.pop("good")
    every = auroc(normal, torch.cat(list(of_kind.values())))
    return {"image_AUROC": every, **{name: auroc(normal, anomalous) for name, anomalous in of_kind.items()}}


def auroc(normal: Tensor, anomalous: Tensor) -> float:
    """Probability that an anomalous sample scores higher than a normal one; a tie counts half.

    Exact, unlike torchmetrics, which applies a sigmoid to batches with a score outside [0, 1] (seen in 1.9).

    Args:
        normal: Scores (N,) of normal samples.
        anomalous: Scores (M,) of anomalous samples.

    Returns:
        AUROC in [0, 1].
    """
    normal = normal.sort().values
    lower, not_higher = (torch.searchsorted(normal, anomalous, right=right) for right in (False, True))
    return (lower + not_higher).double().mean().item() / (2 * len(normal))


def mean_of(results: Sequence[Result]) -> Result:
    """Average dictionaries with the same keys, including nested ones.

    Example:
        >>> mean_of([{"a": 1.0, "b": {"c": 2.0}}, {"a": 3.0, "b": {"c": 4.0}}])
        {'a': 2.0, 'b': {'c': 3.0}}
    """
    return {
        name: mean_of([result[name] for result in results])
        if isinstance(value, dict)
        else sum(result[name] for result in results) / len(results)
        for name, value in results[0].items()
    }
