# SPDX-License-Identifier: Apache-2.0
"""Masks as tools write them: the same pixels, or one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anomalib_clip3dad.data.masks import load_mask
from anomalib_clip3dad.data.reading import read_truth
from anomalib_clip3dad.errors import InputError

MASK = np.zeros((24, 32), np.uint8)
MASK[10:15, 8:20] = 1
FULL = np.full_like(MASK, 255)


def palette(colours: list[int], **options: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        picture = Image.fromarray(MASK, "P")
        picture.putpalette(colours)
        picture.save(path, **options)

    return write


def pil(values: np.ndarray) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(values).save(path)


READ = {
    "0 and 1": pil(MASK),
    "0 and 255": pil(MASK * 255),
    "labels": pil(MASK * np.arange(32, dtype=np.uint8) % 7 + MASK),
    "16 bit": pil(MASK.astype(np.uint16) * 256),
    "1 bit": pil(MASK > 0),
    "float": lambda p: Image.fromarray(MASK.astype(np.float32)).save(p, "TIFF"),
    "red": pil(np.dstack([MASK * 255, 0 * MASK, 0 * MASK])),
    "dark blue": pil(np.dstack([0 * MASK, 0 * MASK, MASK])),  # one of 255: grey of 8 bit would round it away
    "white and alpha": pil(np.dstack([MASK * 255] * 4)),
    "alpha of white": pil(np.dstack([FULL, FULL, FULL, MASK * 255])),
    "alpha of black": pil(np.dstack([0 * MASK, 0 * MASK, 0 * MASK, MASK * 255])),
    "opaque": pil(np.dstack([MASK * 255] * 3 + [FULL])),
    "palette": palette([0, 0, 0, 128, 0, 0]),
    "palette of grey and red": palette([90, 90, 90, 128, 0, 0]),
    "palette of blacks": palette([0, 0, 0, 0, 0, 0]),
    "palette, transparent": palette([0, 0, 0, 128, 0, 0], transparency=0),
}


@pytest.mark.parametrize("kind", READ)
def test_every_kind_marks_the_same_pixels(tmp_path: Path, kind: str) -> None:
    READ[kind](tmp_path / "m.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "m.png"), MASK > 0)


REFUSED = {
    "inverted": (pil(255 - MASK * 255), "marks 92% of the image and all of its rim, so it is inverted"),
    "whole image": (pil(FULL), "marks 100% of the image"),
    "palette, inverted": (palette([255, 255, 255, 0, 0, 0]), "colours, palette and alpha mark different pixels"),
    "alpha elsewhere": (pil(np.dstack([MASK * 255] * 3 + [MASK.T.reshape(24, 32) * 255])), "mark different pixels"),
    "JPEG": (
        lambda p: Image.fromarray(MASK * 255).save(p, "JPEG", quality=30),
        "in-between values of a lossy format.* save it as PNG",
    ),
    "nothing": (pil(0 * MASK), r"marks nothing, but a\.png is listed as anomalous"),
    "other size": (pil(MASK[:20]), r"a\.png has H x W = 24 x 32 but .*m\.png has 20 x 32"),
    "text": (lambda p: p.write_text("1 0"), "unreadable ground truth mask"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_unclear_is_named(tmp_path: Path, kind: str) -> None:
    write, message = REFUSED[kind]
    write(tmp_path / "m.png")
    with pytest.raises(InputError, match=rf"m\.png.*{message}|{message}"):
        read_truth(tmp_path / "m.png", "a.png", torch.zeros(3, 24, 32))
