"""Model files: untrusted when read, whole when written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from runtimes import DataError, ModelError, load_model, open_runtime, save_model
from runtimes.engines.ort import OrtRuntime
from runtimes.onnx_files import load_save as modelfile
from runtimes.onnx_files.load_save import (
    file_bytes,
    model_bytes,
    model_inputs,
    model_outputs,
    refuse_nan_weights,
    weight_bytes,
)

Graph = Callable[[str], ir.Model]

TEXT = (
    "g (float[n, 2] x) => (float[n, 3] y) <float[2, 3] w = {1, 2, 3, 4, 5, 6}> { y = MatMul(x, w) }"
)


@pytest.fixture
def external(graph: Graph, tmp_path: Path) -> Path:
    """A model whose weights lie in ``m.data``."""
    ir.save(graph(TEXT), tmp_path / "m.onnx", external_data="m.data", size_threshold_bytes=0)
    return tmp_path / "m.onnx"


def point_to(path: Path, **entries: str) -> None:
    """Change where the file says that its weights are."""
    proto = onnx.load(path, load_external_data=False)
    kept = {e.key: e.value for e in proto.graph.initializer[0].external_data} | entries
    del proto.graph.initializer[0].external_data[:]
    for key, value in kept.items():
        proto.graph.initializer[0].external_data.add(key=key, value=value)
    path.write_bytes(proto.SerializeToString())


def test_external_data_that_changed_are_checked_again(graph: Graph, tmp_path: Path) -> None:
    model = graph(
        "g (float[n, 4] x) => (float[n, 4] y) <int64[1] starts = {0}, int64[1] ends = {9},"
        " int64[1] axes = {1}> { y = Slice (x, starts, ends, axes) }"
    )
    path = tmp_path / "m.onnx"
    ir.save(model, path, external_data="m.data", size_threshold_bytes=0)
    load_model(path)
    axis = model.graph.initializers["axes"].const_value
    data = path.with_name("m.data").read_bytes()
    assert axis is not None
    damaged = data.replace(axis.numpy().tobytes(), np.int64(2**40).tobytes())
    path.with_name("m.data").write_bytes(damaged)
    with pytest.raises(ModelError, match="Unexpected axis value"):
        load_model(path)


@pytest.mark.parametrize("limit", [0, 10**9])
def test_what_is_written_is_read_again(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(modelfile, "_EXTERNAL_ABOVE_BYTES", limit)
    model = graph(TEXT)
    weights = np.random.default_rng(0).random((2, 3), np.float32)
    big = np.tile(weights, (200, 1))[:2]
    model.graph.initializers["w"].const_value = ir.tensor(big, name="w")
    path = tmp_path / "m.onnx"
    save_model(model, path)
    again = load_model(path)
    np.testing.assert_array_equal(again.graph.initializers["w"].const_value.numpy(), big)
    assert weight_bytes(again) == big.nbytes
    assert file_bytes(path) == sum(p.stat().st_size for p in tmp_path.iterdir())
    with open_runtime(path) as runtime:
        found = runtime.run({"x": np.ones((1, 2), np.float32)})["y"]
    np.testing.assert_allclose(found, big.sum(axis=0, keepdims=True), rtol=1e-6)
    with pytest.raises(DataError, match="existing file"):
        save_model(model, path)


def test_a_model_with_weights_beside_it_becomes_one_file(external: Path, tmp_path: Path) -> None:
    model = load_model(external)
    assert file_bytes(external) == external.stat().st_size + 24
    size = model_bytes(model)
    save_model(model, tmp_path / "one.onnx")
    external.with_name("m.data").unlink()
    with open_runtime(tmp_path / "one.onnx") as runtime:
        found = runtime.run({"x": np.ones((1, 2), np.float32)})["y"]
    assert found.tolist() == [[5, 7, 9]]
    assert abs((tmp_path / "one.onnx").stat().st_size - size) < 100


def test_a_model_outlives_the_files_of_its_weights(external: Path) -> None:
    feed = {"x": np.ones((1, 2), np.float32)}
    with OrtRuntime(external, threads=1) as runtime:
        (expected,) = runtime.run(feed).values()
    model = load_model(external)
    arrays = [value.const_value.numpy() for value in model.graph.initializers.values()]
    external.with_name("m.data").unlink()
    with OrtRuntime(model.clone(), threads=1) as runtime:  # while the arrays are in use
        (found,) = runtime.run(feed).values()
    np.testing.assert_array_equal(found, expected)
    assert arrays


def test_a_constant_node_outlives_the_file_of_its_weight(graph: Graph, tmp_path: Path) -> None:
    proto = ir.to_proto(
        graph(
            "g (float[n] x) => (float[n] y) { c = Constant<value = float {3}>()\n y = Mul(x, c) }"
        )
    )
    tensor = proto.graph.node[0].attribute[0].t
    tensor.raw_data = np.float32(3).tobytes()
    tensor.ClearField("float_data")
    onnx.external_data_helper.set_external_data(tensor, "c.data", 0, 4)
    (tmp_path / "c.data").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    model = load_model(tmp_path / "m.onnx")
    (tmp_path / "c.data").unlink()
    with OrtRuntime(model, threads=1) as runtime:
        (found,) = runtime.run({"x": np.ones(2, np.float32)}).values()
    np.testing.assert_array_equal(found, [3, 3])


def test_the_interface_is_read_from_the_graph(graph: Graph) -> None:
    model = graph(TEXT)
    assert [str(spec) for spec in model_inputs(model)] == ["x: float32[n, 2]"]
    assert [str(spec) for spec in model_outputs(model)] == ["y: float32[n, 3]"]


def test_nan_in_weights_is_named_and_infinity_is_not(graph: Graph) -> None:
    model = graph(TEXT.replace("{ y =", "{ [dense] y ="))
    weights = np.ones((2, 3), np.float32)
    weights[1, 2] = np.inf
    model.graph.initializers["w"].const_value = ir.tensor(weights.copy(), name="w")
    refuse_nan_weights(model)
    weights[1, 0] = np.nan
    model.graph.initializers["w"].const_value = ir.tensor(weights, name="w")
    with pytest.raises(
        ModelError, match=r"m\.onnx: the weights 'w' hold NaN at \[1, 0\], used by node 'dense' "
    ):
        refuse_nan_weights(model, "m.onnx")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_model(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="is not a file"):
        load_model(tmp_path)
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="is not an ONNX model"):
        load_model(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(b"\x00\xff not protobuf")
    with pytest.raises(ModelError, match=r"is not an ONNX model that can be read.*kilnx convert"):
        load_model(tmp_path / "m.onnx")


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "sub/../../secret", "C:\\x"])
def test_weights_outside_of_the_folder_are_refused(external: Path, location: str) -> None:
    (external.parent.parent / "secret").write_bytes(bytes(24))
    point_to(external, location=location)
    with pytest.raises(ModelError, match=r"'w' point outside the model's folder|are missing"):
        load_model(external)


def test_a_link_out_of_the_folder_is_refused(external: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    moved = external.rename(inside / "m.onnx")
    (inside / "m.data").symlink_to(tmp_path / "m.data")
    with pytest.raises(ModelError, match="lead through a link out of the model's folder"):
        load_model(moved)


def test_weights_that_are_missing_or_short_are_refused(external: Path) -> None:
    data = external.with_name("m.data")
    data.write_bytes(data.read_bytes()[:20])
    with pytest.raises(ModelError, match=r"truncated: 'm.data' holds 20 bytes, 24 are needed"):
        load_model(external)
    data.unlink()
    with pytest.raises(ModelError, match=r"missing: there is no file 'm.data' next to the model"):
        load_model(external)


def test_a_length_that_is_not_that_of_the_shape_is_refused(external: Path) -> None:
    point_to(external, length="12")
    with pytest.raises(ModelError, match="should be 24 bytes by their shape, but say 12"):
        load_model(external)


def test_the_size_of_what_is_missing(external: Path) -> None:
    external.with_name("m.data").unlink()
    with pytest.raises(ModelError, match=r"m\.data"):
        file_bytes(external)
    with pytest.raises(ModelError, match="no such file"):
        file_bytes(external.with_name("none.onnx"))
    external.write_bytes(b"\x00\xff not protobuf")
    with pytest.raises(ModelError, match="is not an ONNX model"):
        file_bytes(external)


def test_large_weights_beside_the_file_are_written_once_and_aligned(
    graph: Graph, tmp_path: Path, external: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that are read from external data themselves, and small ones stay inside."""
    monkeypatch.setattr(modelfile, "_EXTERNAL_ABOVE_BYTES", 0)
    model = load_model(external)
    (value,) = model.graph.initializers.values()
    large = ir.tensor(np.arange(6000, dtype=np.float32).reshape(2, 3000), name="w")
    other = ir.Value(name="again", const_value=large, type=value.type, shape=large.shape)
    model.graph.initializers["again"] = other
    for name in ("first", "second"):
        held = ir.Value(name=name, const_value=ir.tensor(large.numpy() + 1.0, name=name))
        held.type, held.shape = value.type, large.shape
        model.graph.initializers[name] = held
    model.graph.initializers["second"].const_value = large
    (tmp_path / "out").mkdir()
    save_model(model, tmp_path / "out" / "m.onnx")
    assert (tmp_path / "out" / "m.onnx.data").stat().st_size == 65536 + large.nbytes
    again = load_model(tmp_path / "out" / "m.onnx").graph.initializers
    assert not isinstance(again["w"].const_value, ir.ExternalTensor)
    np.testing.assert_array_equal(again["w"].const_value.numpy(), value.const_value.numpy())
    for name, tensor in (("again", large.numpy()), ("first", large.numpy() + 1.0)):
        np.testing.assert_array_equal(again[name].const_value.numpy(), tensor)
    assert model.graph.initializers["again"].const_value is large
