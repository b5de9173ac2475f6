# SPDX-License-Identifier: Apache-2.0
"""Four processes that start at once, with the same caches and the same made-up parts, none of which are there yet."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import hashlib, sys, time
from pathlib import Path
import open_clip
from anomalib_clip3dad.clip import cached_embeddings, load_clip
from anomalib_clip3dad.data import Toy3D
name = "ViT-Ti-Lite0-16-240"
clip, tokenizer = load_clip(name, "small"), open_clip.get_tokenizer(name)
Path(f"ready{sys.argv[1]}").touch()
while len(list(Path().glob("ready*"))) < 4:
    time.sleep(0.01)
text = cached_embeddings(clip, name, tokenizer, ["a photo of a gear"], ["a photo of a broken gear"])
data = Toy3D("toy", "gear", num_train=2, num_validation=1, num_good=1, num_defects=1, size=(64, 80), k_shot=2)
data.setup()
print(hashlib.sha256(text.numpy().tobytes()).hexdigest(), len(data.train_data), len(data.test_data))
"""


@pytest.mark.slow
def test_processes_do_not_disturb_each_other(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", SCRIPT, str(number)] for number in range(4)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in commands]  # noqa: S603
    ended = [process.communicate(timeout=300) for process in started]
    for process, (_, errors) in zip(started, ended, strict=True):
        assert process.returncode == 0, errors[-3000:]
    (answer,) = {output.splitlines()[-1] for output, _ in ended}  # all the same
    assert answer.split()[1:] == [b"2", b"5"]
    for folder in ("toy", "cache"):  # nothing unfinished is left
        names = [file.name for file in (tmp_path / folder).rglob("*")]
        assert names
        assert not [name for name in names if "unfinished" in name or name.startswith("tmp")]
