"""From whatever a user has to a runtime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import KilnxError, ModelError, RuntimeUnavailable, open_runtime
from runtimes.engines.open_runtime import borrow, is_keras

Scaled = Callable[[float], ir.Model]


def test_paths_and_graphs_open(scaled: Scaled, saved: Callable[..., Path]) -> None:
    path = saved(scaled(2))
    for source in (path, str(path), scaled(2)):
        with open_runtime(source, threads=1) as runtime:
            found = runtime.run({"x": np.ones((1, 4), np.float32)})
            np.testing.assert_array_equal(found["y"], np.full((1, 4), 2))


def test_a_borrowed_runtime_stays_open(scaled: Scaled) -> None:
    x = {"x": np.ones((1, 4), np.float32)}
    with open_runtime(scaled(2)) as runtime:
        with borrow(runtime) as same:
            assert same is runtime
        assert runtime.run(x)["y"][0, 0] == 2
    with borrow(scaled(3)) as opened:
        assert opened.run(x)["y"][0, 0] == 3


@pytest.mark.parametrize("thing", [None, 3, np.zeros(3), {"a": 1}])
def test_what_is_no_model(thing: Any) -> None:
    with pytest.raises(ModelError, match="is not a model; give the path"):
        open_runtime(thing)


def test_providers(scaled: Scaled) -> None:
    with pytest.raises(RuntimeUnavailable, match="no provider 'cuba'"):
        open_runtime(scaled(1), "cuba")
    with pytest.raises(ModelError, match="does not run in Keras"):
        open_runtime(scaled(1), "keras")


def test_keras_files_are_told_by_content(tmp_path: Path, digits_files: Path) -> None:
    disguised = tmp_path / "model.bin"
    disguised.write_bytes((digits_files / "model.keras").read_bytes())
    assert is_keras(disguised)
    assert is_keras(tmp_path / "missing.keras")
    assert not is_keras(tmp_path / "missing.onnx")
    assert not is_keras(object())
    (tmp_path / "damaged.keras").write_bytes(b"PK")
    with pytest.raises(KilnxError, match=r"damaged\.keras"):
        open_runtime(tmp_path / "damaged.keras")
