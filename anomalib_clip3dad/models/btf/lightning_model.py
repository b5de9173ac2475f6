# SPDX-License-Identifier: Apache-2.0
"""BTF as an anomalib model: wiring between data, callbacks, memory bank, metrics and checkpoints."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from anomalib import LearningType
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule, MemoryBankMixin
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch import Callback
from torchvision.transforms.v2 import InterpolationMode, Resize

from anomalib_clip3dad.callbacks import prepare_cloud
from anomalib_clip3dad.deploy import RGBXYZExportMixin
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import foreground_mask
from anomalib_clip3dad.metrics import UnboundedScoreEvaluator, paper_metrics
from anomalib_clip3dad.models.backbone import load_backbone
from anomalib_clip3dad.models.checkpoint import FrozenTowerMixin
from anomalib_clip3dad.models.clip3d_ad import Clip3dAd
from anomalib_clip3dad.models.prediction import PredictionMixin
from anomalib_clip3dad.visualization import DepthVisualizer, ResultFiles

from .torch_model import BtfModel

logger = logging.getLogger(__name__)

MODES = ("fpfh", "rgb", "rgb+fpfh")


class Btf(PredictionMixin, FrozenTowerMixin, RGBXYZExportMixin, MemoryBankMixin, AnomalibModule):  # type: ignore[misc]
    """Back to the Feature: PatchCore on Fast Point Feature Histograms, on RGB, or on both.

    Horwitz & Hoshen, "Back to the Feature: Classical 3D Features are (Almost) All You Need for 3D Anomaly Detection",
    arXiv 2203.05550. Needs batches with RGB `image` and organised XYZ `depth_map` (metres, camera frame, (0, 0, 0) =
    not measured). What is not foreground is black and has no points; it is scored as all else is.

    Args:
        mode: "fpfh", "rgb" or "rgb+fpfh", the latter being what the paper calls BTF. What has FPFH cannot be exported.
        image_size: height and width that picture and cloud are brought to.
        backbone: the network of timm that reads the pictures.
        layers: its stages whose features are taken, the finest first.
        pre_trained: take ImageNet weights, which are downloaded, but for those of tf_efficientnet_lite0, which are
            installed; False for random ones, whose scores mean nothing.
        backbone_weights: path of a local weights file to take instead.
        coreset_sampling_ratio: share of the training patches that the bank keeps.
        num_neighbors: neighbours in the bank that the image's score is weighed by; BTF has 3, PatchCore 9.
        seed: of the coreset; None takes the one that was given to `seed_everything`, or torch's.
        pre_processor: see `AnomalibModule`; the default only resizes, mean and deviation are in the model.
        post_processor: see `AnomalibModule`.
        evaluator: see `AnomalibModule`; the default has the metrics of `Clip3dAd`, on raw scores; any other one sees
            what the post-processor leaves.
        visualizer: see `AnomalibModule`; the default is that of `Clip3dAd`.
    """

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
        if not 0 < coreset_sampling_ratio <= 1:
            msg = f"coreset_sampling_ratio={coreset_sampling_ratio}: a share in (0, 1] is needed"
            raise InputError(msg)
        self._image_size = (image_size, image_size)  # for the pre-processor that super().__init__() makes
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        with_rgb = mode != "fpfh"
        extractor = load_backbone(backbone, layers, pre_trained, backbone_weights) if with_rgb else None
        self.mode = mode
        self.coreset_sampling_ratio = coreset_sampling_ratio
        self.seed = seed
        self.model: BtfModel = BtfModel(extractor, mode != "rgb", num_neighbors)
        self._taken: set[str] = set()  # pictures that are in the bank

    # ------------------------------------------------------------------ what anomalib asks
    @property
    def learning_type(self) -> LearningType:
        """One-class: flawless samples alone."""
        return LearningType.ONE_CLASS

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """One pass over the samples, on one device, as anomalib's PatchCore."""
        return {"gradient_clip_val": 0, "max_epochs": 1, "num_sanity_val_steps": 0, "devices": 1}

    def configure_pre_processor(self, image_size: tuple[int, int] | None = None) -> PreProcessor:  # type: ignore[override]
        """Resize, bicubic as BTF.

        Raises:
            ValueError: If another size than the model's is asked.
        """
        if image_size not in {None, self._image_size}:
            msg = f"image_size={image_size}: this model reads {self._image_size}; give the model its image_size"
            raise InputError(msg)
        return PreProcessor(Resize(self._image_size, interpolation=InterpolationMode.BICUBIC, antialias=True))

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """The four metrics of `Clip3dAd`, on raw scores."""
        return UnboundedScoreEvaluator(test_metrics=paper_metrics())

    @classmethod
    def configure_visualizer(cls) -> DepthVisualizer:
        """Pictures with the depth beside the image."""
        return Clip3dAd.configure_visualizer()

    def configure_callbacks(self) -> Sequence[Callback]:
        """The model's own evaluator before the post-processor, which clips scores; any other one behind it."""
        raw = isinstance(self.evaluator, UnboundedScoreEvaluator)
        behind = [self.evaluator, self.post_processor] if raw else [self.post_processor, self.evaluator]
        given = [callback for callback in self.trainer.callbacks if isinstance(callback, ResultFiles)]  # type: ignore[attr-defined]
        files = [self.visualizer, *(given or [ResultFiles()])] if self.visualizer else []
        return [callback for callback in (self.pre_processor, *behind, *files) if isinstance(callback, Callback)]

    def configure_optimizers(self) -> None:
        """Nothing is learned by descent."""

    has_threshold = Clip3dAd.has_threshold
    on_train_end = Clip3dAd.on_train_end
    on_predict_start = Clip3dAd.on_predict_start

    # ------------------------------------------------------------------ steps
    def on_fit_start(self) -> None:
        """Begin a bank."""
        super().on_fit_start()
        self._taken = set()

    def training_step(self, batch: Any, *_: Any) -> torch.Tensor:
        """Remember the samples of a batch, each picture once: few-shot loaders repeat them to fill batches or steps."""
        loss = torch.zeros((), device=self.device, requires_grad=True)  # Lightning wants one
        rows = self._not_taken(batch.image_path, len(batch.image))
        if rows:
            foreground = prepare_cloud(batch)
            self.model.memory.remember(self.model.embed(batch.image[rows], batch.depth_map[rows], foreground[rows]))
        return loss

    def _not_taken(self, paths: list[str] | None, size: int) -> list[int]:
        """Rows of the batch that are not in the bank; without paths nobody can tell, so all."""
        if not paths:
            return list(range(size))
        rows = [row for row, path in enumerate(paths) if path not in {*self._taken, *paths[:row]}]
        self._taken.update(paths)
        return rows

    def fit(self) -> None:
        """Choose the bank, once training has seen every sample; anomalib's `MemoryBankMixin` asks for it."""
        if self._taken and len(self._taken) < len(self.training_files):
            msg = "Training ended after %d of %d samples; the bank knows no others. Leave max_steps out."
            logger.warning(msg, len(self._taken), len(self.training_files))
        seed = torch.initial_seed() % 2**32 if self.seed is None else self.seed  # numpy's have 32 bits
        self.model.memory.choose_coreset(self.coreset_sampling_ratio, seed)

    def validation_step(self, batch: Any, *_: Any) -> Any:
        """Score a batch."""
        foreground = prepare_cloud(batch)
        del batch.foreground  # predictions are kept
        prediction = self.model(batch.image, batch.depth_map, foreground)
        return batch.update(pred_score=prediction.pred_score, anomaly_map=prediction.anomaly_map)

    test_step = validation_step  # type: ignore[assignment]
    predict_step = validation_step  # type: ignore[assignment]

    def forward(self, image: torch.Tensor, xyz: torch.Tensor) -> InferenceBatch:
        """Everything from a picture and its cloud to the answer.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].
            xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) = not measured.

        Returns:
            Score, label, map and mask as the post-processor leaves them (normalised, 0.5 = threshold).

        Raises:
            ValueError: If the memory bank is empty.
        """
        image, xyz = self.at_model_size(image, xyz)
        prediction = self.model(image, xyz, foreground_mask(xyz))
        return self.post_processor(prediction) if self.post_processor else prediction

    # ------------------------------------------------------------------ files
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the bank.

        Raises:
            ValueError: If the checkpoint is of another kind of model, of other arguments or another backbone.
        """
        then, now = checkpoint.get("hyper_parameters", {}), self.hparams
        # another mode, backbone or layers have other weights as well; what says so comes after
        alike = all(list(then.get(name, ())) == list(now[name]) for name in ("mode", "backbone", "layers"))
        if alike and checkpoint.get("tower_hash", self.tower_hash) != self.tower_hash:
            msg = f"ckpt_path: the bank was filled with other weights of {now['backbone']}; give the same pre_trained "
            msg += "and backbone_weights"
            raise InputError(msg)
        super().on_load_checkpoint(checkpoint)

    def to_onnx(self, *args: Any, **kwargs: Any) -> Path:  # type: ignore[override]
        """See `RGBXYZExportMixin`.

        Raises:
            ValueError: If the model reads FPFH, whose neighbours are found by a tree that no graph can hold.
        """
        if self.mode != "rgb":
            msg = f"export_type: mode={self.mode!r} searches a tree for each point's neighbours, which neither ONNX "
            msg += "nor OpenVINO can; use the checkpoint (RGBXYZInferencer reads it), or mode='rgb'"
            raise InputError(msg)
        return super().to_onnx(*args, **kwargs)
