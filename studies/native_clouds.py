# SPDX-License-Identifier: Apache-2.0
"""Whether views rendered from all points of a scan tell more than those from the crop that CLIP reads.

Normal training parts and dents, bumps and missing points on them are judged by the [CLS] of their views, by prompts
alone; no test label is read.

python studies/native_clouds.py --categories gear knob --size 800
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from shot_runs import OFFLINE, settings_of
from torch import Tensor
from tqdm import tqdm
from zero_shot import auroc

from anomalib_clip3dad.clip.similarity import anomalous_share
from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.geometry import foreground_mask
from anomalib_clip3dad.models import Clip3dAd
from anomalib_clip3dad.models.part_cut import cut_part
from anomalib_clip3dad.seeding import drawing_from
from anomalib_clip3dad.synthesis import TextureSource, synthesise

_SIZE = (0.003, 0.03)  # of the anomalies, as share of the part
_PARTS = 16


def pairs(item: Any, seed: int, anomalies: int) -> Iterator[tuple[bool, Tensor, Tensor]]:
    """A normal sample, then synthetic anomalies in its cloud: whether it is one, image and cloud."""
    yield False, item.image[None], item.depth_map[None]
    foreground = foreground_mask(item.depth_map[None])[0]
    for number in range(anomalies):
        with drawing_from(seed, number):
            made = synthesise(item.image, item.depth_map, foreground, TextureSource(None), geometry=1.0, size=_SIZE)
        yield True, made.image[None], made.xyz[None]


@torch.inference_mode()
def share(model: Clip3dAd, image: Tensor, xyz: Tensor, side: int | None) -> float:
    """Mean anomalous share of the views of a crop with side x side points; None: of what the model renders itself."""
    if side is None:
        views = model.renderer(*model.cut(*model.prepare(image, xyz))[:3])
    else:
        views = model.renderer(*cut_part(image, xyz, foreground_mask(xyz), (side, side))[:3])
    cls: Any = model.model.tower(views.images[0])[0]
    return anomalous_share(cls, model.model.text).mean().item()


def main() -> None:
    """Print the AUROC of both for each category."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--root", type=Path, default=Path("datasets/Toy3D_large"), help="of the parts of --size; made if missing")
    add("--categories", nargs="+", default=["gear", "knob"])
    add("--size", type=int, default=800, help="rows and columns of a scan")
    add("--anomalies", type=int, default=4, help="on each part")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    size = (arguments.size, arguments.size)
    for category in arguments.categories:
        data = Toy3D(arguments.root, category, size=size, num_train=_PARTS, num_good=1, num_defects=1)
        data.setup()
        model = Clip3dAd(visualizer=False, class_name=category, **(settings_of("clip3dad_tuned.yaml") | OFFLINE)).eval()
        sides = {"as the model does": None, "all points": 2 * model.renderer.size}
        found: dict[str, list[tuple[bool, float]]] = {name: [] for name in sides}
        for number, item in enumerate(tqdm(data.train_data, desc=category, unit="part", leave=False)):
            for anomalous, image, xyz in pairs(item, number, arguments.anomalies):
                for name, side in sides.items():
                    found[name].append((anomalous, share(model, image, xyz, side)))
        for name, judged in found.items():
            normal, anomalies = (torch.tensor([value for kind, value in judged if kind is of]) for of in (False, True))
            print(f"{category}, views of {name}: AUROC of their [CLS] {auroc(normal, anomalies):.3f}", flush=True)


if __name__ == "__main__":
    main()
