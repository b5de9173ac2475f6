# SPDX-License-Identifier: Apache-2.0
"""Export of models that take image and cloud, through anomalib's own `Engine.export`."""

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

from anomalib_clip3dad.errors import InputError, need

from .compression import compress
from .describe import describe
from .graph import trace
from .metadata import INPUTS, PREFIX
from .simplify import simplify

logger = logging.getLogger(__name__)

_OPSET = 18  # the first one with a minimum in ScatterElements, which the z-buffer needs


class RGBXYZExportMixin(LightningModule):
    """Adds `to_onnx` and `to_openvino` to models whose forward takes `image` and `xyz`.

    Put it before AnomalibModule among the bases. The model needs `has_threshold`, `training_files`, and a forward that
    works with `torch.export`.
    """

    def to_torch(self, *_: Any, **__: Any) -> Path:
        """Raise: anomalib's .pt files are pickles, which can run any code.

        Raises:
            ValueError: Always.
        """
        msg = "export_type=torch: a .pt file would be a pickle; the checkpoint (.ckpt) has the same content without: "
        msg += "RGBXYZInferencer reads it"
        raise InputError(msg)

    def to_onnx(  # type: ignore[override]  # anomalib's is not Lightning's
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Path:
        """Write the model as ONNX, with inputs `image` and `xyz`, outputs of `ExportGraph`, and any number of samples.

        Args:
            export_root: Output folder; the file goes to weights/onnx in it, as in anomalib.
            model_file_name: Name of the file without .onnx.
            input_size: Height and width of images and clouds; None for any.
            **kwargs: Arguments of `torch.onnx.export`; `opset_version` is 18 by default, and `optimize` is `simplify`.

        Returns:
            The file. Above 2 GB its weights are in a second file, FILE.data.

        Raises:
            ValueError: If an argument is given that cannot be chosen.
            ImportError: If the extra `deploy` is not installed.
        """
        settled = {"input_names", "output_names", "dynamic_axes", "dynamic_shapes"} & set(kwargs)
        if settled or kwargs.get("opset_version", _OPSET) < _OPSET:
            named = ", ".join(sorted(settled)) or "opset_version"
            msg = f"onnx_kwargs: {named} cannot be chosen; inputs are image and xyz, the number of samples is free, "
            msg += f"input_size sets height and width, opset_version is {_OPSET} or later"
            raise InputError(msg)
        need("onnx", "onnxscript")
        metadata = describe(self, input_size)
        logging.getLogger("onnx_ir").setLevel(logging.WARNING)  # else it reports every duplicate constant
        logger.info("Tracing %s; this and the translation to ONNX take a minute or two.", metadata.model)
        program, outputs = trace(self, input_size)
        translated = torch.onnx.export(
            program,
            input_names=INPUTS,
            output_names=outputs,
            dynamo=True,
            **{"opset_version": _OPSET, "verbose": False} | kwargs | {"optimize": False},
        )
        assert translated is not None  # noqa: S101
        if kwargs.get("optimize", True):
            simplify(translated.model)
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
        """Write the model as OpenVINO IR with the inputs and outputs of `to_onnx`.

        Args:
            export_root: Output folder; the files go to weights/openvino in it.
            model_file_name: Name of the files without .xml and .bin.
            input_size: See `to_onnx`.
            compression_type: FP16 or INT8 to store weights in 16 or 8 bits; INT8_PTQ for a vision tower that also
                computes in 8 bits; None for float32.
            datamodule: Data module for INT8_PTQ, whose training and validation samples determine the ranges.
            ov_kwargs: Arguments of `openvino.convert_model`.
            onnx_kwargs: Arguments of `to_onnx`.

        Returns:
            The .xml file; the weights are in the .bin beside it.

        Raises:
            ValueError: If the compression is INT8_ACQ, or INT8_PTQ without a data module.
            ImportError: If the extra `deploy` is not installed.
        """
        need("openvino", *(["nncf"] if compression_type in {CompressionType.INT8, CompressionType.INT8_PTQ} else []))
        import openvino  # noqa: PLC0415

        if compression_type == CompressionType.INT8_ACQ:
            msg = "compression_type=INT8_ACQ: accuracy control needs labelled anomalous parts, which "
            msg += (
                "few-shot training does not have; use INT8_PTQ, INT8 or FP16, and check the loss with `clip3dad parity`"
            )
            raise InputError(msg)
        if compression_type == CompressionType.INT8_PTQ and datamodule is None:
            msg = "compression_type=INT8_PTQ: the ranges are measured on samples; give the data module (--data ...)"
            raise InputError(msg)
        with TemporaryDirectory() as folder:
            # OpenVINO simplifies the graph itself, in seconds
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


def _folder(export_root: Path | str, kind: ExportType) -> Path:
    folder = Path(export_root) / "weights" / kind.value
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _tidy(model: Any) -> None:
    """Name the nodes after their modules, and remove the exporter's notes, which contain paths of this machine."""
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
