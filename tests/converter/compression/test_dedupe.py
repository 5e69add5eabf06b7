import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from converter.compression.dedupe import dedupe, deduplicate_all, merge_twins
from runtimes.errors import DataError, ModelError
from runtimes.weight_store.store import create_store, extract_model, model_path, store_names

# Small: a saturated Tanh gives the same output everywhere, and then no largest one.
W = np.random.default_rng(0).normal(size=(32, 32), scale=0.15).astype(np.float32)


def stack(*weights, layer="dense_{}"):
    """A chain of matrix products and Tanhs."""
    x = ir.val("x", ir.DataType.FLOAT, ["N", 32])
    nodes, initializers, value = [], [], x
    for index, array in enumerate(weights):
        tensor = ir.tensor(array, name=f"w{index}")
        weight = ir.val(f"w{index}", ir.DataType.FLOAT, array.shape, const_value=tensor)
        product = ir.node("MatMul", [value, weight], metadata_props={"kilnx.layer": f"d{index}"})
        product.outputs[0].name = f"p{index}"
        nodes += [product, ir.node("Tanh", product.outputs)]
        value = nodes[-1].outputs[0]
        value.name = f"t{index}"
        initializers.append(weight)
    value.name, value.type, value.shape = "y", x.type, x.shape
    graph = ir.Graph(
        [x], [value], nodes=nodes, initializers=initializers, opset_imports={"": 18}, name="g"
    )
    return ir.Model(graph, ir_version=9)


def run(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": SAMPLES})[0]


SAMPLES = np.random.default_rng(1).normal(size=(64, 32)).astype(np.float32)


@pytest.fixture
def samples(tmp_path):
    np.savez(tmp_path / "samples.npz", x=SAMPLES)
    return tmp_path / "samples.npz"


def test_file_to_file(tmp_path):
    source, output = tmp_path / "a.onnx", tmp_path / "b.onnx"
    ir.save(stack(W, W.copy(), W.T.copy(), W + 1), source)
    report = dedupe(source, output)
    assert [merge.how for merge in report.merged] == ["equal", "Transpose"]
    assert report.merged[0].layers == ("d0", "d1")
    np.testing.assert_array_equal(run(source), run(output))
    with pytest.raises(DataError, match="--force"):
        dedupe(source, output)
    dedupe([source], output, force=True)


def test_the_model_that_is_passed_in_stays_as_it_is(tmp_path):
    model = stack(W, W.copy())
    dedupe(model, tmp_path / "b.onnx")
    assert len(model.graph.initializers) == 2


def test_nodes_that_compute_the_same_are_one():
    model = stack(W)
    graph = model.graph
    twice = ir.node("MatMul", [graph.inputs[0], graph.initializers["w0"]])
    total = ir.node("Add", [graph.outputs[0], twice.outputs[0]])
    graph.extend([twice, total])
    total.outputs[0].name, twice.outputs[0].name = "z", "again"
    total.outputs[0].type, total.outputs[0].shape = graph.outputs[0].type, graph.outputs[0].shape
    graph.outputs.append(total.outputs[0])
    report = deduplicate_all(model)
    assert report.nodes_removed == 1
    assert report.to_dict()["nodes_removed"] == 1


def test_several_models_make_a_store(tmp_path):
    for name in "ab":
        ir.save(stack(W, W + ord(name)), tmp_path / f"{name}.onnx")
    report = dedupe([tmp_path / "a.onnx", tmp_path / "b.onnx"], tmp_path / "store")
    assert [added.new_weights for added in report.added] == [2, 1]
    assert store_names(tmp_path / "store") == ("a", "b")
    dedupe(tmp_path / "a.onnx", f"{tmp_path}/one/")
    assert store_names(tmp_path / "one") == ("a",)


def test_twins_inside_each_model_of_a_store_are_one_weight(tmp_path):
    zeros = np.zeros_like(W)
    wide = np.concatenate([W, W + 3], axis=1)
    given = {
        "transposed": stack(W, W.T.copy(), W.copy(), W + 1),
        "filled": stack(zeros, W, zeros.copy()),
        "sliced": stack(wide, wide.T.copy(), W),
    }
    for name, model in given.items():
        ir.save(model, tmp_path / f"{name}.onnx")
    paths = [tmp_path / f"{name}.onnx" for name in given]
    report = dedupe(paths, tmp_path / "store")
    assert [added.weights for added in report.added] == [2, 1, 1]
    assert sum(added.new_bytes for added in report.added) == 2 * W.nbytes + wide.nbytes
    plain = create_store(tmp_path / "plain", paths)
    assert report.store_bytes < 0.65 * plain.store_bytes
    for path in paths:
        extract_model(tmp_path / "store", path.stem, tmp_path / "back.onnx", force=True)
        assert (tmp_path / "back.onnx").read_bytes() == path.read_bytes()
    for path in paths:
        np.testing.assert_array_equal(run(model_path(tmp_path / "store", path.stem)), run(path))


@pytest.mark.parametrize("dtype", ["int8", "float16", "bool"])
def test_twins_of_every_width_come_back(tmp_path, dtype):
    array = np.random.default_rng(3).integers(0, 2, (80, 90)).astype(dtype)
    weights = {"a": array, "b": array.T.copy(), "c": array.reshape(-1), "d": array[:, 20:80].copy()}
    values = [
        ir.Value(name=name, const_value=ir.tensor(one, name=name)) for name, one in weights.items()
    ]
    nodes = [ir.node("Identity", [value]) for value in values]
    for value, node in zip(values, nodes, strict=True):
        tensor = value.const_value
        value.type, value.shape = ir.TensorType(tensor.dtype), tensor.shape
        node.outputs[0].name, node.outputs[0].type = f"{value.name}_out", value.type
        node.outputs[0].shape = value.shape
    outputs = [node.outputs[0] for node in nodes]
    graph = ir.Graph(
        [], outputs, nodes=nodes, initializers=values, opset_imports={"": 18}, name="g"
    )
    ir.save(ir.Model(graph, ir_version=9), tmp_path / "m.onnx")
    (added,) = create_store(tmp_path / "store", [tmp_path / "m.onnx"], merge=merge_twins).added
    assert (added.weights, added.weight_bytes, added.note) == (1, array.nbytes, "")
    extract_model(tmp_path / "store", "m", tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_a_model_whose_twins_cannot_be_merged_is_stored_as_it_is(tmp_path, monkeypatch):
    import converter.compression.dedupe as module

    def fail(model, **options):
        model.graph.initializers["w0"].const_value = None
        raise RuntimeError("a defect")

    monkeypatch.delenv("KILNX_STRICT", raising=False)
    monkeypatch.setattr(module, "deduplicate", fail)
    ir.save(stack(W, W.T.copy()), tmp_path / "m.onnx")
    (added,) = dedupe([tmp_path / "m.onnx"], f"{tmp_path}/store/").added
    assert added.weights == 2
    assert "a defect" in added.note
    extract_model(tmp_path / "store", "m", tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_near_duplicates_are_merged_inside_the_budget(tmp_path, samples):
    model = stack(W, W * np.float32(1 + 2e-7), W.T.copy())
    report = dedupe(model, tmp_path / "b.onnx", near=1e-6, data=samples)
    assert [(merge.how, merge.kept) for merge in report.merged] == [
        ("Transpose", "w0"),
        ("near", "w0"),
    ]
    assert "near duplicates merged" in report.notes[0]
    ir.save(model, tmp_path / "a.onnx")
    np.testing.assert_allclose(run(tmp_path / "b.onnx"), run(tmp_path / "a.onnx"), atol=1e-4)
    assert report.weight_bytes_after < 3 * W.nbytes / 2


def test_near_duplicates_outside_the_budget_stay(tmp_path, samples):
    rng = np.random.default_rng(2)
    other = W + rng.normal(size=W.shape).astype(np.float32) * 0.03
    report = dedupe(stack(W, other), tmp_path / "b.onnx", near=0.5, data=samples, min_sqnr=60.0)
    assert not report.merged
    assert "outside the budget" in report.notes[0]
    assert report.weight_bytes_after == 2 * W.nbytes
    assert len(ir.load(tmp_path / "b.onnx").graph.initializers) == 2


def test_what_is_not_near_enough_is_said(tmp_path, samples):
    report = dedupe(stack(W, W + 1), tmp_path / "b.onnx", near=1e-6, data=samples)
    assert report.notes == ("no two weights are within 1e-06",)


def test_near_needs_data_and_one_model(tmp_path, samples):
    with pytest.raises(DataError, match="--data"):
        dedupe(stack(W), tmp_path / "b.onnx", near=1e-6)
    with pytest.raises(DataError, match="one model"):
        dedupe([stack(W), stack(W)], tmp_path / "s", near=1e-6, data=samples)


def test_a_model_that_is_absent(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        dedupe(tmp_path / "absent.onnx", tmp_path / "o.onnx")
    with pytest.raises(ModelError, match="no such file"):
        dedupe([tmp_path / "a.onnx", tmp_path / "b.onnx"], tmp_path / "o")
    with pytest.raises(DataError, match="no model"):
        dedupe([], tmp_path / "o.onnx")
    assert not list(tmp_path.iterdir())
