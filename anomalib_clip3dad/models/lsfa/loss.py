# SPDX-License-Identifier: Apache-2.0
"""The losses of LSFA (arXiv 2401.03145) as pure functions: CLC across modalities, IFC within each of them."""

import torch
from torch import Tensor
from torch.nn import functional

_AT_ONCE = 1024  # rows whose distances to a bank are computed at once
_LEAST_SQUARED = 1e-12  # below this squared distance the root has no useful gradient


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Contrast aligned rows of two modalities, in both directions.

    LSFA, cross-modal local-to-global consistency (CLC): with the patches of one sample as rows it is L_LA, with the
    mean features of the samples of a batch L_GA. Cosine similarities as in InfoNCE (arXiv 1807.03748).

    Args:
        one: (N, D), projected features of one modality.
        other: (N, D), those of the other one; rows with the same number belong together, all others do not.
        temperature: Divides the similarities, above 0.

    Returns:
        Mean of the two cross-entropies, in nats; 0 for a single row, which has nothing to be told apart from.

    Example:
        >>> info_nce(torch.eye(2), torch.eye(2), 1.0).exp().item()  # (e + 1) / e
        1.367...
    """
    similarity = functional.normalize(one, dim=1) @ functional.normalize(other, dim=1).T / temperature
    partner = torch.arange(len(one), device=one.device)
    return (functional.cross_entropy(similarity, partner) + functional.cross_entropy(similarity.T, partner)) / 2


def compactness(features: Tensor, ids: Tensor, bank: Tensor, bank_ids: Tensor) -> Tensor:
    """Mean distance to the nearest vector of a bank, through which the gradient flows to the features alone.

    LSFA, intra-modal feature compactness (IFC): with patches it is L_LC, with prototypes, the mean features of samples,
    L_GC. Few shots come back every few steps, so that the nearest vector would be a feature's own earlier copy and the
    loss only keep it in place; vectors of the same id are passed over, our choice. The distances are not clamped.

    Args:
        features: (N, D), adapted features.
        ids: (N,) int64, what each of them describes, such as a patch of a shot.
        bank: (M, D), adapted features of earlier steps, without gradient.
        bank_ids: (M,) int64.

    Returns:
        Mean over the features that have a vector to be compared with; 0 if none has.

    Example:
        >>> bank = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> compactness(torch.zeros(1, 2), torch.tensor([7]), bank, torch.tensor([7, 8])).item()
        5.0
    """
    with torch.no_grad():
        found = [
            torch.cdist(part, bank).masked_fill(own[:, None] == bank_ids, torch.inf).min(dim=1)
            for part, own in zip(features.split(_AT_ONCE), ids.split(_AT_ONCE), strict=True)
        ]
        comparable = torch.cat([each.values for each in found]).isfinite()
        nearest = bank[torch.cat([each.indices for each in found])]
    squared = (features - nearest).square().sum(dim=1)[comparable]
    return squared.clamp(min=_LEAST_SQUARED).sqrt().sum() / comparable.sum().clamp(min=1)


def relative_variance(adapted: Tensor, frozen: Tensor) -> Tensor:
    """Compare the variance of features after and before the adaptation.

    Our guard against collapse: IFC alone is lowest where all features are equal.

    Args:
        adapted: (N, D), adapted features, N at least 2.
        frozen: (N, D), the same features before.

    Returns:
        Sum of the variances of all channels, divided by the same before; 1 = as before, 0 = all features are equal.
    """
    after, before = (values.detach().var(dim=0).sum() for values in (adapted, frozen))
    return after / before.clamp(min=_LEAST_SQUARED)
