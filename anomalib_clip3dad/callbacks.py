# SPDX-License-Identifier: Apache-2.0
"""Lightning callbacks that change a batch of RGB + XYZ before the model gets it."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from anomalib_clip3dad.errors import InputError

from .geometry import foreground_mask, resize_organised
from .geometry.foregrounds import Foregrounds
from .seeding import drawing_from
from .synthesis import TextureSource, synthesise


class AnomalySynthesis(Callback):
    """Turns each training sample x+ into the pair x+, x-: the batch doubles, normal samples first, then anomalous ones.

    CLIP3D-AD, section 3.3.1. `gt_mask` and `gt_label` become those of the synthesis. A sample's anomaly depends only on
    the seed and on the sample's position in the training, not on batches, processes or other random draws.

    Args:
        texture_dir: Folder of texture images (DTD); None uses augmented shots and noise.
        opacity: Smallest and largest opacity of the texture.
        geometry: Share of the anomalies that are dents, bumps or missing points in the cloud, in [0, 1]; half of them
            leave the colours unchanged. Not in the paper, where both samples of a pair share one cloud.
        size: Smallest and largest share of the part that an anomaly covers; None: noise above 0.5, as in the paper.
        seed: Seed of the anomalies; None uses that of `seed_everything`.
    """

    def __init__(
        self,
        texture_dir: str | None = None,
        opacity: tuple[float, float] = (0.2, 1.0),
        geometry: float = 0.0,
        size: tuple[float, float] | None = None,
        seed: int | None = None,
    ) -> None:
        if not 0 <= geometry <= 1:
            msg = f"geometry={geometry}: a share in [0, 1] is needed"
            raise InputError(msg)
        if not 0 <= opacity[0] <= opacity[1] <= 1:
            msg = f"opacity={tuple(opacity)}: a range within [0, 1] is needed, the smaller number first"
            raise InputError(msg)
        if size and not 0 < size[0] <= size[1] <= 1:
            msg = f"anomaly_size={tuple(size)}: a range within (0, 1] is needed, the smaller number first"
            raise InputError(msg)
        self.geometry = geometry
        self.size = size
        self._drawn = 0  # samples so far in this epoch
        self._checked: set[str] = set()
        self._foregrounds = Foregrounds()
        self.textures = TextureSource(texture_dir)
        self.opacity = opacity
        self.seed = seed

    def state_dict(self) -> dict[str, int]:
        """Where in the training this is, for a checkpoint that a training goes on from."""
        return {"drawn": self._drawn, "seed": self._drawn_from()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on with the anomalies that an undisturbed training would draw next."""
        self._drawn, self.seed = state_dict["drawn"], state_dict["seed"]

    def _drawn_from(self) -> int:
        return torch.initial_seed() if self.seed is None else self.seed

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Double the batch."""
        foreground = prepare_cloud(batch, self._foregrounds)
        self._check(batch.depth_path, foreground)
        seed = self._drawn_from()
        made = []
        if batch_idx == 0:
            self._drawn = 0
        for sample in zip(batch.image, batch.depth_map, foreground, strict=True):
            # samples are dealt out to the processes in turn (`KShotSampler`, and Lightning 2.6's distributed sampler)
            place = self._drawn * trainer.world_size + trainer.global_rank
            self._drawn += 1
            with drawing_from(seed, trainer.current_epoch, place):
                made.append(synthesise(*sample, self.textures, self.opacity, self.geometry, self.size))
        anomalous, xyz, mask = (torch.stack(field) for field in zip(*made, strict=True))
        normal = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
        batch.image = torch.cat([batch.image, anomalous])
        batch.depth_map = torch.cat([batch.depth_map, xyz])
        batch.gt_mask = torch.cat([torch.zeros_like(mask), mask])
        batch.gt_label = torch.cat([normal, ~normal])
        for paths in ("image_path", "depth_path", "mask_path"):
            if getattr(batch, paths) is not None:
                setattr(batch, paths, getattr(batch, paths) * 2)

    def _check(self, files: list[str] | None, foreground: Tensor) -> None:
        """Raise if a cloud has no points; each file is checked once, because the check makes a GPU synchronise."""
        if files and self._checked.issuperset(files):
            return
        empty = ~foreground.any(dim=(1, 2))
        if empty.any():
            named = files or ["a cloud without a path"] * len(empty)
            msg = f"{named[int(empty.nonzero()[0])]}: no measured point, so no part to train on; remove the sample"
            raise InputError(msg)
        self._checked.update(files or ())


def prepare_cloud(batch: Any, known: Foregrounds | None = None) -> Tensor:
    """Resize the clouds of a batch to the size of the images and find the part.

    anomalib's own depth data sets resize the image but not the cloud (seen in anomalib 2.7.0).

    Args:
        batch: Batch with `image` (B, 3, H, W) and `depth_map` (B, 3, h, w), XYZ in metres, (0, 0, 0) = not measured.
        known: Keeps the foregrounds of files that come again; None looks at every cloud anew.

    Returns:
        Foreground (B, H, W) bool. `batch.depth_map` becomes (B, 3, H, W).

    Raises:
        ValueError: If the batch has no organised XYZ.
    """
    xyz = getattr(batch, "depth_map", None)
    if xyz is None or xyz.ndim != 4 or xyz.shape[1] != 3:
        found = "no depth_map" if xyz is None else f"a depth_map of shape {tuple(xyz.shape)}"
        msg = f"the batch holds {found}, but organised XYZ (B, 3, H, W) in metres is needed next to the RGB image; use "
        msg += "a data module that reads it (MVTec3DXYZ, MVTec3D, Folder3D, ADAM3D), and for one-channel depth compute "
        msg += "XYZ with the camera's intrinsics first"
        raise InputError(msg)
    batch.depth_map = resize_organised(xyz, tuple(batch.image.shape[-2:]))
    if known is None:
        return foreground_mask(batch.depth_map)
    return known.of(batch.depth_map, batch.depth_path)


def __getattr__(name: str) -> Any:
    if name == "MultiViewRendering":
        msg = f"{name} is gone, the models render their views themselves; take it out of the config's trainer.callbacks"
        raise AttributeError(msg)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
