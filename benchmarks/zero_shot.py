# SPDX-License-Identifier: Apache-2.0
"""What a frozen CLIP tells good from faulty by prompts alone: nothing is trained."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from anomalib.data import ImageBatch
from einops import rearrange
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, Resize
from torchvision.tv_tensors import Image, Mask
from tqdm import tqdm

from anomalib_clip3dad.clip import VisionTower
from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.geometry import MultiViewRenderer, foreground_mask, resize_organised
from anomalib_clip3dad.models import Clip3dAd
from anomalib_clip3dad.models.clip3d_ad.scoring import anomaly_score, similarity_map

Result = dict[str, Any]  # JSON: metrics by name, some of them by picture, views, mean, max


class Samples(NamedTuple):
    """The test samples of a category: N pictures of the size S, each with its v views."""

    pictures: Tensor  # (N, 1 + v, 3, S, S) RGB in [0, 1]: the image, then its views
    masks: Tensor  # (N, S, S) bool
    kinds: list[str]  # N: "good", "geometry", ...


class Encoded(NamedTuple):
    """What the tower sees in them."""

    cls: Tensor  # (N, 1 + v, C)
    patches: Tensor  # (N, 1 + v, N_p, C): tokens of the last block through CLIP's last norm and projection


@torch.inference_mode()
def render(data: Toy3D, size: int, shaded: bool = False) -> Samples:
    """Read all test samples and render their five default views, as `Clip3dAd` does.

    Args:
        data: a category.
        size: S, rows and columns of the pictures, the tower's input size.
        shaded: views under a head-light.

    Returns:
        The samples, on the CPU.
    """
    data.setup()
    resize = Resize((size, size), interpolation=InterpolationMode.BICUBIC, antialias=True)
    renderer = MultiViewRenderer(size=size, shaded=shaded)
    pictures, masks = [], []
    for item in tqdm(data.test_data, desc=f"rendering {data.category}", unit="sample", leave=False):
        image, mask = resize(Image(item.image), Mask(item.gt_mask))
        image, xyz = image.as_subclass(Tensor)[None], resize_organised(item.depth_map[None], (size, size))
        views = renderer(image, xyz, foreground_mask(xyz))
        pictures.append(torch.cat([image, views.images[0]]))
        masks.append(mask.as_subclass(Tensor).squeeze() > 0)
    return Samples(torch.stack(pictures), torch.stack(masks), list(data.test_data.samples.label))


@torch.inference_mode()
def encode(clip: Any, pictures: Tensor) -> Encoded:
    """Read pictures once, for any number of prompts.

    Args:
        clip: an open_clip model with a plain vision transformer.
        pictures: (N, 1 + v, 3, S, S) RGB in [0, 1].

    Returns:
        [CLS] and patches, not normalised.
    """
    tower = VisionTower(clip.visual, [len(clip.visual.transformer.resblocks)])
    features = tower(rearrange(pictures, "n v c h w -> (n v) c h w"))
    patches = clip.visual.ln_post(features.tokens[0]) @ clip.visual.proj
    count = len(pictures)
    return Encoded(*(rearrange(side, "(n v) ... -> n v ...", n=count) for side in (features.cls, patches)))


def evaluate(samples: Samples, encoded: Encoded, text: Tensor) -> Result:
    """Score every picture with the formula of the method, without its trained parts, and measure.

    CLIP3D-AD, Eq. 9, 10 and 16-18: share of [CLS] plus maximum of the similarity map.

    Args:
        samples: the truth.
        encoded: what the tower sees in them.
        text: (2, C): flawless, faulty.

    Returns:
        `picture`, `views`, `mean` and `max`: the AUROCs of `image_aurocs` for the score of the picture alone, the mean
        of the views alone, mean and maximum over all 1 + v; `pixel_AUROC` and `pixel_AUPRO` of the picture's map.
    """
    size = samples.masks.shape[-2:]
    grid = (int(encoded.patches.shape[2] ** 0.5),) * 2
    scores, maps = [], []
    for cls, patches in zip(encoded.cls, encoded.patches, strict=True):
        sample_maps = similarity_map(patches, text, grid, size)
        scores.append(anomaly_score(cls, text, sample_maps))
        maps.append(sample_maps[0])
    every = torch.stack(scores)
    combined = {"picture": every[:, 0], "views": every[:, 1:].mean(1), "mean": every.mean(1), "max": every.amax(1)}
    result: Result = {name: image_aurocs(score, samples.kinds) for name, score in combined.items()}
    batch = ImageBatch(image=samples.pictures[:, 0], anomaly_map=torch.stack(maps), gt_mask=samples.masks)
    return result | pixel_metrics(batch)


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

    >>> mean_of([{"a": 1.0, "b": {"c": 2.0}}, {"a": 3.0, "b": {"c": 4.0}}])
    {'a': 2.0, 'b': {'c': 3.0}}
    """
    return {
        name: mean_of([result[name] for result in results])
        if isinstance(value, dict)
        else sum(result[name] for result in results) / len(results)
        for name, value in results[0].items()
    }
