# SPDX-License-Identifier: Apache-2.0
"""Put what a training of GS-CLIP on toy parts has learned into the package, as `trained: toy3d`.

anomalib train --config configs/gs_clip_toy3d.yaml
python tools/release_gs_clip.py CKPT
"""

import argparse
from pathlib import Path

from safetensors.torch import save_file

from anomalib_clip3dad.models.gs_clip.trained import SHIPPED
from anomalib_clip3dad.weights import check_checkpoint, read_state_dict


def main() -> None:
    """Write the trained weights and the threshold, without the state of the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="model.ckpt of the training")
    arguments = parser.parse_args()
    check_checkpoint(arguments.checkpoint, "checkpoint")
    state = {name: value.contiguous() for name, value in read_state_dict(arguments.checkpoint, "checkpoint").items()}
    save_file(state, SHIPPED["toy3d"], {"trained_by": "anomalib train --config configs/gs_clip_toy3d.yaml"})
    print(f"{SHIPPED['toy3d']}: {SHIPPED['toy3d'].stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
