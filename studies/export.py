# SPDX-License-Identifier: Apache-2.0
"""Exported files: parity with the checkpoint, compression, speed against the bare vision tower, and size.

Needs a category in the layout of MVTec 3D-AD (Toy3D works as well) and a checkpoint trained on it.

python studies/export.py CHECKPOINT CATEGORY_FOLDER
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import openvino
import torch
from anomalib.deploy import CompressionType
from cost import in_turns
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F  # noqa: N812
from torchmetrics.functional.classification import binary_auroc
from tqdm import tqdm

from anomalib_clip3dad.clip import VisionTower
from anomalib_clip3dad.data import MVTec3DXYZ, read_sample
from anomalib_clip3dad.geometry import resize_organised
from anomalib_clip3dad.inference.in_torch import Torch
from anomalib_clip3dad.inference.runtimes import OnnxRuntime, OpenVino, Runtime

Sample = tuple[torch.Tensor, torch.Tensor, bool]  # image (3, H, W), cloud (3, H, W), whether it is anomalous


def read(folder: Path, at_most: int = sys.maxsize) -> list[Sample]:
    """Read test samples, evenly spread over all kinds."""
    files = sorted((folder / "test").glob("*/rgb/*.png"))
    files = [files[i] for i in np.linspace(0, len(files) - 1, min(at_most, len(files))).round().astype(int)]
    pairs = [(file, file.parent.parent / "xyz" / f"{file.stem}.tiff") for file in files]
    return [(*read_sample(*pair), pair[0].parent.parent.name != "good") for pair in pairs]


def at_size(sample: Sample, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Resize a sample, as if from a scanner of another resolution."""
    image = F.interpolate(sample[0][None], size, mode="bilinear", antialias=True)
    return image[0], resize_organised(sample[1][None], size)[0]


def parity(
    original: Runtime, runtimes: dict[str, Runtime], samples: list[Sample], sizes: list[tuple[int, int]]
) -> Table:
    """Largest differences from the checkpoint, for each runtime, size and batch."""
    table = Table("file", "H x W", "batch", "samples", "score", "map", "labels", "mask pixels", title="parity")
    for size in sizes:
        given = [at_size(sample, size) for sample in samples]
        for batch in (1, 3):
            groups = [given[i : i + batch] for i in range(0, len(given) - batch + 1, batch)]
            batches = [[torch.stack(values).numpy() for values in zip(*group, strict=True)] for group in groups]
            expected = [original(*pair) for pair in tqdm(batches, desc=f"checkpoint, {size}, batch {batch}")]
            for name, run in runtimes.items():
                found = [run(*pair) for pair in tqdm(batches, desc=f"{name}, {size}, batch {batch}")]
                row = [f"{size[0]} x {size[1]}", str(batch), str(len(batches) * batch)]
                table.add_row(name, *row, *differences(expected, found))
    return table


def differences(expected: list[dict[str, np.ndarray]], found: list[dict[str, np.ndarray]]) -> list[str]:
    """Largest difference of scores and maps, and number of labels and mask pixels that differ."""

    def each(name: str) -> list[np.ndarray]:
        pairs = zip(expected, found, strict=True)
        return [np.abs(one[name].astype(np.float32) - other[name].astype(np.float32)) for one, other in pairs]

    largest = [f"{max(float(values.max()) for values in each(name)):.1e}" for name in ("pred_score", "anomaly_map")]
    return [
        *largest,
        *(f"{sum(float(values.sum()) for values in each(name)):.0f}" for name in ("pred_label", "pred_mask")),
    ]


def auroc(original: Torch, runtimes: dict[str, Runtime], samples: list[Sample]) -> Table:
    """Image AUROC of raw scores, and how much compression changes them."""
    table = Table("file", "image AUROC", "raw score, mean difference", "largest", title="compression")
    truth = torch.tensor([int(anomalous) for *_, anomalous in samples])
    scores = {}
    original.model.post_processor.enable_normalization = False
    for name, run in {"checkpoint": original, **runtimes}.items():
        answers = [run(image[None].numpy(), xyz[None].numpy()) for image, xyz, _ in tqdm(samples, desc=name)]
        scores[name] = torch.tensor([float(answer["pred_score"][0]) for answer in answers])
        apart = (scores[name] - scores["checkpoint"]).abs()
        table.add_row(name, f"{binary_auroc(scores[name], truth):.4f}", f"{apart.mean():.1e}", f"{apart.max():.1e}")
    original.model.post_processor.enable_normalization = True
    return table


class Tower(torch.nn.Module):
    """The bare vision tower: the cost of any CLIP method."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[CLS] and the last block's tokens."""
        cls, tokens = self.tower(images)
        return cls, tokens[-1]


def bare_tower(model: Any, folder: Path) -> Path:
    """Export the tower alone, for any number of images."""
    side, path = model.model.tower.image_size, folder / "tower.onnx"
    program = torch.export.export(
        Tower(model.model.tower).eval(), (torch.rand(6, 3, side, side),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    exported = torch.onnx.export(program, input_names=["images"], dynamo=True, opset_version=18, verbose=False)
    assert exported is not None  # noqa: S101
    exported.save(path)
    return path


def speed(model: Any, folder: Path, sample: Sample, repeats: int) -> Table:
    """Seconds per sample of the whole model and of the bare tower on as many images, interleaved."""
    tower = bare_tower(model, folder)
    pictures = np.random.default_rng(0).random(
        (1 + len(model.views), 3, *[model.model.tower.image_size] * 2), np.float32
    )
    session = onnxruntime.InferenceSession(tower, providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model(tower, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    pair = [values[None].numpy() for values in sample[:2]]
    files = folder / "weights"
    ort, ov = OnnxRuntime(files / "onnx" / "model.onnx", "cpu"), OpenVino(files / "openvino" / "model.xml", "cpu")

    def eager(module: Callable[..., Any], *inputs: np.ndarray) -> Callable[[], Any]:
        tensors = [torch.from_numpy(values) for values in inputs]
        return lambda: module(*tensors)

    tasks: dict[str, dict[str, Callable[[], Any]]] = {
        "torch": {"whole": eager(model, *pair), "tower": eager(model.model.tower, pictures)},
        "ONNX Runtime": {"whole": lambda: ort(*pair), "tower": lambda: session.run(None, {"images": pictures})},
        "OpenVINO": {"whole": lambda: ov(*pair), "tower": lambda: compiled({"images": pictures})},
    }
    with torch.inference_mode():
        seconds = in_turns(
            {f"{name} {part}": task for name, two in tasks.items() for part, task in two.items()}, repeats
        )
    table = Table("runtime", "whole, s", "bare tower, s", "whole / tower", "whole / torch's", title="speed, one sample")
    for name in tasks:
        whole, bare = seconds[f"{name} whole"], seconds[f"{name} tower"]
        table.add_row(
            name, f"{whole:.3f}", f"{bare:.3f}", f"{whole / bare:.2f}", f"{whole / seconds['torch whole']:.2f}"
        )
    return table


def sizes(model: Any, files: dict[str, Path]) -> Table:
    """Size of each file relative to its parameters."""
    needed = 4 * sum(parameter.numel() for parameter in model.model.parameters())
    table = Table("file", "MB", "over the parameters", title=f"sizes; parameters: {needed / 1e6:.1f} MB")
    for name, path in files.items():
        both = sum(part.stat().st_size for part in (path, path.with_suffix(".bin")) if part.is_file())
        table.add_row(name, f"{both / 1e6:.1f}", f"{both / needed:.3f}")
    return table


def compressed(model: Any, folder: Path, data: Any) -> dict[str, Path]:
    """Export compressed files with raw scores, because normalised ones are clipped to 0 and 1, which makes ties."""
    model.post_processor.enable_normalization = False
    try:
        kinds = (CompressionType.FP16, CompressionType.INT8, CompressionType.INT8_PTQ)
        return {kind.value: model.to_openvino(folder, kind.value, None, kind, data) for kind in kinds}
    finally:
        model.post_processor.enable_normalization = True


def main() -> None:
    """Run the measurements of --only, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", type=Path)
    add("category", type=Path, help="folder of one category")
    add("--only", nargs="+", choices=("parity", "compression", "speed", "sizes"), default=None)
    add("--sizes", nargs="+", type=int, default=[240, 240, 300, 400], help="pairs of height and width")
    add("--samples", type=int, default=20, help="number of samples for parity; compression uses all")
    add("--repeats", type=int, default=9)
    arguments = parser.parse_args(sys.argv[1:])
    warnings.filterwarnings("ignore")
    start, console = time.perf_counter(), Console(width=None if sys.stdout.isatty() else 120)
    wanted = arguments.only or ["parity", "compression", "speed", "sizes"]
    original = Torch(arguments.checkpoint, "cpu")
    folder = arguments.category
    data = MVTec3DXYZ(root=folder.parent, category=folder.name, k_shot=len(original.metadata.training_files) or 4)
    with TemporaryDirectory() as scratch:
        files = {"onnx": original.model.to_onnx(scratch), "openvino": original.model.to_openvino(scratch)}
        if "parity" in wanted:
            full = {"ONNX Runtime": OnnxRuntime(files["onnx"], "cpu"), "OpenVINO": OpenVino(files["openvino"], "cpu")}
            pairs = list(zip(arguments.sizes[::2], arguments.sizes[1::2], strict=True))
            console.print(parity(original, full, read(folder, arguments.samples), pairs))
        if "speed" in wanted:
            console.print(speed(original.model, Path(scratch), read(folder, 1)[0], arguments.repeats))
        if "compression" in wanted:
            small = compressed(original.model, Path(scratch), data)
            console.print(auroc(original, {name: OpenVino(path, "cpu") for name, path in small.items()}, read(folder)))
            files |= small
        if "sizes" in wanted:
            console.print(sizes(original.model, files))
    console.print(f"{time.perf_counter() - start:.0f} s in total")


if __name__ == "__main__":
    main()
