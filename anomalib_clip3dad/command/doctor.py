# SPDX-License-Identifier: Apache-2.0
"""A look at the installation: what works on this machine, and what does not."""

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
    """Say what of the installation, the weights and the devices works on this machine."""
    table, failed = Table("what", "found", "works"), []
    for name, test in TESTS.items():
        try:
            found, works = test(), "yes"
        except Exception as error:  # whatever is broken is what this is about
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
    """All that this package needs, in the versions it needs.

    Raises:
        ImportError: If one is missing or of another version.
    """
    wanted = [Requirement(line) for line in requires("anomalib_clip3dad") or []]
    for requirement in (one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})):
        found = version(requirement.name)
        if not requirement.specifier.contains(found, prereleases=True):
            msg = f"{requirement.name} {found} is installed, {requirement} is needed: pip install '{requirement}'"
            raise ImportError(msg)
    return ", ".join(f"{name} {version(name)}" for name in ("anomalib", "torch", "open_clip_torch"))


def registered() -> str:
    """The model is known to anomalib by name.

    Raises:
        LookupError: If it does not.
    """
    models = importlib.import_module("anomalib.models").list_models(case="snake")
    if "clip3d_ad" not in models:
        msg = "anomalib does not list clip3d_ad; install anomalib_clip3dad again"
        raise LookupError(msg)
    return "clip3d_ad"


def small_weights() -> str:
    """The small CLIP of the package loads."""
    parameters = sum(parameter.numel() for parameter in load_clip("ViT-Ti-Lite0-16-240", "small").parameters())
    return f"ViT-Ti-Lite0-16-240, {parameters / 1e6:.1f} M parameters"


def real_weights() -> str:
    """Whether the paper's CLIP has been downloaded; nothing is downloaded for this."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415
    from open_clip import get_pretrained_cfg  # noqa: PLC0415

    hub, _, file = get_pretrained_cfg("ViT-B-16-plus-240", "laion400m_e32").get("hf_hub", "").rpartition("/")
    cached = try_to_load_from_cache(hub, file or "open_clip_model.safetensors") if hub else None
    return str(cached) if cached else "not downloaded yet; the first training does it, or give --model.pretrained PATH"


def device() -> str:
    """An accelerator that can add."""
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if kind is None:
        return f"none; {torch.get_num_threads()} CPU threads"
    torch.ones(1, device=kind).add(1).item()
    return f"{kind.type}: {torch.cuda.get_device_name() if kind.type == 'cuda' else platform.processor()}"


def importable(*names: str) -> Callable[[], str]:
    """Whether modules can be imported."""

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
