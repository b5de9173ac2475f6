# SPDX-License-Identifier: Apache-2.0
"""GS-CLIP as an anomalib model: both stages of training, scores, maps and checkpoints."""

from collections.abc import Sequence
from typing import Any

import open_clip
import torch
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from anomalib_clip3dad.callbacks import prepare_cloud
from anomalib_clip3dad.clip import VisionTower, load_clip
from anomalib_clip3dad.clip.streams import check_first_block
from anomalib_clip3dad.clip.text_tower import TextTower, embed_words
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import crop_nearest, paste_map
from anomalib_clip3dad.geometry.back_projection import back_project, fill_unseen
from anomalib_clip3dad.geometry.foregrounds import Foregrounds
from anomalib_clip3dad.geometry.knn_smoothing import smooth_scores
from anomalib_clip3dad.geometry.organised import is_unorganised
from anomalib_clip3dad.geometry.views import SCAN_ANGLES, SURROUNDING_ANGLES, axis_rotations
from anomalib_clip3dad.metrics import CategoryEvaluator
from anomalib_clip3dad.models.base import RGBXYZModel
from anomalib_clip3dad.models.frozen_cache import FeatureStore, join, steady_names
from anomalib_clip3dad.models.part_cut import CROP_DETAIL, Cut, cut_part
from anomalib_clip3dad.point_metrics import zero_shot_metrics
from anomalib_clip3dad.seeding import drawing_from

from .loss import check_losses
from .observation import Observation, observe
from .point_net import sample_points
from .pre_processing import PointPreProcessor
from .stages import Known, stage_losses
from .torch_model import GsClipModel, Judged
from .trained import load_trained

_ANGLES = {"scan": SCAN_ANGLES, "surrounding": SURROUNDING_ANGLES}
_CONTEXTS = ("random", "words")
_WORDS = (  # twelve tokens each
    "a photo of a flawless object, without any damage on it",
    "a photo of a damaged object, with a defect on it",
)


class GsClip(RGBXYZModel, AnomalibModule):  # type: ignore[misc]
    """GS-CLIP: zero-shot 3D anomaly detection with geometry-aware prompts and two views of a cloud.

    "GS-CLIP: Zero-shot 3D Anomaly Detection by Geometry-Aware Prompt and Synergistic View Representation Learning",
    arXiv 2602.19206. Learns from labelled samples, normal and anomalous, of other parts (`AuxiliaryDataModule`), and
    judges parts that it has never seen a normal sample of. Stage 1 trains the prompts, stage 2 the depth stream and the
    refinement, one after the other in one fit. docs/gs_clip.md says what is the paper's and what is our choice.

    Args:
        clip_model: Architecture of open_clip with a plain vision transformer and open_clip's own text transformer.
        pretrained: See `Clip3dAd`; "hf-hub:OWNER/NAME" for safetensors of the hub, such as OpenAI's weights in
            "hf-hub:timm/vit_large_patch14_clip_336.openai".
        image_size: Height and width of CLIP's input and of the views; None takes CLIP's own.
        vv_from: First block of the V-V stream that the patches come from, counted from 1; None for CLIP's own patch
            tokens. The paper's is 6 of 24.
        angles: Views for "scan"s of one side, as MVTec 3D-AD's, or for clouds from all sides ("surrounding").
        num_points: Number of points that PointNet++ reads.
        point_net_weights: Path of PointNet++'s published weights for S3DIS, which it starts from; None for random ones.
        context: What the twelve learnable tokens of each prompt start from: "random" as in the paper, or "words", two
            sentences of a normal and of a damaged object, which is ours: a small CLIP has too few samples to find its
            states anew.
        shape_prompt: Whether the prompts have a token of the part's shape.
        defect_prompt: Whether the anomalous prompt has tokens of a defect, distilled from the most outlying points.
        defect_tokens: Number of those; 1 in the authors' code.
        depth_stream: Whether there is stage 2.
        rgb: Add the image as one more view at test, which needs no training ("multimodal").
        stage1_steps: Steps of stage 1.
        stage2_steps: Steps of stage 2, after those.
        stage1_losses: Some of "views", "cloud", "points" and "pixels".
        stage2_losses: The same, or "consistency".
        stage1_lr: Learning rate of prompts and PointNet++.
        stage2_lr: Learning rate of the refinement.
        low_rank_lr: Learning rate of LoRA.
        trained: Path of a checkpoint whose trained weights and threshold are taken, to predict other parts without
            `ckpt_path`, or to train on; "toy3d" for those of this package (configs/zero_shot.yaml); None starts anew.
        seed: Seed of what is drawn at the start and in training.
        pre_processor: See `AnomalibModule`; the default resizes to twice CLIP's input, from which the part is cropped.
        post_processor: See `AnomalibModule`.
        evaluator: See `AnomalibModule`; the default has the paper's metrics, for each category by itself.
        visualizer: See `AnomalibModule`; the default is that of `Clip3dAd`.
    """

    must_agree = (
        "clip_model",
        "image_size",
        "vv_from",
        "angles",
        "num_points",
        "shape_prompt",
        "defect_prompt",
        "defect_tokens",
        "depth_stream",
    )

    rotations: Tensor

    def __init__(
        self,
        clip_model: str = "ViT-L-14-336-quickgelu",
        pretrained: str | None = "hf-hub:timm/vit_large_patch14_clip_336.openai",
        image_size: int | None = None,
        vv_from: int | None = 6,
        angles: str = "scan",
        num_points: int = 3000,
        point_net_weights: str | None = None,
        context: str = "random",
        shape_prompt: bool = True,
        defect_prompt: bool = True,
        defect_tokens: int = 1,
        depth_stream: bool = True,
        rgb: bool = False,
        stage1_steps: int = 600,
        stage2_steps: int = 400,
        stage1_losses: Sequence[str] = ("views", "cloud", "points", "pixels"),
        stage2_losses: Sequence[str] = ("views", "cloud", "points", "pixels", "consistency"),
        stage1_lr: float = 2e-3,
        stage2_lr: float = 5e-4,
        low_rank_lr: float = 5e-5,
        trained: str | None = None,
        seed: int = 0,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        if angles not in _ANGLES:
            msg = f"angles={angles!r}: give one of {', '.join(_ANGLES)}"
            raise InputError(msg)
        if context not in _CONTEXTS:
            msg = f"context={context!r}: give one of {', '.join(_CONTEXTS)}"
            raise InputError(msg)
        check_losses(1, stage1_losses)
        check_losses(2, stage2_losses)
        clip = load_clip(clip_model, pretrained, image_size)
        tower = VisionTower(clip.visual)
        check_first_block(tower, vv_from)
        side = CROP_DETAIL * tower.image_size
        self._image_size = (side, side)
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self.num_points = num_points
        self.rgb = rgb
        self.stage1_steps = stage1_steps
        self.max_steps = stage1_steps + (stage2_steps if depth_stream else 0)
        self.losses_of = (tuple(stage1_losses), tuple(stage2_losses))
        self.rates = (stage1_lr, stage2_lr, low_rank_lr)
        self.seed = seed
        tokenizer = open_clip.get_tokenizer(clip_model)
        text = TextTower(clip, tokenizer)
        words = [embed_words(clip, tokenizer, phrase) for phrase in (_WORDS if context == "words" else ())]
        with drawing_from(seed):
            self.model: GsClipModel = GsClipModel(
                tower, text, vv_from, shape_prompt, defect_prompt, defect_tokens, depth_stream, point_net_weights, words
            )
        self.register_buffer("rotations", axis_rotations(*_ANGLES[angles]), persistent=False)
        self._forget()
        if trained is not None:
            load_trained(self, trained)

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """As that of every model, see `RGBXYZModel`, but for unorganised points, too."""
        return PointPreProcessor(RGBXYZModel.configure_pre_processor(image_size).transform)

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """The paper's metrics for each tested category, and their means."""
        return CategoryEvaluator(test_metrics=zero_shot_metrics())

    # ------------------------------------------------------------------ what is seen
    @property
    def size(self) -> int:
        """S, height and width of the views."""
        return self.model.vision.image_size

    def cut(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> Cut:
        """Crop image and cloud to the part, so that its points are as many as a view has pixels.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].
            xyz: (B, 3, H, W) organised XYZ in metres; unorganised clouds, (B, 3, 1, N), stay as they are.
            foreground: (B, H, W) bool, true = part.

        Returns:
            All three, and the box that they were cropped from.
        """
        if is_unorganised(xyz):
            return Cut(image, xyz, foreground, None)
        return cut_part(image, xyz, foreground, (self.size, self.size))

    def observe(self, cut: Cut) -> Observation:
        """Render all views of the result of `cut`."""
        return observe(cut.xyz, cut.foreground, self.rotations, self.size)

    def _points(self, cut: Cut) -> Tensor:
        """What the prompts are written from, see `sample_points`; (B, 0, 3) if they do not depend on the cloud."""
        if self.model.points is None:
            return cut.xyz.new_empty(len(cut.xyz), 0, 3)
        return sample_points(cut.xyz, cut.foreground, self.num_points)

    def render(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> Tensor:
        """See `RGBXYZModel.render`: the shaded views."""
        return self.observe(self.cut(image, xyz, foreground)).shaded.expand(-1, -1, 3, -1, -1)

    # ------------------------------------------------------------------ scores
    def judge(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> InferenceBatch:
        """Score parts by the similarity of their views to prompts written for each of them.

        GS-CLIP, section 3.4: A = view maps back on the points, blurred; score = (max A + mean share of the views) / 2.

        Args:
            image: (B, 3, H, W) RGB in [0, 1]; only looked at with `rgb`.
            xyz: (B, 3, H, W) organised XYZ in metres, or unorganised (B, 3, 1, N); (0, 0, 0) = no point.
            foreground: (B, H, W) bool, true = part.

        Returns:
            `pred_score` (B,) and `anomaly_map` (B, H, W) in [0, 1], 0 beside the part.
        """
        cut = self.cut(image, xyz, foreground)
        seen = self.observe(cut)
        text = self.model.text(self._points(cut))
        judged = self._judged(seen.shaded, seen.depth, text)
        anomaly_map = self.on_points(judged.maps, seen.cells, seen.visible, cut)
        share = judged.shares.mean(dim=1)
        score = (anomaly_map.amax(dim=(1, 2)) + share) / 2
        if self.rgb:
            picture = self._picture(cut)
            colour = self._judged(picture, picture, text)
            colour_map = self.model.smooth(colour.maps[:, 0] * cut.foreground)
            anomaly_map = self.model.smooth((anomaly_map + colour_map) / 2)
            score = (anomaly_map.amax(dim=(1, 2)) + (colour.shares[:, 0] + share) / 2) / 2
        if cut.box is not None:
            anomaly_map = paste_map(anomaly_map, cut.box, (image.shape[-2], image.shape[-1]))
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)

    def _picture(self, cut: Cut) -> Tensor:
        if cut.box is None:
            msg = "rgb=true: an unorganised cloud has no image whose pixels are its points; give --model.rgb false"
            raise InputError(msg)
        return cut.image[:, None]

    def _judged(self, shaded: Tensor, depth: Tensor, text: Tensor) -> Judged:
        views = self.model.read(shaded)
        refined = self.model.refine(views, depth) if self.model.refinement is not None else views
        return self.model.compare(refined, text)

    def on_points(self, maps: Tensor, cells: Tensor, visible: Tensor, cut: Cut) -> Tensor:
        """Bring maps of views to the points of the cloud, and blur.

        Args:
            maps: (B, v, S, S), see `Judged`.
            cells: (B, v, N) int64, see `Observation`.
            visible: (B, v, N) bool, likewise.
            cut: Cloud and foreground of the points, N = H W.

        Returns:
            (B, H, W), 0 outside the foreground before the blur.
        """
        height = cut.xyz.shape[2]
        values, known = (
            rearrange(each, "b (h w) -> b h w", h=height)
            for each in (back_project(maps, cells, visible), visible.any(dim=1))
        )
        filled = fill_unseen(values, known, cut.xyz, cut.foreground)
        return smooth_scores(cut.xyz, filled) if is_unorganised(cut.xyz) else self.model.smooth(filled)

    # ------------------------------------------------------------------ training
    def on_fit_start(self) -> None:
        """Forget the samples of another fit."""
        super().on_fit_start()
        self._forget()

    def teardown(self, stage: str) -> None:
        """Let the samples go."""
        super().teardown(stage)
        self._forget()

    def _forget(self) -> None:
        self._store: FeatureStore[Known] = FeatureStore()
        self._foregrounds = Foregrounds()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Compute the losses of the stage that this step belongs to, on labelled samples.

        Raises:
            ValueError: If the samples have no masks, or a loss is not finite.
        """
        if batch.gt_mask is None:
            msg = "GS-CLIP learns from normal and anomalous samples with masks; train it on an AuxiliaryDataModule"
            raise InputError(msg)
        known = self._known(batch, prepare_cloud(batch, self._foregrounds))
        second = self.global_step >= self.stage1_steps
        with drawing_from(self.seed, self.global_step):  # what is dropped depends on the step alone
            losses = self.losses(known, second)
        self.log_dict(losses, prog_bar=True, batch_size=len(batch.image))
        return losses["train_loss"]

    @torch.no_grad()
    def _known(self, batch: Any, foreground: Tensor) -> Known:
        """What never changes of the samples of a batch, each read once per fit if the same file is the same sample.

        One by one: beside other samples the same one may differ in its last bits, and a resumed training meets it
        beside others.
        """
        masks = batch.gt_mask.reshape(len(batch.image), 1, *batch.gt_mask.shape[-2:]).float()
        if not is_unorganised(batch.depth_map):
            masks = functional.interpolate(masks, foreground.shape[-2:])
        names, image = steady_names(self.trainer, batch), batch.image.as_subclass(Tensor)
        found = []
        for row in range(len(image)):
            one, name = slice(row, row + 1), names[row : row + 1]
            if not self._store.knows(name):
                cut = self.cut(image[one], batch.depth_map[one], foreground[one])
                known = self.know(cut, masks[one, 0] > 0)
                self._store.put(name, known)
                found.append(known)
            else:
                found.append(self._store.get(name))
        return join(found)

    @torch.no_grad()
    def know(self, cut: Cut, mask: Tensor) -> Known:
        """Render and read labelled samples.

        Args:
            cut: Result of `cut` for B samples.
            mask: (B, H, W) bool, true = anomalous, as large as image and cloud before they were cut.

        Returns:
            What never changes of them.
        """
        if cut.box is not None:
            mask = crop_nearest(mask[:, None], cut.box, (self.size, self.size))[:, 0]
        seen = self.observe(cut)
        return Known(
            *self.model.read(seen.shaded),
            depth=seen.depth,
            cells=seen.cells,
            visible=seen.visible,
            truth=seen.truth(mask),
            mask=mask.flatten(1),
            part=cut.foreground.flatten(1),
            points=self._points(cut),
        )

    def losses(self, known: Known, second: bool) -> dict[str, Tensor]:
        """Compute the losses of a stage, see `stage_losses`.

        Args:
            known: B training samples.
            second: Whether it is stage 2.

        Returns:
            Scalars: the sum that is minimised, and each loss.

        Raises:
            ValueError: If a loss is NaN or infinite.
        """
        each = stage_losses(self.model, known, second, self.losses_of[second])
        total = torch.stack(list(each.values())).sum()
        if not total.isfinite():
            msg = f"the loss is NaN or infinite at step {self.global_step}; give lower learning rates "
            msg += "(--model.stage1_lr, --model.stage2_lr)"
            raise InputError(msg)
        return {"train_loss": total, **{f"train_loss_{name}": value for name, value in each.items()}}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, as the authors' code; what a stage does not train gets no gradient and stays as it is."""
        model = self.model
        parts = zip(((model.points, model.prompts), (model.refinement,), (model.low_rank,)), self.rates, strict=True)
        groups = [
            {"params": [value for part in of_rate if part is not None for value in part.parameters()], "lr": rate}
            for of_rate, rate in parts
        ]
        return torch.optim.Adam([group for group in groups if group["params"]], betas=(0.5, 0.999))
