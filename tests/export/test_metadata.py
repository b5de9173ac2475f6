# SPDX-License-Identifier: Apache-2.0

import pytest

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.export.metadata import Metadata


@pytest.mark.parametrize("texts", [{}, {"model": "Clip3dAd"}])
def test_texts_of_another_file(texts: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"a\.onnx: this file was not exported by anomalib_clip3dad"):
        Metadata.from_texts(texts, "a.onnx")
