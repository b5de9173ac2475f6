# SPDX-License-Identifier: Apache-2.0
"""Export of models that take a picture and its cloud, through anomalib's own `Engine.export`."""

import importlib.util
import logging
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from anomalib.data import AnomalibDataModule
from anomalib.deploy import CompressionType, ExportType
from lightning.pytorch import LightningModule

from anomalib_clip3dad.errors import InputError, MissingPackageError

from .compression import compress
from .graph import INPUTS, trace
from .metadata import PREFIX, describe

logger = logging.getLogger(__name__)

_OPSET = 18  # the first one whose ScatterElements keeps the smallest, which the z-buffer needs


class RGBXYZExportMixin(LightningModule):
    """Gives `to_onnx` and `to_openvino` to models whose forward takes `image` and `xyz`.

    Put it before AnomalibModule among the bases. The model needs `has_threshold` and `training_files`, and a forward
    that `torch.export` can follow.
    """

    def to_torch(self, *_: Any, **__: Any) -> Path:
        """Refuse: anomalib's .pt is a pickle, which runs whatever code is in it.

        Raises:
            ValueError: Always.
        """
        msg = "export_type=torch: a .pt file would be a pickle; the checkpoint (.ckpt) holds the same without: "
        msg += "RGBXYZInferencer reads it"
        raise InputError(msg)

    def to_onnx(  # type: ignore[override]  # anomalib's is not Lightning's
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Path:
        """Write the model as ONNX: `image` and `xyz` in, the answer out (`ExportGraph`), any number of samples.

        Args:
            export_root: folder; the file goes to weights/onnx in it, as anomalib's do.
            model_file_name: its name without .onnx.
            input_size: height and width of pictures and clouds; None for any.
            **kwargs: for `torch.onnx.export`; `opset_version` is 18 unless given.

        Returns:
            The file. Above 2 GB its weights are in a second one beside it, FILE.data.

        Raises:
            ValueError: If an argument is given that is settled here.
            ImportError: If the extra `deploy` is not installed.
        """
        settled = {"input_names", "output_names", "dynamic_axes", "dynamic_shapes"} & set(kwargs)
        if settled or kwargs.get("opset_version", _OPSET) < _OPSET:
            named = ", ".join(sorted(settled)) or "opset_version"
            msg = f"onnx_kwargs: {named} cannot be chosen; inputs are image and xyz, the number of samples is free, "
            msg += f"input_size settles height and width, opset_version is {_OPSET} or later"
            raise InputError(msg)
        need("onnx", "onnxscript")
        metadata = describe(self, input_size)
        logging.getLogger("onnx_ir").setLevel(logging.WARNING)  # or it tells of every constant that it finds twice
        logger.info("Tracing %s; this and the translation to ONNX take a minute or two.", metadata.model)
        program, outputs = trace(self, input_size)
        translated = torch.onnx.export(
            program,
            input_names=INPUTS,
            output_names=outputs,
            dynamo=True,
            **{"opset_version": _OPSET, "verbose": False} | kwargs,
        )
        assert translated is not None  # noqa: S101
        _tidy(translated.model)
        translated.model.metadata_props.update({f"{PREFIX}.{k}": v for k, v in metadata.to_texts().items()})
        path = _folder(export_root, ExportType.ONNX) / f"{model_file_name}.onnx"
        translated.save(path)
        return path

    def to_openvino(
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        compression_type: CompressionType | None = None,
        datamodule: AnomalibDataModule | None = None,
        ov_kwargs: dict[str, Any] | None = None,
        onnx_kwargs: dict[str, Any] | None = None,
        **_: Any,
    ) -> Path:
        """Write the model as OpenVINO IR, with the inputs and outputs of `to_onnx`.

        Args:
            export_root: folder; the files go to weights/openvino in it.
            model_file_name: their name without .xml and .bin.
            input_size: see `to_onnx`.
            compression_type: FP16 or INT8 for weights kept in 16 or 8 bits; INT8_PTQ for a vision tower that computes
                in 8 bits; None for float32.
            datamodule: for INT8_PTQ: its training and validation samples are what the ranges are measured on.
            ov_kwargs: for `openvino.convert_model`.
            onnx_kwargs: for `to_onnx`.

        Returns:
            The .xml file; the weights are in the .bin beside it.

        Raises:
            ValueError: If the compression is INT8_ACQ, or INT8_PTQ without a data module.
            ImportError: If the extra `deploy` is not installed.
        """
        need("openvino", *(["nncf"] if compression_type in {CompressionType.INT8, CompressionType.INT8_PTQ} else []))
        import openvino  # noqa: PLC0415

        if compression_type == CompressionType.INT8_ACQ:
            msg = "compression_type=INT8_ACQ: searching for what may be quantised takes labelled faulty parts, which "
            msg += (
                "few-shot training has none of; use INT8_PTQ, INT8 or FP16, and `clip3dad parity` to see what it costs"
            )
            raise InputError(msg)
        if compression_type == CompressionType.INT8_PTQ and datamodule is None:
            msg = "compression_type=INT8_PTQ: the ranges are measured on samples; give the data module (--data ...)"
            raise InputError(msg)
        with TemporaryDirectory() as folder:
            # OpenVINO simplifies the graph by itself, and in seconds
            onnx = self.to_onnx(folder, model_file_name, input_size, **{"optimize": False} | (onnx_kwargs or {}))
            converted = openvino.convert_model(onnx, **(ov_kwargs or {}))
        if compression_type is not None:
            converted = compress(converted, compression_type, datamodule)
        metadata = replace(describe(self, input_size), compression=compression_type and compression_type.value)
        for name, text in metadata.to_texts().items():
            converted.set_rt_info(text, [PREFIX, name])
        path = _folder(export_root, ExportType.OPENVINO) / f"{model_file_name}.xml"
        openvino.save_model(converted, path, compress_to_fp16=False)
        return path


def need(*packages: str) -> None:
    """Say what to install if one of these is missing.

    Raises:
        ImportError: If so.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        msg = f"{', '.join(missing)}: not installed; get what export needs with pip install 'anomalib_clip3dad[deploy]'"
        raise MissingPackageError(msg)


def _folder(export_root: Path | str, kind: ExportType) -> Path:
    folder = Path(export_root) / "weights" / kind.value
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _tidy(model: Any) -> None:
    """Name the nodes after the modules they come from, and drop the exporter's notes, full of this machine's paths."""
    for node in model.graph.all_nodes():
        scopes = re.findall(r"'([^']*)'", node.metadata_props.get("pkg.torch.onnx.name_scopes", ""))
        module = scopes[-2].replace(".", "/") if len(scopes) > 1 else ""
        node.name = f"{module}/{node.name}"
        node.metadata_props.clear()
        for output in node.outputs:
            output.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
