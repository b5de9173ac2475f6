# SPDX-License-Identifier: Apache-2.0
"""Train the small CLIP on procedural image-text pairs.

Needs PyTorch, open_clip and the neighbours of this file. The same command goes on where the last slice stopped, bit by
bit, on the same machine with as many threads: all random numbers of a step come from the seed and its number.

python tools/train_small_clip.py --minutes 60
python tools/train_small_clip.py --start WEIGHTS.safetensors --pairs 500000
python tools/train_small_clip.py --release
python tools/train_small_clip.py --show pairs.png
"""

import argparse
import csv
import hashlib
import math
import os
import time
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_clip.captions import Captions
from small_clip.fields import Dice
from small_clip.materials import COLOURS, MATERIALS
from small_clip.objective import Losses, embed, losses, state_logits
from small_clip.pairs import Pairs, make_pairs
from small_clip.shapes import SHAPES
from small_clip.start import order_positions, whiten_patches
from torch import Tensor, nn
from torchvision.utils import save_image
from tqdm import tqdm

PACKAGE = Path(__file__).resolve().parent.parent / "anomalib_clip3dad" / "clip"
RADII = (0.21, 0.48)  # of a part, as share of a whole image's side
CROPPED_RADII = (0.40, 0.85)  # of a part in a crop
SEED_STRIDE = 1 << 24  # a CPU's generator reads 32 bits of a seed: room for 128 runs of 8 million steps
HELD_OUT = (1 << 32) - 1  # the last seed: its pairs are never trained on
SAVE_EVERY = 1000  # steps: what a machine that is taken away costs at most


def build(model: str, seed: int, device: torch.device) -> tuple[Any, Captions]:
    """The model, drawn from a seed, and the writer of its captions."""
    open_clip.add_model_config(PACKAGE / "model_configs")
    torch.manual_seed(seed)
    clip: Any = open_clip.create_model(model)
    order_positions(clip.visual)
    clip.visual.output_tokens = True
    clip = clip.to(device)
    tokenizer = open_clip.get_tokenizer(model)
    captions = Captions(
        tokenizer.encode,
        tokenizer.sot_token_id,
        tokenizer.eot_token_id,
        clip.context_length,
        [shape.names for shape in SHAPES],
        [material.names for material in MATERIALS],
        list(COLOURS),
        device,
    )
    return clip, captions


def check_options(options: argparse.Namespace, patch: int, whole: int) -> None:
    """Refuse what would train on something else than asked."""
    if options.crop % patch or not patch <= options.crop <= whole:
        msg = f"--crop {options.crop}: a multiple of {patch} up to {whole} is needed"
    elif options.batch < 2 or options.batch % 2:
        msg = f"--batch {options.batch}: an even number is needed, for twins"
    elif not 0 <= options.seed < 128:
        msg = f"--seed {options.seed}: a number from 0 to 127 is needed"
    else:
        return
    raise SystemExit(msg)


def be_deterministic() -> None:
    """Make a GPU repeat itself bit by bit, as a CPU does."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)


class Training:
    """A run that can stop and go on.

    Args:
        options: the command line's.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.clip, self.captions = build(options.model, options.seed, self.device)
        check_options(options, self.clip.visual.patch_size[0], self.clip.visual.image_size[0])
        self.steps = math.ceil(options.pairs / options.batch)
        self.step, self.seen_before, self.seeds = 0, 0, [options.seed]
        self._made: tuple[int, bool] | None = None
        self.curve: list[dict[str, float]] = []
        decayed = [p for p in self.clip.parameters() if p.ndim >= 2]
        others = [p for p in self.clip.parameters() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=True)
        self.contrastive = open_clip.ClipLoss()
        self.file = options.out / "training.pt"
        if self.file.exists():
            self._resume()
        elif options.start:
            self._start(options.start)
        else:
            whiten_patches(self.clip.visual, self.pairs(HELD_OUT - 2, 64, crop=False).images.flatten(0, 1).cpu())

    def _start(self, file: Path) -> None:
        """Go on from the weights of a finished run with pairs that it never saw."""
        with safe_open(file, "pt") as weights:
            metadata = weights.metadata() or {}
        if not {"pairs_seen", "seeds"} <= metadata.keys():
            msg = f"{file} does not say how it was trained: give one that --release wrote"
            raise SystemExit(msg)
        before = [int(seed) for seed in metadata["seeds"].split()]
        if self.options.seed in before:
            msg = f"{file} was trained with --seed {metadata['seeds']}: another is needed for pairs it has not seen"
            raise SystemExit(msg)
        self.seen_before, self.seeds = int(metadata["pairs_seen"]), [*before, self.options.seed]
        self.clip.load_state_dict({name: value.float() for name, value in load_file(file).items()})

    def _resume(self) -> None:
        state = torch.load(self.file, map_location=self.device, weights_only=True)
        fixed = self._fixed_options()
        if state["options"] != fixed:
            differing = ", ".join(k for k in fixed if state["options"].get(k) != fixed[k])
            msg = f"{self.file} was begun with other options ({differing}); give the same or choose another --out"
            raise SystemExit(msg)
        self.clip.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.curve = state["step"], state["curve"]
        self.seen_before, self.seeds = state["seen_before"], state["seeds"]

    @property
    def seen(self) -> int:
        """Pairs until now, with those of the run that was started from."""
        return self.seen_before + self.step * self.options.batch

    def _fixed_options(self) -> dict[str, Any]:
        names = ("model", "pairs", "batch", "repeats", "rate", "seed", "crop", "crop_share")
        return {name: getattr(self.options, name) for name in names}

    def save(self) -> None:
        """Write everything that the next slice needs, complete or not at all."""
        state = {
            "options": self._fixed_options(),
            "model": self.clip.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seen_before": self.seen_before,
            "seeds": self.seeds,
            "curve": self.curve,
        }
        self.options.out.mkdir(parents=True, exist_ok=True)
        unfinished = self.file.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(self.file)
        with (self.options.out / "curve.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, self.curve[0] if self.curve else [])
            writer.writeheader()
            writer.writerows(self.curve)

    def rate(self) -> float:
        """Learning rate of this step: a short rise, then half a cosine down to a hundredth."""
        rise = max(self.steps // 30, 1)
        if self.step < rise:
            return self.options.rate * (self.step + 1) / rise
        done = (self.step - rise) / max(self.steps - rise, 1)
        return self.options.rate * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * done)))

    def ease(self, step: int) -> float:
        """Large and conspicuous defects first, all of them at the end."""
        return (0.5 if self.seen_before else 1.0) * (1 - step / self.steps)

    def pairs(self, seed: int, count: int, crop: bool, ease: float = 0.0) -> Pairs:
        """Twins of one seed, whole images or crops."""
        whole = self.clip.visual.image_size[0]
        size, radii = (self.options.crop, CROPPED_RADII) if crop else (whole, RADII)
        radius = (radii[0] * size, radii[1] * size)
        with torch.no_grad():
            return make_pairs(Dice(seed, self.device), self.captions, count, size, radius, ease)

    def batch(self) -> tuple[Pairs, tuple[int, int]]:
        """This step's twins and where on the grid they lie; made once for `repeats` steps, then flipped and turned."""
        crop = self.step < self.options.crop_share * self.steps
        made = self.step - self.step % self.options.repeats
        if self._made != (made, crop):
            self._made = (made, crop)
            seed = self.options.seed * SEED_STRIDE + 2 * made
            self._pairs = self.pairs(seed, self.options.batch // 2, crop, self.ease(made))
        dice = torch.Generator().manual_seed(self.options.seed * SEED_STRIDE + 2 * self.step + 1)
        quarter, mirror, row, column = torch.randint(1 << 20, (4,), generator=dice).tolist()
        pairs = self._pairs
        if self.step > made:
            images, masks = (_turned(field, quarter, mirror) for field in (pairs.images, pairs.masks))
            pairs = pairs._replace(images=images, masks=masks)
        room = self.clip.visual.grid_size[0] - pairs.images.shape[-1] // self.clip.visual.patch_size[0] + 1
        return pairs, (row % room, column % room)

    def advance(self) -> Losses:
        """One step."""
        pairs, corner = self.batch()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        with torch.autocast(self.device.type, torch.bfloat16):
            embeddings = embed(self.clip, pairs.images, pairs.captions, corner)
        found = losses(embeddings, pairs, self.clip.logit_scale.exp(), self.contrastive)
        self.optimiser.zero_grad(set_to_none=True)
        found.total().backward()
        nn.utils.clip_grad_norm_(self.clip.parameters(), 1.0)
        self.optimiser.step()
        with torch.no_grad():
            self.clip.logit_scale.clamp_(0, math.log(100))
        self.step += 1
        return found

    @torch.no_grad()
    def check(self, found: Losses) -> None:
        """Add a point to the curve: AUROCs on whole images that are never trained on."""
        pairs = self.pairs(HELD_OUT, 128, crop=False)
        images, captions = pairs.images.split(32, dim=1), pairs.captions.split(32, dim=1)
        parts = [embed(self.clip, i, c, (0, 0)) for i, c in zip(images, captions, strict=True)]
        image, patches, text = (torch.cat(sides, dim=1) for sides in zip(*parts, strict=True))
        image, patches = (state_logits(side, text).sigmoid() for side in (image, patches))
        score = image + patches.amax(-1)
        side = pairs.masks.shape[-1] // self.clip.visual.grid_size[0]
        share = torch.nn.functional.avg_pool2d(pairs.masks[:, None].float(), side).flatten(1)
        point = {"pairs": float(self.seen)}
        point |= {name: value.item() for name, value in found._asdict().items()}
        point |= {
            "image_auroc": auroc(score[0], score[1, pairs.sure]),
            "patch_auroc": auroc(patches[0][share > 0.25], patches[1][share > 0.25]),  # the same patches of twins
        }
        self.curve.append(point)
        tqdm.write("  ".join(f"{name} {value:.4g}" for name, value in point.items()))

    def snapshot(self) -> None:
        """Keep these weights, for figures over the number of pairs."""
        torch.save(half_weights(self.clip), self.options.out / f"pairs_{self.seen:08d}.pt")

    def run(self) -> None:
        """Train until the slice's minutes or all pairs are over."""
        until = time.monotonic() + 60 * self.options.minutes
        marks = {round(self.steps * k / self.options.points) for k in range(1, self.options.points + 1)}
        self.options.out.mkdir(parents=True, exist_ok=True)
        with tqdm(total=self.steps, initial=self.step, unit="step", smoothing=0.02) as progress:
            while self.step < self.steps and time.monotonic() < until:
                found = self.advance()
                progress.update()
                if self.step % 20 == 0:
                    progress.set_postfix(loss=f"{found.total().item():.3f}")
                if self.step in marks:
                    self.check(found)
                    self.snapshot()
                if self.step in marks or self.step % SAVE_EVERY == 0:
                    self.save()
        self.save()


def _turned(field: Tensor, quarter: int, mirror: int) -> Tensor:
    field = field.rot90(quarter % 4, (-2, -1))
    return field.flip(-1) if mirror % 2 else field


def auroc(negative: Tensor, positive: Tensor) -> float:
    """Share of (negative, positive) couples in the right order; ties count half.

    >>> auroc(torch.tensor([0.1, 0.4]), torch.tensor([0.4, 0.9]))
    0.875
    """
    negative = negative.flatten().sort().values
    below = torch.searchsorted(negative, positive.flatten().contiguous())
    upto = torch.searchsorted(negative, positive.flatten().contiguous(), right=True)
    return ((below + upto).double().mean() / 2 / max(len(negative), 1)).item()


def half_weights(clip: nn.Module) -> dict[str, Tensor]:
    """A plain open_clip state dict in half precision, on the CPU."""
    return {name: value.detach().half().cpu().contiguous() for name, value in clip.state_dict().items()}


def release(out: Path, folder: Path = PACKAGE / "small") -> Path:
    """Put the weights of a run where `pretrained="small"` finds them, in half precision, with their SHA-256.

    Args:
        out: folder of the run.
        folder: of the released weights.

    Returns:
        The weights file; its metadata say how it was trained.
    """
    state = torch.load(out / "training.pt", map_location="cpu", weights_only=True)
    weights = {name: value.half().contiguous() for name, value in state["model"].items()}
    options = state["options"]
    trained = state["step"] * options["batch"]
    if trained < options["pairs"]:
        print(f"This run is not over: {trained} of {options['pairs']} pairs; its learning rate has not come down yet.")
    seeds = " ".join(map(str, state["seeds"]))
    metadata = {**options, "pairs_seen": state["seen_before"] + trained, "seeds": seeds}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{options['model']}.safetensors"
    save_file(weights, file, {name: str(value) for name, value in metadata.items()})
    files = sorted(folder.glob("*.safetensors"))
    sums = "".join(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in files)
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
    return file


def show(model: str, seed: int, file: Path) -> None:
    """Draw pairs like those that are learned from: flawless, faulty, mask; photographs below the turned views."""
    device = torch.device("cpu")
    pairs = make_pairs(Dice(seed), build(model, seed, device)[1], 36, 120, (0.3 * 120, 0.46 * 120))
    masks = pairs.masks[:, None].float().expand(-1, 3, -1, -1)
    tiles = torch.stack([*pairs.images, masks], dim=1).flatten(0, 1)
    save_image(tiles, file, nrow=18, padding=2, pad_value=0.5)


def main() -> None:
    """Train a slice, release, or show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("results/small_clip"), help="folder of this run; an unfinished one goes on"
    )
    parser.add_argument(
        "--start", type=Path, metavar="SAFETENSORS", help="released weights of an earlier run to go on from"
    )
    parser.add_argument("--model", default="ViT-Ti6-16-240", help="open_clip architecture")
    parser.add_argument(
        "--pairs",
        type=int,
        default=190_000,
        help="pairs seen in all; those used again count again",
    )
    parser.add_argument("--batch", type=int, default=64, help="pairs in a step, half of them flawless")
    parser.add_argument("--repeats", type=int, default=3, help="steps on the same twins, flipped and turned")
    parser.add_argument("--rate", type=float, default=7e-4, help="largest learning rate")
    parser.add_argument("--crop", type=int, default=112, help="side of the images at first, in pixels")
    parser.add_argument("--crop_share", type=float, default=0.92, help="share of the steps on them")
    parser.add_argument("--points", type=int, default=8, help="points of the curve, each with its weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="length of this slice")
    parser.add_argument("--release", action="store_true", help="do not train; put the weights into the package")
    parser.add_argument("--show", type=Path, metavar="PNG", help="do not train; draw some pairs")
    options = parser.parse_args()
    if options.show:
        show(options.model, options.seed, options.show)
        return
    if options.release:
        print(release(options.out))
        return
    be_deterministic()
    Training(options).run()


if __name__ == "__main__":
    main()
