# SPDX-License-Identifier: Apache-2.0
"""Distances against those of every pair, one by one."""

import pytest
import torch

from anomalib_clip3dad.models.clip3d_ad_plus.memory import Patches, ShotMemory, left_out, smallest


def patches(shots: list[int], places: list[tuple[float, float]] | None = None) -> Patches:
    count = len(shots)
    place = torch.tensor(places) if places else torch.zeros(count, 2)
    return Patches(torch.randn(count, 5), torch.rand(count), torch.tensor(shots), place)


def test_the_nearest_patch_of_the_bank() -> None:
    bank, asked = patches([0] * 1030), torch.randn(407, 5)  # more than are searched together
    memory = ShotMemory()
    memory.fit(bank)
    distances, missing = memory(asked)
    every = (asked[:, None] - bank.features[None]).norm(dim=2)
    torch.testing.assert_close(distances, every.min(dim=1).values, atol=1e-4, rtol=0)
    four, places = every.double().square().sort(dim=1)
    four, shares = four[:, :4], bank.missing[places[:, :4]].double()
    weights = ((four[:, :1] - four) / (0.05 * four[:, :1] + 1e-6)).exp()
    expected = (weights * shares).sum(dim=1) / weights.sum(dim=1)
    torch.testing.assert_close(missing, expected.float(), atol=1e-4, rtol=0)


def test_the_share_of_what_is_as_near_counts_as_much() -> None:
    bank = Patches(
        torch.tensor([[1.0], [-1.0], [9.0]]), torch.tensor([0.2, 0.6, 1.0]), torch.zeros(3), torch.zeros(3, 2)
    )
    memory = ShotMemory()
    memory.fit(bank)
    distances, missing = memory(torch.tensor([[0.0], [1.0]]))
    torch.testing.assert_close(distances, torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(missing, torch.tensor([0.4, 0.2]), atol=1e-5, rtol=0)


def test_a_shot_is_compared_with_the_others_alone() -> None:
    bank = patches([0, 0, 1, 1, 2])
    asked = bank.rows(bank.shot == 1)
    distances, _ = left_out(asked, bank)
    others = bank.features[bank.shot != 1]
    expected = torch.stack([(patch - others).norm(dim=1).min() for patch in asked.features])
    torch.testing.assert_close(distances, expected, atol=1e-4, rtol=0)


def test_the_only_shot_is_compared_with_other_places_of_itself() -> None:
    bank = patches([0, 0, 0], [(0.0, 0.0), (3.0, 0.0), (4.0, 0.0)])
    distances, _ = left_out(bank.rows(torch.tensor([True, False, False])), bank)
    torch.testing.assert_close(distances[0], (bank.features[0] - bank.features[2]).norm(), atol=1e-4, rtol=0)


def test_the_only_place_of_the_only_shot_has_nothing_against_it() -> None:
    bank = patches([0, 0], [(0.0, 0.0), (1.0, 0.0)])
    distances, missing = left_out(bank, bank)
    torch.testing.assert_close(distances, torch.zeros(2), atol=1e-5, rtol=0)
    assert missing.isfinite().all()


def test_a_checkpoint_holds_a_bank_of_any_size() -> None:
    memory, other = ShotMemory(), ShotMemory()
    memory.fit(patches([0] * 4))
    other.load_state_dict(memory.state_dict())
    asked = torch.randn(3, 5)
    assert all(torch.equal(one, two) for one, two in zip(memory(asked), other(asked), strict=True))


@pytest.mark.parametrize("columns", [5, 512, 576, 700, 5120])
def test_the_smallest_are_those_of_topk(columns: int) -> None:
    values = torch.randn(9, columns)
    values[0, -1] = values[1, 0] = -9.0  # in the last block, and in the first
    values[2, columns // 2 : columns // 2 + 3] = torch.tensor([-7.0, -9.0, -8.0])  # several in one block
    values[3, 2:] = torch.inf
    found, places = smallest(values, 4)
    expected = values.topk(4, dim=1, largest=False).values
    assert torch.equal(found, expected)
    assert torch.equal(values.gather(1, places), expected)
