# SPDX-License-Identifier: Apache-2.0
import copy
import math
from typing import Any

import open_clip
import pytest
import torch
from small_clip import objective
from small_clip.feed import Seen
from small_clip.objective import Embeddings, embed, encode_text, losses, window_of_positions
from torch.nn import Parameter, functional


@pytest.fixture(scope="module")
def clip(stem_clip: str) -> Any:
    torch.manual_seed(3)
    model = open_clip.create_model(stem_clip).eval()
    for position in (model.visual.trunk.cls_token, model.visual.trunk.pos_embed):
        torch.nn.init.normal_(position)  # timm's own are too small to be missed
    return model


def captions(lengths: list[int]) -> torch.Tensor:
    """A start mark, arbitrary tokens, an end mark, nothing: `lengths` with the marks."""
    tokens = torch.randint(1, 49406, (len(lengths), 32))
    for row, length in zip(tokens, lengths, strict=True):
        row[0], row[length - 1], row[length:] = 49406, 49407, 0
    return tokens


@torch.no_grad()
def test_captions_are_encoded_as_open_clip_does(clip: Any) -> None:
    for lengths in ([2, 5, 11, 7], [32, 4], [3]):
        texts = captions(lengths)
        torch.testing.assert_close(encode_text(clip, texts), clip.encode_text(texts))


@torch.no_grad()
def test_whole_images_are_embedded_as_open_clip_does(clip: Any) -> None:
    images, texts = torch.randn(2, 3, 3, 48, 48), captions([4, 9, 5, 6, 3, 8]).view(2, 3, 32)
    visual = clip.visual
    features = torch.stack([visual.trunk.patch_embed.stem(images[state]) for state in range(2)])
    found = embed(clip, features, texts)
    for state in range(2):
        torch.testing.assert_close(found.image[state], clip.encode_image(images[state], normalize=True))
        torch.testing.assert_close(found.text[state], clip.encode_text(texts[state], normalize=True))
        patches = visual.head(visual.trunk.forward_features(images[state]))[:, 1:]
        torch.testing.assert_close(found.patches[state], patches / patches.norm(dim=-1, keepdim=True))


@torch.no_grad()
def test_crops_are_embedded_at_their_place_of_the_grid(clip: Any) -> None:
    images = torch.randn(2, 1, 3, 32, 32)
    features = torch.stack([clip.visual.trunk.patch_embed.stem(side) for side in images])
    found = embed(clip, features, captions([3, 3]).view(2, 1, 32), (1, 0))
    smaller = copy.deepcopy(clip)  # the second and third row, the first and second column of 3 x 3
    positions = clip.visual.trunk.pos_embed[:, [0, 1 + 3, 1 + 4, 1 + 6, 1 + 7]]
    smaller.visual.trunk.pos_embed = Parameter(positions)
    for state in range(2):
        torch.testing.assert_close(found.image[state], smaller.encode_image(images[state], normalize=True))


def test_a_window_is_a_square_of_the_grid(clip: Any) -> None:
    trunk = clip.visual.trunk
    positions = trunk.pos_embed[0]
    assert torch.equal(window_of_positions(trunk, 2, 1, 0), positions[[0, 1 + 3, 1 + 4, 1 + 6, 1 + 7]])
    assert torch.equal(window_of_positions(trunk, 2, 0, 1), positions[[0, 1 + 1, 1 + 2, 1 + 4, 1 + 5]])
    assert torch.equal(window_of_positions(trunk, 1, 1, 2), positions[[0, 1 + 5]])
    assert torch.equal(window_of_positions(trunk, 3, 0, 0), positions)


def test_losses_are_those_of_a_loop() -> None:
    torch.manual_seed(1)
    count, side = 3, 3
    image, text = (functional.normalize(torch.randn(2, count, 5), dim=-1) for _ in range(2))
    patches = functional.normalize(torch.randn(2, count, side * side, 5), dim=-1)
    masks = torch.zeros(count, 12, 12, dtype=torch.bool)
    masks[0, :4, :4] = True  # all of the first patch
    masks[1, 10, 10:] = True  # 2 of 16 pixels of the last: half of what counts in full
    masks[2, :, 4:] = True  # nobody could see it
    pairs = Seen(torch.empty(0), masks, torch.empty(0), torch.tensor([True, True, False]), (0, 0))
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
