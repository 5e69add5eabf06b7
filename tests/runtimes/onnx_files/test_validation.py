"""A file is checked where it is read: one line says what is wrong, before anything trusts it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from runtimes import ModelError, load_model
from runtimes.onnx_files.load import load_graph

TEXT = """<ir_version: 9, opset_import: ["" : 17, "local" : 1]>
g (float[N, 3] x, bool c) => (float[N, 4] y)
<int64[1] axes = {1}> {
  a = Gemm <alpha = 1.0> (x, w, b)
  s = Softmax <axis = 1> (a)
  i = If (c) <
    then_branch = t () => (float[N, 4] u) { u = Neg(s) },
    else_branch = e () => (float[N, 4] v) { v = local.twice(s) }
  >
  m = ReduceSum(i, axes)
  y = Add(i, m)
}
<opset_import: ["" : 17], domain: "local">
twice (p) => (q) { q = Add(p, p) }
"""


def model() -> Any:
    found = onnx.parser.parse_model(TEXT)
    rng = np.random.default_rng(0)
    for name, shape in (("w", (3, 4)), ("b", (4,))):
        values = rng.normal(size=shape).astype(np.float32)
        found.graph.initializer.append(numpy_helper.from_array(values, name))
    return found


def tensor_of(found: Any, name: str) -> Any:
    return next(tensor for tensor in found.graph.initializer if tensor.name == name)


def node_of(found: Any, operator: str) -> Any:
    return next(node for node in found.graph.node if node.op_type == operator)


def branch_of(found: Any) -> Any:
    return node_of(found, "If").attribute[0].g


def edit(path: str, value: Any) -> Callable[[Any], None]:
    """Set a field: ``tensor w.data_type``, ``node Softmax.op_type``, ``graph.name``, …"""
    where, _, field = path.rpartition(".")
    kind, _, name = where.partition(" ")

    def change(found: Any) -> None:
        finder = {"tensor": tensor_of, "node": node_of}
        holder = finder[kind](found, name) if kind in finder else found
        if field in {"input", "output", "dims"}:
            index, new = value
            getattr(holder, field)[index] = new
        else:
            setattr(holder, field, value)

    return change


def rename(kind: str, old: str, new: str) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for value in getattr(found.graph, kind):
            if value.name == old:
                value.name = new

    return change


def attribute(operator: str, **fields: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for name, value in fields.items():
            setattr(node_of(found, operator).attribute[0], name, value)

    return change


def external(**entries: str) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        tensor = tensor_of(found, "w")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)

    return change


def nest(found: Any) -> None:
    node = node_of(found, "If")
    for _ in range(25):
        inner = onnx.NodeProto()
        inner.CopyFrom(node)
        del node.attribute[0].g.node[:]
        node.attribute[0].g.node.append(inner)
        node.attribute[0].g.output[0].name = inner.output[0]


def call_itself(found: Any) -> None:
    found.functions[0].node[0].CopyFrom(
        onnx.NodeProto(op_type="twice", domain="local", input=["p"], output=["q"])
    )
    found.functions[0].opset_import.add(domain="local", version=1)


DAMAGE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "size": (edit("tensor w.raw_data", b"\0" * 44), r"'w' holds 44 bytes, .*\[3, 4\] needs 48"),
    "shape": (edit("tensor w.dims", (0, -3)), r"'w' has the impossible shape \[-3, 4\]"),
    "huge": (edit("tensor w.dims", (0, 2**61)), "'w' has the impossible shape"),
    "type": (edit("tensor w.data_type", 99), "'w' has the element type 99"),
    "no type": (edit("tensor w.data_type", 0), "'w' has the element type 0"),
    "wider type": (edit("tensor w.data_type", TensorProto.DOUBLE), "needs 96"),
    "other type": (edit("tensor w.data_type", TensorProto.INT32), r"node '' \(Gemm\)"),
    "text as bytes": (edit("tensor w.data_type", TensorProto.STRING), "text as raw bytes"),
    "no values": (lambda m: tensor_of(m, "w").ClearField("raw_data"), "'w' has no values"),
    "values twice": (
        lambda m: tensor_of(m, "w").float_data.append(1.0),
        "'w' has its values twice, as float_data and as raw_data",
    ),
    "field of another type": (
        lambda m: tensor_of(m, "axes").CopyFrom(
            TensorProto(name="axes", data_type=7, dims=[1], int32_data=[1])
        ),
        "'axes' is INT64 and has its values in int32_data",
    ),
    "too few values": (
        lambda m: tensor_of(m, "axes").CopyFrom(
            TensorProto(name="axes", data_type=7, dims=[2], int64_data=[1])
        ),
        r"'axes' holds 1 values, .*\[2\] needs 2",
    ),
    "dangling": (edit("node Softmax.input", (0, "gone")), "Softmax.* reads 'gone', which nothing"),
    "dangling inside": (
        lambda m: branch_of(m).node[0].input.__setitem__(0, "gone"),
        "Neg.* reads 'gone', which nothing",
    ),
    "made twice": (edit("node Softmax.output", (0, "a")), "'a', an output of .*, is made twice"),
    "input made": (edit("node Softmax.output", (0, "x")), "'x', an output of .*, is made twice"),
    "no name": (rename("input", "x", ""), "an input or a tensor has no name"),
    "tensors of one name": (rename("initializer", "b", "w"), "two tensors have one name"),
    "inputs of one name": (rename("input", "c", "x"), "'x' is the name of two inputs"),
    "output unmade": (rename("output", "y", "z"), "nothing makes the output 'z'"),
    "outer value as output": (
        lambda m: setattr(branch_of(m).output[0], "name", "s"),
        "nothing makes the output 's'",
    ),
    "circle": (
        edit("node Softmax.input", (0, "m")),
        "needs its own result: .* a circle",
    ),
    "circle through a branch": (
        lambda m: branch_of(m).node[0].input.__setitem__(0, "m"),
        "the graph has a circle",
    ),
    "no operator": (edit("node Softmax.op_type", ""), "has no operator"),
    "domain": (edit("node Softmax.domain", "nobody"), "of the domain 'nobody', of which"),
    "attribute of another type": (
        attribute("Softmax", type=onnx.AttributeProto.FLOAT),
        "'axis' of .*Softmax.* is not of the type that it says",
    ),
    "attribute as a float": (
        lambda m: (
            node_of(m, "Softmax")
            .attribute[0]
            .CopyFrom(onnx.AttributeProto(name="axis", f=1.0, type=onnx.AttributeProto.FLOAT))
        ),
        "'axis' of .*Softmax.* is FLOAT and has to be INT",
    ),
    "unknown attribute": (attribute("Softmax", name="axle"), "no attribute 'axle' in opset 17"),
    "attribute twice": (
        lambda m: node_of(m, "Softmax").attribute.append(node_of(m, "Softmax").attribute[0]),
        "has no name, or one that another one has",
    ),
    "attribute empty": (lambda m: node_of(m, "Softmax").attribute[0].ClearField("i"), "no value"),
    "reference outside": (attribute("Softmax", ref_attr_name="p"), "refers to one of a function"),
    "range": (attribute("Softmax", i=7), r"Softmax.*axis"),
    "missing attribute": (lambda m: node_of(m, "If").attribute.pop(), "lacks its attribute"),
    "no inputs": (lambda m: node_of(m, "Add").ClearField("input"), "0 inputs, and takes 2"),
    "missing input": (edit("node Gemm.input", (0, "")), "Gemm.* lacks its input 'A'"),
    "shapes": (
        lambda m: tensor_of(m, "w").CopyFrom(
            numpy_helper.from_array(np.zeros((3, 4, 1), np.float32), "w")
        ),
        "Gemm",
    ),
    "opset": (lambda m: setattr(m.opset_import[0], "version", 10_000), "it uses opset 10000"),
    "no opset": (lambda m: setattr(m.opset_import[0], "version", 0), "have no version, or two"),
    "two opsets": (lambda m: m.opset_import.add(domain="", version=12), "have no version, or two"),
    "nested": (nest, "more than 20 graphs lie inside each other"),
    "recursion": (call_itself, "the function 'twice' calls itself"),
    "function": (
        lambda m: m.functions[0].node[0].input.__setitem__(0, "gone"),
        "in the function 'twice', .* reads 'gone'",
    ),
    "sparse": (lambda m: m.graph.sparse_initializer.add(), "sparse tensors; save them dense"),
    "negative dimension": (
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", -3),
        "'x' has a dimension of -3",
    ),
    "no samples": (
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 0),
        "input 'x' takes 0 samples; .* as a name or as -1",
    ),
    "input type": (
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 77),
        "'x' has the element type 77",
    ),
    "no output": (lambda m: m.graph.ClearField("output"), "it has no output"),
    "no location": (external(offset="0"), "without saying in which file"),
    "offset": (external(location="d", offset="-8"), "'w' has the offset '-8'"),
    "length": (external(location="d", length="many"), "'w' has the length 'many'"),
    "outside": (external(location="../d"), r"'w' point outside the model's folder"),
    "absolute": (external(location="/etc/passwd"), r"'w' point outside the model's folder"),
    "other drive": (external(location="C:\\d"), r"'w' point outside the model's folder"),
    "link": (external(location="link"), "lead through a link out of the model's folder"),
    "folder": (external(location="."), "are missing"),
    "no file": (external(location="none"), "are missing: there is no file 'none'"),
    "impossible file": (external(location="d\0"), "cannot be read"),
    "short file": (external(location="d", offset="8"), "truncated: 'd' holds 48 bytes, 56 are"),
    "wrong length": (external(location="d", length="40"), "should be 48 bytes .* but say 40"),
}


def write(found: Any, folder: Path) -> Path:
    (folder / "d").write_bytes(b"\0" * 48)
    if not (folder / "link").is_symlink():
        (folder / "link").symlink_to("/etc/hostname")
    path = folder / "m.onnx"
    path.write_bytes(found.SerializeToString())
    return path


def test_the_undamaged_model_is_taken(tmp_path: Path) -> None:
    path = write(model(), tmp_path)
    onnxruntime.InferenceSession(path)
    assert len(load_model(path).graph) == 5
    assert len(load_graph(path).graph) == 5
    found = model()
    external(location="d", offset="0", length="48")(found)
    assert load_model(write(found, tmp_path)).graph.initializers["w"].const_value is not None


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_what_is_wrong_is_one_line(damage: str, tmp_path: Path) -> None:
    change, message = DAMAGE[damage]
    found = model()
    change(found)
    path = write(found, tmp_path)
    for load in (load_model, load_graph):
        with pytest.raises(ModelError, match=message) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_nodes_may_come_in_any_order(tmp_path: Path) -> None:
    """Runtimes sort them, and so does kilnx: passes go from the inputs to the outputs."""
    found = model()
    nodes = list(found.graph.node)
    del found.graph.node[:]
    found.graph.node.extend(reversed(nodes))
    path = write(found, tmp_path)
    onnxruntime.InferenceSession(path)
    assert [node.op_type for node in load_model(path).graph] == [node.op_type for node in nodes]


def test_a_dimension_of_minus_one_is_free(tmp_path: Path) -> None:
    found = model()
    for value in (found.graph.input[0], found.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    graph = load_model(write(found, tmp_path)).graph
    for value in (graph.inputs[0], graph.outputs[0]):
        assert value.shape is not None
        assert not isinstance(value.shape[0], int)


WRONG_TYPES = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 6] x) => (float[N, 9] y, float w, float[2, 6] x)
<float[1, 4] a, float[7] b, float[N, 4] c> {
  a = Gemm(x, w)
  b = Relu(a)
  c = Tanh(b)
  y = Neg(c)
}"""


def test_values_have_the_types_that_they_can_have(tmp_path: Path) -> None:
    """Tools leave shapes behind that an edited graph no longer has; runtimes find them anew."""
    found = onnx.parser.parse_model(WRONG_TYPES)
    found.graph.initializer.append(numpy_helper.from_array(np.ones((6, 4), np.float32), "w"))
    found.graph.value_info[2].type.tensor_type.elem_type = TensorProto.FLOAT16
    graph = load_model(write(found, tmp_path)).graph
    shapes = {
        value.name: [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]
        for value in (*graph.inputs, *(node.outputs[0] for node in graph), *graph.outputs)
    }
    batches = ["N", 4]
    assert shapes == {
        **{"x": ["N", 6], "w": [6, 4], "a": batches, "b": batches, "c": batches, "y": batches}
    }
    assert {str(node.outputs[0].dtype) for node in graph} == {"FLOAT"}


def test_the_other_name_of_onnx_own_domain(tmp_path: Path) -> None:
    found = model()
    found.opset_import[0].domain = "ai.onnx"
    assert load_model(write(found, tmp_path)).graph.opset_imports[""] == 17


def test_small_shapes_in_external_data_are_read(tmp_path: Path) -> None:
    """Axes outside of the file count for the types and shapes like those inside."""
    found = model()
    tensor = tensor_of(found, "axes")
    for axis, fails in ((1, False), (5, True)):
        (tmp_path / "axes").write_bytes(np.int64(axis).tobytes())
        tensor.CopyFrom(TensorProto(name="axes", data_type=7, dims=[1], data_location=1))
        tensor.external_data.add(key="location", value="axes")
        path = write(found, tmp_path)
        path = path.rename(tmp_path / f"{axis}.onnx")
        if fails:
            with pytest.raises(ModelError, match="ReduceSum"):
                load_model(path)
        else:
            load_model(path)


def test_a_valid_file_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimes.onnx_files import load

    calls = []
    monkeypatch.setattr(load, "validate", calls.append)
    path = write(model(), tmp_path)
    for _ in range(3):
        load_graph(path)
    assert len(calls) == 1
    path.write_bytes(model().SerializeToString() + b"\x32\x01x")  # with a doc_string
    load_graph(path)
    assert len(calls) == 2


@pytest.mark.parametrize("bits", [range(8)])
def test_flipped_bits_are_found_or_harmless(bits: range, tmp_path: Path) -> None:
    """Whatever a damaged byte makes of the file, it loads or is refused."""
    whole = model().SerializeToString()
    for place, bit in itertools.product(range(0, len(whole), 3), bits):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        path = tmp_path / "m.onnx"
        path.write_bytes(damaged)
        with contextlib.suppress(ModelError):
            load_model(path)
