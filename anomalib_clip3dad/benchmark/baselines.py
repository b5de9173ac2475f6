# SPDX-License-Identifier: Apache-2.0
"""anomalib's PatchCore, WinCLIP and CFM, changed to run on the same few shots and with weights from any source.

Each runs with anomalib's default weights, with weights from a local file, or with random weights, whose scores mean
nothing. Written for anomalib 2.7.0.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from anomalib import models
from anomalib.models.components import AnomalibModule
from anomalib.models.image.cfm import components as cfm_parts
from anomalib.models.image.cfm.anomaly_map import CFMAnomalyMapGenerator
from anomalib.models.image.cfm.torch_model import CFMModel
from anomalib.models.image.winclip.prompting import create_prompt_ensemble
from anomalib.models.image.winclip.torch_model import TEMPERATURE, WinClipModel
from anomalib.pre_processing import PreProcessor
from einops import rearrange
from torch import Tensor, nn
from torchvision.transforms.v2 import Compose, InterpolationMode, Normalize, Resize

from anomalib_clip3dad.clip import VisionTower, load_clip
from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.models.backbone import fill, given_weights, load_backbone, normalisation
from anomalib_clip3dad.models.point_mae import check_pointmae


class Patchcore(models.Patchcore):
    """anomalib's PatchCore on RGB, at the input size of the other models.

    Args:
        backbone: Name of the network in timm.
        layers: Layers whose features are used.
        pre_trained: Use ImageNet weights, which are downloaded (those of tf_efficientnet_lite0 are installed); False
            for random weights, drawn with a fixed seed.
        backbone_weights: Path of a local weights file to use instead.
        image_size: Height and width of the input.
        coreset_sampling_ratio: Share of the patches to keep; 1 keeps all, as in few-shot papers.
        num_neighbors: Number of neighbours for the image score.
        **kwargs: Other arguments of `AnomalibModule`.
    """

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        layers: Sequence[str] = ("layer2", "layer3"),
        pre_trained: bool = True,
        backbone_weights: str | None = None,
        image_size: int = 240,
        coreset_sampling_ratio: float = 0.1,
        num_neighbors: int = 9,
        **kwargs: Any,
    ) -> None:
        extractor = load_backbone(backbone, layers, pre_trained, backbone_weights)
        # anomalib's, with the backbone's mean and standard deviation instead of ImageNet's
        transform = Compose([Resize((image_size, image_size), antialias=True), Normalize(*normalisation(extractor))])
        super().__init__(
            backbone,
            list(layers),
            pre_trained=False,
            coreset_sampling_ratio=coreset_sampling_ratio,
            num_neighbors=num_neighbors,
            pre_processor=PreProcessor(transform),
            **kwargs,
        )
        self.model.feature_extractor = extractor  # replaces the one that the constructor makes


class WinClip(models.WinClip):
    """anomalib's WinCLIP with corrected reference images.

    anomalib normalises queries for CLIP but not reference images, and takes these in the order of the data loader. Here
    the references are the shots, each once, pre-processed like the queries.

    Args:
        clip_model: An open_clip architecture.
        pretrained: Weights, see `load_clip`; the default is anomalib's.
        class_name: Name of the part in the prompts; None uses the data module's category.
        few_shot: Whether to use reference images; otherwise only the prompts count.
        scales: Sizes of the windows in patches.
        **kwargs: Other arguments of `AnomalibModule`.
    """

    def __init__(
        self,
        clip_model: str = "ViT-B-16-plus-240",
        pretrained: str | None = "laion400m_e31",
        class_name: str | None = None,
        few_shot: bool = True,
        scales: Sequence[int] = (2, 3),
        **kwargs: Any,
    ) -> None:
        clip = load_clip(clip_model, pretrained)
        visual = clip.visual
        transform = Compose(
            [
                Resize(visual.image_size, interpolation=InterpolationMode.BICUBIC, antialias=True),
                Normalize(visual.image_mean, visual.image_std),
            ]
        )
        # not the parent's constructor, which would download its own CLIP
        AnomalibModule.__init__(self, pre_processor=PreProcessor(transform), **kwargs)
        kind = _TimmWinClipModel if hasattr(visual, "trunk") else _WinClipModel
        self.model: _WinClipModel = kind(clip, open_clip.get_tokenizer(clip_model), tuple(scales))
        self.class_name = class_name
        self.k_shot = int(few_shot)  # the real number is set in setup(); 0 means zero-shot in anomalib
        self.few_shot_source = None
        self.is_setup = False

    def setup(self, stage: str) -> None:  # noqa: ARG002
        """Embed prompts and references, once."""
        if self.is_setup:
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.class_name = self.class_name or data.category.replace("_", " ")
        references = None
        if self.k_shot:
            transform: Any = self.pre_processor.transform  # type: ignore[union-attr]
            references = torch.stack([transform(item.image) for item in data.train_data])
            self.k_shot = len(references)
        self.model.setup(self.class_name, references)
        self.is_setup = True


class _WinClipModel(WinClipModel):
    """The parent's model with a given CLIP, which may have another context length."""

    masks: list[Tensor]

    def __init__(self, clip: Any, tokenizer: Any, scales: tuple[int, ...]) -> None:
        nn.Module.__init__(self)
        self.tokenizer = tokenizer
        self.clip = clip
        self.clip.visual.output_tokens = True
        self.temperature = TEMPERATURE
        self.grid_size = VisionTower(clip.visual).grid_size
        self.scales = scales
        self.class_name = self.reference_images = None
        self.apply_transform = False
        self.k_shot = 0
        self.register_buffer_list("masks", self._generate_masks(), persistent=False)
        self.register_buffer("_text_embeddings", torch.empty(0))
        self.register_buffer_list("_visual_embeddings", [torch.empty(0) for _ in scales])
        self.register_buffer("_patch_embeddings", torch.empty(0))

    @torch.no_grad()
    def _collect_text_embeddings(self, class_name: str) -> None:  # type: ignore[override]
        prompts = [self.tokenizer(prompts) for prompts in create_prompt_ensemble(class_name)]
        self._text_embeddings = torch.stack([self.clip.encode_text(tokens).mean(dim=0) for tokens in prompts])


class _TimmWinClipModel(_WinClipModel):
    """The same for a CLIP with a timm vision transformer, such as the small CLIP."""

    def encode_image(self, batch: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """See the parent's."""
        trunk = self.clip.visual.trunk
        feature_map = trunk._pos_embed(trunk.patch_embed(batch))
        tokens = self._transform(feature_map)
        windows = [self._get_window_embeddings(feature_map, masks) for masks in self.masks]
        return self._embed(tokens), windows, tokens[:, trunk.num_prefix_tokens :]

    def _get_window_embeddings(self, feature_map: Tensor, masks: Tensor) -> Tensor:
        """See the parent's."""
        prefix = self.clip.visual.trunk.num_prefix_tokens
        windows = torch.stack([feature_map[:, prefix + mask] for mask in masks.T])
        always = feature_map[:, :prefix].expand(len(windows), -1, -1, -1)
        tokens = rearrange(torch.cat((always, windows), dim=2), "w n t d -> (w n) t d")
        return rearrange(self._embed(self._transform(tokens)), "(w n) c -> n w c", w=len(windows))

    def _transform(self, tokens: Tensor) -> Tensor:
        """Pass tokens (N, T, D) through all blocks and the norm after them."""
        trunk = self.clip.visual.trunk
        return trunk.norm(trunk.blocks(trunk.norm_pre(tokens)))

    def _embed(self, tokens: Tensor) -> Tensor:
        """Embeddings (N, C) of images or windows whose transformed tokens are (N, T, D)."""
        return self.clip.visual.head(self.clip.visual.trunk.forward_head(tokens))


class CFM(models.CFM):
    """anomalib's CFM on RGB and XYZ.

    It uses the missing points of a batch's first sample for all samples, so give it batches of one.

    Args:
        rgb_backbone: Name in timm of a vision transformer of width 768 without register tokens.
        pre_trained: Use pre-trained weights of both networks, which are downloaded; False for random weights.
        backbone_weights: Path of a local weights file of the RGB network to use instead.
        pointmae_weights: Path of Point-MAE's weights to use instead, required if `backbone_weights` is given.
        group_size: Number of points in a group.
        num_group: Number of groups of points.
        image_size: Height and width of the input of both networks; the cost grows with its square.
        lr: Learning rate.
        **kwargs: Other arguments of `AnomalibModule`.
    """

    def __init__(
        self,
        rgb_backbone: str = "vit_base_patch8_224.dino",
        pre_trained: bool = True,
        backbone_weights: str | None = None,
        pointmae_weights: str | None = None,
        group_size: int = 128,
        num_group: int = 1024,
        image_size: int = 224,
        lr: float = 1e-4,
        **kwargs: Any,
    ) -> None:
        if backbone_weights and not pointmae_weights:
            msg = f"backbone_weights={backbone_weights}: CFM has a second network; give pointmae_weights=PATH, too"
            raise InputError(msg)
        if pointmae_weights and not Path(pointmae_weights).is_file():
            msg = f"pointmae_weights={pointmae_weights}: no such file; correct the path"  # anomalib would download
            raise MissingFileError(msg)
        with given_weights(rgb_backbone, pre_trained, backbone_weights) as download:
            rgb: Any = timm.create_model(rgb_backbone, download, img_size=image_size)
            xyz = cfm_parts.PointTransformer(group_size, num_group)
            if pointmae_weights:
                check_pointmae(pointmae_weights, xyz)
            if download or pointmae_weights:
                xyz.load_model_from_ckpt(str(cfm_parts._resolve_pointmae_weights(pointmae_weights)))
        if backbone_weights:
            fill(rgb, rgb_backbone, Path(backbone_weights))
        # not the parent's constructor, which would download both networks
        pre_processor = self.configure_pre_processor((image_size, image_size))
        AnomalibModule.__init__(self, pre_processor=pre_processor, **kwargs)
        self.lr = lr
        self.model: CFMModel = _CFMModel(rgb, xyz)


class _CFMModel(CFMModel):
    """The parent's model with given networks."""

    def __init__(self, rgb: Any, xyz: Any) -> None:
        nn.Module.__init__(self)
        self.feature_extractors = _CFMFeatures(rgb, xyz).eval().requires_grad_(requires_grad=False)
        widths = 3 * 384, 768  # of three blocks of Point-MAE, and of the RGB network
        self.xyz_to_rgb_mapper = cfm_parts.FeatureProjectionMLP(*widths)
        self.rgb_to_xyz_mapper = cfm_parts.FeatureProjectionMLP(*widths[::-1])
        self.cos_sim = nn.CosineSimilarity(dim=1, eps=1e-6)
        self.anomaly_map_generator = CFMAnomalyMapGenerator()


class _CFMFeatures(cfm_parts.MultimodalFeatures):
    def __init__(self, rgb: Any, xyz: Any) -> None:
        nn.Module.__init__(self)
        self.extractors = _CFMNetworks(rgb, xyz)
        self.average = nn.AvgPool2d(3, 1, 1)


class _CFMNetworks(cfm_parts.FeatureExtractors):
    def __init__(self, rgb: Any, xyz: Any) -> None:
        nn.Module.__init__(self)
        self.rgb_backbone, self.xyz_backbone = rgb, xyz
