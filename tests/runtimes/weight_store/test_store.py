import json
import os
import shutil

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from runtimes.errors import DataError, KilnxError, ModelError
from runtimes.onnx_files.tensor_bytes import digest_of
from runtimes.weight_store.files import only_writer
from runtimes.weight_store.index import FORMAT, INDEX_NAME
from runtimes.weight_store.store import (
    add_to_store,
    create_store,
    extract_model,
    load_stored,
    model_path,
    store_names,
    verify_store,
)

rng = np.random.default_rng(0)
BACKBONE = rng.normal(size=(64, 48)).astype(np.float32)


def head(seed: int, classes: int = 10) -> ir.Model:
    """A backbone that all share, a head of its own, an If with a weight, and notes."""
    text = f"""<ir_version: 9, opset_import: ["" : 18]>
    g (float[N, 64] x, bool c) => (float[N, {classes}] y) {{
      a = MatMul(x, backbone) b = Relu(a) d = MatMul(b, head)
      y = If (c) <
        then_branch = t () => (float[N, {classes}] u) {{ u = Mul(d, scale) }},
        else_branch = e () => (float[N, {classes}] v) {{ v = Neg(d) }}
      >
    }}"""
    model = ir.from_onnx_text(text)
    weights = {
        "backbone": BACKBONE,
        "head": np.random.default_rng(seed).normal(size=(48, classes)).astype(np.float32),
        "scale": np.float32([2.0]),
    }
    loose = [v for n in model.graph.all_nodes() for v in n.inputs if v and v.name in weights]
    for value in loose:
        known = model.graph.initializers.get(value.name)
        if known is not None:
            value.replace_all_uses_with(known)
            continue
        tensor = ir.tensor(weights[value.name], name=value.name)
        value.const_value, value.type = tensor, ir.TensorType(tensor.dtype)
        value.shape = ir.Shape(tensor.shape.numpy())
        model.graph.register_initializer(value)
    model.graph[0].metadata_props["kilnx.layer"] = "backbone/dense"
    model.graph[0].outputs[0].shape = ir.Shape(["N", 48])
    model.graph[0].outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    model.doc_string = "a note"
    model.metadata_props["author"] = "someone"
    return model


def save(folder, name, seed=0, **options):
    path = folder / f"{name}.onnx"
    ir.save(head(seed), path, **options)
    return path


def run(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {"x": np.ones((3, 64), np.float32), "c": np.array(True)}
    return session.run(None, feed)[0]


@pytest.fixture
def store(tmp_path):
    files = [save(tmp_path, name, seed) for seed, name in enumerate("ab")]
    create_store(tmp_path / "store", files)
    return tmp_path / "store"


def test_a_weight_that_two_models_hold_is_one_file(store, tmp_path):
    assert store_names(store) == ("a", "b")
    files = sorted(path.stat().st_size for path in (store / "weights").iterdir())
    assert files == [48 * 10 * 4, 48 * 10 * 4, BACKBONE.nbytes]
    assert verify_store(store).passed
    assert verify_store(store).unused == ()


def test_onnx_runtime_opens_a_model_of_a_store_by_itself(store, tmp_path):
    for name in "ab":
        path = model_path(store, name)
        onnx.checker.check_model(path)
        np.testing.assert_array_equal(run(path), run(tmp_path / f"{name}.onnx"))


def test_the_file_that_runs_keeps_the_names_that_callers_and_errors_show(store):
    model = ir.load(model_path(store, "a"))
    assert [value.name for value in model.graph.inputs] == ["x", "c"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    inside = {value.name for node in model.graph.all_nodes() for value in node.outputs} - {"y"}
    assert all(name.startswith("v") for name in inside)
    assert not any(node.metadata_props for node in model.graph)
    given = load_stored(store, "a")
    assert given.graph[0].metadata_props == {"kilnx.layer": "backbone/dense"}
    assert given.doc_string == "a note"


def test_what_comes_out_is_byte_for_byte_what_went_in(store, tmp_path):
    for name in "ab":
        extract_model(store, name, tmp_path / "out.onnx", force=True)
        assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / f"{name}.onnx").read_bytes()


def test_external_data_comes_out_inside_the_file(tmp_path):
    inside = save(tmp_path, "inside")
    outside = save(tmp_path, "outside", external_data="w.bin", size_threshold_bytes=0)
    create_store(tmp_path / "store", [outside])
    extract_model(tmp_path / "store", "outside", tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == inside.read_bytes()


@pytest.mark.parametrize("dtype", [ir.DataType.BFLOAT16, ir.DataType.INT4, ir.DataType.STRING])
def test_every_element_type_comes_back(tmp_path, dtype):
    if dtype == ir.DataType.STRING:
        tensor = ir.tensor(["a", "ü"] * 300)
    else:
        values = np.arange(1024) % 7
        tensor = ir.tensor(values.astype(dtype.numpy()), dtype=dtype)
    value = ir.Value(name="w", const_value=tensor, type=ir.TensorType(dtype), shape=tensor.shape)
    node = ir.node("Identity", [value])
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(dtype)
    graph = ir.Graph(
        [], node.outputs, nodes=[node], initializers=[value], opset_imports={"": 21}, name="g"
    )
    ir.save(ir.Model(graph, ir_version=10), tmp_path / "m.onnx")
    create_store(tmp_path / "store", [tmp_path / "m.onnx"])
    extract_model(tmp_path / "store", "m", tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_weights_too_large_to_be_held_are_read_in_pieces(tmp_path, monkeypatch):
    import runtimes.onnx_files.tensor_bytes
    import runtimes.weight_store.store

    monkeypatch.setattr(runtimes.weight_store.store, "_HELD_BYTES", 0)
    monkeypatch.setattr(runtimes.onnx_files.tensor_bytes, "CHUNK_BYTES", 1024)
    outside = save(tmp_path, "a", external_data="a.bin", size_threshold_bytes=0)
    report = create_store(tmp_path / "store", [outside, save(tmp_path, "b", 1)])
    assert [added.new_weights for added in report.added] == [2, 1]
    assert verify_store(tmp_path / "store").passed


def test_adding_writes_what_is_new(store, tmp_path):
    report = add_to_store(store, [save(tmp_path, "c", 7)], ["third"])
    (added,) = report.added
    assert (added.name, added.weights, added.new_weights) == ("third", 2, 1)
    assert added.new_bytes == 48 * 10 * 4
    assert store_names(store) == ("a", "b", "third")
    assert verify_store(store).passed


def test_two_models_of_one_name_are_refused(store, tmp_path):
    before = snapshot(store)
    with pytest.raises(DataError, match="'a' already"):
        add_to_store(store, [tmp_path / "a.onnx"])
    with pytest.raises(DataError, match="already"):
        add_to_store(store, [tmp_path / "a.onnx"], ["A"])
    with pytest.raises(DataError, match="two models would be called 'z'"):
        add_to_store(store, [tmp_path / "a.onnx", tmp_path / "b.onnx"], ["z", "Z"])
    assert snapshot(store) == before


@pytest.mark.parametrize("name", ["../a", "/etc/a", "", ".", "..", "a/b", "a\\b", "-x", "a\n", "é"])
def test_names_cannot_leave_the_store(store, tmp_path, name):
    before = snapshot(store)
    with pytest.raises(DataError, match="cannot be the name"):
        add_to_store(store, [tmp_path / "a.onnx"], [name])
    with pytest.raises(DataError, match="holds no model"):
        extract_model(store, name, tmp_path / "out.onnx")
    assert snapshot(store) == before


@pytest.mark.parametrize("inner", ["weights", "graphs"])
def test_links_are_not_followed(store, tmp_path, inner):
    outside = tmp_path / "outside"
    shutil.move(store / inner, outside)
    (store / inner).symlink_to(outside)
    before = snapshot(outside)
    assert not verify_store(store).passed
    for call in (
        lambda: add_to_store(store, [save(tmp_path, "c", 3)]),
        lambda: extract_model(store, "a", tmp_path / "out.onnx"),
    ):
        with pytest.raises(ModelError, match="link"):
            call()
    assert snapshot(outside) == before


def test_a_weight_that_is_a_link_or_a_pipe_is_refused(store, tmp_path):
    weight = next((store / "weights").iterdir())
    shutil.move(weight, tmp_path / "elsewhere")
    weight.symlink_to(tmp_path / "elsewhere")
    assert not verify_store(store).passed
    weight.unlink()
    os.mkfifo(weight)
    assert not verify_store(store).passed


def test_a_newer_format_is_named(store):
    document = json.loads((store / INDEX_NAME).read_text())
    document["format"] = FORMAT + 1
    (store / INDEX_NAME).write_text(json.dumps(document))
    with pytest.raises(ModelError, match=f"format {FORMAT + 1}.*update kilnx"):
        store_names(store)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "models": {}}'])
def test_an_index_that_is_none_is_refused(store, text):
    (store / INDEX_NAME).write_text(text)
    with pytest.raises(ModelError, match="damaged"):
        verify_store(store)


def test_an_index_whose_digest_was_made_to_fit_cannot_name_a_path(store):
    from runtimes.weight_store.index import Entry, read_index, write_index

    models = dict(read_index(store))
    models["../a"] = next(iter(models.values()))
    write_index(store, models)
    with pytest.raises(ModelError, match="refused"):
        store_names(store)
    write_index(store, {"a": Entry("../../a", "0" * 40)})
    with pytest.raises(ModelError, match="refused"):
        store_names(store)


def test_no_store_is_said_to_be_none(tmp_path):
    with pytest.raises(ModelError, match="is not a store"):
        verify_store(tmp_path)
    with pytest.raises(ModelError, match="is not a folder"):
        verify_store(tmp_path / "absent")


def test_a_damaged_weight_is_noticed_by_all_that_touch_it(store, tmp_path):
    (path,) = [p for p in (store / "weights").iterdir() if p.stat().st_size == BACKBONE.nbytes]
    raw = bytearray(path.read_bytes())
    raw[100] ^= 1
    path.write_bytes(raw)
    (problem,) = verify_store(store).problems
    assert path.name in problem
    with pytest.raises(ModelError, match="damaged"):
        extract_model(store, "a", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()
    with pytest.raises(ModelError, match="damaged"):
        add_to_store(store, [save(tmp_path, "c", 5)])
    assert store_names(store) == ("a", "b")


def test_a_model_that_points_out_of_the_store_is_refused_even_with_a_right_index(store, tmp_path):
    from runtimes.onnx_files.tensor_bytes import digest_of
    from runtimes.weight_store.index import Entry, read_index, write_index

    (tmp_path / "store" / "secret").write_bytes(BACKBONE.tobytes())
    model = ir.load(store / "a.onnx")
    (value,) = [v for v in model.graph.initializers.values() if v.shape == [64, 48]]
    tensor = value.const_value
    value.const_value = ir.ExternalTensor(
        "secret", None, None, tensor.dtype, shape=tensor.shape, name=value.name, base_dir=store
    )
    raw = ir.to_proto(model).SerializeToString()
    (store / "a.onnx").write_bytes(raw)
    models = dict(read_index(store))
    models["a"] = Entry(digest_of(iter([raw])), models["a"].graph)
    write_index(store, models)
    with pytest.raises(ModelError, match="outside the store"):
        load_stored(store, "a")
    assert "outside the store" in verify_store(store).problems[0]


def test_random_damage_is_always_found_and_never_crashes(store, tmp_path):
    files = sorted(path for path in store.rglob("*") if path.is_file())
    good = {path: path.read_bytes() for path in files}
    generator = np.random.default_rng(1)
    for _ in range(120):
        path = files[generator.integers(len(files))]
        raw = bytearray(good[path])
        if generator.random() < 0.3:
            del raw[generator.integers(len(raw)) :]
        else:
            raw[generator.integers(len(raw))] ^= 1 << generator.integers(8)
        path.write_bytes(raw)
        try:
            found = not verify_store(store).passed
        except KilnxError:
            found = True
        assert found, path
        path.write_bytes(good[path])
    assert verify_store(store).passed


def test_a_model_without_its_external_data_leaves_the_store_as_it_was(store, tmp_path):
    path = save(tmp_path, "c", 9, external_data="c.bin", size_threshold_bytes=0)
    good = save(tmp_path, "d", 10)
    (tmp_path / "c.bin").write_bytes(b"short")
    index = (store / INDEX_NAME).read_bytes()
    with pytest.raises(ModelError, match="truncated"):
        add_to_store(store, [good, path])
    (tmp_path / "c.bin").unlink()
    with pytest.raises(ModelError, match="missing"):
        add_to_store(store, [path])
    assert (store / INDEX_NAME).read_bytes() == index
    assert verify_store(store).passed
    add_to_store(store, [good])  # what the failed call left does not stand in the way
    with pytest.raises(ModelError, match="missing"):
        create_store(tmp_path / "new", [path])
    assert not (tmp_path / "new").exists()


def test_a_file_of_the_users_is_not_replaced(store, tmp_path):
    (store / "c.onnx").write_bytes(b"mine")
    with pytest.raises(DataError, match="no model of the store"):
        add_to_store(store, [save(tmp_path, "c", 3)])
    assert (store / "c.onnx").read_bytes() == b"mine"


def test_one_writer_at_a_time(store, tmp_path):
    with only_writer(store), pytest.raises(DataError, match="another process"):
        add_to_store(store, [save(tmp_path, "c", 3)])


def test_a_folder_that_cannot_be_written_to(store, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(30, "Read-only file system")

    path, before = save(tmp_path, "c", 3), snapshot(store)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DataError, match="not allowed to write"):
        add_to_store(store, [path])
    monkeypatch.undo()
    assert {k: v for k, v in snapshot(store).items() if k in before} == before
    assert verify_store(store).passed


def test_an_existing_output_is_kept(store, tmp_path):
    with pytest.raises(DataError, match="--force"):
        create_store(store, [tmp_path / "a.onnx"])
    create_store(store, [tmp_path / "a.onnx"], force=True)
    assert store_names(store) == ("a",)


def test_force_replaces_a_store_that_is_whole_and_nothing_else(store, tmp_path):
    source = tmp_path / "a.onnx"
    with pytest.raises(DataError, match=r"holds .*b\.onnx, which this command reads"):
        create_store(store, [store / "b.onnx"], force=True)
    (store / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"there is notes\.txt$"):
        create_store(store, [source], force=True)
    (store / "notes.txt").unlink()
    weight = next((store / "weights").iterdir())
    content = weight.read_bytes()
    weight.write_bytes(b"mine")
    with pytest.raises(DataError, match="replaces only what kilnx wrote"):
        create_store(store, [source], force=True)
    weight.write_bytes(content)
    # What an addition that died has left is no obstacle.
    (store / "weights" / ".writing-7").write_text("half")
    (store / "weights" / digest_of(iter([b"unused"]))).write_bytes(b"unused")
    with only_writer(store), pytest.raises(DataError, match="another process is writing"):
        create_store(store, [source], force=True)
    create_store(store, [source], force=True)
    assert store_names(store) == ("a",)
    assert verify_store(store).passed


def test_a_model_of_the_store_is_not_replaced_by_another(store):
    with pytest.raises(DataError, match="an output never replaces an input"):
        extract_model(store, "a", store / "b.onnx", force=True)
    assert verify_store(store).passed


def snapshot(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
