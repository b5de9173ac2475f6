# SPDX-License-Identifier: Apache-2.0
"""BTF as an anomalib model: connects data, callbacks, memory bank, metrics and checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import Tensor

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.backbone import load_backbone
from anomalib_clip3dad.models.bank import ShotBankMixin
from anomalib_clip3dad.models.base import RGBXYZModel
from anomalib_clip3dad.models.patch_memory import check_sampling_ratio

from .torch_model import BtfModel

MODES = ("fpfh", "rgb", "rgb+fpfh")


class Btf(ShotBankMixin, RGBXYZModel, AnomalibModule):  # type: ignore[misc]
    """Back to the Feature: PatchCore on Fast Point Feature Histograms, on RGB, or on both.

    Horwitz & Hoshen, "Back to the Feature: Classical 3D Features are (Almost) All You Need for 3D Anomaly Detection",
    arXiv 2203.05550. Needs batches with RGB `image` and organised XYZ `depth_map` (metres, camera frame, (0, 0, 0) =
    not measured). Background is black and has no points; it is scored like everything else.

    Args:
        mode: "fpfh", "rgb" or "rgb+fpfh"; the last is what the paper calls BTF. Modes with FPFH cannot be exported.
        image_size: Height and width that image and cloud are resized to.
        backbone: Network of timm that computes the features of the images.
        layers: Stages of the backbone whose features are used, the finest first.
        pre_trained: Use ImageNet weights, which are downloaded (those of tf_efficientnet_lite0 are installed); False
            for random weights, whose scores mean nothing.
        backbone_weights: Path of a local weights file to use instead.
        coreset_sampling_ratio: Share of the training patches that the bank keeps.
        num_neighbors: Number of neighbours in the bank that weight the image score; 3 in BTF, 9 in PatchCore.
        seed: Seed of the coreset; None uses that of `seed_everything`, or torch's.
        pre_processor: See `AnomalibModule`; the default only resizes, normalisation is in the model.
        post_processor: See `AnomalibModule`.
        evaluator: See `AnomalibModule`; the default has the metrics of `Clip3dAd`, all on raw scores.
        visualizer: See `AnomalibModule`; the default is that of `Clip3dAd`.
    """

    unbounded_scores = True
    must_agree = ("mode", "image_size", "backbone", "layers")

    def __init__(
        self,
        mode: str = "rgb+fpfh",
        image_size: int = 224,
        backbone: str = "wide_resnet50_2",
        layers: Sequence[str] = ("layer2", "layer3"),
        pre_trained: bool = True,
        backbone_weights: str | None = None,
        coreset_sampling_ratio: float = 0.1,
        num_neighbors: int = 3,
        seed: int | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        if mode not in MODES:
            msg = f"mode={mode!r}: give one of {', '.join(MODES)}"
            raise InputError(msg)
        check_sampling_ratio(coreset_sampling_ratio)
        self._image_size = (image_size, image_size)  # for the default pre-processor
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        with_rgb = mode != "fpfh"
        extractor = load_backbone(backbone, layers, pre_trained, backbone_weights) if with_rgb else None
        self.mode = mode
        self.coreset_sampling_ratio = coreset_sampling_ratio
        self.seed = seed
        self.model: BtfModel = BtfModel(extractor, mode != "rgb", num_neighbors)

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Resize images, bicubic; None means BTF's 224 x 224."""
        return RGBXYZModel.configure_pre_processor(image_size or (224, 224))

    # ------------------------------------------------------------------ steps
    def remember(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> None:
        """See `ShotBankMixin`."""
        self.model.memory.remember(self.model.embed(image, xyz, foreground))

    def make_bank(self, seed: int) -> None:
        """Choose the coreset; see `ShotBankMixin`."""
        self.model.memory.choose_coreset(self.coreset_sampling_ratio, seed)

    def judge(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> InferenceBatch:
        """Score by the distance to the bank; raises ValueError if it is empty. See `RGBXYZModel.judge`."""
        return self.model(image, xyz, foreground)

    # ------------------------------------------------------------------ files
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the bank.

        Raises:
            ValueError: If the checkpoint is from another model, other arguments or another backbone.
        """
        then, now = checkpoint.get("hyper_parameters", {}), self.hparams
        # another mode, backbone or layers also have other weights; the parent's check reports those
        alike = all(list(then.get(name, ())) == list(now[name]) for name in ("mode", "backbone", "layers"))
        if alike and checkpoint.get("tower_hash", self.tower_hash) != self.tower_hash:
            msg = f"ckpt_path: the bank was filled with other weights of {now['backbone']}; give the same pre_trained "
            msg += "and backbone_weights"
            raise InputError(msg)
        super().on_load_checkpoint(checkpoint)

    def to_onnx(self, *args: Any, **kwargs: Any) -> Path:  # type: ignore[override]
        """See `RGBXYZExportMixin`.

        Raises:
            ValueError: If the model uses FPFH, whose tree search for neighbours cannot be part of a graph.
        """
        if self.mode != "rgb":
            msg = f"export_type: mode={self.mode!r} searches a tree for each point's neighbours, which neither ONNX "
            msg += "nor OpenVINO can; use the checkpoint (RGBXYZInferencer reads it), or mode='rgb'"
            raise InputError(msg)
        return super().to_onnx(*args, **kwargs)
