# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from anomalib_clip3dad.toy import CATEGORIES, KINDS, ToySample, toy_camera, toy_sample
from anomalib_clip3dad.toy import sample as sample_module

from .conftest import Twins

KINDS_OF_DEFECT = KINDS[1:]
# another index for each category, so that every flavour of defect comes up in turn
PAIRS = [(category, kind, number) for number, category in enumerate(CATEGORIES) for kind in KINDS_OF_DEFECT]
every_pair = pytest.mark.parametrize(("category", "kind", "index"), PAIRS)
every_category = pytest.mark.parametrize(("number", "category"), list(enumerate(CATEGORIES)))


def _measured(sample: ToySample) -> np.ndarray:
    return sample.xyz[..., 2] != 0


def _frame(size: tuple[int, int]) -> np.ndarray:
    frame = np.ones(size, dtype=bool)
    frame[12:-12, 12:-12] = False
    return frame


def _height(sample: ToySample) -> np.ndarray:
    """Height over the plane through the frame, in millimetres; nan where not measured."""
    valid = _measured(sample)
    points = sample.xyz[valid & _frame(valid.shape)].astype(np.float64)
    slope = np.linalg.lstsq(np.c_[points[:, :2], np.ones(len(points))], points[:, 2], rcond=None)[0]
    normal = np.array([slope[0], slope[1], -1.0])
    height = 1000 * (sample.xyz @ normal + slope[2]) / np.linalg.norm(normal)
    return np.where(valid, height, np.nan)


@every_category
def test_measured_points_project_to_their_pixels(number: int, category: str, twins: Twins) -> None:
    sample = twins(category, "geometry", number)[1]
    camera, valid = toy_camera((240, 240)), _measured(sample)
    rows, columns = np.nonzero(valid)
    x, y, z = sample.xyz[valid].astype(np.float64).T
    np.testing.assert_allclose(camera.fx * x / z + camera.cx, columns, atol=1e-3)
    np.testing.assert_allclose(camera.fy * y / z + camera.cy, rows, atol=1e-3)
    assert 0.4 < z.min() < z.max() < 0.6


@every_category
def test_part_stands_on_a_tilted_plane_that_fills_the_frame(number: int, category: str, twins: Twins) -> None:
    height = _height(twins(category, "colour", number)[0])
    border = height[_frame(height.shape)]
    assert np.nanmax(np.abs(border)) < 1
    assert np.nanstd(border) < 0.25
    assert 14 < np.nanpercentile(height, 99.9) < 41
    assert 0.1 < (height > 5).mean() < 0.45


@every_category
def test_part_is_clear_of_the_frame_in_every_pose(number: int, category: str) -> None:
    for index in range(2):
        height = _height(toy_sample(category, "good", number, split="train", index=index, size=(96, 96)))
        rows, columns = np.nonzero(height > 5)
        assert min(rows.min(), columns.min()) >= 5  # 12 of 240
        assert max(rows.max(), columns.max()) <= 90


@every_category
def test_rgb_shows_part_and_table(number: int, category: str, twins: Twins) -> None:
    sample = twins(category, "missing", number)[0]
    height = _height(sample)
    part, mat = sample.rgb[height > 5].mean(axis=0), sample.rgb[_frame(height.shape)].mean(axis=0)
    assert sample.rgb.dtype == np.uint8
    assert np.abs(part - mat).max() > 40
    assert sample.rgb[height > 5].std(axis=0).max() > 8


@every_pair
def test_unmeasured_share_is_that_of_a_scanner(category: str, kind: str, index: int, twins: Twins) -> None:
    flawless = twins(category, kind, index)[0]
    assert 0.008 < 1 - _measured(flawless).mean() < 0.045
    assert not flawless.mask.any()


@every_pair
def test_twins_differ_only_where_and_how_they_may(category: str, kind: str, index: int, twins: Twins) -> None:
    flawless, sample = twins(category, kind, index)
    if kind in ("geometry", "missing"):
        np.testing.assert_array_equal(sample.rgb, flawless.rgb)
    if kind == "colour":
        np.testing.assert_array_equal(sample.xyz, flawless.xyz)
    if kind == "missing":
        np.testing.assert_array_equal(sample.xyz[~sample.mask], flawless.xyz[~sample.mask])
        assert not sample.xyz[sample.mask].any()
    else:
        np.testing.assert_array_equal(_measured(sample), _measured(flawless))


@every_pair
def test_mask_is_the_difference(category: str, kind: str, index: int, twins: Twins) -> None:
    flawless, sample = twins(category, kind, index)
    moved = np.abs(sample.xyz[..., 2].astype(np.float64) - flawless.xyz[..., 2])
    painted = np.abs(sample.rgb.astype(int) - flawless.rgb).max(axis=-1) > 14
    both = _measured(sample) & _measured(flawless)
    differs = painted | (both & (moved > 0.001)) | (_measured(flawless) & ~_measured(sample))
    unsure = both & (np.abs(moved - 0.001) < 1e-6)  # float32 rounding of the files
    compared = _measured(flawless) & ~unsure
    np.testing.assert_array_equal(sample.mask[compared], differs[compared])


@every_pair
def test_defect_is_on_the_part_and_of_the_promised_area(category: str, kind: str, index: int, twins: Twins) -> None:
    flawless, sample = twins(category, kind, index)
    height = _height(flawless)
    part = binary_dilation(np.isnan(height) | (height > 0.7))  # pixels half on the part show its colour too
    leaning = sample.mask[~part].sum() / sample.mask.sum()
    assert leaning <= (0.2 if kind in ("geometry", "combined") else 0)  # what is raised may lean over the silhouette
    share = sample.mask.sum() / np.count_nonzero(height > 0.7)
    assert 0.005 <= share <= 0.065  # of the measured part, a little less than what the camera sees of it


@pytest.mark.parametrize("kind", KINDS_OF_DEFECT)
def test_defects_of_a_wrong_area_are_drawn_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index = 1 if kind == "combined" else 0  # a lump: a crack cannot be that large
    flawless = toy_sample("biscuit", kind, 2, index=index, size=(96, 96), flawless=True)
    monkeypatch.setattr(sample_module, "AREA_RANGE", (0.02, 0.03))
    sample = toy_sample("biscuit", kind, 2, index=index, size=(96, 96))
    height = _height(flawless)
    assert 0.018 < sample.mask.sum() / np.count_nonzero(height > 0.7) < 0.033
    monkeypatch.setattr(sample_module, "AREA_RANGE", (0.9, 0.95))
    monkeypatch.setattr(sample_module, "_ATTEMPTS", 2)
    with pytest.raises(ValueError, match=f"No {kind} defect of the right area fits 'biscuit'"):
        toy_sample("biscuit", kind, 2, index=index, size=(96, 96))


@pytest.mark.parametrize("category", ["bracket", "capsule", "knob"])
def test_small_pictures_have_defects_too(category: str) -> None:
    for kind in KINDS_OF_DEFECT:
        assert toy_sample(category, kind, 5, index=1, size=(64, 64)).mask.any()


def test_geometric_defects_are_of_visible_depth(twins: Twins) -> None:
    for category, kind, index in PAIRS:
        if kind in ("geometry", "combined"):
            flawless, sample = twins(category, kind, index)
            moved = np.abs(sample.xyz[..., 2] - flawless.xyz[..., 2])[sample.mask & _measured(flawless)]
            assert np.percentile(moved, 98) > 0.002
            assert np.median(moved) < 0.009


def test_same_arguments_same_bytes() -> None:
    one, other = (toy_sample("ring", "combined", 4, index=2, size=(64, 80)) for _ in range(2))
    assert [field.tobytes() for field in one] == [field.tobytes() for field in other]
    assert one.rgb.shape == one.xyz.shape == (64, 80, 3)
    assert one.mask.shape == (64, 80)


@pytest.mark.parametrize("change", [{"seed": 1}, {"split": "train"}, {"index": 1}, {"category": "gear"}])
def test_every_part_of_the_seed_matters(change: dict) -> None:
    base = {"category": "knob", "kind": "good", "seed": 0, "split": "test", "index": 0, "size": (64, 64)}
    one, other = toy_sample(**base), toy_sample(**{**base, **change})
    assert not np.array_equal(one.rgb, other.rgb)
    assert not np.array_equal(one.xyz, other.xyz)


def test_unknown_kind_and_small_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no kind 'colours'.*good, geometry, colour, combined, missing"):
        toy_sample("gear", "colours")
    with pytest.raises(ValueError, match="at least 64"):
        toy_sample("gear", "good", size=(240, 63))
    with pytest.raises(ValueError, match="no category"):
        toy_sample("gears", "good")
