# SPDX-License-Identifier: Apache-2.0
"""Simplification of a graph, in seconds."""

from typing import Any


def simplify(model: Any) -> None:
    """Compute what depends on no input, and remove what is not needed or is there twice.

    `torch.onnx.export(optimize=True)` also rewrites patterns of nodes. One of its rules compares all pairs of nodes,
    which takes minutes for graphs of 10 000 (onnxscript 0.7, `SlicesSplit`), and ONNX Runtime rewrites again when it
    reads a file: `Clip3dAdPlus` was as fast with and without.

    Args:
        model: An `onnx_ir.Model`, changed in place.
    """
    from onnx_ir.passes import Sequential, common  # noqa: PLC0415 - of the extra `deploy`
    from onnxscript.optimizer import fold_constants  # noqa: PLC0415

    common.InlinePass()(model)
    fold_constants(model)
    Sequential(
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)
