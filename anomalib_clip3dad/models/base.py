# SPDX-License-Identifier: Apache-2.0
"""Common base of all models of RGB + organised XYZ: everything except how they predict and how they learn."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch
from anomalib import LearningType
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch import Callback
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, Resize

from anomalib_clip3dad.callbacks import prepare_cloud
from anomalib_clip3dad.data import Intrinsics, RGBXYZBatch
from anomalib_clip3dad.data.arrays import Array, as_part
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.export import RGBXYZExportMixin
from anomalib_clip3dad.geometry import foreground_mask, holds_evidence, resize_organised
from anomalib_clip3dad.metrics import UnboundedScoreEvaluator, paper_metrics
from anomalib_clip3dad.post_processing import FEW, VerdictPostProcessor
from anomalib_clip3dad.visualization import DepthVisualizer, ResultFiles, ResultsFolder, TrainingMonitor

from .checkpoint import FrozenTowerMixin
from .verdict import withheld

logger = logging.getLogger(__name__)

CallbackT = TypeVar("CallbackT", bound=Callback)


class RGBXYZModel(FrozenTowerMixin, RGBXYZExportMixin):
    """Base class of every model of this package.

    A model defines `judge` and, if it needs training, `training_step` and either `configure_optimizers` or `fit`. Put
    this class before AnomalibModule among the bases; AnomalibModule must be a direct base, since anomalib only lists
    its direct subclasses (seen in 2.7.0).

    Before calling `super().__init__()`, a model sets `_image_size`, the height and width that its default pre-processor
    resizes images to.

    Attributes:
        learns_by: "steps": an optimiser, for as many steps as the trainer is given; "bank": one pass over the shots
            fills a memory bank (`MemoryBankMixin`).
        trains_on_pairs: Whether training batches are pairs of `AnomalySynthesis`, of which `TrainingMonitor` draws
            sheets.
        unbounded_scores: Whether scores can leave [0, 1], like distances; torchmetrics would treat them as logits
            (`UnboundedScoreEvaluator`).
        max_steps: Number of training steps if the trainer has no limit; None leaves it without one.
        known_scores: Raw scores (N,) of the shots, each scored without itself, and of synthetic anomalies on them, and
            whether they are anomalous (N,) bool. They are added to the validation samples for the threshold.
    """

    learns_by: ClassVar[Literal["steps", "bank"]] = "steps"
    trains_on_pairs: ClassVar[bool] = False
    unbounded_scores: ClassVar[bool] = False
    max_steps: int | None = None
    known_scores: tuple[Tensor, Tensor] | None = None

    pre_processor: Any
    post_processor: Any
    evaluator: Any
    visualizer: Any
    _image_size: tuple[int, int]

    def __init__(
        self,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        if pre_processor is True:
            pre_processor = self.configure_pre_processor(self._image_size)
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        own = self.evaluator
        if self.unbounded_scores and type(own) is Evaluator:
            self.evaluator = UnboundedScoreEvaluator([*own.val_metrics], [*own.test_metrics], own.compute_on_cpu)

    # ------------------------------------------------------------------ what a model defines
    @abstractmethod
    def judge(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> InferenceBatch:
        """Score images and clouds: the only path for validation, test, predict, `forward` and export.

        Args:
            image: (B, 3, H, W) RGB in [0, 1], with H and W of the pre-processor.
            xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) = not measured.
            foreground: (B, H, W) bool, true = part.

        Returns:
            Raw `pred_score` (B,) and `anomaly_map` (B, H, W), larger = more anomalous.
        """

    def judge_and_explain(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> tuple[InferenceBatch, Tensor | None]:
        """Score images and clouds, with the evidence behind the scores; same arguments as `judge`.

        Returns:
            The result of `judge`, and the evidence (B, 4, H, W), see `RGBXYZBatch`; None for models without evidence.
        """
        return self.judge(image, xyz, foreground), None

    def render(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> Tensor | None:  # noqa: ARG002
        """Render the views that the model sees, for people; same arguments as `judge`.

        Returns:
            (B, v, 3, S, S) RGB in [0, 1]; None for models without views.
        """
        return None

    def own_callbacks(self) -> Sequence[Callback]:
        """Callbacks of this model, which run before all others; `given` finds one that replaces a default."""
        return []

    def given(self, kind: type[CallbackT]) -> CallbackT | None:
        """The callback of a class that was given to the trainer, which replaces the model's own."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        return next((callback for callback in callbacks if isinstance(callback, kind)), None)

    # ------------------------------------------------------------------ what anomalib needs
    @property
    def learning_type(self) -> LearningType:
        """One-class, because anomalib does not train few-shot models (seen in anomalib 2.7.0, `Engine.train`)."""
        return LearningType.ONE_CLASS

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """No validation before training, since there is nothing to check; a bank is filled once, on one device."""
        arguments: dict[str, Any] = {"num_sanity_val_steps": 0}
        if self.learns_by == "bank":
            arguments |= {"gradient_clip_val": 0, "max_epochs": 1, "devices": 1}
        return arguments

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Resize images, bicubic as in CLIP's own preprocessing; normalisation is in the model.

        Args:
            image_size: Height and width; None for 240 x 240.

        Returns:
            The pre-processor.
        """
        size = image_size or (240, 240)
        return PreProcessor(Resize(size, interpolation=InterpolationMode.BICUBIC, antialias=True))

    @staticmethod
    def configure_post_processor() -> PostProcessor:
        """Thresholds that few samples allow, and masks that agree with labels."""
        return VerdictPostProcessor()

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """The four metrics of CLIP3D-AD (section 4.1.2)."""
        return Evaluator(test_metrics=paper_metrics())

    @classmethod
    def configure_visualizer(cls) -> DepthVisualizer:
        """Panels with the depth beside the image."""
        return DepthVisualizer()

    def configure_callbacks(self) -> Sequence[Callback]:
        """Collect the callbacks; those given to the trainer replace the model's own of the same class.

        The results' folder is set before any callback of the trainer writes, so that is put before all of them. The
        evaluator comes before the post-processor, which clips scores to [0, 1] and would make the largest equal;
        labels are already set by then (`test_step`).
        """
        if self.given(ResultsFolder) is None:
            self.trainer.callbacks.insert(0, ResultsFolder())  # type: ignore[attr-defined]
        files = [self.visualizer, self.given(ResultFiles) or ResultFiles()] if self.visualizer else []
        shown = self.visualizer and self.learns_by == "steps"
        watch = [self.given(TrainingMonitor) or TrainingMonitor()] if shown else []
        order = [*self.own_callbacks(), *watch, self.pre_processor, self.evaluator, self.post_processor, *files]
        return [callback for callback in order if isinstance(callback, Callback)]

    def setup(self, stage: str) -> None:
        """Limit the training to `max_steps` if the trainer has no limit.

        Raises:
            ValueError: If the trainer's precision would round the cloud to millimetres.
        """
        super().setup(stage)
        if str(getattr(self.trainer, "precision", "")) in {"16-true", "bf16-true"}:
            half = str(self.trainer.precision).removesuffix("-true")
            msg = f"precision={half}-true: half precision for everything would round the cloud to millimetres; use "
            msg += f"{half}-mixed"
            raise InputError(msg)
        if stage != "fit" or self.max_steps is None:
            return
        # Lightning 2.6 turns "no limit given" into 1000 epochs before it calls setup().
        if self.trainer.max_steps == -1 and self.trainer.max_epochs == 1000:
            self.trainer.fit_loop.epoch_loop.max_steps = self.max_steps
            logger.info("No limit given to the trainer: training stops after %d steps.", self.max_steps)

    # ------------------------------------------------------------------ threshold
    @property
    def has_threshold(self) -> bool:
        """Whether validation has set a threshold; without it labels mean nothing."""
        post = self.post_processor
        return isinstance(post, PostProcessor) and post.enable_thresholding and not post.image_threshold.isnan()

    def on_train_end(self) -> None:
        """Log how many samples the threshold is based on, or warn if there is no threshold."""
        post = self.post_processor
        if self.has_threshold and isinstance(post, VerdictPostProcessor):
            rests = f"The threshold is based on {post.num_normal} normal and {post.num_anomalous} anomalous samples"
            if post.num_normal < FEW:
                logger.warning(
                    "%s, which is few: the rate of false alarms is uncertain. Add normal samples for validation.", rests
                )
            else:
                logger.info("%s.", rests)
        self._warn_without_threshold()

    def on_predict_start(self) -> None:
        """Warn if no validation has set a threshold."""
        self._warn_without_threshold()

    def _warn_without_threshold(self) -> None:
        if getattr(self.post_processor, "enable_thresholding", False) and not self.has_threshold:
            logger.warning(
                "No validation ran, so there is no threshold and labels mean nothing. Give validation samples, and as "
                "many steps as fill whole epochs."
            )

    # ------------------------------------------------------------------ steps
    def validation_step(self, batch: Any, *_: Any) -> Any:
        """Score a batch; `pred_score` and `anomaly_map` are raw, `evidence` is added if model and batch have it."""
        foreground = prepare_cloud(batch)
        found, evidence = self.judge_and_explain(batch.image.as_subclass(Tensor), batch.depth_map, foreground)
        return batch.update(pred_score=found.pred_score, anomaly_map=found.anomaly_map, evidence=evidence)

    predict_step = validation_step

    def test_step(self, batch: Any, *_: Any) -> Any:
        """Score and label a batch, so that metrics get raw scores together with the labels that users see."""
        batch = self.validation_step(batch)
        if self.post_processor:
            labelled = self.post_processor(InferenceBatch(batch.pred_score, anomaly_map=batch.anomaly_map))
            batch.update(pred_label=labelled.pred_label, pred_mask=labelled.pred_mask)
        return batch

    def forward(self, image: Tensor, xyz: Tensor) -> InferenceBatch:
        """Compute the full prediction from images and clouds, as an exported model does.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].
            xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) or not finite = not measured.

        Returns:
            Score, label, map and mask as the post-processor leaves them (normalised, 0.5 = threshold); of a sample
            without evidence (`holds_evidence`), score and map are +inf, label and mask true.
        """
        resized, cloud, foreground = self.prepare(image, xyz)
        return self._verdict(self.judge(resized, cloud, foreground), image, cloud)

    def _verdict(self, raw: InferenceBatch, image: Tensor, cloud: Tensor) -> InferenceBatch:
        """Post-process; the image is as it came, as a resize may overshoot, the cloud resized (see `withheld`)."""
        answer = self.post_processor(raw) if self.post_processor else raw
        # the resized cloud, as OpenVINO renames an input that is sliced
        return withheld(answer, holds_evidence(image, cloud))

    def prepare(self, image: Tensor, xyz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prepare images and clouds for `judge`, as the pre-processor's callback does in training and test steps.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].
            xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) or not finite = not measured.

        Returns:
            Image and cloud in the model's size, and the foreground.
        """
        # Not self.pre_processor(image), which resizes without antialiasing, unlike the steps (seen in anomalib 2.7.0).
        transform = getattr(self.pre_processor, "transform", None)
        image = transform(image) if transform else image
        xyz = resize_organised(xyz, (image.shape[-2], image.shape[-1]))
        return image, xyz, foreground_mask(xyz)

    def predict(self, image: Array, xyz: Array, camera: Intrinsics | str | Path | None = None) -> RGBXYZBatch:
        """Predict one part without Engine or data module.

        Args:
            image: Path or array of the RGB image, see `as_part`.
            xyz: Path or array of the organised XYZ or depth, see `as_part`.
            camera: Camera intrinsics or path of their JSON file, see `as_part`.

        Returns:
            A batch of one: `pred_score` (1,), `anomaly_map` (1, S, S), and, if there is a threshold, `pred_label` (1,)
            and `pred_mask` (1, S, S); normalised by the validation of the training, 0.5 = threshold. `evidence` (1, 4,
            S, S) from models that have it. `image` and `depth_map` are the input.

        Raises:
            FileNotFoundError: See `as_part`.
            ValueError: See `as_part`.
        """
        part = as_part(image, xyz, camera)
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                picture, points = (values[None].to(self.device) for values in part)
                resized, cloud, foreground = self.prepare(picture, points)
                raw, evidence = self.judge_and_explain(resized, cloud, foreground)
                found = self._verdict(raw, picture, cloud)
        finally:
            self.train(was_training)
        known = self.has_threshold
        return RGBXYZBatch(
            image=part.image[None],
            depth_map=part.xyz[None],
            pred_score=found.pred_score,
            anomaly_map=found.anomaly_map,
            evidence=evidence,
            pred_label=found.pred_label if known else None,
            pred_mask=found.pred_mask if known else None,
            image_path=[str(image)] if isinstance(image, str | Path) else None,
        )
