"""Models that Keras has quantized: what is in 4 or 8 bits there is so in the file."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter import convert
from converter.export.convert import ConversionReport
from converter.lowering.low_bit.weights import has_int4, low_bit_layers, unpacked
from runtimes.errors import UnsupportedOperator

Build = Callable[[Any], Any]


def _dense(keras: Any) -> Any:
    layers = [keras.Input((40,)), keras.layers.Dense(33, activation="relu"), keras.layers.Dense(5)]
    return keras.Sequential(layers)


def _large_dense(keras: Any) -> Any:
    return keras.Sequential([keras.Input((512,)), keras.layers.Dense(600)])


def _einsum(keras: Any) -> Any:
    layer = keras.layers.EinsumDense("abc,cde->abde", output_shape=(None, 4, 8), bias_axes="de")
    return keras.Sequential([keras.Input((None, 24)), layer])


def _kernel_outputs_first(keras: Any) -> Any:
    layer = keras.layers.EinsumDense("abc,dc->abd", output_shape=(None, 16))
    return keras.Sequential([keras.Input((None, 24)), layer])


def _attention(keras: Any) -> Any:
    inputs = keras.Input((6, 20))
    return keras.Model(inputs, keras.layers.MultiHeadAttention(4, 8)(inputs, inputs))


def _embedding(keras: Any) -> Any:
    return keras.Sequential([keras.Input((8,), dtype="int32"), keras.layers.Embedding(100, 15)])


def _tied(keras: Any) -> Any:
    layer = keras.layers.ReversibleEmbedding(100, 20)
    inputs = keras.Input((8,), dtype="int32")
    return keras.Model(inputs, layer(layer(inputs), reverse=True))


def _untied(keras: Any) -> Any:
    layer = keras.layers.ReversibleEmbedding(100, 20, tie_weights=False)
    inputs = keras.Input((8,), dtype="int32")
    return keras.Model(inputs, layer(layer(inputs), reverse=True))


MODELS = [
    _dense,
    _large_dense,
    _einsum,
    _kernel_outputs_first,
    _attention,
    _embedding,
    _tied,
    _untied,
]


def _int4(keras: Any, **options: Any) -> Any:
    return keras.quantizers.Int4QuantizationConfig(**options)


def _weights_only(keras: Any) -> Any:
    return keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)


CONFIGS: dict[str, Build] = {
    "int8": lambda keras: keras.quantizers.Int8QuantizationConfig(),
    "int8 weights": _weights_only,
    "int4": _int4,
    "int4 columns": lambda keras: _int4(keras, block_size=-1),
    "int4 odd groups": lambda keras: _int4(keras, block_size=7),
    "int4 inputs": lambda keras: _int4(
        keras, block_size=-1, activation_quantizer=keras.quantizers.AbsMaxQuantizer()
    ),
}


def _quantized(keras: Any, build: Build, config: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = build(keras)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of each layer that has nothing to quantize
        model.quantize(config=config)
    return model


def _initializers(path: Path) -> dict[str, ir.TensorProtocol]:
    graph = ir.load(path).graph
    return {n: v.const_value for n, v in graph.initializers.items() if v.const_value is not None}


def _wide(path: Path) -> list[ir.TensorProtocol]:
    """Float matrices that are as large as a weight, and no scale."""
    return [
        tensor
        for name, tensor in _initializers(path).items()
        if tensor.dtype == ir.DataType.FLOAT
        and sum(dim != 1 for dim in tensor.shape.numpy()) > 1
        and "scale" not in name
        and tensor.size > 100 * 3  # the scales of three groups for a hundred rows
    ]


def _cases() -> list[Any]:
    """Every model with every configuration; quick is one of each."""
    return [
        pytest.param(
            build,
            name,
            id=f"{build.__name__.strip('_')}-{name}",
            marks=[]
            if build is _dense or name == "int4" or (name == "int8" and build is _einsum)
            else [pytest.mark.slow],
        )
        for build in MODELS
        for name in CONFIGS
    ]


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("build", "name"), _cases())
def test_no_weight_becomes_float(build: Build, name: str, keras: Any, tmp_path: Path) -> None:
    model = _quantized(keras, build, CONFIGS[name](keras))
    report = convert(model, tmp_path / "m.onnx")  # compares with Keras
    assert _wide(tmp_path / "m.onnx") == []
    assert report.opset == (21 if has_int4(model) else 18)


@pytest.mark.sweep(5)
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("name", ["int4", "int4 columns", "int4 odd groups"])
def test_an_older_opset_gets_int8(name: str, opset: int, keras: Any, tmp_path: Path) -> None:
    model = _quantized(keras, _dense, CONFIGS[name](keras))
    report = convert(model, tmp_path / "m.onnx", opset=opset)
    assert report.opset == opset
    kinds = [t.dtype for t in _initializers(tmp_path / "m.onnx").values() if t.size >= 40 * 33]
    assert kinds == [ir.DataType.INT8]
    assert any(f"opset {opset} has no INT4" in note for note in report.notes)


def test_a_runtime_without_int4_gets_int8(keras: Any, tmp_path: Path) -> None:
    model = _quantized(keras, _dense, _int4(keras))
    assert convert(model, tmp_path / "m.onnx", target_ort="1.16").opset == 19


def test_int4_takes_half_a_byte(keras: Any, tmp_path: Path) -> None:
    model = _quantized(keras, _large_dense, _int4(keras))
    report = convert(model, tmp_path / "m.onnx")
    scales = 4 * 600 * 4 + 4 * 600 // 2  # four groups of rows: float32 scales, int4 zero points
    bias = 600 * 4
    assert report.size_bytes < 512 * 600 / 2 + scales + bias + 2000
    tensors = _initializers(tmp_path / "m.onnx").values()
    assert [t.dtype for t in tensors if t.size == 512 * 600] == [ir.DataType.INT4]


def test_a_tied_int4_embedding_is_stored_once_at_half_a_byte(keras: Any, tmp_path: Path) -> None:
    layer = keras.layers.ReversibleEmbedding(3000, 64)
    inputs = keras.Input((8,), dtype="int32")
    model = keras.Model(inputs, layer(layer(inputs), reverse=True))
    model = _quantized(keras, lambda keras: model, _int4(keras, block_size=32))
    report = convert(model, tmp_path / "m.onnx")
    scales = 2 * 3000 * 2 * (4 + 4)  # of two groups, for each of the two directions
    assert report.size_bytes < 3000 * 64 / 2 + scales + 8000


def test_a_tied_int8_embedding_is_stored_once(keras: Any, tmp_path: Path) -> None:
    layer = keras.layers.ReversibleEmbedding(3000, 64)
    inputs = keras.Input((8,), dtype="int32")
    model = keras.Model(inputs, layer(layer(inputs), reverse=True))
    model = _quantized(keras, lambda keras: model, _weights_only(keras))
    convert(model, tmp_path / "m.onnx")
    large = [t for t in _initializers(tmp_path / "m.onnx").values() if t.size == 3000 * 64]
    assert [t.dtype for t in large] == [ir.DataType.INT8]


def test_the_report_says_how_a_default_session_rounds(keras: Any, tmp_path: Path) -> None:
    report = convert(_quantized(keras, _large_dense, _int4(keras)), tmp_path / "m.onnx")
    assert any("session.qdq_matmulnbits_accuracy_level=1" in note for note in report.notes)
    plain: ConversionReport = convert(_large_dense(keras), tmp_path / "plain.onnx")
    assert plain.notes == ()


def test_nodes_and_weights_are_named_after_their_layer(keras: Any, tmp_path: Path) -> None:
    layers = [keras.Input((40,)), keras.layers.Dense(33, name="first"), keras.layers.Dense(5)]
    model = _quantized(keras, lambda keras: keras.Sequential(layers), _int4(keras))
    convert(model, tmp_path / "m.onnx")
    assert "first/DequantizeLinear/x" in _initializers(tmp_path / "m.onnx")
    node = next(n for n in ir.load(tmp_path / "m.onnx").graph if n.name == "first/DequantizeLinear")
    assert node.metadata_props["kilnx.layer"] == "first"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_policies_of_half_precision(policy: str, keras: Any, tmp_path: Path) -> None:
    layers = [
        keras.Input((40,)),
        keras.layers.Dense(33, dtype=policy),
        keras.layers.Dense(5, dtype=policy),
    ]
    model = _quantized(keras, lambda keras: keras.Sequential(layers), _int4(keras))
    convert(model, tmp_path / "m.onnx")
    assert _wide(tmp_path / "m.onnx") == []


def test_adapters_of_a_quantized_layer_stay(keras: Any, tmp_path: Path) -> None:
    model = _quantized(keras, _dense, _int4(keras))
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(np.full((2, 33), 0.1, np.float32))
    convert(model, tmp_path / "m.onnx")


def _calibrated(keras: Any, policy: str, bits: int, index: Any, layer: Any = None) -> Any:
    """A model as it is after GPTQ or AWQ, but for weights at random."""
    rng = np.random.default_rng(0)
    layer = layer or keras.layers.Dense(7, dtype=policy)
    model = keras.Sequential([keras.Input((24,)), layer])
    size = layer.quantized_kernel.shape
    layer.quantized_kernel.assign(
        rng.integers(0, 256 if bits in (4, 8) else 2**bits, size).astype(np.uint8)
    )
    groups = layer.kernel_scale.shape
    layer.kernel_scale.assign(rng.random(groups).astype(np.float32) + 0.1)
    layer.kernel_zero.assign(rng.integers(0, 2**bits, groups).astype(np.uint8))
    layer.g_idx.assign(np.asarray(index, np.float32))
    if policy.startswith("awq"):
        layer.awq_scales.assign(rng.random(24).astype(np.float32) + 0.5)
        layer.is_awq_calibrated = True
    else:
        layer.is_gptq_calibrated = True
    return model


_IN_ORDER = np.arange(24) // 8


@pytest.mark.parametrize(
    ("policy", "bits", "kind"),
    [
        ("gptq/4/8_from_float32", 4, ir.DataType.UINT4),
        ("gptq/8/8_from_float32", 8, ir.DataType.UINT8),
        ("gptq/3/8_from_float32", 3, ir.DataType.UINT4),
        ("awq/4/8_from_float32", 4, ir.DataType.UINT4),
    ],
)
def test_gptq_and_awq(
    policy: str, bits: int, kind: ir.DataType, keras: Any, tmp_path: Path
) -> None:
    model = _calibrated(keras, policy, bits, _IN_ORDER)
    convert(model, tmp_path / "m.onnx", opset=21)
    tensors = _initializers(tmp_path / "m.onnx").values()
    assert [t.dtype for t in tensors if t.size == 24 * 7] == [kind]


@pytest.mark.parametrize("policy", ["gptq/4/8_from_float32", "awq/4/8_from_float32"])
def test_gptq_and_awq_of_an_einsum(policy: str, keras: Any, tmp_path: Path) -> None:
    layer = keras.layers.EinsumDense("ab,bcd->acd", output_shape=(2, 4), dtype=policy)
    model = _calibrated(keras, policy, 4, _IN_ORDER, layer)
    convert(model, tmp_path / "m.onnx")
    assert _wide(tmp_path / "m.onnx") == []


def test_gptq_with_rows_in_the_order_of_their_importance(keras: Any, tmp_path: Path) -> None:
    index = np.random.default_rng(1).permutation(_IN_ORDER)
    model = _calibrated(keras, "gptq/4/8_from_float32", 4, index)
    convert(model, tmp_path / "m.onnx")
    tensors = _initializers(tmp_path / "m.onnx").values()
    assert [t.dtype for t in tensors if t.size == 24 * 7] == [ir.DataType.UINT4]


def test_groups_of_several_sizes_are_refused(keras: Any, tmp_path: Path) -> None:
    index = [0] * 4 + [1] * 12 + [2] * 8
    model = _calibrated(keras, "gptq/4/8_from_float32", 4, index)
    with pytest.raises(UnsupportedOperator, match=r"'dense.*groups of rows are not of one size"):
        convert(model, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_a_gptq_layer_that_is_not_calibrated_is_what_it_was(keras: Any, tmp_path: Path) -> None:
    layer = keras.layers.Dense(7)
    model = keras.Sequential([keras.Input((24,)), layer])
    layer.quantize("gptq", config=_gptq_config(keras))
    assert low_bit_layers(model) == []
    convert(model, tmp_path / "m.onnx")


def _gptq_config(keras: Any) -> Any:
    return keras.quantizers.GPTQConfig(dataset=["a"], tokenizer=str, group_size=8)


def test_float8_is_refused_by_name(keras: Any, tmp_path: Path) -> None:
    layers = [keras.Input((24,)), keras.layers.Dense(7, name="narrow", dtype="float8_from_float32")]
    model = keras.Sequential(layers)
    with pytest.raises(UnsupportedOperator, match=r"'narrow'.*float8.*kilnx quantize"):
        convert(model, tmp_path / "m.onnx")


@pytest.mark.parametrize("columns", [6, 7])
def test_unpacking_is_that_of_keras(columns: int, keras: Any) -> None:
    codes = np.random.default_rng(0).integers(-8, 8, (5, columns)).astype(np.int8)
    packed, _, _ = keras.quantizers.pack_int4(codes, axis=-1)
    np.testing.assert_array_equal(unpacked(np.asarray(packed), columns), codes)
