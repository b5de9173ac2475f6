# SPDX-License-Identifier: Apache-2.0
"""Compression of the learned part of an OpenVINO model; the geometry keeps its precision.

If rotations and pixel grids were rounded to 16 bits, the views would shift and scores would change far more than by
rounding weights.
"""

import logging
from typing import Any

import numpy as np
from anomalib.deploy import CompressionType

logger = logging.getLogger(__name__)

# nodes are named after their modules
_LEARNED, _TOWER = "model/model/", "model/model/tower/"


def compress(model: Any, kind: CompressionType, datamodule: Any = None) -> Any:
    """Compress an OpenVINO model.

    Args:
        model: Model converted from ONNX with its node names.
        kind: FP16 or INT8 for the weights; INT8_PTQ also for the activations of the vision tower.
        datamodule: Data module for INT8_PTQ, see `calibration_samples`.

    Returns:
        The compressed model; `model` itself must not be used afterwards.
    """
    if kind == CompressionType.FP16:
        return _in_16_bits(model)
    import nncf  # noqa: PLC0415

    nncf.set_log_level(logging.WARNING)  # else it reports every node that it leaves unchanged
    part = _LEARNED if kind == CompressionType.INT8 else _TOWER
    constants = {"Constant", "Parameter", "Result"}
    others = [op.get_friendly_name() for op in model.get_ops() if op.get_type_name() not in constants]
    rest = nncf.IgnoredScope(names=[name for name in others if not name.startswith(part)], validate=False)
    if kind == CompressionType.INT8:
        return nncf.compress_weights(model, ignored_scope=rest)
    samples = calibration_samples(datamodule)
    logger.info("Quantising; ranges are measured on %d samples.", len(samples))
    return nncf.quantize(
        model,
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=rest,
        subset_size=len(samples),
    )


def _in_16_bits(model: Any) -> Any:
    """Store learned constants as float16, converted back when the model is loaded."""
    from openvino import Type, opset13  # noqa: PLC0415

    for constant in (op for op in model.get_ops() if op.get_type_name() == "Constant"):
        users = [port.get_node().get_friendly_name() for port in constant.output(0).get_target_inputs()]
        learned = constant.get_element_type() == Type.f32 and all(name.startswith(_LEARNED) for name in users)
        if not learned or np.abs(constant.data).max(initial=0) > np.finfo(np.float16).max:
            continue
        narrow = opset13.constant(constant.data.astype(np.float16), name=f"{constant.get_friendly_name()}/fp16")
        constant.output(0).replace(opset13.convert(narrow, Type.f32).output(0))
    return model


def calibration_samples(datamodule: Any, at_most: int = 300) -> list[dict[str, np.ndarray]]:
    """Collect a data module's training and validation samples, each once, but no test samples.

    Args:
        datamodule: Data module of RGB + XYZ.
        at_most: Largest number of samples; anomalib recommends 300.

    Returns:
        For each sample `image` (1, 3, H, W) RGB in [0, 1] and `xyz` (1, 3, H, W) in metres, float32.
    """
    datamodule.setup("fit")
    sets = [datamodule.train_data, *([datamodule.val_data] if hasattr(datamodule, "val_data") else [])]
    items = (samples[i] for samples in sets for i in range(len(samples)))
    return [
        {"image": item.image[None].numpy(), "xyz": item.depth_map[None].numpy()}
        for item, _ in zip(items, range(at_most), strict=False)
    ]
