# SPDX-License-Identifier: Apache-2.0
"""Cut and turned samples against numpy's turns and the functions of `geometry`."""

import torch

from anomalib_clip3dad.geometry import crop_image, crop_nearest, find_part, foreground_mask
from anomalib_clip3dad.models.part_cut import Cut, cut_part, turn
from tests.conftest import bumpy_part


def sample() -> Cut:
    image, xyz = bumpy_part(40, 40)
    return Cut(image[None], xyz[None], foreground_mask(xyz[None]), None)


def test_the_part_is_cut_out_of_all_three_alike() -> None:
    whole = sample()
    cut = cut_part(whole.image, whole.xyz, whole.foreground, (24, 24))
    box = find_part(whole.foreground)
    torch.testing.assert_close(cut.image, crop_image(whole.image, box, (24, 24)))
    assert torch.equal(cut.xyz, crop_nearest(whole.xyz, box, (24, 24)))
    assert torch.equal(
        cut.foreground[:, None], crop_nearest(whole.foreground[:, None].to(torch.uint8), box, (24, 24)) > 0
    )
    assert cut.box is not None
    assert all(torch.equal(one, two) for one, two in zip(cut.box, box, strict=True))


def test_quarter_turns_are_clockwise_and_exact() -> None:
    whole = sample()
    for quarters in range(4):
        turned = turn(whole, 90.0 * quarters)
        torch.testing.assert_close(turned.image, torch.rot90(whole.image, -quarters, (2, 3)), atol=1e-4, rtol=0)
        assert torch.equal(turned.xyz, torch.rot90(whole.xyz, -quarters, (2, 3)))
        assert torch.equal(turned.foreground, torch.rot90(whole.foreground, -quarters, (1, 2)))


def test_what_comes_in_from_outside_was_not_measured() -> None:
    whole = sample()
    turned = turn(whole._replace(foreground=torch.ones_like(whole.foreground)), 45.0)
    assert not turned.foreground[0, 0, 0]
    assert not turned.xyz[0, :, 0, 0].any()
    assert not turned.image[0, :, 0, 0].any()
    points = {tuple(point) for point in whole.xyz[0].flatten(1).T.tolist()}
    assert {tuple(point) for point in turned.xyz[0].flatten(1).T.tolist()} <= points | {(0.0, 0.0, 0.0)}
