# SPDX-License-Identifier: Apache-2.0
"""One way to call a trained model, whichever file it is in and whatever runs it."""

from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np

from anomalib_clip3dad.errors import InputError, MissingFileError, need
from anomalib_clip3dad.export.metadata import INPUTS, PREFIX, Metadata

Answer = dict[str, np.ndarray]


class Runtime(ABC):
    """A model, ready to run.

    Attributes:
        path: The file it comes from.
        metadata: What the file says about itself.
        device: What it runs on, as the runtime calls it.
        organised_only: Whether it takes rows and columns of points alone, as exported graphs do, and no lists.
    """

    path: Path
    metadata: Metadata
    device: str
    organised_only: ClassVar[bool] = True

    def __call__(self, image: np.ndarray, xyz: np.ndarray) -> Answer:
        """Judge a batch.

        Args:
            image: See `ExportGraph`.
            xyz: See there.

        Returns:
            Its outputs by name.

        Raises:
            ValueError: If the file was exported for images of another size, or for organised clouds, and this is none.
        """
        if self.organised_only and image.shape[2] == 1:
            msg = f"depth_map: found a list of {image.shape[3]} points, {self.path.name} was exported for organised "
            msg += "clouds; give rows and columns, or use the checkpoint of a model that takes lists, such as GsClip"
            raise InputError(msg)
        found, wanted = list(image.shape[2:]), self.metadata.input_size
        if wanted not in {None, tuple(found)}:
            sizes = [" x ".join(map(str, size)) for size in (found, wanted or ())]
            msg = f"image: found {sizes[0]} pixels, {self.path.name} was exported for {sizes[1]}; give that size, or "
            msg += "export without input_size"
            raise InputError(msg)
        return self._judge(image, xyz)

    @abstractmethod
    def _judge(self, image: np.ndarray, xyz: np.ndarray) -> Answer:
        """The same for a batch of the right size."""


class OnnxRuntime(Runtime):
    """An .onnx file in ONNX Runtime.

    Args:
        path: The file.
        device: cpu, cuda (gpu is the same), or auto: CUDA where ONNX Runtime has it.

    Raises:
        ValueError: If the file is damaged or not one of this package, or the device is not there.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        self.path = path
        need("onnxruntime")
        import onnxruntime  # noqa: PLC0415

        providers = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
        there = {name for name, provider in providers.items() if provider in onnxruntime.get_available_providers()}
        wanted = {"gpu": "cuda", "auto": "cuda" if "cuda" in there else "cpu"}.get(device.lower(), device.lower())
        if wanted not in there:
            msg = f"device={device!r}: this ONNX Runtime has {', '.join(sorted(there))}; give one of them, or install "
            msg += "onnxruntime-gpu"
            raise InputError(msg)
        try:
            self._session = onnxruntime.InferenceSession(path, providers=[providers[wanted]])
        except Exception as error:  # its errors have no common type
            raise unreadable(path, error) from None
        self.device = wanted
        found = self._session.get_modelmeta().custom_metadata_map
        self.metadata = Metadata.from_texts(
            {name.removeprefix(f"{PREFIX}."): text for name, text in found.items() if name.startswith(PREFIX)}, path
        )

    def _judge(self, image: np.ndarray, xyz: np.ndarray) -> Answer:
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(zip(INPUTS, (image, xyz), strict=True))), strict=True))


class OpenVino(Runtime):
    """An .xml (with its .bin) or .onnx file in OpenVINO.

    Args:
        path: The file.
        device: A device of OpenVINO's: CPU, GPU, NPU, AUTO.
        precision: What it computes in: f32; or bf16 or f16 where the device is faster with it.

    Raises:
        ValueError: If the file is damaged or not one of this package, or the device is not there.
    """

    def __init__(self, path: Path, device: str = "auto", precision: str = "f32") -> None:
        self.path = path
        need("openvino")
        core = _core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise unreadable(path, error) from None
        self.metadata = Metadata.from_texts(_openvino_texts(path, model), path)
        self.device = device.upper()
        if self.device.partition(".")[0] not in {"AUTO", *(name.partition(".")[0] for name in core.available_devices)}:
            msg = f"device={device!r}: this OpenVINO has {', '.join(core.available_devices)}; give one of them, or auto"
            raise InputError(msg)
        try:
            self._model = core.compile_model(model, self.device, {"INFERENCE_PRECISION_HINT": precision})
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            msg = f"{path}: OpenVINO cannot run it with device={device!r}, precision={precision!r} ({reason})"
            raise InputError(msg) from None
        self._free = Lock()  # a compiled model has one request, which refuses a second thread

    def _judge(self, image: np.ndarray, xyz: np.ndarray) -> Answer:
        with self._free:
            answer = self._model(dict(zip(INPUTS, (image, xyz), strict=True)))
            return {output.any_name: values for output, values in answer.to_dict().items()}


@cache
def _core() -> Any:
    """OpenVINO, once for all models and never freed.

    Its CPU plugin gives the thread a signal stack of its own and unmaps it when the `Core` is freed. Of two, freed in
    the order they were made, the second restores the stack of the first, which is gone: the next signal that Python
    handles ends the process in a segmentation fault (OpenVINO 2026.4, `SigAltStackSetup`).
    """
    import openvino  # noqa: PLC0415

    return openvino.Core()


def open_model(path: str | Path, device: str = "auto", precision: str = "f32") -> Runtime:
    """Open a trained model with what its file name asks for.

    Args:
        path: .onnx, .xml or .ckpt.
        device: See the runtimes.
        precision: OpenVINO's; the others compute in f32.

    Returns:
        The model, ready to run.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is of another kind, see the runtimes, or if `precision` is not f32 elsewhere.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"{path}: no such file; give the .onnx, .xml or .ckpt of a trained model"
        raise MissingFileError(msg)
    if path.suffix == ".xml":
        return OpenVino(path, device, precision)
    if precision != "f32":
        msg = (
            f"precision={precision!r}: only OpenVINO (.xml) can compute in less than f32; leave it out for {path.name}"
        )
        raise InputError(msg)
    if path.suffix == ".onnx":
        return OnnxRuntime(path, device)
    if path.suffix == ".ckpt":
        from .in_torch import Torch  # noqa: PLC0415  # exported files need no torch

        return Torch(path, device)
    msg = f"{path}: found {path.suffix or 'no extension'}; give the .onnx, .xml or .ckpt of a trained model"
    raise InputError(msg)


def _openvino_texts(path: Path, model: Any) -> dict[str, str]:
    """The metadata's texts; OpenVINO keeps those of an IR, but not those of an ONNX file."""
    if path.suffix == ".onnx":
        import onnx  # noqa: PLC0415

        pairs = onnx.load(path, load_external_data=False).metadata_props
        return {pair.key.removeprefix(f"{PREFIX}."): pair.value for pair in pairs if pair.key.startswith(PREFIX)}
    names = [name for name in Metadata.__dataclass_fields__ if model.has_rt_info([PREFIX, name])]
    return {name: model.get_rt_info([PREFIX, name]).astype(str) for name in names}


def unreadable(path: Path, error: Exception) -> InputError:
    """Say in one line that a model cannot be opened."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    msg = f"{path}: it cannot be read ({reason}); it is damaged, or its weights file (.bin, .onnx.data) is not beside "
    msg += "it: copy or export it again"
    return InputError(msg)
