# SPDX-License-Identifier: Apache-2.0
"""Panels: image, depth, mask and anomaly map side by side."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from anomalib.data import DepthBatch, DepthItem
from anomalib.visualization import ImageVisualizer, visualize_image_item
from anomalib.visualization.image.functional import add_text_to_image, apply_colormap
from PIL import Image
from torch import Tensor

from anomalib_clip3dad.data import EVIDENCE_KINDS
from anomalib_clip3dad.geometry import foreground_mask, validity_mask

_MOST_EVIDENCE = 3.0  # three times what normal parts show is as bright as any


def depth_picture(xyz: Tensor) -> Image.Image:
    """Colour the depth of a cloud.

    Args:
        xyz: (3, H, W) organised XYZ in metres, camera frame; (0, 0, 0) = not measured.

    Returns:
        RGB image, H x W. Colours span the depths of the part, near is warm and far is cold; a background plane is
        subtracted, since its tilt would hide the part's shape. Unmeasured pixels are black.
    """
    valid = validity_mask(xyz[None])[0].cpu().numpy()
    if not valid.any():
        return Image.new("RGB", (xyz.shape[2], xyz.shape[1]))
    part = foreground_mask(xyz[None])[0].cpu().numpy()
    x, y, z = xyz.double().cpu().numpy()
    plane = np.stack([x, y, np.ones_like(x)], axis=-1)
    background = valid & ~part
    if background.any():
        z = z - plane @ np.linalg.lstsq(plane[background], z[background])[0]
    near, far = np.percentile(z[part if part.any() else valid], (1, 99))
    warmth = np.clip((far - z) / max(far - near, 1e-6), 0, 1)
    coloured = np.asarray(apply_colormap(Image.fromarray((255 * warmth).astype(np.uint8))))
    return Image.fromarray(np.where(valid[..., None], coloured, 0).astype(np.uint8))


def evidence_pictures(evidence: Tensor) -> list[Image.Image]:
    """Colour each kind of evidence.

    Args:
        evidence: (K, H, W), 1 = as much as the most anomalous places of normal parts, see `RGBXYZItem`.

    Returns:
        K RGB images, H x W: black at 0, white from `_MOST_EVIDENCE` on.
    """
    shown = (evidence / _MOST_EVIDENCE).clamp(0, 1).cpu().numpy()
    colours = mpl.colormaps["inferno"]
    return [Image.fromarray(colours(kind, bytes=True)[..., :3]) for kind in shown]


class DepthVisualizer(ImageVisualizer):
    """anomalib's panel with the depth beside the image, and the evidence, where a model tells it, after all else.

    Files are named after the last folders of the image, without "rgb": `test/hole/000.png`. anomalib names those of 3D
    data `rgb/000.png`, so that defect types overwrite each other (seen in anomalib 2.7.0).
    """

    def panel(self, item: DepthItem) -> Image.Image | None:
        """Draw one sample.

        Args:
            item: Holds `image` or `image_path`, and any of `depth_map`, `gt_mask`, `anomaly_map`, `pred_mask` and
                `evidence`.

        Returns:
            The panel, None if there is nothing to draw.
        """
        if item.image_path and not Path(item.image_path).is_file():  # a synthetic anomaly has no file
            item = replace(item, image_path=None)
        drawn = visualize_image_item(
            item,  # type: ignore[arg-type]  # it draws whatever has these fields (anomalib 2.7.0)
            self.fields,
            self.overlay_fields,
            self.field_size,
            self.fields_config,
            self.overlay_fields_config,
            self.text_config,
        )
        if drawn is None or item.depth_map is None or item.depth_map.ndim != 3:
            return drawn
        first = self.field_size[0]
        tiles = [drawn.crop((0, 0, first, drawn.height)), self._tile(depth_picture(item.depth_map), "Depth")]
        tiles.append(drawn.crop((first, 0, drawn.width, drawn.height)))
        evidence = getattr(item, "evidence", None)
        if evidence is not None:
            pictures = zip(evidence_pictures(evidence), EVIDENCE_KINDS, strict=True)
            tiles += [self._tile(picture, f"Evidence: {kind}") for picture, kind in pictures]
        panel = Image.new("RGB", (sum(tile.width for tile in tiles), drawn.height))
        left = 0
        for tile in tiles:
            panel.paste(tile, (left, 0))
            left += tile.width
        return panel

    def _tile(self, picture: Image.Image, title: str) -> Image.Image:
        """An image as one of anomalib's fields."""
        tile = picture.resize(self.field_size, Image.Resampling.NEAREST)
        text = {key: value for key, value in self.text_config.items() if key != "enable"}
        return add_text_to_image(tile, title, **text) if self.text_config["enable"] else tile

    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: Any,
        pl_module: Any,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: DepthBatch,
        batch_idx: int = 0,
        *_: int,
    ) -> None:
        """Draw and save the samples of a batch."""
        folder = Path(self.output_dir or Path(trainer.default_root_dir) / "images")
        for i, item in enumerate(batch):
            panel = self.panel(item)
            if panel is not None:
                file = folder / (picture_name(item.image_path) if item.image_path else f"{batch_idx:03d}_{i:03d}.png")
                file.parent.mkdir(parents=True, exist_ok=True)
                panel.save(file)

    on_predict_batch_end = on_test_batch_end  # type: ignore[assignment]


def picture_name(image_path: str | Path) -> Path:
    """Path of the panel of an image, relative to the folder of panels.

    Example:
        >>> picture_name("/data/mvtec_3d/tire/test/hole/rgb/000.png").as_posix()
        'test/hole/000.png'
    """
    return Path(*[part for part in Path(image_path).absolute().parts[1:] if part != "rgb"][-3:])
