# SPDX-License-Identifier: Apache-2.0
import time
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from anomalib_clip3dad.benchmark.measure import Clock, machine, peak_cpu_bytes, peak_gpu_bytes, trained_parameters

CPU = torch.device("cpu")


def test_the_clock_adds_up_batches_and_leaves_out_what_is_between() -> None:
    clock, model = Clock(), SimpleNamespace(device=CPU)
    for size in (3, 2):
        clock.on_test_batch_start(None, model)
        time.sleep(0.05)
        clock.on_test_batch_end(None, model, None, SimpleNamespace(image=torch.zeros(size, 3, 2, 2)))
        time.sleep(0.3)
    assert clock.samples == 5
    assert 0.1 <= clock.seconds < 0.3


def test_peak_memory_grows_with_what_is_touched() -> None:
    before = peak_cpu_bytes()
    size = before + 2**28 - int(torch.zeros(1).item())  # beyond any peak of earlier tests, whatever is in use now
    block = torch.ones(size, dtype=torch.uint8)
    assert before + 2**28 <= peak_cpu_bytes() <= 3 * before + 2**29
    assert block[-1] == 1


def test_no_gpu_no_memory_of_it() -> None:
    assert peak_gpu_bytes(CPU) is None


def test_only_what_an_optimiser_holds_is_trained() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimisers = [torch.optim.SGD(model[1].parameters(), lr=1), torch.optim.SGD([{"params": [model[0].bias]}], lr=1)]
    assert trained_parameters(SimpleNamespace(optimizers=optimisers)) == 4 * 2 + 2 + 4


@pytest.mark.parametrize("package", ["torch", "anomalib", "anomalib_clip3dad"])
def test_versions(package: str) -> None:
    assert machine(CPU)[f"version_{package}"] == version(package)


def test_device() -> None:
    assert machine(CPU)["device"] == f"CPU, {torch.get_num_threads()} threads"
    assert machine(torch.device("meta"))["device"] == "meta"
