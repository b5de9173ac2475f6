# SPDX-License-Identifier: Apache-2.0
import open_clip
import torch

from anomalib_clip3dad.clip import embed_prompts, load_clip


def test_mean_of_the_normalised_normalised_again(tiny_clip: str) -> None:
    clip, tokenizer = load_clip(tiny_clip, None), open_clip.get_tokenizer(tiny_clip)
    # more prompts than fit in one pass, so that the passes have to agree
    sets = [f"a photo of {i} flawless tires." for i in range(70)], ["a damaged tire.", "a tire with a hole."]
    embedded = embed_prompts(clip, tokenizer, *sets)
    for row, prompts in zip(embedded, sets, strict=True):
        total = torch.zeros(24)
        for prompt in prompts:
            with torch.no_grad():
                one = clip.encode_text(tokenizer([prompt]))[0]
            total += one / one.norm()
        torch.testing.assert_close(row, total / total.norm())
