# SPDX-License-Identifier: Apache-2.0
"""Scales and scores worked out by hand on a grid of two by two patches."""

import math

import pytest
import torch
from torch import Tensor

from anomalib_clip3dad.data import EVIDENCE_KINDS
from anomalib_clip3dad.models.clip3d_ad_plus.evidence import Evidence, EvidenceScale, Flawed, part_top

WHOLE = torch.ones(1, 2, 2)


def evidence(
    kind: str, values: list[list[float]], words: tuple[float, float] = (0.0, 0.0), part: Tensor = WHOLE
) -> Evidence:
    """One sample that shows one kind alone."""
    maps = torch.zeros(1, len(EVIDENCE_KINDS), 2, 2)
    maps[0, EVIDENCE_KINDS.index(kind)] = torch.tensor(values)
    return Evidence(maps, torch.tensor([words]), part)


def joined(*samples: Evidence) -> Evidence:
    return Evidence.joined(samples)


def plain(shots: Evidence) -> Flawed:
    """An anomaly on the first shot that changes nothing but two patches of every map, by far, and the words."""
    maps, words = shots.maps[:1].clone(), shots.words[:1] + 1000
    maps[:, :, 1] += 1000
    mask = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    return Flawed(Evidence(maps, words, shots.part[:1]), torch.tensor([0]), torch.tensor([0]), mask)


def fitted(shots: Evidence, turned: Tensor | None = None, flawed: Flawed | None = None) -> EvidenceScale:
    """Scales of the shots; weights of 1, unless anomalies are given."""
    scale = EvidenceScale(2)
    scale.fit(
        shots, torch.empty(0, 2) if turned is None else turned, torch.zeros(len(EVIDENCE_KINDS)), flawed or plain(shots)
    )
    return scale


def test_a_map_is_measured_by_what_the_shots_show_at_most() -> None:
    """Median 2 of the eight patches, largest three of the shots 2 + 4 + 6 and 2 + 2 + 5: above it 2 and 1, so 1.5."""
    shots = joined(evidence("colour", [[1, 2], [4, 6]]), evidence("colour", [[0, 2], [2, 5]]))
    scale = fitted(shots)
    asked = evidence("colour", [[0, 2], [5, 8]])
    expected = torch.tensor([[0, 0], [3 / 1.5, 6 / 1.5]])
    torch.testing.assert_close(scale.scaled(asked)[0, EVIDENCE_KINDS.index("colour")], expected)
    found = scale(asked)
    torch.testing.assert_close(found.anomaly_map[0], expected / (1 + expected))
    assert not found.shares[0, EVIDENCE_KINDS.index("words")].any()


def test_what_is_off_the_part_shows_nothing() -> None:
    scale = fitted(evidence("colour", [[1, 2], [4, 6]]))
    half = evidence("colour", [[9, 9], [9, 9]], part=torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]))
    assert (scale.scaled(half)[0, EVIDENCE_KINDS.index("colour")] > 0).tolist() == [[True, False], [True, False]]


def test_the_score_adds_how_many_deviations_each_piece_lies_above_the_shots() -> None:
    words = torch.tensor([[0.0, 1.0], [2.0, 1.0]])  # of the shots: mean 1, variance 1; mean 1, variance 0
    shots = joined(
        evidence("colour", [[0, 0], [3, 3]], tuple(words[0])), evidence("colour", [[0, 0], [3, 3]], tuple(words[1]))
    )
    scale = fitted(shots)
    found = scale(evidence("colour", [[0, 0], [3, 3]], (1.0, 5.0)))
    softplus = [math.log(2)] * 4  # as the shots: each kind of map
    softplus += [math.log(2), math.log1p(math.exp((5 - 1) / 1.0))]
    total = sum(softplus)
    assert found.score.item() == pytest.approx(total / (1 + total), abs=1e-5)


def test_words_that_turning_changes_count_less() -> None:
    shots = evidence("colour", [[0, 0], [3, 3]])
    steady, shaky = fitted(shots), fitted(shots, torch.tensor([[4.0, 0.0], [-4.0, 0.0]]))
    asked = evidence("colour", [[0, 0], [3, 3]], (3.0, 0.0))
    assert shaky(asked).score < steady(asked).score
    variance = torch.tensor([0.0, 4.0, -4.0]).var(correction=0)
    torch.testing.assert_close(shaky.deviation[len(EVIDENCE_KINDS)], (variance + 1).sqrt())


def test_evidence_that_differs_among_the_shots_counts_less() -> None:
    alike = joined(evidence("geometry", [[0, 0], [2, 2]]), evidence("geometry", [[0, 0], [2, 2]]))
    unlike = joined(evidence("geometry", [[0, 0], [0, 0]]), evidence("geometry", [[0, 0], [4, 4]]))
    place = EVIDENCE_KINDS.index("geometry")
    assert fitted(unlike).deviation[place] > fitted(alike).deviation[place]


def test_shots_without_any_evidence_leave_finite_numbers() -> None:
    found = fitted(evidence("missing", [[0, 0], [0, 0]]))(evidence("missing", [[0, 0], [0, 1]]))
    assert found.score.isfinite().all()
    assert found.anomaly_map.isfinite().all()
    assert found.anomaly_map[0, 1, 1] > 0.9


@pytest.mark.parametrize(
    ("part", "expected"),
    [([[1, 1], [1, 1]], 3.0), ([[1, 1], [1, 0.4]], 2.0), ([[0, 0], [0, 0]], 3.0), ([[0, 0.6], [0, 0]], 2.0)],
)
def test_the_score_of_a_map_is_the_mean_of_the_largest_on_the_part(part: list[list[float]], expected: float) -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert part_top(maps, torch.tensor([part])).item() == pytest.approx(expected)


def test_evidence_counts_by_how_far_anomalies_lift_it() -> None:
    """Mean lift over the deviation of lifts and shots together, for each kind of anomaly; the larger counts."""
    shots = joined(evidence("colour", [[0, 0], [0, 0]], (0.0, 3.0)), evidence("colour", [[0, 6], [6, 6]], (0.0, 5.0)))
    scale = fitted(shots)
    lifted = (scale.spread[EVIDENCE_KINDS.index("colour")] * 1.0).item()
    faulty = [
        evidence("colour", [[0, 0], [lifted, lifted]], (0.5, 4.0)),
        evidence("colour", [[0, 0], [0, 0]], (-0.5, 4.0)),
    ]
    mask = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]] * 2)
    flawed = Flawed(joined(*faulty), torch.tensor([0, 0]), torch.tensor([0, 1]), mask)
    weighed = fitted(shots, flawed=flawed)
    place = EVIDENCE_KINDS.index("colour")
    top = weighed._found(shots)[:, place]
    lift = weighed._found(faulty[0])[0, place] - top[0]
    expected = [lift / top.var(correction=0).sqrt(), 0.5 / 1e-3, 1 / 1.0]  # colour; the first kind's words; both kinds'
    found = weighed.score_weight[[place, len(EVIDENCE_KINDS), len(EVIDENCE_KINDS) + 1]]
    torch.testing.assert_close(found, torch.tensor(expected).clamp(0, 1), atol=1e-3, rtol=0)
    assert not weighed.score_weight[EVIDENCE_KINDS.index("geometry")]  # nothing lifts it


def test_a_map_counts_by_what_it_shows_in_anomalies_and_not_beside_them() -> None:
    shots = evidence("colour", [[0, 0], [3, 3]])
    seen = evidence("colour", [[0, 0], [9, 9]])
    blind = evidence("geometry", [[9, 9], [9, 9]])
    mask = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    one = Flawed(Evidence(seen.maps + blind.maps, seen.words, WHOLE), torch.tensor([0]), torch.tensor([0]), mask)
    weights = fitted(shots, flawed=one).map_weight
    assert weights[EVIDENCE_KINDS.index("colour")] == 1
    assert weights[EVIDENCE_KINDS.index("geometry")] == 0


def test_score_and_map_count_each_kind_by_its_own_weight() -> None:
    """As the only shot: median 0, unit (3 + 3 + 0) / 3 = 2; half of log 2 is the score, a quarter of 3 / 2 the map."""
    scale = fitted(evidence("colour", [[0, 0], [3, 3]]))
    place = EVIDENCE_KINDS.index("colour")
    scale.score_weight = torch.zeros(len(EVIDENCE_KINDS) + 2)
    scale.score_weight[place] = 0.5
    scale.map_weight = torch.full((len(EVIDENCE_KINDS),), 0.25)
    found = scale(evidence("colour", [[0, 0], [3, 3]]))
    shown = torch.tensor([[0.0, 0.0], [0.25 * 3 / 2, 0.25 * 3 / 2]])
    torch.testing.assert_close(found.shares[0, place], shown)
    torch.testing.assert_close(found.anomaly_map[0], shown / (1 + shown))
    score = 0.5 * math.log(2)
    assert found.score.item() == pytest.approx(score / (1 + score), abs=1e-6)


@pytest.mark.parametrize("shots", [1, 4])
def test_more_shots_that_agree_are_believed_more(shots: int) -> None:
    """Shots without any difference: half of the unit over the root of their number remains."""
    scale = fitted(joined(*[evidence("colour", [[0, 0], [3, 3]])] * shots))
    torch.testing.assert_close(
        scale.deviation[: len(EVIDENCE_KINDS)], torch.full((len(EVIDENCE_KINDS),), 0.5 / math.sqrt(shots))
    )
