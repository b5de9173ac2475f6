# SPDX-License-Identifier: Apache-2.0
import torch

from anomalib_clip3dad.models.lsfa.queue import FeatureQueue


def numbers(*values: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(values, dtype=torch.float32)[:, None], torch.tensor(values)


def test_the_first_in_is_the_first_out() -> None:
    queue, fills = FeatureQueue(4), []
    for values in ((1, 2, 3), (4,), (5, 6), (7, 8, 9, 10, 11)):
        queue.push(*numbers(*values))
        fills.append((queue.ids.tolist(), queue.is_full))
        assert queue.features[:, 0].tolist() == queue.ids.tolist()
    assert fills == [([1, 2, 3], False), ([1, 2, 3, 4], True), ([3, 4, 5, 6], True), ([8, 9, 10, 11], True)]


def test_what_it_holds_is_detached_and_its_own() -> None:
    queue, (features, ids) = FeatureQueue(2), numbers(1, 2, 3)
    queue.push(features.requires_grad_(), ids)
    assert not queue.features.requires_grad
    features.data.zero_()
    assert queue.features[:, 0].tolist() == [2, 3]
