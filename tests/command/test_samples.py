# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from anomalib_clip3dad.command.samples import pairs_of, read_pair
from anomalib_clip3dad.data import read_sample
from anomalib_clip3dad.errors import MissingFileError
from tests.data.conftest import write_parts
from tests.data.dome import CAMERA


@pytest.mark.parametrize("place", [".", "line 1", "nut/train/good"])
def test_pairs_of_every_layout(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    write_parts(folder, 2)
    expected = [(folder / f"rgb/{name}.png", folder / f"xyz/{name}.npy") for name in ("000", "001")]
    assert [(a.resolve(), b.resolve()) for a, b in pairs_of(tmp_path)] == expected


def test_a_folder_of_none_says_where_to_look(tmp_path: Path) -> None:
    write_parts(tmp_path, 1)
    shutil.rmtree(tmp_path / "xyz")
    with pytest.raises(MissingFileError, match=r"no image with a 3D file of the same name; see .clip3dad check"):
        pairs_of(tmp_path)


@pytest.mark.parametrize("where", ["beside", "above", "given"])
def test_the_camera_is_found(tmp_path: Path, where: str) -> None:
    write_parts(tmp_path / "new", 1)
    (image, scan), *_ = pairs_of(tmp_path)
    np.save(scan, np.load(scan)[..., 2])
    file = {"beside": scan.parent.parent, "above": tmp_path, "given": tmp_path.parent}[where] / "intrinsics.json"
    file.write_text(json.dumps(CAMERA._asdict()))
    expected = read_sample(image, scan, CAMERA)
    for found, wanted in zip(
        read_pair(image, scan, tmp_path, file if where == "given" else None), expected, strict=True
    ):
        assert torch.equal(found, wanted)
