"""Fixtures of the tests of pruning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.groups.selection import Dependencies


@pytest.fixture(scope="session")
def dependencies_of() -> Callable[[ir.Model], Dependencies]:
    """Shapes first, then dependencies."""

    def find(model: ir.Model) -> Dependencies:
        InferShapes()(model)
        return find_dependencies(model)

    return find


@pytest.fixture(scope="session")
def graph() -> Callable[..., ir.Model]:
    """Model from the body of an ONNX text graph; arrays by name become initializers."""

    def build(signature: str, body: str, opset: int = 18, **arrays: Any) -> ir.Model:
        text = f'<ir_version: 9, opset_import: ["" : {opset}]> g {signature} {{{body}}}'
        model = ir.from_onnx_text(text)
        used = [v for node in model.graph.all_nodes() for v in node.inputs if v is not None]
        values = {v.name: v for v in (*model.graph.inputs, *used) if v.producer() is None}
        for name, array in arrays.items():
            value = values[name]
            value.const_value = ir.tensor(np.asarray(array), name=name)
            value.type = ir.TensorType(value.const_value.dtype)
            value.shape = ir.Shape(np.shape(array))
            model.graph.register_initializer(value)
        for index, node in enumerate(model.graph.all_nodes()):
            node.name = node.name or f"{node.op_type}_{index}"
        onnx.checker.check_model(ir.to_proto(model))
        return model

    return build
