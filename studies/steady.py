# SPDX-License-Identifier: Apache-2.0
"""Thousands of predictions in one process: how long they take, and whether memory grows.

python studies/steady.py MODEL FOLDER --count 5000
"""

import argparse
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from anomalib_clip3dad.command.samples import pairs_of, read_pair
from anomalib_clip3dad.inference.runtimes import open_model

MIB = 2**20


def resident() -> float:
    """Memory of this process in MiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / MIB


def main() -> None:
    """Judge the parts of a folder over and over; files are read anew each time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help=".onnx, .xml or .ckpt")
    parser.add_argument("folder", type=Path, help="parts, as for `clip3dad predict`")
    parser.add_argument("--count", type=int, default=5000)
    asked = parser.parse_args()
    run, pairs = open_model(asked.model, "cpu"), pairs_of(asked.folder)
    seconds, memory = [], []
    for i in tqdm(range(asked.count), unit="part"):
        start = time.perf_counter()
        file, scan = pairs[i % len(pairs)]
        image, xyz = read_pair(file, scan, asked.folder)
        run(image[None].numpy(), xyz[None].numpy())
        seconds.append(time.perf_counter() - start)
        memory.append(resident())
    tenth = asked.count // 10
    p50, p99 = np.percentile(seconds[tenth:], [50, 99])
    first, last = np.median(memory[tenth : 2 * tenth]), np.median(memory[-tenth:])
    print(f"{asked.model.name}, {asked.count} parts: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms a part")
    print(f"memory: {first:.0f} MiB in the second tenth, {last:.0f} MiB in the last")


if __name__ == "__main__":
    main()
