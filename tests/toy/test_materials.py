# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.materials import mix


def test_mix_clips_its_weight() -> None:
    black, white = np.zeros(3, dtype=np.float32), np.ones(3, dtype=np.float32)
    np.testing.assert_allclose(mix(black, white, np.array([[-1.0, 0.25, 2.0]]))[0, :, 0], [0, 0.25, 1])
