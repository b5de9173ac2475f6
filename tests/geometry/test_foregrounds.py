# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_clip3dad.geometry import foreground_mask, foregrounds
from anomalib_clip3dad.geometry.foregrounds import Foregrounds
from tests.conftest import depth_batch

XYZ = depth_batch(3).depth_map
FILES = ["a.tiff", "b.tiff", "c.tiff"]


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many clouds were looked at, each time."""
    sizes: list[int] = []

    def counted(xyz: torch.Tensor) -> torch.Tensor:
        sizes.append(len(xyz))
        return foreground_mask(xyz)

    monkeypatch.setattr(foregrounds, "foreground_mask", counted)
    return sizes


def test_what_does_not_change_is_looked_at_once(looked: list[int]) -> None:
    known = Foregrounds()
    expected = foreground_mask(XYZ)
    assert torch.equal(known.of(XYZ, FILES), expected)
    order = [2, 0, 0]
    assert torch.equal(known.of(XYZ[order].clone(), [FILES[i] for i in order]), expected[order])
    assert looked == [1, 1, 1]


def test_a_changed_cloud_of_the_same_file_is_looked_at(looked: list[int]) -> None:
    known = Foregrounds()
    known.of(XYZ, FILES)
    dented = XYZ[:1].clone()
    dented[..., 20:28, 20:28] = 0
    for _ in range(2):
        assert torch.equal(known.of(dented, FILES[:1]), foreground_mask(dented))
    assert torch.equal(known.of(XYZ[:1], FILES[:1]), foreground_mask(XYZ[:1]))
    assert looked == [1] * 5


def test_what_is_kept_is_a_copy() -> None:
    known, xyz = Foregrounds(), XYZ[:1].clone()
    known.of(xyz, FILES[:1])
    xyz[..., 20:28, 20:28] = 0
    assert torch.equal(known.of(xyz, FILES[:1]), foreground_mask(xyz))


def test_without_names_or_room_nothing_is_kept(looked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    known = Foregrounds()
    known.of(XYZ)
    known.of(XYZ)
    assert looked == [3, 3]
    monkeypatch.setattr(foregrounds, "_MOST", 1)
    known.of(XYZ[:2], FILES[:2])
    known.of(XYZ[:2], FILES[:2])
    assert looked[2:] == [1, 1, 1]
