# SPDX-License-Identifier: Apache-2.0
import torch

from anomalib_clip3dad.seeding import drawing_from, to_device


def drawn(*seeds: int) -> list[float]:
    with drawing_from(*seeds):
        return torch.rand(4).tolist()


def test_all_seeds_and_their_order_matter() -> None:
    kinds = [(0, 0), (0, 1), (1, 0), (1, 1), (-1, 0), (0, -1), (2**62, 3)]
    found = [tuple(drawn(*seeds)) for seeds in kinds]
    assert len(set(found)) == len(kinds)
    assert found == [tuple(drawn(*seeds)) for seeds in kinds]


def test_nobody_elses_draws_change() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4).tolist()
    torch.manual_seed(3)
    drawn(7)
    assert torch.rand(4).tolist() == expected


def test_a_tensor_that_is_there_stays() -> None:
    values = torch.rand(2)
    assert to_device(values, torch.zeros(1)) is values
