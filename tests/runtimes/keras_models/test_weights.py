"""Weights in HDF5: each to the layer that it belongs to, or an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from runtimes.errors import ConversionError, ModelError
from runtimes.keras_models.weights import load_weights

Write = Callable[..., Path]


def values(size: int, *shape: int) -> Any:
    return np.arange(size, size + int(np.prod(shape)), dtype=np.float32).reshape(shape)


@pytest.fixture
def two_branches(keras: Any) -> Any:
    """Two layers of one shape side by side."""
    x = keras.Input((2,), name="x")
    dense = [keras.layers.Dense(2, use_bias=False, name=name)(x) for name in ("left", "right")]
    return keras.Model(x, dense, name="branches")


def test_names_go_before_order(two_branches: Any, keras2_hdf5: Write) -> None:
    weights = {
        "right": {"right/kernel:0": values(10, 2, 2)},
        "left": {"left/kernel:0": values(20, 2, 2)},
    }
    load_weights(two_branches, keras2_hdf5(None, weights))
    np.testing.assert_array_equal(two_branches.get_layer("right").kernel, values(10, 2, 2))
    np.testing.assert_array_equal(two_branches.get_layer("left").kernel, values(20, 2, 2))


def test_other_names_go_by_order(two_branches: Any, keras2_hdf5: Write) -> None:
    weights = {
        "dense_7": {"dense_7/kernel:0": values(10, 2, 2)},
        "input_1": {},
        "dense_8": {"dense_8/kernel:0": values(20, 2, 2)},
    }
    load_weights(two_branches, keras2_hdf5(None, weights))
    np.testing.assert_array_equal(two_branches.get_layer("left").kernel, values(10, 2, 2))


def test_what_does_not_fit_is_named(two_branches: Any, keras2_hdf5: Write) -> None:
    one = {"left": {"kernel:0": values(0, 2, 2)}}
    with pytest.raises(ConversionError, match=r"2 layers with weights and the file 1 .*'right'"):
        load_weights(two_branches, keras2_hdf5(None, one))
    wide = one | {"right": {"kernel:0": values(0, 2, 3)}}
    with pytest.raises(ConversionError, match=r"layer 'right': it has the shapes \[\(2, 2\)\]"):
        load_weights(two_branches, keras2_hdf5(None, wide))


def test_weights_in_a_model_file(two_branches: Any, keras2_hdf5: Write) -> None:
    weights = {name: {f"{name}/kernel:0": values(5, 2, 2)} for name in ("left", "right")}
    config = {"class_name": "Functional", "config": {}}
    load_weights(two_branches, keras2_hdf5(config, weights))
    np.testing.assert_array_equal(two_branches.get_layer("left").kernel, values(5, 2, 2))


def test_models_inside_a_model(keras: Any, keras2_hdf5: Write) -> None:
    """Keras 2 listed what could be trained first; the names tell whose it is all the same."""
    inner = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(2, use_bias=False, name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(2, use_bias=False, name="second"),
        ],
        name="inner",
    )
    model = keras.Sequential([keras.Input((2,)), inner])
    names = ["second/kernel", "norm/gamma", "norm/beta", "first/kernel"]
    names += ["norm/moving_mean", "norm/moving_variance"]
    weights = {
        "inner": {
            f"inner/{name}:0": values(10 * index, *((2, 2) if "kernel" in name else (2,)))
            for index, name in enumerate(names)
        }
    }
    load_weights(model, keras2_hdf5(None, weights))
    np.testing.assert_array_equal(inner.get_layer("first").kernel, values(30, 2, 2))
    np.testing.assert_array_equal(inner.get_layer("second").kernel, values(0, 2, 2))
    np.testing.assert_array_equal(inner.get_layer("norm").gamma, values(10, 2))
    np.testing.assert_array_equal(inner.get_layer("norm").moving_variance, values(50, 2))


def test_a_list_of_names_in_pieces(two_branches: Any, keras2_hdf5: Write) -> None:
    weights = {
        "left": {"kernel:0": values(10, 2, 2)},
        "right": {"kernel:0": values(20, 2, 2)},
    }
    path = keras2_hdf5(None, weights)
    with h5py.File(path, "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"] = [b"left"]
        file.attrs["layer_names1"] = [b"right"]
    load_weights(two_branches, path)
    np.testing.assert_array_equal(two_branches.get_layer("right").kernel, values(20, 2, 2))


@pytest.mark.parametrize("name", ["model.weights.h5", "renamed.bin", "model.keras"])
def test_formats_of_keras_3(two_branches: Any, tmp_path: Path, name: str) -> None:
    kernels = [values(3, 2, 2), values(9, 2, 2)]
    two_branches.set_weights(kernels)
    if name.endswith(".keras"):
        two_branches.save(tmp_path / name)
    else:
        two_branches.save_weights(tmp_path / "saved.weights.h5")
        (tmp_path / "saved.weights.h5").rename(tmp_path / name)
    two_branches.set_weights([kernel * 0 for kernel in kernels])
    load_weights(two_branches, tmp_path / name)
    for found, kernel in zip(two_branches.get_weights(), kernels, strict=True):
        np.testing.assert_array_equal(found, kernel)


def test_formats_of_keras_3_for_another_model(
    keras: Any, two_branches: Any, tmp_path: Path
) -> None:
    two_branches.save_weights(tmp_path / "saved.weights.h5")
    other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)], name="other")
    with pytest.raises(ConversionError, match="do not fit the model 'other'"):
        load_weights(other, tmp_path / "saved.weights.h5")


def test_damage(two_branches: Any, keras2_hdf5: Write, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file of weights"):
        load_weights(two_branches, tmp_path / "missing.h5")
    weights = {name: {"kernel:0": values(5, 2, 2)} for name in ("left", "right")}
    path = keras2_hdf5(None, weights)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ModelError, match=r"model\.h5"):
        load_weights(two_branches, path)
    (tmp_path / "text.h5").write_text("not weights")
    with pytest.raises(ConversionError, match=r"text\.h5 do not fit"):
        load_weights(two_branches, tmp_path / "text.h5")


@pytest.mark.parametrize("kind", ["group", "dataset", "external"])
def test_links_out_of_the_file(
    two_branches: Any, keras2_hdf5: Write, tmp_path: Path, kind: str
) -> None:
    """A file may not make another one of this machine part of the model."""
    weights = {name: {"kernel:0": values(5, 2, 2)} for name in ("left", "right")}
    secret = keras2_hdf5(None, weights, name="secret.h5")
    path = keras2_hdf5(None, weights)
    with h5py.File(path, "a") as file:
        if kind == "group":
            del file["left"]
            file["left"] = h5py.ExternalLink(secret, "/left")
        elif kind == "dataset":
            del file["left/kernel:0"]
            file["left/kernel:0"] = h5py.ExternalLink(secret, "/left/kernel:0")
        else:
            del file["left/kernel:0"]
            (tmp_path / "raw").write_bytes(bytes(16))
            file["left"].create_dataset(
                "kernel:0", (2, 2), "f4", external=[(str(tmp_path / "raw"), 0, 16)]
            )
    with pytest.raises(ModelError, match="that can be read: Not allowed"):
        load_weights(two_branches, path)
