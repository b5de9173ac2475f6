# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from anomalib_clip3dad.clip import VisionTower, load_clip
from anomalib_clip3dad.clip.stem import ImageNetStem
from anomalib_clip3dad.efficientnet import imagenet_weights

NAME = "ViT-Ti-Lite0-16-240"


@pytest.fixture(scope="module")
def stem() -> ImageNetStem:
    return ImageNetStem().eval()


def test_the_stem_is_timms_network_on_its_own_normalisation(stem: ImageNetStem) -> None:
    """Batch norms folded, maps at strides 4, 8 and 16, cell by cell beside one another."""
    image = torch.rand(2, 3, 64, 96)
    network = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3)).eval()
    weights = imagenet_weights()
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    with torch.no_grad():
        maps = network((255 * image - 127) / 128)
        found = stem((image - mean) / std)
    assert found.shape == (2, 656, 4, 6)
    for row, column in ((0, 0), (3, 5), (1, 2)):
        cells = [
            each[:, :, row * k : (row + 1) * k, column * k : (column + 1) * k].flatten(1)
            for each, k in zip(maps, (4, 2, 1), strict=True)
        ]
        torch.testing.assert_close(found[:, :, row, column], torch.cat(cells, dim=1), atol=1e-3, rtol=1e-4)


def test_its_weights_are_constants(stem: ImageNetStem) -> None:
    assert not list(stem.parameters())
    assert not stem.state_dict()
    assert all(not name.startswith("visual.trunk.patch_embed.stem") for name in load_clip(NAME, None).state_dict())


def test_open_clip_knows_it_by_name() -> None:
    model, _, preprocess = open_clip.create_model_and_transforms(NAME)
    assert preprocess is not None
    tokens = open_clip.get_tokenizer(NAME)(["a photo of a damaged gear."])
    with torch.no_grad():
        image, text = model.eval().encode_image(torch.rand(1, 3, 240, 240)), model.encode_text(tokens)
    assert image.shape == text.shape == (1, 192)


def test_larger_images_are_read_with_interpolated_positions() -> None:
    tower = VisionTower(load_clip(NAME, None, image_size=336).visual)
    assert (tower.image_size, tower.grid_size) == (336, (21, 21))
    assert tower(torch.rand(1, 3, 336, 336)).tokens[0].shape == (1, 441, 192)


def test_the_released_weights_are_small_and_hold_no_stem() -> None:
    file = Path(load_clip.__code__.co_filename).parent / "small" / f"{NAME}.safetensors"
    assert file.stat().st_size <= 25e6
    small, random = (load_clip(NAME, source).state_dict() for source in ("small", None))
    assert small.keys() == random.keys()
    assert not torch.equal(small["visual.trunk.pos_embed"], random["visual.trunk.pos_embed"])
