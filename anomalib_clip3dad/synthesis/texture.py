# SPDX-License-Identifier: Apache-2.0
"""Textures of synthetic anomalies: other images, or the part's own image augmented."""

from pathlib import Path

import torch
from anomalib.data.utils import read_image
from anomalib.data.utils.generators import PerlinAnomalyGenerator, generate_perlin_noise
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2

from anomalib_clip3dad.errors import MissingFileError
from anomalib_clip3dad.seeding import drawing_from, to_device


class TextureSource:
    """Draws textures.

    CLIP3D-AD, section 3.3.1, pastes "randomly selected images", as DRAEM does with DTD. Without such a folder, half of
    the textures are the image itself and half are Perlin noise, both changed by three of anomalib's random
    augmentations (our choice: it needs no download, and the texture differs from its surroundings).

    Args:
        folder: Folder of texture images, searched recursively, or None.

    Raises:
        FileNotFoundError: If the folder holds no image.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        files = [] if folder is None else sorted(Path(folder).rglob("*"))
        self.files = [file for file in files if file.suffix.lower() in IMG_EXTENSIONS]
        if folder is not None and not self.files:
            msg = f"texture_dir: no image found in {folder} (looked for {', '.join(IMG_EXTENSIONS)}); give a folder of "
            msg += "texture images such as DTD, or leave texture_dir out to use augmented shots and noise"
            raise MissingFileError(msg)
        with drawing_from(0):  # the generator draws one of its settings on construction (anomalib 2.7.0)
            self._augment = PerlinAnomalyGenerator().augmenters

    def draw(self, image: Tensor) -> Tensor:
        """Draw one texture for an image, from torch's global generator.

        Args:
            image: (3, H, W) RGB in [0, 1].

        Returns:
            The texture, (3, H, W) in [0, 1].
        """
        return self._augment(self._source(image).clamp(0, 1)).clamp(0, 1)

    def _source(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if self.files:
            file = self.files[int(torch.randint(len(self.files), ()))]
            texture = v2.functional.resize(read_image(file, as_tensor=True), [height, width], antialias=True)
            return to_device(texture, image).to(image.dtype)
        if torch.rand(()) < 0.5:
            return image
        noise = to_device(generate_perlin_noise(height, width, device=torch.device("cpu")), image)
        return noise.to(image.dtype).expand(3, height, width) * 0.5 + 0.5
