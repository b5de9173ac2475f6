# SPDX-License-Identifier: Apache-2.0
"""What a job cost."""

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer


class Clock(Callback):
    """Adds up what the model takes for the test samples: pre-processing and views, neither reading nor metrics.

    Given to the Engine, it comes before the model's own callbacks, at the start of a batch and at its end.

    Attributes:
        seconds: in all.
        samples: in all.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.samples = 0
        self._start = 0.0

    def on_test_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:  # noqa: ARG002
        """Start."""
        self._start = _now(pl_module.device)

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:  # noqa: ARG002
        """Stop."""
        self.seconds += _now(pl_module.device) - self._start
        self.samples += len(batch.image)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


def peak_cpu_bytes() -> int:
    """Most memory that this process has held so far."""
    status = Path("/proc/self/status")
    if status.is_file():
        # not getrusage, which on Linux counts what the parent held when it started this process
        (line,) = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # noqa: PLC0415 - not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_gpu_bytes(device: torch.device) -> int | None:
    """Most memory of a GPU that tensors of this process have held so far; None for what is no CUDA device."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def trained_parameters(trainer: Trainer) -> int:
    """Number of values that an optimiser has changed."""
    groups = [group for optimiser in trainer.optimizers for group in optimiser.param_groups]
    return sum(parameter.numel() for group in groups for parameter in group["params"])


def machine(device: torch.device) -> dict[str, str]:
    """Versions and the device that was used, one column each."""
    packages = ("anomalib_clip3dad", "anomalib", "lightning", "torch", "open_clip_torch", "timm")
    versions = {f"version_{name}": version(name) for name in packages}
    return {**versions, "version_python": platform.python_version(), "device": _name(device)}


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
