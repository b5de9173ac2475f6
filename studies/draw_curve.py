# SPDX-License-Identifier: Apache-2.0
"""Detection by prompts alone against the number of pairs that the small CLIP was trained on.

python studies/model_card.py --only zero_shot --pretrained results/small_clip/pairs_*.pt --out results/curve.json
python studies/draw_curve.py results/curve.json docs/small_clip_curve.png
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt


def points(report: dict[str, Any]) -> dict[str, list[float]]:
    """Columns over the weights files pairs_N.pt of a report, sorted by the number of pairs.

    Example:
        >>> model = {"image_AUROC": 0.7, "pixel_AUROC": 0.9, "pixel_AUPRO": 0.5}
        >>> mean = {"picture": {"image_AUROC": 0.6}, "model": model}
        >>> points({"zero_shot": {"run/pairs_00000200.pt": {"mean": mean}}})["pairs"]
        [200.0]
    """
    weights = ((re.search(r"pairs_(\d+)", name), of["mean"]) for name, of in report["zero_shot"].items())
    rows = sorted((float(match[1]), mean) for match, mean in weights if match)
    return {
        "pairs": [pairs for pairs, _ in rows],
        "image AUROC, picture": [mean["picture"]["image_AUROC"] for _, mean in rows],
        "image AUROC, picture and views": [mean["model"]["image_AUROC"] for _, mean in rows],
        "pixel AUROC": [mean["model"]["pixel_AUROC"] for _, mean in rows],
        "pixel AUPRO": [mean["model"]["pixel_AUPRO"] for _, mean in rows],
    }


def main() -> None:
    """Draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    mpl.use("Agg")
    columns = points(json.loads(arguments.report.read_text(encoding="utf-8")))
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name, values in list(columns.items())[1:]:
        axes.plot(columns["pairs"], values, marker="o", label=name)
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xlabel="image-text pairs seen", ylabel="Toy3D, prompts alone", ylim=(0.3, 1))
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(arguments.picture, dpi=120)


if __name__ == "__main__":
    main()
