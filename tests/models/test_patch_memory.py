# SPDX-License-Identifier: Apache-2.0
"""Scores against anomalib's PatchCore as it stands."""

import numpy as np
import pytest
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import nn

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.patch_memory import PatchMemory


class Given(nn.Module):
    """Stands where PatchCore has its backbone and gives ready features."""

    def __init__(self, embedding: torch.Tensor) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, _: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"given": self.embedding}


def patchcore(num_neighbors: int, ratio: float, shots: list[torch.Tensor], test: torch.Tensor, size: int) -> tuple:
    """Bank and answer of anomalib's own model for features (B, C, h, w) from elsewhere."""
    model = PatchcoreModel(["layer1"], "resnet18", pre_trained=False, num_neighbors=num_neighbors)
    model.layers, model.feature_pooler = ["given"], nn.Identity()
    picture = torch.zeros(1, 3, size, size)
    model.train()
    for embedding in shots:
        model.feature_extractor = Given(embedding)
        model(picture)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    model.subsample_embedding(ratio)
    model.eval().feature_extractor = Given(test)
    answer = model(picture)
    return model.memory_bank, answer.pred_score, answer.anomaly_map[:, 0]


@pytest.mark.parametrize("channels", [33, 400])
@pytest.mark.parametrize(("shots", "ratio", "num_neighbors"), [(1, 0.1, 3), (2, 0.1, 1), (4, 0.5, 9), (1, 0.06, 100)])
def test_same_features_same_scores_as_patchcore(channels: int, shots: int, ratio: float, num_neighbors: int) -> None:
    """To the bit, with banks smaller than the number of neighbours among them."""
    seen = [torch.randn(1, channels, 6, 6) for _ in range(shots)]
    test = torch.randn(2, channels, 6, 6)
    bank, pred_score, anomaly_map = patchcore(num_neighbors, ratio, seen, test, 48)
    memory = PatchMemory(num_neighbors=num_neighbors)
    for embedding in seen:
        memory.remember(embedding)
    memory.choose_coreset(ratio, seed=7)
    found = memory(test, (48, 48))
    assert torch.equal(memory.memory_bank, bank)
    assert torch.equal(found.pred_score, pred_score)
    assert torch.equal(found.anomaly_map, anomaly_map)


def test_the_coreset_is_that_of_its_seed_and_disturbs_nobody() -> None:
    embedding = torch.randn(1, 400, 6, 6)

    def bank(seed: int) -> torch.Tensor:
        memory = PatchMemory()
        memory.remember(embedding)
        memory.choose_coreset(0.2, seed)
        return memory.memory_bank

    states = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    first = bank(3)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    torch.rand(5)
    assert torch.equal(bank(3), first)
    assert not torch.equal(bank(4), first)


def test_empty_banks_are_refused() -> None:
    memory = PatchMemory()
    with pytest.raises(InputError, match="the memory bank is empty; train"):
        memory(torch.zeros(1, 4, 2, 2), (16, 16))
    memory.remember(torch.zeros(1, 4, 2, 2))
    with pytest.raises(InputError, match=r"coreset_sampling_ratio=0.1: nothing would be left of 4 patches"):
        memory.choose_coreset(0.1, seed=0)


def test_three_neighbours_unless_asked_for_others() -> None:
    scores = []
    for memory in (PatchMemory(), PatchMemory(3)):
        memory.memory_bank = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
        scores.append(memory(torch.ones(2, 4, 3, 3), (48, 48)).pred_score)
    assert torch.equal(*scores)


def test_one_patch_is_a_bank_and_what_was_remembered_is_used_once() -> None:
    memory = PatchMemory()
    with pytest.raises(InputError, match=r"nothing would be left of 0 patches"):
        memory.choose_coreset(1.0, seed=0)
    memory.remember(torch.rand(1, 3, 2, 2))
    memory.choose_coreset(0.25, seed=0)
    assert memory.memory_bank.shape == (1, 3)
    with pytest.raises(InputError, match=r"nothing would be left of 0 patches"):
        memory.choose_coreset(1.0, seed=0)
