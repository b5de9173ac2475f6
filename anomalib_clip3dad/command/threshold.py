# SPDX-License-Identifier: Apache-2.0
"""Set the threshold of a trained model by the share of false alarms that one can live with."""

import math
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from tqdm import tqdm

from anomalib_clip3dad.data.leaks import sample_digest
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.inference.in_torch import Torch
from anomalib_clip3dad.weights import check_checkpoint, load_safely, write_checkpoint

from .samples import pairs_of, read_pair


def threshold(
    checkpoint: Path,
    data: Path = Path(),
    false_alarms: float = 0.01,
    out: Path | None = None,
    intrinsics: Path | None = None,
) -> list[str]:
    """Set the image threshold of a checkpoint so that at most a given share of good parts is called anomalous.

    Args:
        checkpoint: The .ckpt file; files exported afterwards have the new threshold, too.
        data: Folder of good parts, as for `clip3dad check`, of which the shots are left out; default: the current one.
        false_alarms: Share of good parts that may be called anomalous, in [0, 1).
        out: File to write; default: the checkpoint itself.
        intrinsics: JSON file of the camera intrinsics; default: intrinsics.json in the folder or above it.
    """
    if not 0 <= false_alarms < 1:
        msg = f"false_alarms={false_alarms}: a share in [0, 1) is needed, e.g. 0.01"
        raise InputError(msg)
    check_checkpoint(checkpoint, "CHECKPOINT")
    model = Torch(checkpoint, "cpu").model
    listed, shots = pairs_of(data), set(model.training_digests)
    pairs = [pair for pair in listed if sample_digest(*pair) not in shots]
    if not pairs:
        msg = f"{data}: all {len(listed)} parts are shots, which tell nothing of new parts; give other good parts"
        raise InputError(msg)
    before = model.post_processor.image_threshold.item()
    model.post_processor = None  # scores are raw
    scores = []
    with torch.inference_mode():
        for image, scan in tqdm(pairs, desc="good parts", unit="part"):
            parts = (values[None] for values in read_pair(image, scan, data, intrinsics))
            scores.append(model(*parts).pred_score)
    found = allowed(torch.cat(scores), false_alarms)
    content: dict[str, Any] = load_safely(checkpoint, "CHECKPOINT")
    content["state_dict"]["post_processor._image_threshold"] = torch.tensor(found)
    target = out or checkpoint
    write_checkpoint(content, target)
    over = sum((score > found).item() for score in scores)
    console = Console(soft_wrap=True)
    if left_out := len(listed) - len(pairs):
        console.print(f"{left_out} of {len(listed)} parts are shots and left out.")
    console.print(f"Threshold {before:.4f} -> {found:.4f}: {over} of {len(scores)} good parts lie above it.")
    if false_alarms * len(scores) < 1:
        least = math.ceil(1 / false_alarms) if false_alarms else None
        more = f"; {least} good parts would tell" if least else ""
        console.print(
            f"{len(scores)} good parts cannot show a rate of {false_alarms:g}: the threshold is the highest of their "
            f"scores, and the true rate may be up to about {3 / len(scores):.2g}{more}."
        )
    console.print(f"Written: {target.absolute()}. Export again to carry it into exported files.")
    return []


def allowed(scores: torch.Tensor, false_alarms: float) -> float:
    """Find the lowest threshold that at most a share of scores lies above.

    Args:
        scores: (N,) of good parts.
        false_alarms: The share, in [0, 1).

    Returns:
        One of the scores.

    Example:
        >>> allowed(torch.tensor([0.1, 0.4, 0.2, 0.3]), 0.25)
        0.30000001192092896
        >>> allowed(torch.tensor([0.1, 0.4, 0.2, 0.3]), 0.01)
        0.4000000059604645
    """
    above = math.floor(false_alarms * len(scores) + 1e-9)
    return scores.sort(descending=True).values[above].item()
