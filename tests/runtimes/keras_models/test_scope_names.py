"""Layers of any name: as TensorFlow's graphs write them, and as the exported nodes do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter import convert
from runtimes import check
from runtimes.keras_models.scope_names import from_scope, to_scope
from runtimes.onnx_graph.layer_names import LAYER_KEY

NAMES = ["__norm", "-dense", "dense 1", "x:y", "größe", "層", "a.b", "a>b", ".x41.", "back\\slash"]


@given(st.lists(st.text(min_size=1).filter(lambda name: "/" not in name), min_size=1, max_size=3))
def test_names_come_back(names: list[str]) -> None:
    assert from_scope("/".join(map(to_scope, names))) == "/".join(names)


@given(st.text(min_size=1).filter(lambda name: "/" not in name))
def test_scopes_are_valid(name: str) -> None:
    import tensorflow as tf

    with tf.Graph().as_default(), tf.name_scope(to_scope(name)):
        tf.constant(1.0)


@given(st.from_regex(r"[a-z][a-z0-9_.]*", fullmatch=True))
def test_usual_names_stay(name: str) -> None:
    assert to_scope(name) == name


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_exported_and_stays_on_the_nodes(name: str, keras: Any, tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name=name)], name="inner")
    x = keras.Input((6,), name="x")
    model = keras.Model(x, keras.layers.Dense(2, name=name)(inner(x)))
    convert(model, tmp_path / "model.onnx")
    nodes = ir.load(tmp_path / "model.onnx").graph
    assert {node.metadata_props[LAYER_KEY] for node in nodes} == {name, f"inner/{name}"}
    samples = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    report = check(model, tmp_path / "model.onnx", samples, layers=True)
    assert report.passed, report.reason
