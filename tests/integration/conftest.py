# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from anomalib_clip3dad.toy import write_toy3d


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Toy3D category, not square: 3 training, 2 validation and 6 test samples."""
    root = tmp_path_factory.mktemp("toy")
    write_toy3d(root, "gear", size=(64, 80), train=3, validation=2, good=2, defects=1, progress=False)
    return root
