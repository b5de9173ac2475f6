# SPDX-License-Identifier: Apache-2.0
"""The refinement against the formula."""

import math

import torch

from anomalib_clip3dad.clip.streams import Stream, normalised
from anomalib_clip3dad.models.gs_clip.refinement import SynergisticRefinement


def streams() -> tuple[Stream, Stream]:
    return Stream(torch.randn(2, 8), torch.randn(2, 5, 8)), Stream(torch.randn(2, 8), torch.randn(2, 5, 8))


def test_it_starts_at_the_rendered_stream() -> None:
    render, depth = streams()
    refined = SynergisticRefinement(8)(render, depth)
    for found, expected in zip(refined, normalised(render), strict=True):
        torch.testing.assert_close(found, expected)


def test_against_the_formula_row_by_row() -> None:
    render, depth = streams()
    module = SynergisticRefinement(8)
    torch.nn.init.normal_(module.join.weight)
    refined = module(render, depth)
    for sample in range(2):
        tokens = []
        for each in (render, depth):
            rows = torch.cat([each.cls[sample][None], each.patches[sample]])
            tokens.append(torch.stack([row / row.norm() for row in rows]))
        seen, felt = tokens
        likeness = torch.tensor(
            [[float(module.from_render(a) @ module.from_depth(b)) / math.sqrt(8) for b in felt] for a in seen]
        )
        for row in range(6):
            one = sum(w * f for w, f in zip(likeness[row].softmax(0), felt, strict=True))
            other = sum(w * s for w, s in zip(likeness[:, row].softmax(0), seen, strict=True))
            expected = seen[row] + module.join(torch.cat([one, other]))
            found = refined.cls[sample] if row == 0 else refined.patches[sample, row - 1]
            torch.testing.assert_close(found, expected / expected.norm())


def test_every_part_learns_and_changes_local_tokens_too() -> None:
    """The authors' attention over single tokens is always 1, so that both maps of keys learn nothing."""
    module = SynergisticRefinement(8)
    torch.nn.init.normal_(module.join.weight)
    refined = module(*streams())
    (refined.cls * torch.randn(2, 8)).sum().backward(retain_graph=True)
    for name, value in module.named_parameters():
        # a constant added to all keys changes no softmax over them, but the other direction's
        assert value.grad is not None, name
        assert value.grad.any(), name
    assert refined.patches.requires_grad
