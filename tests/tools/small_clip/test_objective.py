# SPDX-License-Identifier: Apache-2.0
import math
from typing import Any

import open_clip
import pytest
import torch
from small_clip import objective
from small_clip.objective import Embeddings, embed, losses, window_of_positions
from small_clip.pairs import Pairs
from torch.nn import functional


@pytest.fixture
def clip(tiny_clip: str) -> Any:
    model = open_clip.create_model(tiny_clip).eval()
    model.visual.output_tokens = True
    return model


def captions(count: int) -> torch.Tensor:
    return torch.stack([torch.randint(1, 400, (count, 77)).index_fill(1, torch.tensor([9]), 49407) for _ in range(2)])


@torch.no_grad()
def test_whole_images_are_embedded_as_open_clip_does(clip: Any) -> None:
    images, texts = torch.rand(2, 3, 3, 48, 48), captions(3)
    found = embed(clip, images, texts, (0, 0))
    mean, std = (torch.tensor(v)[:, None, None] for v in (clip.visual.image_mean, clip.visual.image_std))
    clip.visual.output_tokens = False
    for state in range(2):
        expected = clip.encode_image((images[state] - mean) / std, normalize=True)
        torch.testing.assert_close(found.image[state], expected)
        torch.testing.assert_close(found.text[state], clip.encode_text(texts[state], normalize=True))
    assert found.patches.shape == (2, 3, 9, 24)
    torch.testing.assert_close(found.patches.norm(dim=-1), torch.ones(2, 3, 9))


def test_a_window_is_a_square_of_the_grid(clip: Any) -> None:
    positions = clip.visual.positional_embedding
    window = window_of_positions(clip.visual, 2, 1, 0)
    torch.testing.assert_close(window, positions[[0, 1 + 3, 1 + 4, 1 + 6, 1 + 7]])
    assert torch.equal(window_of_positions(clip.visual, 3, 0, 0), positions)


def test_losses_are_those_of_a_loop() -> None:
    torch.manual_seed(1)
    count, side = 3, 3
    image, text = (functional.normalize(torch.randn(2, count, 5), dim=-1) for _ in range(2))
    patches = functional.normalize(torch.randn(2, count, side * side, 5), dim=-1)
    masks = torch.zeros(count, 12, 12, dtype=torch.bool)
    masks[0, :4, :4] = True  # all of the first patch
    masks[1, 10, 10:] = True  # 2 of 16 pixels of the last: half of what counts in full
    masks[2, :, 4:] = True  # nobody could see it
    pairs = Pairs(torch.empty(0), masks, torch.empty(0), torch.tensor([True, True, False]))
    flawless, faulty = (functional.normalize(text[state].mean(0), dim=0) for state in (0, 1))

    def share(embedding: torch.Tensor) -> float:
        good, bad = (math.exp((embedding @ side).item() / 0.07) for side in (flawless, faulty))
        return bad / (good + bad)

    def told_apart(p: float, state: int) -> float:
        return -math.log(p if state else 1 - p)

    def in_order(one: float, other: float) -> float:
        """-log sigmoid of the difference of the logits."""
        return math.log(1 + math.exp(math.log(one / (1 - one)) - math.log(other / (1 - other))))

    words = [told_apart(share(text[s, i]), s) for s in (0, 1) for i in range(count)]
    seen = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    whole = [told_apart(share(image[s, i]), s) for s, i in seen]
    order = [in_order(share(image[0, i]), share(image[1, i])) for i in (0, 1)]
    marked = {(0, 0): 1.0, (1, 8): 0.5}
    clean = [share(patches[s, i, j]) for s, i in seen for j in range(9) if s == 0 or (i, j) not in marked]
    spoiled = [(weight, share(patches[0, i, j]), share(patches[1, i, j])) for (i, j), weight in marked.items()]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    patch = mean([told_apart(p, 0) for p in clean])
    patch += objective.FAULTY_WEIGHT * sum(w * told_apart(p, 1) for w, _, p in spoiled) / 1.5
    patch += sum(w * in_order(one, other) for w, one, other in spoiled) / 1.5

    logits = 10 * image.flatten(0, 1) @ text.flatten(0, 1).T
    both = functional.cross_entropy(logits, torch.arange(6)) + functional.cross_entropy(logits.T, torch.arange(6))
    found = losses(Embeddings(image, patches, text), pairs, torch.tensor(10.0), open_clip.ClipLoss())
    expected = [both.item() / 2, mean(words), mean(whole) + 0.5 * mean(order), patch]
    assert [value.item() for value in found] == pytest.approx(expected, rel=1e-4)
    weights = [objective.CONTRASTIVE_WEIGHT, objective.TEXT_WEIGHT, objective.IMAGE_WEIGHT, 1]
    total = sum(weight * value for weight, value in zip(weights, expected, strict=True))
    assert found.total().item() == pytest.approx(total, rel=1e-4)
