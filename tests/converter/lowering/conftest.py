"""Export a Keras model, run it beside Keras, and look at its nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

Parity = Callable[..., Counter[str]]


@pytest.fixture
def parity(keras: Any) -> Parity:
    """Compare a model with its export and return how often each operator occurs in it.

    ``parity(model, samples, opset=18, tolerance=1e-5)``: ``samples`` are lists of arrays, one
    an input. Weights, normal of ``scale``, and moving statistics are made random first. The
    tolerance is relative to the largest value of an output, or absolute where that is below one.
    ``reference`` is another Keras model that computes the same from the same weights, for what
    Keras cannot run on every CPU.
    """
    from converter.export.export import export
    from converter.export.sources import load_source

    def check(
        model: Any,
        samples: Sequence[Sequence[Any]],
        *,
        opset: int = 18,
        tolerance: float = 1e-5,
        scale: float = 0.4,
        reference: Any = None,
    ) -> Counter[str]:
        _randomize(model, scale)
        live, signature = load_source(model)
        if reference is not None:
            reference.set_weights(live.get_weights())
        exported = export(live, signature, opset=opset)
        session = onnxruntime.InferenceSession(
            ir.to_proto(exported).SerializeToString(), providers=["CPUExecutionProvider"]
        )
        names = [value.name for value in session.get_inputs()]
        assert names == [spec.name for spec in signature.inputs]
        for arrays in samples:
            judge = live if reference is None else reference
            expected = keras.tree.flatten(judge(signature.pack(list(arrays)), training=False))
            outputs = session.run(None, dict(zip(names, arrays, strict=True)))
            for wanted, output in zip(expected, outputs, strict=True):
                wide = keras.ops.convert_to_numpy(keras.ops.cast(wanted, "float32"))
                assert output.shape == wide.shape
                assert np.isfinite(wide).all()
                error = np.abs(output.astype(np.float32) - wide).max(initial=0.0)
                assert error <= tolerance * max(1.0, np.abs(wide).max(initial=0.0))
        return Counter(node.op_type for node in ir.traversal.RecursiveGraphIterator(exported.graph))

    return check


def _randomize(model: Any, scale: float) -> None:
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if not variable.dtype.startswith(("float", "bfloat")):
            continue
        values = rng.normal(scale=scale, size=variable.shape)
        variable.assign(np.abs(values) + 0.5 if "variance" in variable.path else values)
