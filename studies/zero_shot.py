# SPDX-License-Identifier: Apache-2.0
"""What a frozen CLIP tells normal from anomalous by prompts alone: nothing is trained."""

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

Result = dict[str, Any]  # JSON: metrics by name, some of them by picture, views, mean, max


class Samples(NamedTuple):
    """The test samples of a category as the frozen part of a model reads them, for any number of prompts."""

    features: FrozenFeatures  # of N samples: the picture and its views
    shown: Tensor  # (N, S, S) bool, the part in the frame that CLIP reads
    foreground: Tensor  # (N, H, W) bool, the part in the whole picture
    masks: Tensor  # (N, H, W) bool
    kinds: list[str]  # N: "good", "geometry", ...


def parts_of(category: str, root: str, num_good: int = 10, num_defects: int = 8, **kwargs: Any) -> MVTec3DXYZ:
    """A category of Toy3D, made if it is not there, with so many test parts; or one in MVTec 3D-AD's layout."""
    if category in CATEGORIES:
        return Toy3D(root, category, num_good=num_good, num_defects=num_defects, **kwargs)
    return MVTec3DXYZ(root, category, **kwargs)


@torch.inference_mode()
def read(model: Clip3dAd, data: MVTec3DXYZ) -> Samples:
    """Let the frozen part of a model read all test samples.

    Args:
        model: in evaluation mode.
        data: a category.

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
    """Score every sample with the untrained model, by all of its evidence and by parts of it, and measure.

    CLIP3D-AD, Eq. 9, 10 and 16-18.

    Args:
        samples: what the model read.
        model: with the prompts to compare with.

    Returns:
        `model`: all that the model puts together; `picture`: the score of the picture alone; `picture_cls` and
        `views_cls`: the [CLS] of the picture, and the mean of the views'. Each has the AUROCs of `image_aurocs`, the
        first two `pixel_AUROC` and `pixel_AUPRO` of their maps as well.
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
    """The model's own pixel metrics.

    Args:
        batch: with `anomaly_map` (N, S, S) and `gt_mask`.

    Returns:
        `pixel_AUROC` and `pixel_AUPRO` (up to a false-positive rate of 0.3).
    """
    every: Any = Clip3dAd.configure_evaluator().test_metrics
    metrics = [metric for metric in every if "gt_mask" in metric.fields]
    for metric in metrics:
        metric.update(batch)
    return {metric.name: metric.compute().item() for metric in metrics}


def image_aurocs(scores: Tensor, kinds: Sequence[str]) -> dict[str, float]:
    """Tell the faulty from the good, all together and each kind of defect alone.

    Args:
        scores: (N,), larger = more anomalous.
        kinds: of the N samples: "good" or the kind of defect.

    Returns:
        `image_AUROC` for all, then one AUROC for each kind against the good ones.

    Example:
        >>> image_aurocs(torch.tensor([0.1, 0.2, 0.3, 0.0]), ["good", "good", "colour", "missing"])
        {'image_AUROC': 0.5, 'colour': 1.0, 'missing': 0.0}
    """
    names = sorted(set(kinds) - {"good"})
    of_kind = {name: scores[torch.tensor([kind == name for kind in kinds])] for name in ("good", *names)}
    good = of_kind.pop("good")
    every = auroc(good, torch.cat(list(of_kind.values())))
    return {"image_AUROC": every, **{name: auroc(good, faulty) for name, faulty in of_kind.items()}}


def auroc(good: Tensor, faulty: Tensor) -> float:
    """Chance that a faulty sample scores higher than a good one; a tie counts half.

    Exact where torchmetrics is not: scores up to 2 go through a sigmoid there (read in torchmetrics 1.9).

    Args:
        good: (G,) scores.
        faulty: (F,) scores.

    Returns:
        AUROC in [0, 1].
    """
    good = good.sort().values
    lower, not_higher = (torch.searchsorted(good, faulty, right=right) for right in (False, True))
    return (lower + not_higher).double().mean().item() / (2 * len(good))


def mean_of(results: Sequence[Result]) -> Result:
    """Average equal dictionaries number by number, also inside the dictionaries in them.

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
