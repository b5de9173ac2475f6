# SPDX-License-Identifier: Apache-2.0
"""From two files and a checkpoint to a score and a heat map, without Engine or command line.

python examples/minimal.py CHECKPOINT IMAGE.png XYZ.tiff HEAT_MAP.png
"""

import sys

import torch
from anomalib.visualization.image.functional import overlay_image, visualize_anomaly_map, visualize_image

from anomalib_clip3dad.data import read_sample
from anomalib_clip3dad.models import Clip3dAd


def main(checkpoint: str, image_path: str, xyz_path: str, heat_map_path: str) -> None:
    """Score one part and draw where it looks faulty."""
    model = Clip3dAd.load_from_checkpoint(checkpoint, map_location="cpu").eval()

    # RGB (3, H, W) in [0, 1]; XYZ (3, H, W) in metres, camera frame, (0, 0, 0) = not measured
    image, xyz = read_sample(image_path, xyz_path)
    with torch.inference_mode():
        result = model(image[None], xyz[None])

    # normalised by the threshold that training set from good parts: 0.5 is the threshold
    verdict = "faulty" if result.pred_label.item() else "good"
    verdict = verdict if model.has_threshold else "no verdict: training had no validation parts to set a threshold"
    print(f"{image_path}: score {result.pred_score.item():.3f}, {verdict}")

    picture = visualize_image(image)
    heat = visualize_anomaly_map(result.anomaly_map[0]).resize(picture.size)
    overlay_image(picture, heat, alpha=0.5).convert("RGB").save(heat_map_path)
    print(f"heat map: {heat_map_path}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
