# SPDX-License-Identifier: Apache-2.0
"""LSFA as an anomalib model: connects data, adaptation, memory banks, metrics and checkpoints."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import Tensor
from tqdm import tqdm

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.backbone import load_backbone
from anomalib_clip3dad.models.bank import ShotBankMixin
from anomalib_clip3dad.models.base import RGBXYZModel
from anomalib_clip3dad.models.patch_memory import check_sampling_ratio
from anomalib_clip3dad.visualization import draw_losses, save_figure

from .adaptation import Adaptation, AdaptationSettings
from .cloud_features import load_cloud_features
from .fusion import FUSIONS
from .torch_model import Features, LsfaModel, gathered

logger = logging.getLogger(__name__)


class Lsfa(ShotBankMixin, RGBXYZModel, AnomalibModule):  # type: ignore[misc]
    """LSFA: adapts frozen features of RGB and 3D to the normal parts, then compares patches with memory banks.

    Tu et al., "Self-supervised Feature Adaptation for 3D Industrial Anomaly Detection", arXiv 2401.03145. Needs batches
    with RGB `image` and organised XYZ `depth_map` (metres, camera frame, (0, 0, 0) = not measured). One pass over the
    shots reads their frozen features; then the adaptors are trained for `max_steps` steps, whatever the trainer's own
    limits are, and the banks are filled. docs/lsfa.md says what is the paper's and what is our choice.

    Args:
        backbone: timm network that computes the features of the images, convolutional or a vision transformer.
        layers: Stages or blocks of the backbone whose features are used, the finest first.
        pre_trained: Use pre-trained weights of the backbone, see `Btf`.
        backbone_weights: Path of a local weights file to use instead.
        cloud_features: "pointmae" as in the paper, with `pointmae_weights`; or, without weights, "histograms" of the
            surface, the only ones that can be exported, or "fpfh".
        pointmae_weights: Path of Point-MAE's pretrain.pth.
        image_size: Height and width that image and cloud are resized to, a multiple of `patch_size`.
        patch_size: Side of a patch in pixels; 4 makes the paper's 56 x 56 patches. The cost of the attention grows with
            the fourth power of its inverse.
        clc: Whether to train with cross-modal local-to-global consistency.
        ifc: Whether to train with intra-modal feature compactness. Without both there is no adaptation.
        max_steps: Number of training steps; 0 for no adaptation. Our choice: the authors' code takes 40.
        batch_size: Number of shots in a step, at most all of them.
        learning_rate: Learning rate of AdamW.
        temperature: Divides the cosine similarities of CLC; 1 in the authors' code.
        local_weight: Weight of CLC between patches (L_LA); the four weights are those of the authors' code.
        global_weight: Weight of CLC between samples (L_GA).
        patch_weight: Weight of IFC of patches (L_LC).
        prototype_weight: Weight of IFC of the samples' mean features (L_GC).
        bank_size: Largest number of patches in the bank of a modality for IFC.
        warmup_steps: Number of steps before IFC starts; our choice, as the number of steps.
        patch_budget: Largest number of patches of a shot in a step; memory grows with its square.
        least_variance: Training stops when the variance of the adapted features falls below this share of that before.
        coreset_sampling_ratio: Share of the training patches that the memory banks keep.
        num_neighbors: Number of neighbours in the bank that weight the image score.
        fusion: "mean" of both modalities as in the paper, or "svm": weighted by a linear one-class SVM of their
            distances, as in M3DM and the authors' code.
        seed: Seed of all random draws; None uses that of `seed_everything`, or torch's.
        pre_processor: See `AnomalibModule`; the default only resizes, normalisation is in the model.
        post_processor: See `AnomalibModule`.
        evaluator: See `AnomalibModule`; the default has the metrics of `Clip3dAd`, all on raw scores.
        visualizer: See `AnomalibModule`; the default is that of `Clip3dAd`.
    """

    unbounded_scores = True
    # which adaptors a checkpoint holds depends on clc, ifc and max_steps
    must_agree = (
        "backbone",
        "layers",
        "cloud_features",
        "image_size",
        "patch_size",
        "clc",
        "ifc",
        "max_steps",
        "fusion",
    )

    def __init__(
        self,
        backbone: str = "vit_base_patch8_224.dino",
        layers: Sequence[str] = ("blocks.11",),
        pre_trained: bool = True,
        backbone_weights: str | None = None,
        cloud_features: str = "histograms",
        pointmae_weights: str | None = None,
        image_size: int = 224,
        patch_size: int = 4,
        clc: bool = True,
        ifc: bool = True,
        max_steps: int = 100,
        batch_size: int = 8,
        learning_rate: float = 3e-4,
        temperature: float = 1.0,
        local_weight: float = 1.0,
        global_weight: float = 0.1,
        patch_weight: float = 0.9,
        prototype_weight: float = 0.36,
        bank_size: int = 60_000,
        warmup_steps: int = 10,
        patch_budget: int = 2048,
        least_variance: float = 0.25,
        coreset_sampling_ratio: float = 0.1,
        num_neighbors: int = 3,
        fusion: str = "mean",
        seed: int | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        settings = AdaptationSettings(
            clc=clc,
            ifc=ifc,
            max_steps=max_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            temperature=temperature,
            local_weight=local_weight,
            global_weight=global_weight,
            patch_weight=patch_weight,
            prototype_weight=prototype_weight,
            bank_size=bank_size,
            warmup_steps=warmup_steps,
            patch_budget=patch_budget,
            least_variance=least_variance,
        )
        check_sampling_ratio(coreset_sampling_ratio)
        if fusion not in FUSIONS:
            msg = f"fusion={fusion!r}: give one of {', '.join(FUSIONS)}"
            raise InputError(msg)
        if patch_size < 1 or image_size % patch_size:
            msg = f"image_size={image_size}, patch_size={patch_size}: the size must be a multiple of the patch's"
            raise InputError(msg)
        self._image_size = (image_size, image_size)  # for the default pre-processor
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        cloud = load_cloud_features(cloud_features, pointmae_weights)
        extractor = load_backbone(backbone, layers, pre_trained, backbone_weights)
        self.settings = settings
        self.cloud_features = cloud_features
        self.coreset_sampling_ratio = coreset_sampling_ratio
        self.seed = seed
        self.model: LsfaModel = LsfaModel(extractor, cloud, patch_size, settings.adapts, num_neighbors, fusion)
        self._shots: list[Features] = []

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Resize images, bicubic; None means LSFA's 224 x 224."""
        return RGBXYZModel.configure_pre_processor(image_size or (224, 224))

    # ------------------------------------------------------------------ the shots
    def on_fit_start(self) -> None:
        """Forget the shots of an earlier fit."""
        super().on_fit_start()
        self._shots = []

    def remember(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> None:
        """Read the frozen features of shots; see `ShotBankMixin`.

        Raises:
            ValueError: If a cloud has no measured point of a part.
        """
        if not foreground.flatten(1).any(dim=1).all():
            msg = "a shot has no measured point, so no part to adapt to; remove the sample"
            raise InputError(msg)
        self._shots.append(self.model.read(image, xyz, foreground))

    def make_bank(self, seed: int) -> None:
        """Adapt the features to the shots and fill the memory banks; see `ShotBankMixin`.

        Raises:
            ValueError: If a loss is not finite, or nothing would be left of the patches.
        """
        # Lightning validates, before which the bank is made, in inference mode
        with torch.inference_mode(mode=False), torch.enable_grad():
            shots = gathered(self._shots)
            self.model.measure(shots)
            self.model.scale_in_place(shots)
            if self.settings.adapts:
                self._adapt(shots, seed)
            self.model.fill_banks(shots, self.coreset_sampling_ratio, seed)

    def _adapt(self, shots: Features, seed: int) -> None:
        """Take the training steps, and log them."""
        measured: dict[str, float] = {}
        adaptation = Adaptation(self.model, shots, self.settings, seed)
        self.trained_parameters = adaptation.trained_parameters
        history: list[tuple[int, dict[str, float]]] = []
        bar = tqdm(adaptation.run(), desc="adaptation", unit="step", total=self.settings.max_steps)
        for measured in bar:
            bar.set_postfix({name: f"{value:.3g}" for name, value in measured.items()}, refresh=False)
            history.append((adaptation.step_number, {n: v for n, v in measured.items() if n != "variance"}))
            for each in self.loggers if self._trainer is not None else ():
                metrics = {f"train_{name}": value for name, value in measured.items()}
                each.log_metrics(metrics, step=adaptation.step_number)
        if self._trainer is not None and self.visualizer:
            save_figure(self.trainer, draw_losses(history), "losses")
        summary = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
        if measured["variance"] < self.settings.least_variance:
            msg = "The adaptation stopped after %d of %d steps: the features collapse (%s). Lower patch_weight, "
            msg += "prototype_weight or learning_rate, or give fewer max_steps."
            logger.warning(msg, adaptation.step_number, self.settings.max_steps, summary)
        else:
            logger.info("Adapted in %d steps: %s.", adaptation.step_number, summary)

    def judge(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> InferenceBatch:
        """Score by the distances to the banks; raises ValueError if they are empty. See `RGBXYZModel.judge`."""
        return self.model(image, xyz, foreground)

    # ------------------------------------------------------------------ files
    def to_onnx(self, *args: Any, **kwargs: Any) -> Path:  # type: ignore[override]
        """See `RGBXYZExportMixin`.

        Raises:
            ValueError: If the features of the cloud cannot be part of a graph.
        """
        if self.cloud_features != "histograms":
            msg = f"export_type: cloud_features={self.cloud_features!r} searches each point's neighbours in the cloud, "
            msg += "which neither ONNX nor OpenVINO can; use the checkpoint (RGBXYZInferencer reads it), or train with "
            msg += "cloud_features='histograms'"
            raise InputError(msg)
        return super().to_onnx(*args, **kwargs)
