import numpy as np
import onnx_ir as ir
import pytest
from families import LAYERS, family_model

from runtimes.agent.typed_json import Malformed
from runtimes.serving.push.cut import LONGEST_PART, cut
from runtimes.serving.push.recipe import numbers_of, ranges


def parts(files):
    found = cut({name: memoryview(raw) for name, raw in files.items()})
    for name, spans in found.items():
        assert b"".join(files[name][start:stop] for start, stop in spans) == files[name]
        assert all(0 < stop - start <= LONGEST_PART for start, stop in spans)
    return [files[name][start:stop] for name, spans in found.items() for start, stop in spans]


def raw_of(model):
    return ir.to_proto(model).SerializeToString()


def test_models_share_what_they_have_in_common():
    first, second = (raw_of(family_model(seed)) for seed in range(2))
    known = set(parts({"model.onnx": first}))
    new = [part for part in parts({"model.onnx": second}) if part not in known]
    head = 96 * 1400 * 4
    assert sum(map(len, new)) < 1.02 * (head + 1400 * 4)
    assert len(known) < 4 * LAYERS


def test_a_change_in_the_middle_moves_no_cut_behind_it():
    model = family_model(0)
    before = set(parts({"model.onnx": raw_of(model)}))
    model.graph.insert_before(model.graph[30], ir.node("Identity", [model.graph[29].outputs[0]]))
    after = parts({"model.onnx": raw_of(model)})
    assert sum(len(part) for part in after if part not in before) < 20_000


def test_external_data_are_cut_at_their_weights(tmp_path):
    ir.save(family_model(0), tmp_path / "m.onnx", external_data="m.data", size_threshold_bytes=0)
    inside = set(parts({"model.onnx": raw_of(family_model(0))}))
    files = {
        "sub/m.onnx": (tmp_path / "m.onnx").read_bytes(),
        "sub/m.data": (tmp_path / "m.data").read_bytes(),
    }
    outside = parts(files)
    shared = sum(len(part) for part in outside if part in inside)
    assert shared > 0.9 * len(files["sub/m.data"])


@pytest.mark.parametrize("name", ["model.onnx", "report.json"])
def test_what_is_no_model_is_cut_by_length(name):
    raw = np.random.default_rng(0).bytes(2 * LONGEST_PART + 5)
    assert [len(part) for part in parts({name: raw})] == [LONGEST_PART, LONGEST_PART, 5]
    assert parts({name: b""}) == []


def test_a_model_that_is_cut_off_anywhere_is_cut_all_the_same():
    raw = raw_of(family_model(0))
    for stop in np.random.default_rng(0).integers(0, len(raw), 20):
        parts({"model.onnx": raw[:stop]})


@pytest.mark.parametrize("numbers", [[], [0], [0, 1, 2], [0, 2, 3, 9], list(range(100))])
def test_numbers_come_back(numbers):
    assert numbers_of(ranges(numbers), 100) == numbers


@pytest.mark.parametrize(
    "text", ["1-0", "0,0", "2,1", "-1", "a", "1-", "100", "0-100", "1,,2", " 1"]
)
def test_numbers_that_are_none(text):
    if text == "1-":
        assert numbers_of(text, 100) == [1]
        return
    with pytest.raises(Malformed):
        numbers_of(text, 100)
