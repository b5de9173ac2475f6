# SPDX-License-Identifier: Apache-2.0
"""CLIP3D-AD as an anomalib model: data, callbacks, losses, optimiser, metrics and checkpoints."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch import Callback
from torch import Tensor

from anomalib_clip3dad.callbacks import AnomalySynthesis, prepare_cloud
from anomalib_clip3dad.clip import VisionTower, load_clip, prompt_ensemble
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import (
    DEFAULT_VIEWS,
    MultiViewRenderer,
    check_paint,
    crop_nearest,
    find_part,
    paste_map,
    view_rotations,
)
from anomalib_clip3dad.models.base import RGBXYZModel
from anomalib_clip3dad.models.part_cut import CROP_DETAIL, Cut, cut_part
from anomalib_clip3dad.models.prompted import PromptedMixin

from .features import FrozenFeatures
from .known_shots import KnownShotsMixin
from .loss import bidirectional_contrastive_loss, segmentation_loss
from .scoring import REDUCTIONS, Scoring
from .torch_model import FUSIONS, Adapted, Clip3dAdModel

logger = logging.getLogger(__name__)


class Clip3dAd(KnownShotsMixin, PromptedMixin, RGBXYZModel, AnomalibModule):  # type: ignore[misc]
    """CLIP3D-AD: few-shot 3D anomaly detection with CLIP and multi-view images.

    Zuo et al., "CLIP3D-AD: Extending CLIP for 3D Few-Shot Anomaly Detection with Multi-View Images Generation",
    arXiv 2406.18941. Needs batches with RGB `image` and organised XYZ `depth_map` (metres, camera frame, (0, 0, 0) =
    not measured), from `MVTec3DXYZ`, `Toy3D` or anomalib's own depth data modules.

    Args:
        clip_model: Architecture of open_clip with a plain vision transformer (section 4.1.3).
        pretrained: Tag of its weights ("small": those of ViT-Ti-Lite0-16-240 that come with this package), path of a
            local weights file, or None for random weights, whose scores mean nothing.
        class_name: Name of the part in the prompts; None takes the data module's category.
        prompts: Name of a prompt set (`anomalib_clip3dad.clip.PROMPT_SETS`), or a list of templates (section 4.5).
        image_size: Height and width of CLIP's input, and of the resized image, cloud, mask, views and map; a multiple
            of the patch size; None takes the size that CLIP was trained on.
        layers: Blocks of the vision tower whose patch tokens are decoded, counted from 1 (L, Table 6); None takes those
            at half, three quarters and all of the depth, which are the paper's 6, 9, 12 of 12.
        views: Numbers of the rendered views, 1 to 27 (Table 7); an empty list for none (Table 5).
        view_paint: How views are painted: "colour" as in the image, without lighting; "lit" the same with a light at
            the camera, so that dents and bumps show; "grey", "depth" and "normals" show the geometry alone. The paper
            does not specify the lighting; our choice for it is "colour".
        align_views: Sample the tokens of the views at P_2D; our choice: the paper computes P_2D without saying what
            for.
        crop_to_part: Crop image and cloud to the part and enlarge it to CLIP's input, so that small defects show; the
            map is in the frame of the whole image, at twice `image_size`. Not in the paper.
        fusion: "sum" adds the embeddings of image and views (the paper); "late" scores them separately, because a dent
            may show only in the views and a stain only in the image (not in the paper).
        adapter_ratio: Weight of the adapters' output; our choice (that of CLIP-Adapter).
        decoder_depth: Number of transformer blocks of the decoder; our choice.
        map_temperature: gamma of the anomaly map (Eq. 9); our choice is that of CLIP.
        score_temperature: tau of the image score (Eq. 16); likewise.
        score_reduction: How the map enters the score: "max" (Eq. 18), "part_max" its largest patch on the part,
            "part_top5" the mean of the five largest on the part. The last two ignore the background; not in the paper.
        texture_dir: Folder of texture images for the synthetic anomalies (section 3.3.1), e.g. DTD; None takes the
            shots' own texture and noise.
        opacity: Smallest and largest opacity of a texture; our choice.
        geometry: Share of the synthetic anomalies that are dents, bumps or missing points in the cloud, in [0, 1]; not
            in the paper, where both samples of a pair share one cloud.
        anomaly_size: Smallest and largest share of the part that a synthetic anomaly covers; None: noise above 0.5, as
            in the paper, which makes anomalies larger than most real ones.
        loss_temperature: Divides the similarities in the contrastive loss; the paper has none, which is 1.
        balanced_loss: Give anomalous and normal pixels equal weight in the segmentation loss; in the paper it is the
            mean over all pixels, most of which are normal.
        classification_text_lr: Learning rate of A_cg (section 4.1.3), like the next four.
        segmentation_text_lr: Learning rate of A_sg.
        image_adapter_lr: Learning rate of the image adapter.
        decoder_lr: Learning rate of the decoder.
        fusion_lr: Learning rate of both fusions.
        max_steps: Number of optimiser steps if the trainer has no limit (`max_steps`, `max_epochs`, `max_time`;
            Lightning's default of 1000 epochs cannot be told from a limit of 1000 epochs); our choice.
        pre_processor: See `AnomalibModule`; the default only resizes, since CLIP's normalisation is in the model.
        post_processor: See `AnomalibModule`.
        evaluator: See `AnomalibModule`; the default has image AUROC and AUPR, pixel AUROC and AUPRO, on raw scores.
        visualizer: See `AnomalibModule`; the default draws image, depth, mask and anomaly map. Unless it is False,
            `ResultFiles` are written, too, and `TrainingMonitor` shows the training, as of every model with steps.
    """

    trains_on_pairs = True
    must_agree = (
        "clip_model",
        "image_size",
        "layers",
        "views",
        "view_paint",
        "align_views",
        "crop_to_part",
        "fusion",
        "adapter_ratio",
        "decoder_depth",
        "map_temperature",
        "score_temperature",
        "score_reduction",
    )

    def __init__(
        self,
        clip_model: str = "ViT-B-16-plus-240",
        pretrained: str | None = "laion400m_e32",
        class_name: str | None = None,
        prompts: str | list[str] = "cpe",
        image_size: int | None = None,
        layers: Sequence[int] | None = None,
        views: Sequence[int] = DEFAULT_VIEWS,
        view_paint: str = "colour",
        align_views: bool = True,
        crop_to_part: bool = False,
        fusion: str = "sum",
        adapter_ratio: float = 0.2,
        decoder_depth: int = 2,
        map_temperature: float = 0.07,
        score_temperature: float = 0.07,
        score_reduction: str = "max",
        texture_dir: str | None = None,
        opacity: tuple[float, float] = (0.2, 1.0),
        geometry: float = 0.0,
        anomaly_size: tuple[float, float] | None = None,
        loss_temperature: float = 1.0,
        balanced_loss: bool = False,
        classification_text_lr: float = 1e-5,
        segmentation_text_lr: float = 5e-5,
        image_adapter_lr: float = 5e-4,
        decoder_lr: float = 5e-4,
        fusion_lr: float = 1e-4,
        max_steps: int = 200,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        prompt_ensemble(prompts)  # wrong names and numbers should not wait for seconds of loading
        for name, value, known in (("fusion", fusion, FUSIONS), ("score_reduction", score_reduction, REDUCTIONS)):
            if value not in known:
                msg = f"{name}={value!r}: give one of {', '.join(known)}"
                raise InputError(msg)
        synthesis = AnomalySynthesis(texture_dir, opacity, geometry, anomaly_size)
        if views:
            view_rotations(views)
            check_paint(view_paint)
        clip = load_clip(clip_model, pretrained, image_size)
        tower = VisionTower(clip.visual, layers and sorted(set(layers)), with_last=bool(views))
        if layers is None:  # what super().__init__() notes for the checkpoint
            layers = tower.layers[: len(tower.layers) - bool(views)]
        side = tower.image_size * (CROP_DETAIL if crop_to_part else 1)
        self._image_size = (side, side)  # for the pre-processor that super().__init__() makes
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self.views = tuple(views)
        self.crop_to_part = crop_to_part
        self.max_steps = max_steps
        self.loss_temperature = loss_temperature
        self.balanced_loss = balanced_loss
        self.learning_rates = {
            "classification_text_adapter": classification_text_lr,
            "segmentation_text_adapter": segmentation_text_lr,
            "image_adapter": image_adapter_lr,
            "decoder": decoder_lr,
            "global_fusion": fusion_lr,
            "local_fusion": fusion_lr,
        }
        self._synthesis = synthesis
        self.model: Clip3dAdModel = Clip3dAdModel(
            tower,
            len(self.views),
            align_views,
            fusion,
            adapter_ratio,
            decoder_depth,
            Scoring(map_temperature, score_temperature, score_reduction),
        )
        if self.views:
            self.renderer = MultiViewRenderer(self.views, tower.image_size, view_paint)
        self.prompt_with(clip, clip_model, prompts, class_name)

    def own_callbacks(self) -> Sequence[Callback]:
        """The synthesis of anomalies, which runs before the pre-processor."""
        return [self.given(AnomalySynthesis) or self._synthesis]

    # ------------------------------------------------------------------ steps
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Compute Eq. 15 for a batch of pairs, images (2 B, 3, H, W), normal samples first (`AnomalySynthesis`)."""
        foreground = prepare_cloud(batch, self.foregrounds)
        mask = batch.gt_mask
        if self.crop_to_part:
            mask = crop_nearest(mask[:, None], find_part(foreground), self.model.map_size)[:, 0]
        losses = self.losses(self.read_pairs(batch, foreground), mask)
        self.log_dict(losses, prog_bar=True, batch_size=len(batch.image) // 2)
        return losses["train_loss"]

    def losses(self, features: FrozenFeatures, mask: Tensor) -> dict[str, Tensor]:
        """Compute Eq. 11-15 from frozen features of pairs.

        Args:
            features: Features of 2 B samples, the normal ones first.
            mask: (2 B, S, S) bool, true = anomaly.

        Returns:
            Scalars: the loss and its two parts.

        Raises:
            ValueError: If a loss is NaN or infinite, since no later step would mend the weights.
        """
        adapted = self.model.compare(features)
        assert isinstance(adapted, Adapted)  # noqa: S101
        normal_text, anomalous_text = adapted.text.chunk(2)
        each = []
        for images in adapted.images:
            normal, anomalous = images.chunk(2)
            each.append(
                bidirectional_contrastive_loss(normal, anomalous, normal_text, anomalous_text, self.loss_temperature)
            )
        contrastive = torch.stack(each).mean()
        if not (contrastive.isfinite() & adapted.anomaly_map.isfinite().all()):  # the segmentation loss takes no NaN
            msg = f"the loss is NaN or infinite at step {self.global_step} (contrastive loss {contrastive.item():g}); "
            msg += "give lower learning rates (--model.decoder_lr ...) or --trainer.precision 32"
            raise InputError(msg)
        segmentation = segmentation_loss(adapted.anomaly_map, mask, self.balanced_loss)
        return {
            "train_loss": segmentation + contrastive,
            "train_loss_seg": segmentation,
            "train_loss_con": contrastive,
        }

    def cut(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> Cut:
        """Crop to the part and enlarge it to CLIP's input, if `crop_to_part`.

        Args:
            image: (B, 3, H, W) RGB in [0, 1], with H and W of the pre-processor.
            xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) = not measured.
            foreground: (B, H, W) bool, true = part.

        Returns:
            All three at the size of CLIP's input, and the box that they were cropped from.

        Raises:
            ValueError: If the images do not have the size of CLIP's input and are not cropped.
        """
        size = self.model.map_size
        if self.crop_to_part:
            return cut_part(image, xyz, foreground, size)
        if image.shape[-2:] != torch.Size(size):
            msg = f"pre_processor: it gives images of {tuple(image.shape[-2:])}, but this CLIP needs {size}; let it "
            msg += "resize to that, or leave it out"
            raise InputError(msg)
        return Cut(image, xyz, foreground, None)

    def read(self, cut: Cut) -> FrozenFeatures:
        """Render the views and run the frozen tower on the result of `cut`."""
        views = self.renderer(cut.image, cut.xyz, cut.foreground) if self.views else None
        return self.model.read(cut.image, views)

    def judge(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> InferenceBatch:
        """Score images and clouds; arguments are those of `RGBXYZModel.judge`.

        Returns:
            `pred_score` (B,) and `anomaly_map` (B, H, W), both in [0, 1]; the map is in the frame of the whole image.

        Raises:
            ValueError: If no class was set, so that there are no prompts; also as for `cut`.
        """
        self.check_prompted()
        cut = self.cut(image, xyz, foreground)
        found = self.model.compare(self.read(cut), cut.foreground)
        assert isinstance(found, InferenceBatch)  # noqa: S101
        if cut.box is None:
            return found
        assert found.anomaly_map is not None  # noqa: S101
        size = (image.shape[-2], image.shape[-1])
        return found._replace(anomaly_map=paste_map(found.anomaly_map, cut.box, size))

    def render(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> Tensor | None:
        """See `RGBXYZModel.render`."""
        cut = self.cut(image, xyz, foreground)
        return self.renderer(cut.image, cut.xyz, cut.foreground).images if self.views else None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with a learning rate for each part (section 4.1.3)."""
        parts = ((getattr(self.model, name, None), rate) for name, rate in self.learning_rates.items())
        return torch.optim.Adam([{"params": [*part.parameters()], "lr": rate} for part, rate in parts if part])
