# SPDX-License-Identifier: Apache-2.0
"""Peak memory of LSFA's training with the paper's networks, 56 x 56 patches and random features of many parts.

Everything after the frozen networks runs as in a training, but few times: two steps of the adaptation or none, one
part left out, a bank of few patches. The peak is that of the process, networks and libraries included.

python studies/lsfa_memory.py --parts 60 --steps 0
"""

import argparse
import resource
import tempfile
from pathlib import Path

import torch
from anomalib.models.image.cfm.components import PointTransformer

from anomalib_clip3dad.models import Lsfa
from anomalib_clip3dad.models.lsfa import leave_one_out
from anomalib_clip3dad.models.lsfa.torch_model import Features

_GRID = 56
_PICKS = 10  # patches in a bank; every pick needs the same memory


def network(parts: int, steps: int) -> Lsfa:
    """The paper's networks and patches, random weights."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "pretrain.pth"
        torch.save({"base_model": PointTransformer().state_dict()}, weights)
        return Lsfa(
            pre_trained=False,
            cloud_features="pointmae",
            pointmae_weights=str(weights),
            max_steps=steps,  # the banks are full after the first, so that the second uses every loss
            warmup_steps=1,
            coreset_sampling_ratio=(_PICKS + 0.5) / (parts * _GRID**2),
            visualizer=False,
        )


def peak_gib() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Print the peak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=250)
    parser.add_argument("--steps", type=int, choices=(0, 2), default=2)
    arguments = parser.parse_args()
    parts = arguments.parts
    model = network(parts, arguments.steps)
    print(f"networks: {peak_gib():.1f} GiB")
    part = torch.ones(1, _GRID, _GRID, dtype=torch.bool)
    widths = model.model.widths
    model._shots = [  # what a pass over the parts leaves
        Features(torch.randn(1, widths["rgb"], _GRID, _GRID), torch.randn(1, widths["cloud"], _GRID, _GRID), part)
        for _ in range(parts)
    ]
    print(f"features of {parts} parts: {peak_gib():.1f} GiB")
    leave_one_out._AT_MOST = 1  # others need the same memory
    model.make_bank(0)
    print(f"adaptation and banks: {peak_gib():.1f} GiB")


if __name__ == "__main__":
    main()
