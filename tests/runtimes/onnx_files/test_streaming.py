"""One file with its weights inside: written weight by weight, and looked at without them."""

from __future__ import annotations

import contextlib
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes import ModelError, load_model, open_runtime
from runtimes.onnx_files.load_save import load_graph, weight_bytes
from runtimes.onnx_files.protobuf import HOLDERS
from runtimes.onnx_files.streaming import frame_of, write_single_file
from runtimes.protobuf_fields import MalformedMessage, fields

Graph = Callable[[str], ir.Model]

DTYPES = [
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
    ir.DataType.FLOAT8E4M3FN,
    ir.DataType.INT4,
    ir.DataType.UINT8,
    ir.DataType.INT64,
    ir.DataType.BOOL,
    ir.DataType.COMPLEX64,
    ir.DataType.STRING,
]
# On both sides of the sizes above which weights are streamed and referred to.
SIZES = [(), (0,), (3,), (5, 7), (1024,), (1025,), (33, 250), (2, 16385), (131075,)]


def values(dtype: ir.DataType, shape: tuple[int, ...], seed: int) -> Any:
    random = np.random.default_rng(seed)
    numbers = np.asarray(random.integers(0, 2 if dtype == ir.DataType.BOOL else 7, shape))
    if dtype == ir.DataType.STRING:
        texts = [f"{n}é\0".encode() for n in numbers.reshape(-1)[:2000]]
        return ir.StringTensor(texts, shape=ir.Shape([len(texts)]), name="text")
    return ir.tensor(numbers.astype(dtype.numpy()), dtype=dtype)


def held(tensor: Any, how: str, folder: Path) -> Any:  # noqa: PLR0911 - one a form
    """The same values, kept in another way."""
    if how == "lazy":
        return ir.LazyTensor(lambda: tensor, dtype=tensor.dtype, shape=tensor.shape, name="lazy")
    if how == "external":
        data = folder / f"{len(list(folder.iterdir()))}.bin"
        data.write_bytes(b"before" + tensor.tobytes() + b"after")
        return ir.ExternalTensor(
            data.name,
            6,
            tensor.nbytes,
            tensor.dtype,
            shape=tensor.shape,
            name="outside",
            base_dir=folder,
        )
    if how == "packed" and tensor.dtype == ir.DataType.INT4:
        packed = np.frombuffer(tensor.tobytes(), np.uint8)
        return ir.PackedTensor(packed, ir.DataType.INT4, shape=tensor.shape)
    if how == "transposed" and tensor.shape.rank() == 2:
        return ir.tensor(np.asfortranarray(tensor.numpy()), dtype=tensor.dtype)
    if how == "read":
        return ir.TensorProtoTensor(ir.serde.serialize_tensor(tensor))
    if how == "typed" and tensor.dtype == ir.DataType.FLOAT:
        flat = tensor.numpy().reshape(-1)
        proto = onnx.helper.make_tensor("typed", 1, tensor.shape.numpy(), flat)
        return ir.TensorProtoTensor(proto)
    return tensor


TENSORS = st.tuples(
    st.sampled_from(DTYPES),
    st.sampled_from(SIZES),
    st.sampled_from(["memory", "lazy", "external", "packed", "transposed", "read", "typed"]),
    st.booleans(),
)

WITH_EVERYTHING = """
<ir_version: 10, opset_import: ["" : 21, "local" : 1], producer_name: "somebody",
 model_version: 3, doc_string: "two\\nlines", metadata_props: ["a": "b", "c": ""]>
named (float[n] x, bool b) => (float[n] y) <float[2] small = {1, 2}, float[n] z> {
    z = local.twice<by = 2.0>(x)
    c = Constant<value = float[3] {1.0, 2.0, 3.0}>()
    y = If (b) <
        then_branch = yes () => (float[n] t) <float[1] inner = {4}> { t = Add(z, inner) },
        else_branch = no () => (float[n] e) { e = Neg(z) }
    >
}
<domain: "local", opset_import: ["" : 21]>
twice<by>(v) => (w) { factor = Constant<value_float: float = @by>()
    w = Mul(v, factor) }
"""


def model_of(found: list[tuple[Any, ...]], folder: Path) -> ir.Model:
    """A model of every kind of message, whose two graphs hold the tensors that were found."""
    model = ir.from_proto(onnx.parser.parse_model(WITH_EVERYTHING))
    graphs = list(model.graphs())
    assert len(graphs) == 3
    for index, (dtype, shape, how, outer) in enumerate(found):
        tensor = values(dtype, shape, index)
        if dtype != ir.DataType.STRING:
            tensor = held(tensor, how, folder)
        if not isinstance(tensor, ir.TensorProtoTensor):  # onnx_ir writes theirs twice
            tensor.doc_string = "why" * index
            tensor.metadata_props["key"] = "value"
        value = ir.Value(
            name=f"weight_{index}",
            const_value=tensor,
            shape=tensor.shape,
            type=ir.TensorType(tensor.dtype),
        )
        graphs[0 if outer else 1].register_initializer(value)
    return model


@settings(max_examples=60, deadline=None)
@given(st.lists(TENSORS, max_size=6))
def test_the_file_is_what_onnx_itself_writes(found: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        model = model_of(found, Path(name))
        initializers = [v for graph in model.graphs() for v in graph.initializers.values()]
        before = [value.const_value for value in initializers]
        path = Path(name) / "m.onnx"
        write_single_file(model, path)
        assert all(v.const_value is t for v, t in zip(initializers, before, strict=True))
        for value, tensor in zip(initializers, before, strict=True):
            if isinstance(tensor, ir.ExternalTensor):
                value.const_value = ir.tensor(tensor.numpy(), dtype=tensor.dtype)
                value.const_value.doc_string = tensor.doc_string
                value.const_value.metadata_props.update(tensor.metadata_props)
        expected = ir.to_proto(model)
        written = onnx.load(path)
        assert written == expected
        assert path.read_bytes() == expected.SerializeToString(deterministic=True)

        whole, graph = load_model(path), load_graph(path)
        for left, right in zip(whole.graphs(), graph.graphs(), strict=True):
            for key, value in left.initializers.items():
                other = right.initializers[key].const_value
                large = value.const_value.nbytes > 65536 and not (
                    isinstance(value.const_value, ir.TensorProtoTensor)
                    and not value.const_value.raw.HasField("raw_data")
                )
                assert isinstance(other, ir.ExternalTensor) == large
                assert (other.dtype, other.shape) == (
                    value.const_value.dtype,
                    value.const_value.shape,
                )
                if value.const_value.dtype == ir.DataType.STRING:
                    assert other.numpy().tolist() == value.const_value.numpy().tolist()
                else:
                    assert other.tobytes() == value.const_value.tobytes()


def test_where_tensors_are_is_what_onnx_says() -> None:
    found: dict[str, dict[int, str]] = {}

    def holds_tensors(message: Any) -> bool:
        if message.name == "TensorProto":
            return True
        if message.name not in found:
            found[message.name] = {}
            for field in message.fields:
                if field.message_type is not None and holds_tensors(field.message_type):
                    found[message.name][field.number] = field.message_type.name
        return bool(found[message.name]) or message.name in {"GraphProto", "NodeProto"}

    holds_tensors(onnx.ModelProto.DESCRIPTOR)
    assert {name: numbers for name, numbers in found.items() if numbers} == HOLDERS


def test_weights_of_constants_in_external_data_come_along(graph: Graph, tmp_path: Path) -> None:
    data = np.arange(3, dtype=np.float32)
    (tmp_path / "apart").mkdir()
    (tmp_path / "apart" / "c.bin").write_bytes(data.tobytes())
    model = graph("g (float[n] x) => (float[n] y) { c = Constant<value = float {0.0}>()\n"
                  " y = Add(x, c) }")  # fmt: skip
    tensor = ir.ExternalTensor(
        "c.bin",
        0,
        12,
        ir.DataType.FLOAT,
        shape=ir.Shape([3]),
        name="c",
        base_dir=tmp_path / "apart",
    )
    (constant,) = (node for node in model.graph if node.op_type == "Constant")
    constant.attributes["value"] = ir.AttrTensor("value", tensor)
    write_single_file(model, tmp_path / "m.onnx")
    assert constant.attributes["value"].value is tensor
    with open_runtime(tmp_path / "m.onnx") as runtime:
        found = runtime.run({"x": np.zeros(3, np.float32)})["y"]
    assert found.tolist() == [0, 1, 2]


def test_the_frame_runs_beside_the_file(graph: Graph, tmp_path: Path) -> None:
    weights = np.random.default_rng(0).random((2, 40000), np.float32)
    model = graph(
        "g (float[n, 2] x) => (float[n, 40000] y) <float[2, 2] w = {1, 2, 3, 4}> {y = MatMul(x, w)}"
    )
    model.graph.initializers["w"].const_value = ir.tensor(weights, name="w")
    write_single_file(model, tmp_path / "m.onnx")
    frame = frame_of(tmp_path / "m.onnx")
    assert len(frame) < 1000
    (tmp_path / "frame.onnx").write_bytes(frame)
    onnx.checker.check_model(str(tmp_path / "frame.onnx"))
    x = np.float32([[1, 2]])
    with open_runtime(tmp_path / "frame.onnx") as runtime:
        np.testing.assert_allclose(runtime.run({"x": x})["y"], x @ weights, rtol=1e-6)


def test_a_tensor_that_is_not_of_its_size_is_a_bug(graph: Graph, tmp_path: Path) -> None:
    model = graph("g (float[n] x) => (float[n] y) <float[2] w = {1, 2}> { y = Add(x, w) }")
    model.graph.initializers["w"].const_value = ir.LazyTensor(
        lambda: ir.tensor(np.zeros(2000, np.float32)),
        dtype=ir.DataType.FLOAT,
        shape=ir.Shape([2001]),
        name="w",
    )
    with pytest.raises(RuntimeError, match="'w' is 8000 bytes, not 8004"):
        write_single_file(model, tmp_path / "m.onnx")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_are_no_models(data: st.DataObject) -> None:
    """Whatever stands in a file, it is read or refused, and nothing else happens."""
    model = ir.from_proto(onnx.parser.parse_model(WITH_EVERYTHING))
    model.graph.initializers["small"].const_value = ir.tensor(np.zeros(20000, np.float32))
    raw = bytearray(ir.to_proto(model).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "m.onnx"
        path.write_bytes(raw)
        with contextlib.suppress(MalformedMessage):
            frame_of(path)
        with contextlib.suppress(ModelError):
            load_graph(path)


def test_messages_in_messages_without_end(tmp_path: Path) -> None:
    def wrapped(number: int, content: bytes) -> bytes:
        size, head = len(content), bytearray()
        while size >= 0x80:
            head.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([number << 3 | 2, *head, size]) + content

    content = bytes(70000)
    content = wrapped(3, content)
    for _ in range(300):
        content = wrapped(1, wrapped(5, wrapped(6, content)))  # node, attribute, graph
    (tmp_path / "m.onnx").write_bytes(wrapped(7, content))
    with pytest.raises(ModelError, match="more than 100 messages inside each other"):
        load_graph(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "raw", [b"\x0b", b"\x00\x01", b"\x0a\x05ab", b"\x0a", b"\xff" * 11, b"\x0d\x00"]
)
def test_bytes_that_are_no_message(raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        list(fields(memoryview(raw)))


def test_an_empty_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="is not an ONNX model"):
        load_graph(tmp_path / "m.onnx")


def test_a_type_that_numpy_lacks_is_written(graph: Graph, tmp_path: Path) -> None:
    codes = np.arange(3000).astype(ml_dtypes.bfloat16)
    model = graph("g (float[n] x) => (float[n] y) <bfloat16[2] w = {1, 2}> { y = Neg(x) }")
    model.graph.initializers["w"].const_value = ir.tensor(codes, name="w")
    write_single_file(model, tmp_path / "m.onnx")
    again = load_model(tmp_path / "m.onnx").graph.initializers["w"].const_value
    np.testing.assert_array_equal(again.numpy().astype(np.float32), codes.astype(np.float32))


def test_one_weight_is_in_memory_at_a_time(graph: Graph, tmp_path: Path) -> None:
    size = 1 << 23
    model = graph("g (float[n] x) => (float[n] y) { y = Neg(x) }")
    for index in range(6):
        tensor = ir.LazyTensor(
            lambda: ir.tensor(np.zeros(size // 4, np.float32)),
            dtype=ir.DataType.FLOAT,
            shape=ir.Shape([size // 4]),
            name=f"w{index}",
        )
        value = ir.Value(name=f"w{index}", const_value=tensor, type=ir.TensorType(tensor.dtype))
        model.graph.register_initializer(value)
    tracemalloc.start()
    try:
        write_single_file(model, tmp_path / "m.onnx")
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        opened = load_graph(tmp_path / "m.onnx")
        seen = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size < written < 1.5 * size
    assert seen < size / 2
    assert weight_bytes(opened) == 6 * size
