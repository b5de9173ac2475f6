# SPDX-License-Identifier: Apache-2.0
"""Check of the installation: what works on this machine and what does not."""

import importlib
import platform
from collections.abc import Callable
from importlib.metadata import requires, version

import torch
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

from anomalib_clip3dad.clip import load_clip


def doctor() -> list[str]:
    """Check which parts of the installation, weights and devices work on this machine."""
    table, failed = Table("what", "found", "works"), []
    for name, test in TESTS.items():
        try:
            found, works = test(), "yes"
        except Exception as error:  # any failure is a result of the check
            found, works = f"{type(error).__name__}: {error}".splitlines()[0], "no"
            failed.append(name)
        table.add_row(name, found, works)
    for name, test in OPTIONS.items():
        try:
            found = test()
        except Exception as error:
            found = f"not there ({error})"
        table.add_row(name, found, "optional")
    Console().print(table)
    return failed


def packages() -> str:
    """Check that all required packages are installed in the required versions.

    Raises:
        ImportError: If one is missing or has another version.
    """
    wanted = [Requirement(line) for line in requires("anomalib_clip3dad") or []]
    for requirement in (one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})):
        found = version(requirement.name)
        if not requirement.specifier.contains(found, prereleases=True):
            msg = f"{requirement.name} {found} is installed, {requirement} is needed: pip install '{requirement}'"
            raise ImportError(msg)
    return ", ".join(f"{name} {version(name)}" for name in ("anomalib", "torch", "open_clip_torch"))


def registered() -> str:
    """Check that anomalib knows the model by name.

    Raises:
        LookupError: If it does not know it.
    """
    models = importlib.import_module("anomalib.models").list_models(case="snake")
    if "clip3d_ad" not in models:
        msg = "anomalib does not list clip3d_ad; install anomalib_clip3dad again"
        raise LookupError(msg)
    return "clip3d_ad"


def small_weights() -> str:
    """Load the package's small CLIP."""
    parameters = sum(parameter.numel() for parameter in load_clip("ViT-Ti-Lite0-16-240", "small").parameters())
    return f"ViT-Ti-Lite0-16-240, {parameters / 1e6:.1f} M parameters"


def real_weights() -> str:
    """Check whether the paper's CLIP has been downloaded, without downloading it."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415
    from open_clip import get_pretrained_cfg  # noqa: PLC0415

    hub, _, file = get_pretrained_cfg("ViT-B-16-plus-240", "laion400m_e32").get("hf_hub", "").rpartition("/")
    cached = try_to_load_from_cache(hub, file or "open_clip_model.safetensors") if hub else None
    return str(cached) if cached else "not downloaded yet; the first training does it, or give --model.pretrained PATH"


def device() -> str:
    """Check that the accelerator, if there is one, can add."""
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if kind is None:
        return f"none; {torch.get_num_threads()} CPU threads"
    torch.ones(1, device=kind).add(1).item()
    return f"{kind.type}: {torch.cuda.get_device_name() if kind.type == 'cuda' else platform.processor()}"


def importable(*names: str) -> Callable[[], str]:
    """Make a check that modules can be imported."""

    def test() -> str:
        for name in names:
            importlib.import_module(name)
        return ", ".join(names)

    return test


TESTS: dict[str, Callable[[], str]] = {
    "Python": platform.python_version,
    "packages": packages,
    "known to anomalib": registered,
    "small CLIP": small_weights,
    "3D formats": importable("tifffile", "plyfile", "pypcd4", "OpenEXR"),
}
OPTIONS: dict[str, Callable[[], str]] = {
    "the paper's CLIP": real_weights,
    "accelerator": device,
    "export": importable("onnx", "onnxscript", "onnxruntime", "openvino", "nncf"),
}
