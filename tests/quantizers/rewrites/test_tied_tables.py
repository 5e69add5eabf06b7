"""A tied embedding is quantized once: a Gather and a matrix product read one table of codes."""

import numpy as np
import onnx_ir as ir
import pytest

from converter.passes.deduplication.initializers import deduplicate
from quantizers import QuantizeOptions, quantize_model
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import model_inputs, weight_bytes

rng = np.random.default_rng(0)
ROWS, WIDTH = 400, 32


def language_model(transposed):
    """Ids to rows of a table, a residual block, and the table again as the last product."""
    table = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    arrays = {
        "table": table,
        "inner": rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 6,
        "gamma": np.ones(WIDTH, np.float32),
    }
    last = "t = Transpose<perm = [1, 0]>(table)" if transposed else "t = Identity(other)"
    if not transposed:
        arrays["other"] = np.ascontiguousarray(table.T)
    text = f"""<ir_version: 9, opset_import: ["" : 18]>
    g (int64[N, 6] ids) => (float[N, 6, {ROWS}] y) {{
      a = Gather(table, ids) b = MatMul(a, inner) c = Relu(b) d = Add(a, c)
      e = LayerNormalization(d, gamma) {last} y = MatMul(e, t)
    }}"""
    model = ir.from_onnx_text(text)
    for node in model.graph:
        for value in node.inputs:
            if value.name not in arrays:
                continue
            known = model.graph.initializers.get(value.name)
            if known is not None:
                value.replace_all_uses_with(known)
                continue
            tensor = ir.tensor(arrays[value.name], name=value.name)
            value.const_value, value.type = tensor, ir.TensorType(tensor.dtype)
            value.shape = ir.Shape(arrays[value.name].shape)
            model.graph.register_initializer(value)
    return model


@pytest.mark.parametrize("transposed", [True, False])
def test_both_uses_read_one_table_of_codes(transposed):
    model = language_model(transposed)
    if not transposed:
        identity = next(node for node in model.graph if node.op_type == "Identity")
        identity.outputs[0].replace_all_uses_with(identity.inputs[0])
        model.graph.remove(identity, safe=True)
        assert deduplicate(model, views=True).merged[0].how == "Transpose"
    ids = np.random.default_rng(1).integers(0, ROWS, size=(64, 6))
    data = Dataset.open({"ids": ids}, inputs=model_inputs(model))
    options = QuantizeOptions(threads=1, measure=False)
    quantized, report = quantize_model(model, data, options=options)
    codes = [
        value
        for value in quantized.graph.initializers.values()
        if value.dtype == ir.DataType.INT8 and value.const_value.size == ROWS * WIDTH
    ]
    assert len(codes) == 1
    assert sorted(node.op_type for node in codes[0].consumers()) == ["Gather", "Transpose"]
    assert "a tied table is quantized once, for both of its uses" in report.notes
    assert weight_bytes(quantized) < weight_bytes(model) / 2.5
