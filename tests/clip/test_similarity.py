# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from anomalib_clip3dad.clip.similarity import anomalous_share, enlarge, patch_shares


def test_equations_9_and_10() -> None:
    """Patch by patch."""
    features, text = torch.randn(2, 6, 5), torch.randn(2, 5)
    shares = patch_shares(features, text)
    assert torch.equal(anomalous_share(features, text), shares)
    t = text.double().numpy()
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    for b in range(2):
        for p in range(6):
            f = features[b, p].double().numpy()
            m_sim = (f / np.linalg.norm(f)) @ t.T / 0.07
            softmax = np.exp(m_sim[1]) / np.exp(m_sim).sum()
            assert shares[b, p].item() == pytest.approx(softmax, abs=1e-6)


def test_patches_nobody_saw_are_normal() -> None:
    features, text, seen = torch.randn(2, 6, 5), torch.randn(2, 5), torch.rand(2, 6) > 0.5
    shares = patch_shares(features, text, seen=seen)
    assert torch.equal(shares == 0, ~seen)
    assert torch.equal(shares[seen], patch_shares(features, text)[seen])


def test_map_is_enlarged_bilinearly() -> None:
    small = torch.rand(1, 2, 2)
    large = enlarge(small.flatten(1), (2, 2), (4, 4))[0]
    # output pixel 1 of 4 lies at input coordinate (1 + 0.5) / 2 - 0.5 = 0.25
    row0, row1 = (0.75 * small[0, r, 0] + 0.25 * small[0, r, 1] for r in range(2))
    assert large[1, 1].item() == pytest.approx((0.75 * row0 + 0.25 * row1).item(), abs=1e-6)
    torch.testing.assert_close(large[0, 0], small[0, 0, 0])


def test_patches_are_given_row_by_row() -> None:
    """Of an odd number of times the size, the middle pixel of a patch has its score."""
    shares = torch.rand(2, 6)
    large = enlarge(shares, (2, 3), (6, 15))
    assert large.shape == (2, 6, 15)
    torch.testing.assert_close(large[:, 1::3, 2::5].flatten(1), shares)


def test_half_precision_around_does_not_reach_the_similarities() -> None:
    features, text = torch.randn(3, 6, 5), torch.randn(2, 5)
    expected = patch_shares(features, text)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        shares = patch_shares(features, text)
    assert shares.dtype == torch.float32
    assert torch.equal(shares, expected)
