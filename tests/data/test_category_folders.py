# SPDX-License-Identifier: Apache-2.0
"""Categories as folders of one root."""

from pathlib import Path

import pytest

from anomalib_clip3dad.data import Eyecandies, MVTec3DXYZ, PointClouds
from anomalib_clip3dad.data.category_folders import CategoryFolders


@pytest.mark.parametrize(
    ("kind", "test_folder"), [(MVTec3DXYZ, "test"), (PointClouds, "test"), (Eyecandies, "test_public")]
)
def test_categories_are_the_folders_with_a_test_split(
    kind: type[CategoryFolders], test_folder: str, tmp_path: Path
) -> None:
    for name in ("rope", "bagel"):
        (tmp_path / name / test_folder).mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    data = kind(root=tmp_path, category="rope")  # type: ignore[call-arg]
    assert data.categories == ["bagel", "rope"]
    assert data.folder == tmp_path / "rope"
    assert data.of_category("bagel").folder == tmp_path / "bagel"
