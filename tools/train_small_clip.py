# SPDX-License-Identifier: Apache-2.0
"""Train the small CLIP on procedural image-text pairs, on top of the frozen ImageNet stem.

Needs the installed package and the folder of this file. The same command resumes where the last slice stopped, bit for
bit on the same machine with the same number of threads: all random numbers of a step depend on the seed and the step.

python tools/train_small_clip.py --minutes 60
python tools/train_small_clip.py --start WEIGHTS.safetensors --seed 1 --pairs 500000
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
from small_clip.feed import Plan, Seen, Twins, feed
from small_clip.fields import Dice
from small_clip.materials import COLOURS, MATERIALS
from small_clip.objective import Losses, embed, losses, state_logits
from small_clip.pairs import VIEW_SHARE, make_pairs
from small_clip.shapes import SHAPES
from small_clip.start import order_positions, standardise
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.utils import save_image
from tqdm import tqdm

import anomalib_clip3dad.clip  # its architectures  # noqa: F401

PACKAGE = Path(__file__).resolve().parent.parent / "anomalib_clip3dad" / "clip"
HELD_OUT = (1 << 32) - 1  # the last seed: its pairs are never used for training
SAVE_EVERY = 500  # steps: the most that are lost if the machine is taken away
AVERAGE = 0.995  # decay of the released weights, an average over about 200 steps


def build(model: str, seed: int, device: torch.device) -> tuple[Any, Captions]:
    """Make the model, initialised from a seed, and its caption writer."""
    torch.manual_seed(seed)
    clip: Any = open_clip.create_model(model)
    order_positions(clip.visual.trunk)
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


def check_options(options: argparse.Namespace, whole: int) -> None:
    """Reject options with which the run would not train as asked."""
    if options.crop % 16 or not 16 <= options.crop <= whole:
        msg = f"--crop {options.crop}: a multiple of 16 up to {whole} is needed"
    elif options.batch < 4 or options.batch % 2:
        msg = f"--batch {options.batch}: an even number of at least 4 is needed, for both views and photographs"
    elif not 0 <= options.seed < 128:
        msg = f"--seed {options.seed}: a number from 0 to 127 is needed"
    else:
        return
    raise SystemExit(msg)


def be_deterministic() -> None:
    """Make a GPU deterministic, as a CPU is."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)


def half_precision(device: torch.device) -> bool:
    """Whether bfloat16 is faster here: it is ten times slower on CPUs without instructions for it."""
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()


class Training:
    """A run that can be stopped and resumed.

    Args:
        options: Options of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.clip, captions = build(options.model, options.seed, self.device)
        whole = self.clip.visual.image_size[0]
        check_options(options, whole)
        self.steps = math.ceil(options.pairs / options.batch)
        self.step, self.seen_before, self.seeds = 0, 0, [options.seed]
        self.curve: list[dict[str, float]] = []
        decayed = [p for p in self.clip.parameters() if p.ndim >= 2]
        others = [p for p in self.clip.parameters() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=True)
        self.contrastive = open_clip.ClipLoss()
        self.average = AveragedModel(self.clip, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
        self.file = options.out / "training.pt"
        cropped = round(options.crop_share * self.steps)
        plan = Plan(options.seed, self.steps, options.batch // 2, options.repeats, whole, options.crop, cropped, ease=1)
        normalise = (self.clip.visual.image_mean, self.clip.visual.image_std)
        mean, std = (torch.tensor(values, device=self.device).view(3, 1, 1) for values in normalise)
        self.twins = Twins(plan, self.clip.visual.trunk.patch_embed, captions, (mean, std))
        if self.file.exists():
            self._resume()
        elif options.start:
            self._start(options.start)
        else:
            features = self.twins.read(self.twins.draw(HELD_OUT - 2, 128, crop=True).images)
            standardise(self.clip.visual.trunk, features.flatten(0, 1))
            self.average.module.load_state_dict(self.clip.state_dict())
        if self.seen_before:  # also in later slices, with or without --start
            self.twins.plan = plan._replace(ease=0.5)

    def _start(self, file: Path) -> None:
        """Start from the weights of a finished run, with new pairs."""
        with safe_open(file, "pt") as weights:
            metadata = weights.metadata() or {}
        if not {"pairs_seen", "seeds"} <= metadata.keys():
            msg = f"{file} does not say how it was trained: give a file that --release wrote"
            raise SystemExit(msg)
        before = [int(seed) for seed in metadata["seeds"].split()]
        if self.options.seed in before:
            msg = f"{file} was trained with --seed {metadata['seeds']}: another is needed for pairs it has not seen"
            raise SystemExit(msg)
        self.seen_before, self.seeds = int(metadata["pairs_seen"]), [*before, self.options.seed]
        weights = {name: value.float() for name, value in load_file(file).items()}
        self.clip.load_state_dict(weights)
        self.average.module.load_state_dict(weights)

    def _resume(self) -> None:
        state = torch.load(self.file, map_location=self.device, weights_only=True)
        fixed = self._fixed_options()
        if state["options"] != fixed:
            differing = ", ".join(k for k in fixed if state["options"].get(k) != fixed[k])
            msg = f"{self.file} was started with other options ({differing}); use the same options or another --out"
            raise SystemExit(msg)
        self.clip.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.curve = state["step"], state["curve"]
        self.seen_before, self.seeds = state["seen_before"], state["seeds"]

    @property
    def seen(self) -> int:
        """Number of pairs so far, including those of the run it started from."""
        return self.seen_before + self.step * self.options.batch

    def _fixed_options(self) -> dict[str, Any]:
        names = ("model", "pairs", "batch", "repeats", "rate", "seed", "crop", "crop_share")
        return {name: getattr(self.options, name) for name in names}

    def save(self) -> None:
        """Write everything that the next slice needs, atomically."""
        state = {
            "options": self._fixed_options(),
            "model": self.clip.state_dict(),
            "average": self.average.state_dict(),
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
        """Learning rate of this step: a short linear warm-up, then cosine decay to a hundredth."""
        rise = max(self.steps // 30, 1)
        if self.step < rise:
            return self.options.rate * (self.step + 1) / rise
        done = (self.step - rise) / max(self.steps - rise, 1)
        return self.options.rate * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * done)))

    def advance(self, seen: Seen) -> Losses:
        """Do one step."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half_precision(self.device)):
            embeddings = embed(self.clip, seen.features, seen.captions, seen.corner)
        found = losses(embeddings, seen, self.clip.logit_scale.exp(), self.contrastive)
        self.optimiser.zero_grad(set_to_none=True)
        found.total().backward()
        nn.utils.clip_grad_norm_(self.clip.parameters(), 1.0)
        self.optimiser.step()
        with torch.no_grad():
            self.clip.logit_scale.clamp_(0, math.log(100))
        self.average.update_parameters(self.clip)
        self.step += 1
        return found

    @torch.no_grad()
    def check(self, found: Losses) -> None:
        """Add a point to the curve: AUROCs of the averaged weights on held-out pairs of full images."""
        pairs = self.twins.draw(HELD_OUT, 128, crop=False)
        images, captions = pairs.images.split(32, dim=1), pairs.captions.split(32, dim=1)
        parts = [embed(self.average.module, self.twins.read(i), c) for i, c in zip(images, captions, strict=True)]
        image, patches, text = (torch.cat(sides, dim=1) for sides in zip(*parts, strict=True))
        image, patches = (state_logits(side, text).sigmoid() for side in (image, patches))
        score = image + patches.amax(-1)
        share = torch.nn.functional.avg_pool2d(pairs.masks[:, None].float(), 16).flatten(1)
        point = {"pairs": float(self.seen)}
        point |= {name: value.item() for name, value in found._asdict().items()}
        views = torch.arange(len(share)) < round(VIEW_SHARE * len(share))
        for name, rows in (("", views | True), ("views_", views), ("photos_", ~views)):
            sure = rows & pairs.sure.cpu()
            covered = share[rows] > 0.25
            point |= {
                f"{name}image_auroc": auroc(score[0, rows], score[1, sure]),
                f"{name}patch_auroc": auroc(patches[0][rows][covered], patches[1][rows][covered]),  # the same patches
            }
        self.curve.append(point)
        tqdm.write("  ".join(f"{name} {value:.4g}" for name, value in point.items()))

    def snapshot(self) -> None:
        """Save the averaged weights, for figures over the number of pairs."""
        torch.save(half_weights(self.average.module), self.options.out / f"pairs_{self.seen:08d}.pt")

    def run(self) -> None:
        """Train until the time of this slice or all pairs are used up."""
        until = time.monotonic() + 60 * self.options.minutes
        marks = {round(self.steps * k / self.options.points) for k in range(1, self.options.points + 1)}
        self.options.out.mkdir(parents=True, exist_ok=True)
        workers = 0 if self.device.type == "cuda" else self.options.workers
        with tqdm(total=self.steps, initial=self.step, unit="step", smoothing=0.02) as progress:
            for seen in feed(self.twins, self.step, workers):
                found = self.advance(seen)
                progress.update()
                if self.step % 20 == 0:
                    progress.set_postfix(loss=f"{found.total().item():.3f}", pairs=self.seen)
                if self.step in marks:
                    self.check(found)
                    self.snapshot()
                if self.step in marks or self.step % SAVE_EVERY == 0:
                    self.save()
                if time.monotonic() > until:
                    break
        self.save()
        print(f"{self.seen} pairs seen, {self.step} of {self.steps} steps: {self.file}")


def auroc(negative: Tensor, positive: Tensor) -> float:
    """Share of (negative, positive) pairs in the right order; ties count half.

    Example:
        >>> auroc(torch.tensor([0.1, 0.4]), torch.tensor([0.4, 0.9]))
        0.875
    """
    negative = negative.flatten().sort().values
    below = torch.searchsorted(negative, positive.flatten().contiguous())
    upto = torch.searchsorted(negative, positive.flatten().contiguous(), right=True)
    return ((below + upto).double().mean() / 2 / max(len(negative), 1)).item()


def half_weights(clip: nn.Module) -> dict[str, Tensor]:
    """State dict of the open_clip model in half precision, on the CPU."""
    return {name: value.detach().half().cpu().contiguous() for name, value in clip.state_dict().items()}


def release(out: Path, folder: Path = PACKAGE / "small") -> Path:
    """Write the weights of a run to where `pretrained="small"` finds them, in half precision, with their SHA-256.

    Args:
        out: Folder of the run.
        folder: Folder of the released weights.

    Returns:
        The weights file; its metadata record how it was trained.
    """
    state = torch.load(out / "training.pt", map_location="cpu", weights_only=True)
    average = {name.removeprefix("module."): value for name, value in state["average"].items() if name != "n_averaged"}
    weights = {name: value.half().contiguous() for name, value in average.items()}
    options = state["options"]
    trained = state["step"] * options["batch"]
    if trained < options["pairs"]:
        print(f"Unfinished run: {trained} of {options['pairs']} pairs; its learning rate has not decayed fully.")
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
    """Draw training pairs: normal, anomalous, mask; rotated views above, photographs below."""
    device = torch.device("cpu")
    pairs = make_pairs(Dice(seed), build(model, seed, device)[1], 36, 120, (0.3 * 120, 0.46 * 120))
    masks = pairs.masks[:, None].float().expand(-1, 3, -1, -1)
    tiles = torch.stack([*pairs.images, masks], dim=1).flatten(0, 1)
    save_image(tiles, file, nrow=18, padding=2, pad_value=0.5)


def main() -> None:
    """Train a slice, release weights, or show pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("results/small_clip"), help="folder of this run; an unfinished one is resumed"
    )
    parser.add_argument(
        "--start", type=Path, metavar="SAFETENSORS", help="released weights of an earlier run to start from"
    )
    parser.add_argument("--model", default="ViT-Ti-Lite0-16-240", help="open_clip architecture")
    parser.add_argument(
        "--pairs",
        type=int,
        default=190_000,
        help="number of pairs in total; repeated pairs count again",
    )
    parser.add_argument("--batch", type=int, default=64, help="pairs in a step, half of them normal")
    parser.add_argument("--repeats", type=int, default=3, help="steps on the same pairs, flipped and rotated")
    parser.add_argument("--rate", type=float, default=1e-3, help="largest learning rate")
    parser.add_argument("--crop", type=int, default=112, help="side of the crops of the first steps, in pixels")
    parser.add_argument("--crop_share", type=float, default=0.95, help="share of the steps that train on crops")
    parser.add_argument("--points", type=int, default=8, help="number of points of the curve, each with its weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that generate pairs during training")
    parser.add_argument("--minutes", type=float, default=math.inf, help="time limit of this slice")
    parser.add_argument("--release", action="store_true", help="do not train; write the weights into the package")
    parser.add_argument("--show", type=Path, metavar="PNG", help="do not train; draw some pairs")
    options = parser.parse_args()
    if options.show:
        show(options.model, options.seed, options.show)
        return
    if options.release:
        print(release(options.out))
        return
    be_deterministic()
    torch.set_num_threads(max(len(os.sched_getaffinity(0)) - options.workers, 1))  # more would only wait
    Training(options).run()


if __name__ == "__main__":
    main()
