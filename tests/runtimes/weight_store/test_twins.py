import numpy as np
import onnx_ir as ir
import pytest

from runtimes.errors import ModelError
from runtimes.onnx_graph.fold_views import VIEW_KEY
from runtimes.weight_store.graph import put_together, take_apart
from runtimes.weight_store.twins import Recipe, restored

W = np.arange(96, dtype=np.float32).reshape(8, 12)


def model():
    """Two matrices, one the other one transposed."""
    a, b = (
        ir.Value(name=name, const_value=ir.tensor(array, name=name))
        for name, array in (("a", W), ("b", W.T.copy()))
    )
    x = ir.val("x", ir.DataType.FLOAT, ["N", 8])
    nodes = [ir.node("MatMul", [x, a])]
    nodes.append(ir.node("MatMul", [nodes[0].outputs[0], b]))
    nodes[1].outputs[0].name, nodes[1].outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    for value in (a, b):
        value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), value.const_value.shape
    graph = ir.Graph(
        [x], nodes[1].outputs, nodes=nodes, initializers=[a, b], opset_imports={"": 18}, name="g"
    )
    return ir.Model(graph, ir_version=9)


def merger(perm):
    """Reads ``b`` out of ``a``, rightly or not."""

    def merge(model):
        a, b = model.graph.initializers["a"], model.graph.initializers.pop("b")
        view = ir.node("Transpose", [a], {"perm": perm}, metadata_props={VIEW_KEY: "Transpose"})
        view.outputs[0].type, view.outputs[0].shape = b.type, b.shape
        model.graph.insert_before(model.graph[0], view)
        b.replace_all_uses_with(view.outputs[0])
        return ""

    return merge


def stored(merge):
    kept = []
    runs, described = take_apart(model(), lambda t: kept.append(t.numpy()) or f"{0:040x}", merge)
    return kept, ir.from_proto(_proto(runs)), ir.from_proto(_proto(described))


def _proto(raw):
    import onnx

    return onnx.load_from_string(raw)


def place(location, shape=(12, 8), dtype=ir.DataType.FLOAT):
    return ir.ExternalTensor(location, None, None, dtype, shape=ir.Shape(shape), name="b")


def test_a_twin_is_found_by_its_bytes():
    kept, runs, described = stored(merger([1, 0]))
    assert len(kept) == 1
    assert [node.op_type for node in runs.graph] == ["Transpose", "MatMul", "MatMul"]
    places = [value.const_value.location for value in described.graph.initializers.values()]
    assert places == ["in-the-store/0", "in-the-store/0/Transpose/1.0"]
    for value in runs.graph.initializers.values():
        value.const_value = ir.tensor(W)
    whole = put_together(runs, described)
    np.testing.assert_array_equal(whole.graph.initializers["b"].const_value.numpy(), W.T)


def test_a_merger_that_is_wrong_merges_nothing():
    kept, runs, described = stored(merger([0, 1]))
    assert len(kept) == 2
    assert [node.op_type for node in runs.graph] == ["MatMul", "MatMul"]
    assert {v.const_value.location for v in described.graph.initializers.values()} == {
        "in-the-store"
    }


def test_a_merger_that_gives_up_merges_nothing():
    kept, runs, _ = stored(lambda model: merger([1, 0])(model) or "it failed")
    assert len(kept) == 2
    assert len(runs.graph) == 2


def test_recipes_are_read_as_they_are_written():
    recipe = Recipe(0, (("Reshape", (12, 8)), ("Slice", (0, 0, 12))))
    found = restored(place(str(recipe)), [ir.tensor(W)])
    np.testing.assert_array_equal(found.numpy(), W.reshape(12, 8))
    ones = Recipe(None, (("Fill", tuple(np.float32(1).tobytes())),))
    assert restored(place(str(ones)), []).numpy().sum() == 96


@pytest.mark.parametrize(
    "location",
    [
        "in-the-store/1",  # there is one weight
        "in-the-store/-",
        "in-the-store/0",  # another shape
        "in-the-store/0/Transpose/0.0",
        "in-the-store/0/Transpose/",
        "in-the-store/0/Reshape/5.5",
        "in-the-store/0/Slice/7.0.1",
        "in-the-store/0/Slice/1.2",
        "in-the-store/0/Fill/zz",
        "in-the-store/-/Fill/00",
        "in-the-store/-/Transpose/1.0",
        "in-the-store/0/Loop/1",
        "../in-the-store/0",
        "/etc/passwd",
    ],
)
def test_a_recipe_that_leads_nowhere_is_refused(location):
    with pytest.raises(ModelError, match="in the store"):
        restored(place(location), [ir.tensor(W)])


def test_nothing_large_is_made_of_nothing():
    with pytest.raises(ModelError, match="fills"):
        restored(place("in-the-store/-/Fill/00000000", (1 << 40,)), [])
