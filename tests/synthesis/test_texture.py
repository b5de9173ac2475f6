# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from PIL import Image

from anomalib_clip3dad.synthesis import TextureSource


def test_without_a_folder_textures_are_changed_shots_and_noise() -> None:
    image = torch.rand(3, 40, 56)
    textures = [TextureSource().draw(image) for _ in range(20)]
    for texture in textures:
        assert texture.shape == image.shape
        assert texture.min() >= 0
        assert texture.max() <= 1
        assert (texture - image).abs().mean() > 0.005
    assert len({texture.sum().item() for texture in textures}) == 20


def test_folder_is_searched_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "banded").mkdir()
    Image.new("RGB", (9, 7), (255, 0, 0)).save(tmp_path / "banded" / "red.JPG")
    (tmp_path / "notes.txt").write_text("no image")
    source = TextureSource(tmp_path)
    assert [file.name for file in source.files] == ["red.JPG"]
    assert source.draw(torch.rand(3, 20, 30)).shape == (3, 20, 30)


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no image found in {tmp_path}"):
        TextureSource(tmp_path)
