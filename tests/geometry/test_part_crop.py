# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from anomalib_clip3dad.geometry import PartBox, crop_image, crop_nearest, find_part, paste_map


def box(top: int, left: int, height: int, width: int, count: int = 1) -> PartBox:
    return PartBox(*(torch.full((count,), float(side)) for side in (top, left, height, width)))


def part(top: int, left: int, height: int, width: int, size: tuple[int, int] = (60, 80)) -> torch.Tensor:
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[0, top : top + height, left : left + width] = True
    return mask


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ((20, 30, 8, 16), (14, 28, 20, 20)),  # the longer side and a quarter, the part in the middle
        ((20, 30, 8, 17), (13, 28, 21, 21)),  # 21.25, up to a quarter less
        ((20, 30, 8, 18), (12, 27, 23, 23)),  # 22.5
        ((59, 79, 1, 1), (59, 79, 1, 1)),  # one pixel, the last
        ((0, 64, 16, 16), (0, 60, 20, 20)),  # moved into the image
        ((5, 4, 50, 70), (0, 0, 60, 80)),  # as much as there is
    ],
)
def test_the_square_lies_around_the_part(where: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert tuple(side.item() for side in find_part(part(*where))) == expected


def test_each_sample_has_its_own_and_an_empty_one_the_whole_picture() -> None:
    found = find_part(torch.cat([part(20, 30, 8, 16), part(0, 0, 0, 0), part(5, 4, 8, 8)]))
    assert found.height.tolist() == [20, 60, 10]
    assert found.width.tolist() == [20, 80, 10]
    assert [side.tolist() for side in found.rows(slice(2, 3))] == [[4], [3], [10], [10]]


def test_a_speck_beside_the_part_does_not_widen_the_square() -> None:
    mask = part(20, 10, 30, 52)
    alone = find_part(mask)
    mask[0, 2, 78] = True
    assert find_part(mask) == alone


@pytest.mark.parametrize(("fullest", "counts"), [(40, False), (39, True)])
def test_two_pixels_count_where_the_fullest_has_less_than_twenty_times_as_many(fullest: int, counts: bool) -> None:
    for height, width, row, column in ((30, fullest, 10, 30), (fullest, 30, 30, 10)):
        mask = part(20, 20, height, width, (80, 80))
        alone = [side.item() for side in find_part(mask)]
        along = (slice(row, row + 1), slice(column, column + 2)) if row < column else (slice(row, row + 2), column)
        mask[0][along] = True
        assert ([side.item() for side in find_part(mask)] != alone) == counts


def test_a_crop_of_everything_is_clips_own_resize() -> None:
    image = torch.rand(2, 3, 60, 80)
    expected = resize(image, [48, 48], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    torch.testing.assert_close(crop_image(image, box(0, 0, 60, 80, 2), (48, 48)), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("side", [16, 48])  # enlarged, shrunk
def test_a_crop_is_the_resized_cut(side: int) -> None:
    image = torch.rand(1, 3, 60, 80)
    cut = resize(image[:, :, 7 : 7 + side, 11 : 11 + side], [32, 32], InterpolationMode.BICUBIC, antialias=True)
    found = crop_image(image, box(7, 11, side, side), (32, 32))
    inner = slice(6, -6)  # at the rim the crop looks beyond it, the cut cannot
    torch.testing.assert_close(found[..., inner, inner], cut[..., inner, inner].clamp(0, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [16, 32, 48])
def test_clouds_and_masks_are_picked_not_mixed(side: int) -> None:
    values = torch.rand(1, 2, 60, 80)
    cut = values[:, :, 7 : 7 + side, 11 : 11 + side]
    expected = torch.nn.functional.interpolate(cut, (32, 32), mode="nearest-exact")
    assert torch.equal(crop_nearest(values, box(7, 11, side, side), (32, 32)), expected)


def test_picked_pixels_are_exact_whatever_the_sizes() -> None:
    """Those under the middles of the new ones, by whole numbers."""
    values = torch.arange(40.0).expand(1, 1, 1, 40)
    for old in range(1, 31):
        for new in range(1, 31):
            found = crop_nearest(values, box(0, 6, 1, old), (1, new))[0, 0, 0]
            assert found.tolist() == [6 + old * (2 * i + 1) // (2 * new) for i in range(new)]


@pytest.mark.parametrize("size", [(16, 24), (24, 16)])
def test_crops_of_two_samples_need_not_be_square(size: tuple[int, int]) -> None:
    """Boxes at the right, where there are no rows of that number; whole numbers of old pixels to a new one, too."""
    image = torch.rand(2, 3, 60, 80)
    boxes = PartBox(*(torch.tensor(side) for side in ([3.0, 20.0], [50.0, 46.0], [40.0, 32.0], [24.0, 32.0])))
    cuts = image[:1, :, 3:43, 50:74], image[1:, :, 20:52, 46:78]
    picked = torch.cat([torch.nn.functional.interpolate(cut, size, mode="nearest-exact") for cut in cuts])
    assert torch.equal(crop_nearest(image, boxes, size), picked)
    resized = torch.cat(
        [resize(cut, list(size), InterpolationMode.BICUBIC, antialias=True).clamp(0, 1) for cut in cuts]
    )
    found = crop_image(image, boxes, size)
    assert found.shape == resized.shape
    inner = (..., slice(6, -6), slice(6, -6))
    torch.testing.assert_close(found[inner], resized[inner], atol=1e-5, rtol=0)


def test_a_map_comes_back_where_it_was_cut() -> None:
    anomaly_map = torch.rand(1, 32, 32)
    back = paste_map(anomaly_map, box(7, 11, 16, 16), (60, 80))
    assert back.shape == (1, 60, 80)
    inside = back[:, 7:23, 11:27]
    expected = resize(anomaly_map[:, None], [16, 16], antialias=True)[:, 0]  # bilinear
    torch.testing.assert_close(inside, expected, atol=1e-5, rtol=0)
    assert back.sum() == inside.sum()


def test_a_map_enlarged_stays_in_its_range() -> None:
    back = paste_map(torch.ones(1, 8, 8), box(3, 5, 40, 40), (60, 80))
    torch.testing.assert_close(back[:, 3:43, 5:45], torch.ones(1, 40, 40))
    assert back.sum() == pytest.approx(1600)


@pytest.mark.parametrize("shape", [(8, 10), (20, 26), (40, 48)])
def test_a_map_is_enlarged_or_shrunk_bilinearly(shape: tuple[int, int]) -> None:
    anomaly_map = torch.rand(2, *shape)
    boxes = PartBox(*(torch.tensor(side) for side in ([3.0, 9.0], [5.0, 2.0], [24.0, 40.0], [32.0, 36.0])))
    back = paste_map(anomaly_map, boxes, (60, 80))
    for found, one, top, left, height, width in zip(back, anomaly_map, *boxes, strict=True):
        rows, columns = slice(int(top), int(top + height)), slice(int(left), int(left + width))
        expected = resize(one[None], [int(height), int(width)], antialias=True)[0]
        torch.testing.assert_close(found[rows, columns], expected, atol=1e-5, rtol=0)
        assert found.count_nonzero() == expected.count_nonzero()


def test_samples_do_not_mix() -> None:
    image, boxes = (
        torch.rand(2, 3, 60, 80),
        PartBox(*(torch.tensor(v) for v in ([3.0, 9], [5.0, 2], [20.0, 40], [20.0, 40]))),
    )
    both, first = crop_image(image, boxes, (32, 32)), crop_image(image[:1], boxes.rows(slice(1)), (32, 32))
    assert torch.equal(both[:1], first)
