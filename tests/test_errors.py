# SPDX-License-Identifier: Apache-2.0
import errno
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from anomalib_clip3dad.errors import InputError, MissingFileError, UnreachableError, explanation

LINE = "tire/000.tiff: truncated; copy it again"


class Broken(Dataset):
    """Fails like a file that cannot be read."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        raise InputError(LINE)


def test_they_are_the_errors_one_would_catch() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(MissingFileError, FileNotFoundError)
    assert issubclass(UnreachableError, ConnectionError)
    assert str(MissingFileError(LINE)) == LINE


@pytest.mark.parametrize("workers", [0, 1])
def test_found_behind_a_loaders_worker(workers: int) -> None:
    with pytest.raises(InputError) as caught:
        next(iter(DataLoader(Broken(), num_workers=workers)))
    assert explanation(caught.value) == LINE


def test_found_in_what_quotes_it() -> None:
    error = InputError(LINE)
    assert explanation(ValueError(f"does not validate:\n - {error}\nGiven value: Namespace()")) == LINE
    assert explanation(ValueError("something else")) is None
    assert explanation(RuntimeError(LINE)) is None


def test_a_full_disk() -> None:
    """As the system says it."""
    full = "No space left on device; make room, or write elsewhere (anomalib: --default_root_dir, clip3dad: --out)"
    with pytest.raises(OSError, match="No space") as caught:
        Path("/dev/full").write_text("a")
    assert explanation(caught.value) == full
    assert explanation(OSError(errno.ENOSPC, "No space left on device", "a.ckpt")) == f"a.ckpt: {full}"
    assert explanation(PermissionError(errno.EACCES, "Permission denied", "a.ckpt")) is None


def test_no_error_is_kept_alive() -> None:
    error = InputError(LINE)
    gone = weakref.ref(error)
    del error
    assert gone() is None


@pytest.mark.parametrize(("program", "plain"), [("anomalib", True), ("script.py", False)])
def test_anomalibs_command_prints_the_line_alone(tmp_path: Path, program: str, plain: bool) -> None:
    script = tmp_path / program
    script.write_text(f"from anomalib_clip3dad.errors import InputError\nraise InputError({LINE!r})\n")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.returncode == 1
    lines = ended.stderr.strip().splitlines()
    assert (lines[-1] == f"error: {LINE}") == plain
    assert ("Traceback" in ended.stderr) == (not plain)
