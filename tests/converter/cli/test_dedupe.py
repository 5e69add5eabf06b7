import json

import numpy as np
import onnx_ir as ir
import pytest

W = np.random.default_rng(0).normal(size=(32, 32), scale=0.1).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    """Two models of one backbone, each with a head of its own."""
    paths = []
    for seed, name in enumerate("ab", 1):
        head = np.random.default_rng(seed).normal(size=(32, 8)).astype(np.float32)
        x = ir.val("x", ir.DataType.FLOAT, ["N", 32])
        weights = [
            ir.val(key, ir.DataType.FLOAT, array.shape, const_value=ir.tensor(array, name=key))
            for key, array in (("w", W), ("again", W.T.copy()), ("head", head))
        ]
        nodes, value = [], x
        for weight in weights:
            nodes.append(ir.node("MatMul", [value, weight], metadata_props={"kilnx.layer": "d"}))
            value = nodes[-1].outputs[0]
            value.name = f"of_{weight.name}"
        value.name, value.type, value.shape = "y", x.type, ir.Shape(["N", 8])
        graph = ir.Graph(
            [x], [value], nodes=nodes, initializers=weights, opset_imports={"": 18}, name="g"
        )
        paths.append(tmp_path / f"{name}.onnx")
        ir.save(ir.Model(graph, ir_version=9), paths[-1])
    return paths


def test_one_model_is_shown_with_its_layers(kilnx, files, tmp_path):
    code, out, _ = kilnx("dedupe", files[0], "-o", tmp_path / "out.onnx")
    assert code == 0
    assert "Transpose" in out
    assert "bytes of weights" in out
    code, out, _ = kilnx("dedupe", files[0], "-o", tmp_path / "out.onnx", "--force", "--json")
    (merge,) = json.loads(out)["merged"]
    assert (merge["kept"], merge["replaced"], merge["layers"]) == ("w", ["again"], ["d"])


def test_a_store_from_beginning_to_end(kilnx, files, tmp_path):
    store = tmp_path / "store"
    code, out, err = kilnx("dedupe", files[0], "-o", store)
    assert code == 0, err
    assert (store / "a.onnx").is_file()
    code, out, _ = kilnx("dedupe", store, "--add", files[1], "--name", "other", "--json")
    assert code == 0
    assert json.loads(out)["added"][0]["new_weights"] == 1
    code, out, _ = kilnx("dedupe", store, "--verify")
    assert code == 0
    assert "2 models, 3 weights" in out  # the transposed one is read from the other
    code, out, _ = kilnx("dedupe", store, "--extract", "other", "-o", tmp_path / "back.onnx")
    assert code == 0
    assert "equal to what was added" in out
    assert (tmp_path / "back.onnx").read_bytes() == files[1].read_bytes()


def test_a_store_that_changes(kilnx, files, tmp_path):
    store = tmp_path / "store"
    assert kilnx("dedupe", files[0], "-o", store)[0] == 0
    code, _, err = kilnx("dedupe", store, "--add", files[1], "--name", "a")
    assert code == 2
    assert "--force" in err
    code, out, _ = kilnx("dedupe", store, "--add", files[1], "--name", "a", "--force", "--collect")
    assert code == 0
    assert "2 files that no model uses are gone" not in out  # both have one graph
    assert "1 files that no model uses are gone, 1,024 bytes" in out
    code, out, _ = kilnx("dedupe", store, "--extract", "a", "-o", tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == files[1].read_bytes()
    code, out, _ = kilnx("dedupe", store, "--remove", "a", "--collect", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["removed"] == ["a"]
    assert len(document["collected"]["removed"]) == 3
    assert sorted(path.name for path in store.iterdir()) == [
        "graphs",
        "kilnx-store.json",
        "weights",
    ]
    code, _, err = kilnx("dedupe", store, "--remove", "a")
    assert code == 2
    assert "holds no model 'a'" in err


def test_damage_is_exit_code_1(kilnx, files, tmp_path):
    store = tmp_path / "store"
    assert kilnx("dedupe", *files, "-o", store)[0] == 0
    weight = next((store / "weights").iterdir())
    weight.write_bytes(weight.read_bytes()[:-1])
    code, out, _ = kilnx("dedupe", store, "--verify")
    assert code == 1
    assert weight.name in out
    code, out, _ = kilnx("dedupe", store, "--verify", "--json")
    assert (code, json.loads(out)["passed"]) == (1, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.onnx", "b.onnx", "-o", "out.onnx"], "make a store"),
        (["a.onnx"], "-o is missing"),
        (["store", "--extract", "a"], "-o is missing"),
        (["store", "--extract", "a", "--verify", "-o", "x.onnx"], "stand alone"),
        (["a.onnx", "b.onnx", "--verify"], "take one store"),
        (["store", "--extract", "../a", "-o", "x.onnx"], "holds no model"),
        (["store", "--add", "b.onnx", "--name", "../b"], "cannot be the name"),
        (["a.onnx", "-o", "x.onnx", "--near", "1e-6"], "--data"),
    ],
)
def test_bad_usage_is_one_line(kilnx, files, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert kilnx("dedupe", "a.onnx", "-o", "store")[0] == 0
    before = sorted(tmp_path.rglob("*"))
    code, out, err = kilnx("dedupe", *arguments, "--quiet")
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
