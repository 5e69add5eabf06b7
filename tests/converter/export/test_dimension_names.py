"""Dynamic dimensions: one name where two must be equal, names of their own otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from converter import convert


def dims(path: Path) -> dict[str, list[Any]]:
    graph = onnx.load(path).graph
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


def test_an_output_takes_the_name_of_the_size_it_keeps(keras: Any, tmp_path: Path) -> None:
    image = keras.Input((None, None, 3), name="image")
    same = keras.layers.Conv2D(4, 3, padding="same", name="same")(image)
    half = keras.layers.Conv2D(4, 3, strides=2, name="half")(image)
    turned = keras.layers.Permute((2, 1, 3), name="turned")(image)
    convert(keras.Model(image, [same, half, turned]), tmp_path / "m.onnx")
    found = dims(tmp_path / "m.onnx")
    assert found["image"] == ["batch", "height", "width", 3]
    assert found["same"] == ["batch", "height", "width", 4]
    assert found["turned"] == ["batch", "width", "height", 3]
    assert found["half"][0] == "batch"
    assert not {"height", "width"} & set(found["half"][1:])


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_the_layout_of_the_input_does_not_confuse(layout: Any, keras: Any, tmp_path: Path) -> None:
    image = keras.Input((None, None, 3), name="image")
    model = keras.Model(image, keras.layers.Conv2D(4, 3, padding="same", name="same")(image))
    convert(model, tmp_path / "m.onnx", layout=layout)
    found = dims(tmp_path / "m.onnx")
    assert found["same"] == ["batch", "height", "width", 4]
    assert sorted(map(str, found["image"])) == ["3", "batch", "height", "width"]


def test_sequences_that_are_added_share_their_length(keras: Any, tmp_path: Path) -> None:
    left, right = keras.Input((None, 5), name="left"), keras.Input((None, 5), name="right")
    model = keras.Model([left, right], keras.layers.Add(name="sum")([left, right]))
    convert(model, tmp_path / "m.onnx")
    found = dims(tmp_path / "m.onnx")
    assert found == {
        "left": ["batch", "length", 5],
        "right": ["batch", "length", 5],
        "sum": ["batch", "length", 5],
    }


def test_sequences_of_different_lengths_keep_their_names(keras: Any, tmp_path: Path) -> None:
    query, value = keras.Input((None, 8), name="query"), keras.Input((None, 8), name="value")
    attended = keras.layers.Attention(name="attended")([query, value])
    convert(keras.Model([query, value], attended), tmp_path / "m.onnx")
    found = dims(tmp_path / "m.onnx")
    assert found["query"][1] == "query_length"
    assert found["value"][1] == "value_length"
    assert found["attended"] == ["batch", "query_length", 8]


def test_data_of_one_size_prove_nothing(keras: Any, tmp_path: Path) -> None:
    image = keras.Input((None, None, 1), name="image")
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="out")(image))
    images = np.zeros((4, 8, 8, 1), np.float32)
    convert(model, tmp_path / "m.onnx", data=images)
    found = dims(tmp_path / "m.onnx")
    assert found["out"] == ["batch", "out_height", "out_width", 2]


def test_no_name_looks_like_a_number(keras: Any, tmp_path: Path) -> None:
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    kept = keras.ops.cast(mask, "float32")[..., None]
    model = keras.Model([ids, mask], keras.layers.Embedding(20, 8)(ids) * kept)
    convert(model, tmp_path / "m.onnx")
    found = dims(tmp_path / "m.onnx")
    assert found["token_ids"] == found["padding_mask"] == ["batch", "dim_1"]
