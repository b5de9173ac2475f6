# SPDX-License-Identifier: Apache-2.0
"""Measurement of the cost of a job."""

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer


class Clock(Callback):
    """Measures the model's time for the test samples, with pre-processing and views, without reading or metrics.

    Given to the Engine, it runs before the model's own callbacks, both at the start and at the end of a batch.

    Attributes:
        seconds: Total time.
        samples: Total number of samples.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.samples = 0
        self._start = 0.0

    def on_test_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:  # noqa: ARG002
        """Start the clock."""
        self._start = _now(pl_module.device)

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:  # noqa: ARG002
        """Stop the clock."""
        self.seconds += _now(pl_module.device) - self._start
        self.samples += len(batch.image)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


def peak_cpu_bytes() -> int:
    """Peak memory of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():
        # not getrusage, which on Linux includes the parent's memory at the start of this process
        (line,) = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # noqa: PLC0415 - not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_gpu_bytes(device: torch.device) -> int | None:
    """Peak GPU memory of this process's tensors so far; None if the device is not CUDA."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def trained_parameters(trainer: Trainer) -> int:
    """Number of parameters that the optimisers train."""
    groups = [group for optimiser in trainer.optimizers for group in optimiser.param_groups]
    return sum(parameter.numel() for group in groups for parameter in group["params"])


def machine(device: torch.device) -> dict[str, str]:
    """Versions and device, one column each."""
    packages = ("anomalib_clip3dad", "anomalib", "lightning", "torch", "open_clip_torch", "timm")
    versions = {f"version_{name}": version(name) for name in packages}
    return {**versions, "version_python": platform.python_version(), "device": _name(device)}


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
