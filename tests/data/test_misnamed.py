# SPDX-License-Identifier: Apache-2.0
import pytest

from anomalib_clip3dad.data.misnamed import pattern_between


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        (["a_rgb", "b_rgb", "c_rgb"], ["a_depth", "b_depth", "c_depth"], "names end in _rgb here and _depth there"),
        (["rgb_a", "rgb_b"], ["a", "b"], "names begin with rgb_ here and nothing there"),
        (["img_a_l", "img_b_l"], ["pc_a", "pc_b"], "names begin with img_ here and pc_ there and end in _l here"),
        (["Part_A", "Part_B"], ["part_a", "part_b"], "names differ in upper and lower case"),
        (["scan 7 of 12"], ["scan_7_of_12"], "names hold the same numbers, written differently"),
        (["1", "2", "3"], ["0", "1", "2"], "numbers run from 1 here and from 0 there"),
        (["x1", "x2"], ["y7", "y90"], ""),
        (["red", "green"], ["left", "right"], ""),
        ([], ["a"], ""),
    ],
)
def test_what_the_names_have_in_common(ours: list[str], theirs: list[str], found: str) -> None:
    assert pattern_between(ours, theirs, ours, theirs).startswith(found)
    assert bool(pattern_between(ours, theirs, ours, theirs)) == bool(found)


def test_a_few_strangers_hide_nothing() -> None:
    """Nine of ten fit."""
    ours, theirs = [f"{n}_rgb" for n in "abcdefghij"], [f"{n}_xyz" for n in "abcdefghik"]
    assert pattern_between(ours, theirs, ours, theirs) == "names end in _rgb here and _xyz there"
    theirs = [f"{n}_xyz" for n in "abcdeklmno"]  # half of them do not
    assert not pattern_between(ours, theirs, ours, theirs)
