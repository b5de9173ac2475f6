# SPDX-License-Identifier: Apache-2.0
"""Draw the evidence of Clip3dAdPlus for one anomalous part of each kind of defect: image, depth, anomaly map, evidence.

python studies/draw_evidence.py --category gear --out docs/evidence.png
"""

import argparse
import logging
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from evidence import trained
from matplotlib import pyplot as plt
from torch import Tensor
from zero_shot import parts_of

from anomalib_clip3dad.data import EVIDENCE_KINDS
from anomalib_clip3dad.geometry import foreground_mask
from anomalib_clip3dad.models import Clip3dAdPlus


def draw(axis: Any, values: Tensor, part: Tensor, colours: str, limits: tuple[float, float]) -> Any:
    """Draw values (H, W), transparent where there is no part (H, W)."""
    shown = axis.imshow(np.ma.masked_array(values.numpy(), ~part.numpy()), cmap=colours, vmin=limits[0], vmax=limits[1])
    axis.set_xticks([])
    axis.set_yticks([])
    return shown


def draw_part(row: Any, model: Clip3dAdPlus, item: Any) -> Tensor:
    """Draw the image with the outline of the defect, and the depth; returns the mask of the part, (H, W)."""
    image, xyz, _ = model.prepare(item.image[None], item.depth_map[None])
    part = foreground_mask(xyz)[0]
    depth = xyz[0, 2]
    near, far = (depth[part].quantile(share).item() for share in (0.01, 0.99))
    mask = item.gt_mask.reshape(item.gt_mask.shape[-2:]).float()
    row[0].imshow(image[0].clamp(0, 1).permute(1, 2, 0).numpy())
    if mask.any():
        sizes = zip(part.shape[::-1], mask.shape[::-1], strict=True)
        places = (np.linspace(0, size - 1, steps) for size, steps in sizes)
        row[0].contour(*places, mask.numpy(), [0.5], colors="red", linewidths=0.8)
    row[0].set_xticks([])
    row[0].set_yticks([])
    draw(row[1], depth, part, "viridis_r", (near, far))
    return part


def main() -> None:
    """Fit the model to the shots, predict one part of each kind, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--root", default="datasets/Toy3D", help="made if it is not there")
    add("--category", default="gear")
    add("--k_shot", type=int, default=4)
    add("--number", type=int, default=0, help="which test sample of each kind of defect")
    add("--out", type=Path, default=Path("results/evidence.png"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    data = parts_of(
        arguments.category, arguments.root, k_shot=arguments.k_shot, train_batch_size=2, val_split_mode="none"
    )
    model = trained(data, {})
    kinds = sorted(set(data.test_data.samples.label), key=lambda kind: (kind == "good", kind))
    figure, axes = plt.subplots(
        len(kinds), 7, figsize=(14, 2.05 * len(kinds) + 0.6), layout="constrained", squeeze=False
    )
    for row, kind in zip(axes, kinds, strict=True):
        place = [i for i, label in enumerate(data.test_data.samples.label) if label == kind][arguments.number]
        item: Any = data.test_data[place]
        found = model.predict(item.image, item.depth_map)
        assert found.pred_score is not None and found.anomaly_map is not None and found.evidence is not None  # noqa: PT018, S101
        part = draw_part(row, model, item)
        everywhere = torch.ones_like(part)
        total = draw(row[2], found.anomaly_map[0], everywhere, "magma", (0, 1))
        for axis, evidence in zip(row[3:7], found.evidence[0], strict=True):
            each = draw(axis, evidence, everywhere, "magma", (0, 3))
        row[0].set_ylabel(f"{kind}\nscore {found.pred_score.item():.2f}", fontsize=11)
    titles = ("image, truth in red", "depth of the part", "anomaly map", *EVIDENCE_KINDS)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=11)
    bar: dict[str, Any] = {"location": "bottom", "aspect": 30, "pad": 0.01}
    figure.colorbar(total, ax=axes[:, 2].tolist(), label="anomaly map", **bar)
    figure.colorbar(
        each,
        ax=axes[:, 3:].flatten().tolist(),
        label="evidence, 1 = the most that normal parts show",
        shrink=0.6,
        **bar,
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=70)
    print(f"{arguments.out.absolute()}")


if __name__ == "__main__":
    mpl.use("Agg")
    main()
