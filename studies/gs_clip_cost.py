# SPDX-License-Identifier: Apache-2.0
"""What GS-CLIP costs around a tower: seconds, peak memory, tower passes and floating-point operations of each stage.

The default is the paper's tower with random weights, which cost what trained ones cost. Stage 1 learns from what was
read once; stage 2 and a prediction run the tower on every view.

python studies/gs_clip_cost.py --threads 2
python studies/gs_clip_cost.py --clip_model ViT-Ti-Lite0-16-240 --vv_from 0 --threads 2
"""

import argparse
import resource
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from zero_shot import parts_of

from anomalib_clip3dad.models import GsClip
from anomalib_clip3dad.models.frozen_cache import join

_GIB = 2**20  # ru_maxrss counts in KiB


class Operations(TorchDispatchMode):
    """Counts floating-point operations as PyTorch's `FlopCounterMode`, whose hooks fail where gradients are off."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operation, and count."""
        answer = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=answer)
        return answer


@contextmanager
def measured(what: str, model: GsClip) -> Iterator[None]:
    """Print seconds, operations, images through the vision tower, and the peak memory so far."""
    images = 0

    def count(_: Any, inputs: tuple[Any, ...]) -> None:
        nonlocal images
        images += len(model.model.vision.parts.batched(inputs[0]))  # tokens come first in some towers

    # every stream starts with the same first block
    hook = model.model.vision.parts.blocks[0].register_forward_pre_hook(count)
    operations, start = Operations(), time.perf_counter()
    with operations:
        yield
    seconds = time.perf_counter() - start
    hook.remove()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _GIB
    cost = f"{seconds:.1f} s, {operations.total / 1e12:.2f} TFLOP, {images} images read, peak so far {peak:.1f} GiB"
    print(f"{what}: {cost}", flush=True)


def main() -> None:
    """Read some samples, take two steps of each stage, and predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--clip_model", default="ViT-L-14-336-quickgelu")
    add("--vv_from", type=int, default=6, help="0: CLIP's own patches")
    add("--num_points", type=int, default=3000)
    add("--batch", type=int, default=1, help="samples of a step; the authors take 4")
    add("--root", default="datasets/Toy3D", help="created if missing")
    add("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore")
    data = parts_of("gear", arguments.root)
    data.prepare_data()
    data.setup()
    samples: list[Any] = [data.test_data[row] for row in range(-2 * arguments.batch, 0)]
    model = GsClip(
        arguments.clip_model, None, vv_from=arguments.vv_from or None, num_points=arguments.num_points, visualizer=False
    )
    print(arguments.clip_model)
    known = []
    with measured(f"read {len(samples)} samples once", model):
        for item in samples:
            image, xyz, foreground = model.prepare(item.image[None], item.depth_map[None])
            mask = torch.nn.functional.interpolate(
                item.gt_mask.reshape(1, 1, *item.gt_mask.shape[-2:]).float(), image.shape[-2:]
            )
            known.append(model.know(model.cut(image, xyz, foreground), mask[:, 0] > 0))
    optimiser: Any = model.configure_optimizers()
    model.train()
    for second in (False, True):
        for step in range(2):
            rows = join(known[step * arguments.batch : (step + 1) * arguments.batch])
            with measured(f"stage {1 + second}, step {step + 1}, batch {arguments.batch}", model):
                optimiser.zero_grad()
                model.losses(rows, second)["train_loss"].backward()
                optimiser.step()
    model.eval()
    with measured("predict one sample", model), torch.no_grad():  # inference mode hides what is counted
        model(samples[0].image[None], samples[0].depth_map[None])


if __name__ == "__main__":
    main()
