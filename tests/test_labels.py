# SPDX-License-Identifier: Apache-2.0
import pytest

from anomalib_clip3dad.labels import label_of, summary


@pytest.mark.parametrize(("faulty", "label"), [(True, "faulty"), (False, "good"), (None, "")])
def test_labels(faulty: bool | None, label: str) -> None:
    assert label_of(faulty) == label


def test_kinds_are_counted_where_they_are_known() -> None:
    labels = ["faulty", "good", "faulty", "faulty", "good"]
    assert list(summary(labels, ["hole", "hole", "good", "", "good"])) == [
        "3 of 5 samples labelled faulty.",
        "  good: 1 of 2",
        "  hole: 1 of 2",
    ]
    assert list(summary(labels)) == ["3 of 5 samples labelled faulty."]


def test_without_a_threshold_nothing_is_counted() -> None:
    assert list(summary(["", ""], ["hole", "good"])) == ["2 samples scored; without a threshold there are no labels."]
