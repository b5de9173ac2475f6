# SPDX-License-Identifier: Apache-2.0

"""Samples that a model was trained on must not be tested or set a threshold: who is the same as whom."""

import hashlib
from pathlib import Path

from pandas import DataFrame


def same_samples(trained: DataFrame, others: DataFrame) -> list[str]:
    """Find samples that are those trained on: the same files, or others of the same bytes.

    Both files count: rendered parts may share an image while a dent is in the cloud alone.

    Args:
        trained: Samples trained on, with `image_path` and `depth_path`.
        others: Samples to validate or test on.

    Returns:
        The `image_path` of each of `others` that was trained on.

    Example:
        >>> samples = DataFrame({"image_path": ["0.png", "1.png"], "depth_path": ["0.npy", "1.npy"]})
        >>> same_samples(samples[:1], samples)
        ['0.png']
    """
    places = {tuple(Path(path).resolve() for path in pair) for pair in _pairs(trained)}
    sizes: dict[tuple[int, ...], list[tuple[str, str]]] = {}
    for pair in _pairs(trained):
        sizes.setdefault(_sizes(pair), []).append(pair)
    return [
        pair[0]
        for pair in _pairs(others)
        if tuple(Path(path).resolve() for path in pair) in places
        # what is as long is read, and no more
        or any(_contents(pair) == _contents(other) for other in sizes.get(_sizes(pair), []))
    ]


def sample_digest(image: str | Path, scan: str | Path) -> str:
    """Fingerprint of a sample's two files, by which checkpoints know their shots wherever they lie.

    Args:
        image: Path of the image.
        scan: Path of the 3D file.

    Returns:
        64 hexadecimal digits.
    """
    each = (hashlib.sha256(Path(path).read_bytes()).digest() for path in (image, scan))
    return hashlib.sha256(b"".join(each)).hexdigest()


def _pairs(samples: DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(samples.image_path, samples.depth_path, strict=True)))


def _sizes(pair: tuple[str, str]) -> tuple[int, ...]:
    try:
        return tuple(Path(path).stat().st_size for path in pair)
    except OSError:  # a synthetic anomaly has no file
        return ()


def _contents(pair: tuple[str, str]) -> tuple[bytes, ...]:
    try:
        return tuple(Path(path).read_bytes() for path in pair)
    except OSError:
        return tuple(path.encode() for path in pair)
