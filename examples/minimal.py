# SPDX-License-Identifier: Apache-2.0
"""From two files and a checkpoint to a score and an anomaly map, without Engine or command line.

python examples/minimal.py CHECKPOINT IMAGE.png XYZ.tiff HEAT_MAP.png
"""

import sys

from anomalib.visualization.image.functional import overlay_image, visualize_anomaly_map, visualize_image

from anomalib_clip3dad.errors import print_input_errors_plainly
from anomalib_clip3dad.models import Clip3dAd


def main(checkpoint: str, image: str, xyz: str, heat_map: str) -> None:
    """Score one part and draw its anomaly map over the image."""
    model = Clip3dAd.load_from_checkpoint(checkpoint, map_location="cpu")
    result = model.predict(image, xyz)  # files, arrays or tensors

    # scores are normalised so that 0.5 is the threshold
    verdict = "no label: training had no validation parts to set a threshold"
    if result.pred_label is not None:
        verdict = "faulty" if result.pred_label.item() else "good"
    print(f"{image}: score {result.pred_score.item():.3f}, {verdict}")

    picture = visualize_image(result.image[0])
    heat = visualize_anomaly_map(result.anomaly_map[0]).resize(picture.size)
    overlay_image(picture, heat, alpha=0.5).convert("RGB").save(heat_map)
    print(f"anomaly map: {heat_map}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    print_input_errors_plainly(sys.excepthook)
    main(*sys.argv[1:])
