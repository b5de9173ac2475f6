# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from anomalib_clip3dad.toy import ToySample, toy_camera, toy_sample
from anomalib_clip3dad.toy import sample as sample_module

from .conftest import SIZE, Twins

FRAME = np.ones(SIZE, dtype=bool)
FRAME[6:-6, 6:-6] = False


def _measured(sample: ToySample) -> np.ndarray:
    return sample.xyz[..., 2] != 0


def _height(sample: ToySample) -> np.ndarray:
    """Height over the plane through the frame, in millimetres; nan where not measured."""
    valid = _measured(sample)
    points = sample.xyz[valid & FRAME].astype(np.float64)
    slope = np.linalg.lstsq(np.c_[points[:, :2], np.ones(len(points))], points[:, 2], rcond=None)[0]
    normal = np.array([slope[0], slope[1], -1.0])
    height = 1000 * (sample.xyz @ normal + slope[2]) / np.linalg.norm(normal)
    return np.where(valid, height, np.nan)


def test_measured_points_project_to_their_pixels(all_twins: list[Twins]) -> None:
    camera = toy_camera(SIZE)
    for twins in all_twins:
        valid = _measured(twins.anomalous)
        rows, columns = np.nonzero(valid)
        x, y, z = twins.anomalous.xyz[valid].astype(np.float64).T
        np.testing.assert_allclose(camera.fx * x / z + camera.cx, columns, atol=1e-3, err_msg=twins.name)
        np.testing.assert_allclose(camera.fy * y / z + camera.cy, rows, atol=1e-3, err_msg=twins.name)
        assert 0.4 < z.min() < z.max() < 0.6, twins.name


def test_part_stands_on_a_tilted_plane_clear_of_the_frame(all_twins: list[Twins]) -> None:
    for twins in all_twins:
        height = _height(twins.normal)
        assert np.nanmax(np.abs(height[FRAME])) < 1, twins.name
        assert np.nanstd(height[FRAME]) < 0.25, twins.name
        assert 14 < np.nanpercentile(height, 99.9) < 41, twins.name
        assert 0.1 < (height > 5).mean() < 0.45, twins.name
        assert not (height > 5)[FRAME].any(), twins.name


def test_rgb_shows_part_and_table(all_twins: list[Twins]) -> None:
    for twins in all_twins:
        rgb, on_part = twins.normal.rgb, _height(twins.normal) > 5
        assert rgb.dtype == np.uint8, twins.name
        assert np.abs(rgb[on_part].mean(axis=0) - rgb[FRAME].mean(axis=0)).max() > 40, twins.name
        assert rgb[on_part].std(axis=0).max() > 8, twins.name


def test_unmeasured_share_is_that_of_a_scanner(all_twins: list[Twins]) -> None:
    for twins in all_twins:
        assert 0.008 < 1 - _measured(twins.normal).mean() < 0.045, twins.name


def test_twins_differ_only_where_and_how_they_may(all_twins: list[Twins]) -> None:
    for name, kind, normal, anomalous in all_twins:
        assert not normal.mask.any(), name
        assert np.array_equal(anomalous.rgb, normal.rgb) == (kind in ("geometry", "missing")), name
        assert np.array_equal(anomalous.xyz, normal.xyz) == (kind == "colour"), name
        if kind == "missing":
            np.testing.assert_array_equal(anomalous.xyz, np.where(anomalous.mask[..., None], 0, normal.xyz), name)
        else:
            np.testing.assert_array_equal(_measured(anomalous), _measured(normal), name)


def test_mask_is_the_difference(all_twins: list[Twins]) -> None:
    for name, _, normal, anomalous in all_twins:
        moved = np.abs(anomalous.xyz[..., 2].astype(np.float64) - normal.xyz[..., 2])
        painted = np.abs(anomalous.rgb.astype(int) - normal.rgb).max(axis=-1) > 14
        both = _measured(anomalous) & _measured(normal)
        differs = painted | (both & (moved > 0.001)) | (_measured(normal) & ~_measured(anomalous))
        unsure = both & (np.abs(moved - 0.001) < 1e-6)  # float32 rounding of the files
        compared = _measured(normal) & ~unsure
        np.testing.assert_array_equal(anomalous.mask[compared], differs[compared], name)


def test_defect_is_on_the_part_and_of_the_promised_area(all_twins: list[Twins]) -> None:
    for name, kind, normal, anomalous in all_twins:
        height = _height(normal)
        part = binary_dilation(np.isnan(height) | (height > 0.7))  # pixels half on the part show its colour too
        leaning = anomalous.mask[~part].sum() / anomalous.mask.sum()
        assert leaning <= (0.2 if kind in ("geometry", "combined") else 0), name  # raised parts lean over the edge
        share = anomalous.mask.sum() / np.count_nonzero(height > 0.7)
        assert 0.005 <= share <= 0.065, name  # of the measured part, a little less than what the camera sees of it


def test_geometric_defects_are_of_visible_depth(all_twins: list[Twins]) -> None:
    for name, kind, normal, anomalous in all_twins:
        if kind in ("geometry", "combined"):
            moved = np.abs(anomalous.xyz[..., 2] - normal.xyz[..., 2])[anomalous.mask & _measured(normal)]
            assert np.percentile(moved, 98) > 0.002, name
            assert np.median(moved) < 0.009, name


def test_defects_of_a_wrong_area_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "AREA_RANGE", (0.02, 0.024))
    on_part = _height(toy_sample("biscuit", "missing", 2, size=SIZE, flawless=True)) > 0.7
    for index in range(3):
        mask = toy_sample("biscuit", "missing", 2, index=index, size=SIZE).mask
        assert 0.019 < mask.sum() / np.count_nonzero(on_part) < 0.026, index
    monkeypatch.setattr(sample_module, "AREA_RANGE", (0.9, 0.95))
    with pytest.raises(ValueError, match="No missing defect of the right area fits 'biscuit'"):
        toy_sample("biscuit", "missing", 2, size=SIZE)


def test_same_arguments_same_bytes_and_each_of_them_matters() -> None:
    one, again = (toy_sample("ring", "combined", 4, index=2, size=(64, 80)) for _ in range(2))
    assert [field.tobytes() for field in one] == [field.tobytes() for field in again]
    assert one.rgb.shape == one.xyz.shape == (64, 80, 3)
    assert one.mask.shape == (64, 80)
    base = {"category": "knob", "kind": "good", "seed": 0, "split": "test", "index": 0, "size": (64, 64)}
    one = toy_sample(**base)
    for change in ({"seed": 1}, {"split": "train"}, {"index": 1}, {"category": "gear"}, {"kind": "missing"}):
        other = toy_sample(**{**base, **change})
        assert not np.array_equal(one.rgb, other.rgb), change
        assert not np.array_equal(one.xyz, other.xyz), change


def test_unknown_kind_and_small_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no kind 'colours'.*good, geometry, colour, combined, missing"):
        toy_sample("gear", "colours")
    with pytest.raises(ValueError, match="at least 64"):
        toy_sample("gear", "good", size=(240, 63))
    with pytest.raises(ValueError, match="no category"):
        toy_sample("gears", "good")
