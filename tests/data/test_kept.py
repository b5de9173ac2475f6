# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import torch

from anomalib_clip3dad.data.kept import KeptSamples, Sample


class Reader:
    """Reads a file's length as a sample of 40 bytes, and counts how often."""

    def __init__(self, file: Path) -> None:
        self.file, self.times = file, 0

    def __call__(self) -> Sample:
        self.times += 1
        return torch.full((5,), float(self.file.stat().st_size)), torch.zeros(5), None


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    file, kept = tmp_path / "a.png", KeptSamples()
    file.write_bytes(b"123")
    reader = Reader(file)
    first = [kept.get([str(file), ""], reader)[0][0].item() for _ in range(3)]
    assert (first, reader.times) == ([3.0] * 3, 1)
    file.write_bytes(b"12345")
    assert [kept.get([str(file), ""], reader)[0][0].item() for _ in range(2)] == [5.0, 5.0]
    assert reader.times == 2


def test_what_does_not_fit_is_read_each_time(tmp_path: Path) -> None:
    kept, readers = KeptSamples(budget=79), []  # room for one
    for name in "ab":
        (tmp_path / name).write_bytes(b"1")
        readers.append(Reader(tmp_path / name))
    for _ in range(3):
        for reader in readers:
            kept.get([str(reader.file)], reader)
    assert [reader.times for reader in readers] == [1, 3]
    (tmp_path / "a").write_bytes(b"12")  # its room is free again, for itself
    for _ in range(2):
        kept.get([str(tmp_path / "a")], readers[0])
    assert readers[0].times == 2
