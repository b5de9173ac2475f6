# SPDX-License-Identifier: Apache-2.0
"""How much each modality counts in score and map."""

import torch
from sklearn.linear_model import SGDOneClassSVM
from torch import Tensor

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.seeding import numpy_drawing_from

FUSIONS = ("mean", "svm")


def svm_weights(distances: Tensor, seed: int) -> Tensor:
    """Fit a linear one-class SVM to the distances of normal patches.

    M3DM (arXiv 2303.00601), decision layer fusion, and the authors' code of LSFA. The SVM's value is the sum of the
    distances times its coefficients, plus a constant; divided by the sum of the coefficients it is a weighted mean
    that ranks samples alike.

    Args:
        distances: (M, N), distances of N normal patches in M modalities, each divided by its standard deviation. Not
            centred: the SVM separates them from the origin.
        seed: Seed of the order in which patches are shown.

    Returns:
        (M,), coefficients divided by their sum; not negative.

    Raises:
        ValueError: If there is no distance above 0 to fit to.

    Example:
        >>> svm_weights(torch.tensor([[2.0, 3.0], [2.0, 3.0]]), 0)
        tensor([0.5000, 0.5000])
    """
    if not (distances > 0).any():
        msg = "fusion='svm': no patch of the shots differs from those it can be compared with, so there is nothing to "
        msg += "fit to; use fusion='mean', or other shots"
        raise InputError(msg)
    with numpy_drawing_from(seed):  # it also draws from numpy's global generator
        fitted = SGDOneClassSVM(random_state=seed).fit(distances.T.double().cpu().numpy())
    coefficients = torch.from_numpy(fitted.coef_).to(distances)
    return coefficients / coefficients.sum()
