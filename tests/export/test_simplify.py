# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from anomalib_clip3dad.export.simplify import simplify


class Wasteful(nn.Module):
    """The same product twice, and a factor that depends on no input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor([2.0, 3.0]))

    def forward(self, x: Tensor) -> Tensor:
        factor: Tensor = self.factor
        return torch.sin(x * (factor.square() + 1)) + torch.sin(x * (factor.square() + 1))


def test_what_depends_on_no_input_is_computed_and_nothing_twice(tmp_path: Path) -> None:
    x = torch.rand(4, 2)
    program = torch.onnx.export(Wasteful().eval(), (x,), dynamo=True, optimize=False, verbose=False)
    assert program is not None
    before = [node.op_type for node in program.model.graph.all_nodes()]
    assert before.count("Sin") == 2
    simplify(program.model)
    after = sorted(node.op_type for node in program.model.graph.all_nodes())
    assert after == ["Add", "Mul", "Sin"]
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(found, 2 * np.sin(x.numpy() * [5.0, 10.0]), atol=1e-5)
