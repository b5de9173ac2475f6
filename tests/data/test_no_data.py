# SPDX-License-Identifier: Apache-2.0
"""Depths whose measured ones are known, as sensors write them."""

from collections.abc import Callable

import numpy as np
import pytest

from anomalib_clip3dad.data.no_data import measured_depths, seen_from_the_camera
from anomalib_clip3dad.data.notes import collected
from anomalib_clip3dad.errors import InputError

PART = (500 + np.arange(400).reshape(20, 20) / 7).astype(np.float32)  # millimetres, no value twice


def measured(depth: np.ndarray, metres: float = 1e-3) -> tuple[np.ndarray, list[str]]:
    with collected() as notes:
        known = measured_depths("a.npy", depth, metres, "set the unit")
    return known, [message for _, message in notes]


def changed(value: float, places: int = 50, kind: type = np.float32) -> np.ndarray:
    depth = PART.astype(kind)
    depth.flat[:places] = value
    return depth


@pytest.mark.parametrize(
    ("depth", "said"),
    [
        (changed(0), None),
        (changed(np.nan), None),
        (changed(-np.inf), None),
        (changed(65535, kind=np.uint16), "the value 65535 (65.535 m, 50 times) stands for no data"),
        (changed(4095), "the value 4095 (4.095 m, 50 times) stands for no data"),  # 12 bit in a file of floats
        (changed(1), "the value 1 (0.001 m, 50 times) stands for no data"),
        (changed(-1), "the negative value -1 (50 times) stands for no data"),
    ],
)
def test_what_stands_for_no_data(depth: np.ndarray, said: str | None) -> None:
    known, notes = measured(depth)
    assert np.array_equal(known, np.arange(400).reshape(20, 20) >= 50)
    assert len(notes) == (said is not None)
    assert all(note.startswith(said or "") for note in notes)


@pytest.mark.parametrize("value", [565, 499, 560])
def test_a_flat_place_of_the_part_is_measured(value: float) -> None:
    known, _ = measured(changed(value))
    assert known.all()


def test_two_constants_are_both_found() -> None:
    depth = changed(9999)
    depth.flat[:20] = 30000
    known, notes = measured(depth)
    assert np.count_nonzero(known) == 350
    assert len(notes) == 2


def test_a_single_far_point_is_no_measurement() -> None:
    known, notes = measured(changed(21_000, places=1))
    assert np.count_nonzero(~known) == 1
    assert notes == ["1 point lies over 20 m away; counted as not measured"]


REFUSED: dict[str, tuple[Callable[[], np.ndarray], float, str]] = {
    "nothing": (lambda: PART * 0, 1e-3, "no measured point"),
    "metres read as millimetres": (lambda: PART / 1000, 1e-3, "nearer than 0.529 mm, as if a unit counted twice"),
    "millimetres read as metres": (lambda: PART, 1.0, "over 528 m away; set the unit"),
    "backwards": (lambda: -PART, 1e-3, r"all points lie behind the camera \(z < 0\)"),
    "centred": (lambda: PART - 520, 1e-3, r"\d\d% of the points lie behind the camera"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_true_is_refused(case: str) -> None:
    make, metres, message = REFUSED[case]
    with pytest.raises(InputError, match=f"a.npy: .*{message}"):
        measured(make(), metres)


def test_points_beside_the_view_of_a_camera() -> None:
    points = np.stack([0 * PART, 0 * PART, PART], axis=-1)
    points[0, :4, 0] = 11 * PART[0, :4]  # 85 degrees from the line of sight
    with collected() as notes:
        known = seen_from_the_camera("a.npy", points, PART > 0)
    assert np.argwhere(~known).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert notes == [("a.npy", "4 points lie far beside all that a camera sees; counted as not measured")]
    points[:2, :, 0] = 11 * PART[:2]  # a tenth of them
    with pytest.raises(InputError, match="10% of the points lie over 84 degrees beside the line of sight"):
        seen_from_the_camera("a.npy", points, PART > 0)
