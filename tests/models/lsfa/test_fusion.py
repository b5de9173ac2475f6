# SPDX-License-Identifier: Apache-2.0
"""Against scikit-learn's own decision."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDOneClassSVM
from sklearn.svm import OneClassSVM

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.lsfa.fusion import svm_weights


def normal(count: int = 500) -> torch.Tensor:
    """Distances in units of their deviation; those of the second modality are farther from 0."""
    draws = torch.Generator().manual_seed(1)
    return torch.randn(2, count, generator=draws).abs() + torch.tensor([[1.0], [4.0]])


def test_the_weighted_mean_is_the_decision_of_scikit_learn_up_to_scale_and_constant() -> None:
    distances, tested = normal(), 10 * torch.rand(2, 200)
    weights = svm_weights(distances, 3)
    fitted = SGDOneClassSVM(random_state=3).fit(distances.T.double().numpy())
    decision = fitted.decision_function(tested.T.double().numpy())
    np.testing.assert_allclose((weights @ tested).numpy() * fitted.coef_.sum() - fitted.offset_, decision, atol=1e-4)


def test_the_weights_are_close_to_those_of_an_exact_solver() -> None:
    distances = normal()
    exact = OneClassSVM(kernel="linear", nu=0.5).fit(distances.T.numpy()).coef_[0]
    np.testing.assert_allclose(svm_weights(distances, 0), exact / exact.sum(), atol=0.03)
    assert abs(exact[0] / exact.sum() - 0.5) > 0.1  # not the mean


def test_weights_are_a_share_of_each_and_depend_on_the_seed_alone() -> None:
    np.random.seed(0)  # noqa: NPY002
    one = svm_weights(normal(), 0)
    np.random.seed(1)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert torch.equal(one, svm_weights(normal(), 0))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert one.sum().item() == pytest.approx(1)
    assert (one > 0).all()


@pytest.mark.parametrize("distances", [torch.empty(2, 0), torch.zeros(2, 5)])
def test_nothing_to_fit_to_is_named(distances: torch.Tensor) -> None:
    with pytest.raises(InputError, match="fusion='svm': no patch of the shots differs"):
        svm_weights(distances, 0)
