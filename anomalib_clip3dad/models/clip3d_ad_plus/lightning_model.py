# SPDX-License-Identifier: Apache-2.0
"""Clip3dAdPlus as an anomalib model: connects data, memory banks, metrics and checkpoints."""

from collections.abc import Sequence

import torch
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import Tensor
from torch.nn import functional

from anomalib_clip3dad.clip import VisionTower, load_clip, prompt_ensemble
from anomalib_clip3dad.efficientnet import BACKBONE
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import (
    DEFAULT_VIEWS,
    MultiViewRenderer,
    check_paint,
    crop_nearest,
    foreground_mask,
    paste_map,
    view_rotations,
)
from anomalib_clip3dad.models.backbone import load_backbone
from anomalib_clip3dad.models.bank import ShotBankMixin
from anomalib_clip3dad.models.base import RGBXYZModel
from anomalib_clip3dad.models.part_cut import CROP_DETAIL, Cut, cut_part, turn
from anomalib_clip3dad.models.prompted import PromptedMixin
from anomalib_clip3dad.seeding import drawing_from
from anomalib_clip3dad.synthesis import TextureSource, synthesise

from .evidence import Judgement
from .missing import shares
from .torch_model import Clip3dAdPlusModel, FlawedShot, Read

_ANOMALIES = 8  # synthetic anomalies per shot, half of them in the cloud
_FLAWED_SHOTS = 8  # of more shots, only the first ones get anomalies: 64 are enough to weigh six pieces of evidence
_ANOMALY_SIZE = (0.005, 0.05)  # share of the part, similar to most real defects
_SEED = 0  # seed of the anomalies: the same shots give the same model


class Clip3dAdPlus(ShotBankMixin, PromptedMixin, RGBXYZModel, AnomalibModule):  # type: ignore[misc]
    """Few-shot model that combines prompts, memory banks of colours and surface, and missing measurements.

    Our extension of the papers. CLIP's prompts (CLIP3D-AD, Eq. 9, 10, 16, 17, untrained) know what anomalies look like;
    the memory banks (PatchCore; BTF's FPFH angles from windows of pixels) know what this part looks like. Each piece of
    evidence is scaled with the shots alone, comparing every shot with the others, and weighted by how well it detects
    synthetic anomalies on them. One pass over the shots, no gradients, no validation.

    Args:
        clip_model: An open_clip architecture with a plain vision transformer.
        pretrained: Tag or file of its weights, see `Clip3dAd`.
        class_name: Name of the part in the prompts; None uses the data module's category.
        prompts: Name of a prompt set or a list of templates, see `Clip3dAd`.
        image_size: Height and width of the input, a multiple of 8 and of CLIP's patch size; None uses the size that
            CLIP was trained on. The part is cropped from an image and cloud of twice this size.
        views: Numbers of the rendered views that are compared with the prompts, from 1 to 27; empty for none.
        view_paint: How the views are painted, see `Clip3dAd`; the small CLIP was trained on "grey".
        backbone: Network of timm that computes the features for the memory bank of colours.
        layers: Stages of the backbone whose features are used, the finest first.
        pre_trained: Use ImageNet weights, see `Btf`.
        backbone_weights: Path of a local weights file to use instead.
        num_turns: Number of rotations of each shot in the image plane for the memory bank of colours, in equal steps; 1
            if the pose of the parts is fixed.
        pre_processor: See `AnomalibModule`; the default only resizes.
        post_processor: See `AnomalibModule`.
        evaluator: See `AnomalibModule`; the default has the metrics of `Clip3dAd`.
        visualizer: See `AnomalibModule`; the default is that of `Clip3dAd`.
    """

    must_agree = ("clip_model", "image_size", "views", "view_paint", "backbone", "layers")

    def __init__(
        self,
        clip_model: str = "ViT-Ti-Lite0-16-240",
        pretrained: str | None = "small",
        class_name: str | None = None,
        prompts: str | list[str] = "cpe",
        image_size: int | None = None,
        views: Sequence[int] = DEFAULT_VIEWS,
        view_paint: str = "grey",
        backbone: str = BACKBONE,
        layers: Sequence[str] = ("blocks.2",),
        pre_trained: bool = True,
        backbone_weights: str | None = None,
        num_turns: int = 12,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        prompt_ensemble(prompts)  # check arguments before loading, which takes seconds
        if num_turns < 1:
            msg = f"num_turns={num_turns}: at least 1 is needed, the shot as it is"
            raise InputError(msg)
        if views:
            view_rotations(views)
            check_paint(view_paint)
        clip = load_clip(clip_model, pretrained, image_size)
        tower = VisionTower(clip.visual, None, with_last=False)
        tower = VisionTower(clip.visual, tower.layers[-1:], with_last=bool(views))
        extractor = load_backbone(backbone, layers, pre_trained, backbone_weights)
        side = CROP_DETAIL * tower.image_size
        self._image_size = (side, side)  # for the default pre-processor
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self.views = tuple(views)
        self.angles = [360.0 * step / num_turns for step in range(num_turns)]
        self.model: Clip3dAdPlusModel = Clip3dAdPlusModel(tower, extractor, len(self.views))
        if self.views:
            self.renderer = MultiViewRenderer(self.views, tower.image_size, view_paint)
        self._shots: list[list[Read]] = []
        self._flawed: list[FlawedShot] = []
        self._textures = TextureSource(None)
        self.prompt_with(clip, clip_model, prompts, class_name)

    # ------------------------------------------------------------------ the shots
    def on_fit_start(self) -> None:
        """Forget the shots of an earlier fit."""
        super().on_fit_start()
        self._shots, self._flawed = [], []

    def remember(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> None:
        """Read shots, unrotated and rotated; see `ShotBankMixin`.

        Raises:
            ValueError: If a cloud has no measured point of a part.
        """
        if not foreground.flatten(1).any(dim=1).all():
            msg = "a shot has no measured point, so no part to remember; remove the sample"
            raise InputError(msg)
        for row in range(len(image)):
            one = slice(row, row + 1)
            whole = cut_part(image[one], xyz[one], foreground[one], self.model.size)
            if len(self._shots) < _FLAWED_SHOTS:
                self._flaw(image[row], xyz[row], foreground[row])
            self._shots.append([self.read(turn(whole, angle) if angle else whole) for angle in self.angles])

    def _flaw(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> None:
        """Put synthetic anomalies on a shot (3, H, W), half in colours and half in the cloud, and read it."""
        shot = len(self._shots)
        for number in range(_ANOMALIES):
            kind = number % 2
            with drawing_from(_SEED, shot, number):
                made = synthesise(image, xyz, foreground, self._textures, geometry=float(kind), size=_ANOMALY_SIZE)
            cut = cut_part(made.image[None], made.xyz[None], foreground_mask(made.xyz[None]), self.model.size)
            assert cut.box is not None  # noqa: S101
            mask = crop_nearest(made.mask[None, None].to(torch.uint8), cut.box, self.model.size)[:, 0] > 0
            self._flawed.append(FlawedShot(shot, kind, self.read(cut), shares(mask, self.model.grid)))

    def make_bank(self, seed: int) -> None:  # noqa: ARG002  # nothing is drawn at random
        """Fill the memories and learn the scales; see `ShotBankMixin`."""
        self.known_scores = self.model.fit(self._shots, self.angles, self._flawed)
        self._shots, self._flawed = [], []

    # ------------------------------------------------------------------ judging
    def read(self, cut: Cut) -> Read:
        """Render the views and run the frozen networks."""
        views = self.renderer(cut.image, cut.xyz, cut.foreground) if self.views else None
        return self.model.read(cut, views)

    def render(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> Tensor | None:
        """See `RGBXYZModel.render`."""
        cut = cut_part(image, xyz, foreground, self.model.size)
        return self.renderer(cut.image, cut.xyz, cut.foreground).images if self.views else None

    def judge(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> InferenceBatch:
        """Score images and their clouds, in [0, 1), as `RGBXYZModel.judge`.

        Raises:
            ValueError: If no class was set, or the memory banks are empty.
        """
        found, cut = self._judged(image, xyz, foreground)
        return self._on_picture(found, cut, image)

    def judge_and_explain(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> tuple[InferenceBatch, Tensor]:
        """Score as `judge` does, and say how much each kind of evidence adds at each pixel."""
        found, cut = self._judged(image, xyz, foreground)
        return self._on_picture(found, cut, image), self._enlarge(found.shares, cut, image)

    def _judged(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> tuple[Judgement, Cut]:
        self.check_prompted()
        cut = cut_part(image, xyz, foreground, self.model.size)
        return self.model.scale(self.model.compare(self.read(cut))), cut

    def _on_picture(self, found: Judgement, cut: Cut, image: Tensor) -> InferenceBatch:
        anomaly_map = self._enlarge(found.anomaly_map[:, None], cut, image)[:, 0]
        return InferenceBatch(found.score, anomaly_map=anomaly_map)

    def _enlarge(self, maps: Tensor, cut: Cut, image: Tensor) -> Tensor:
        """Bring maps (B, K, h, w) of the crop to the whole image, (B, K, H, W)."""
        assert cut.box is not None  # noqa: S101
        large = functional.interpolate(maps, self.model.size, mode="bilinear", align_corners=False)
        size = (image.shape[-2], image.shape[-1])
        return torch.stack([paste_map(each, cut.box, size) for each in large.unbind(dim=1)], dim=1)
