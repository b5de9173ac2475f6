# SPDX-License-Identifier: Apache-2.0

import torch
from small_clip.start import order_positions, whiten_patches

from anomalib_clip3dad.clip import load_clip


def test_neighbours_have_similar_positions() -> None:
    visual = load_clip("ViT-Ti6-16-240", None).visual
    order_positions(visual)
    grid = visual.positional_embedding[1:].view(15, 15, -1)
    distance = (grid[7, 7] - grid).norm(dim=-1)
    assert distance[7, 8] < distance[7, 10] < distance[7, 14]
    torch.testing.assert_close(distance[7, 9], distance[9, 7])


def test_patches_become_uncorrelated_and_of_one_variance() -> None:
    visual = load_clip("ViT-Ti6-16-240", None).visual
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(40, 3, 80, 80, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (240, 240), mode="bicubic").clamp(0, 1)
    whiten_patches(visual, images)
    mean, std = (torch.tensor(values)[:, None, None] for values in (visual.image_mean, visual.image_std))
    embedded = visual.conv1((images - mean) / std).flatten(2).transpose(1, 2).flatten(0, 1)
    found = embedded.detach().T.cov()
    strong = found.diagonal() > 0.2  # well above the noise
    assert strong.float().mean() > 0.3
    torch.testing.assert_close(found.diagonal()[strong], torch.full((int(strong.sum()),), 0.25), atol=0.02, rtol=0)
    assert (found - found.diagonal().diag()).abs().max() < 1e-3
