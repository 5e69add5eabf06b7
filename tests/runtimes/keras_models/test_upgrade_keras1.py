"""Configurations of Keras 1: other names, the same layers."""

from __future__ import annotations

from typing import Any

import pytest

from runtimes.errors import ConversionError
from runtimes.keras_models.upgrade_keras1 import upgrade_keras1

Config = dict[str, Any]


def upgraded(kind: str, **options: Any) -> tuple[str, Config]:
    """Class and options of one layer, its name left out."""
    config = {"name": "it", "trainable": True, **options}
    layer = {"class_name": kind, "name": "it", "inbound_nodes": [], "config": config}
    found = upgrade_keras1(layer, source="file")
    found["config"].pop("name")
    assert found["config"].pop("trainable") is True
    assert found["name"] == "it"
    return found["class_name"], found["config"]


TRAINING = {
    "init": "glorot_uniform",
    "W_regularizer": {"name": "L1L2Regularizer", "l1": 0.0, "l2": 0.01},
    "b_constraint": None,
    "activity_regularizer": None,
}


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        (
            "Dense",
            {"output_dim": 4, "bias": True, "activation": "relu", "input_dim": 3},
            ("Dense", {"units": 4, "use_bias": True, "activation": "relu"}),
        ),
        (
            "Convolution2D",
            {
                "nb_filter": 4,
                "nb_row": 3,
                "nb_col": 2,
                "subsample": [2, 1],
                "border_mode": "same",
                "dim_ordering": "tf",
            },
            (
                "Conv2D",
                {
                    "filters": 4,
                    "kernel_size": [3, 2],
                    "strides": [2, 1],
                    "padding": "same",
                    "data_format": "channels_last",
                },
            ),
        ),
        (
            "Convolution3D",
            {"kernel_dim1": 1, "kernel_dim2": 2, "kernel_dim3": 3, "dim_ordering": "th"},
            ("Conv3D", {"kernel_size": [1, 2, 3], "data_format": "channels_first"}),
        ),
        (
            "AtrousConvolution1D",
            {"nb_filter": 4, "filter_length": 3, "atrous_rate": 2, "subsample_length": 1},
            ("Conv1D", {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "strides": 1}),
        ),
        ("Deconvolution2D", {"output_shape": [None, 9, 9, 4]}, ("Conv2DTranspose", {})),
        (
            "MaxPooling1D",
            {"pool_length": 2, "stride": 1},
            ("MaxPooling1D", {"pool_size": 2, "strides": 1}),
        ),
        ("UpSampling1D", {"length": 3}, ("UpSampling1D", {"size": 3})),
        (
            "ZeroPadding2D",
            {"padding": [1, 2, 3, 4]},
            ("ZeroPadding2D", {"padding": [[1, 2], [3, 4]]}),
        ),
        ("Dropout", {"p": 0.3}, ("Dropout", {"rate": 0.3})),
        ("GaussianNoise", {"sigma": 0.3}, ("GaussianNoise", {"stddev": 0.3})),
        ("TimeDistributedDense", {"output_dim": 4, "input_length": None}, ("Dense", {"units": 4})),
        (
            "Embedding",
            {"input_dim": 9, "output_dim": 4, "mask_zero": True, "dropout": 0.2, "input_length": 5},
            ("Embedding", {"input_dim": 9, "output_dim": 4, "mask_zero": True}),
        ),
        (
            "LSTM",
            {
                "output_dim": 4,
                "inner_activation": "hard_sigmoid",
                "inner_init": "orthogonal",
                "forget_bias_init": "one",
                "dropout_W": 0.1,
                "dropout_U": 0.2,
                "consume_less": "cpu",
                "U_regularizer": None,
                "input_dim": 3,
            },
            (
                "LSTM",
                {
                    "units": 4,
                    "recurrent_activation": "hard_sigmoid",
                    "dropout": 0.1,
                    "recurrent_dropout": 0.2,
                },
            ),
        ),
        (
            "BatchNormalization",
            {"mode": 0, "axis": -1, "gamma_regularizer": None},
            ("BatchNormalization", {"axis": -1}),
        ),
        (
            "InputLayer",
            {"batch_input_shape": [None, 3], "input_dtype": "int32"},
            ("InputLayer", {"batch_input_shape": [None, 3], "dtype": "int32"}),
        ),
    ],
)
def test_layers(kind: str, options: Config, expected: tuple[str, Config]) -> None:
    assert upgraded(kind, **options, **TRAINING) == expected


def test_layers_inside_layers() -> None:
    dense = {"class_name": "Dense", "config": {"name": "dense", "output_dim": 4, **TRAINING}}
    _, config = upgraded("TimeDistributed", layer=dense)
    assert config["layer"] == {"class_name": "Dense", "config": {"name": "dense", "units": 4}}


@pytest.mark.parametrize(
    ("mode", "options", "expected"),
    [
        ("sum", {}, ("Add", {})),
        ("concat", {"concat_axis": 1}, ("Concatenate", {"axis": 1})),
        ("dot", {"dot_axes": [1, 1]}, ("Dot", {"axes": [1, 1]})),
    ],
)
def test_merges(mode: str, options: Config, expected: tuple[str, Config]) -> None:
    config = {"name": "merge", "mode": mode, "mode_type": "raw", "dot_axes": -1, **options}
    found = upgrade_keras1({"class_name": "Merge", "config": config}, source="file")
    assert (found["class_name"], found["config"]) == (
        expected[0],
        {"name": "merge", **expected[1]},
    )


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("Highway", {}, "'it' is a Highway of Keras 1.*--custom"),
        ("MaxoutDense", {"output_dim": 4}, "MaxoutDense"),
        ("BatchNormalization", {"mode": 1}, r"by sample or batch \(mode=1\)"),
        ("Merge", {"mode": "cos", "mode_type": "raw"}, "Merge of Keras 1 by cos"),
        ("Merge", {"mode": "bytecode", "mode_type": "lambda"}, "by a function.*Concatenate"),
    ],
)
def test_what_no_later_keras_has(kind: str, options: Config, said: str) -> None:
    with pytest.raises(ConversionError, match=said):
        upgraded(kind, **options)


def test_layers_that_did_not_save_their_layout_have_that_of_the_others() -> None:
    def padding_beside(dim_ordering: str | None) -> Config:
        pool = {"name": "pool"} | ({"dim_ordering": dim_ordering} if dim_ordering else {})
        layers = [
            {"class_name": "ZeroPadding2D", "config": {"name": "pad", "padding": [1, 1]}},
            {"class_name": "GlobalAveragePooling2D", "config": pool},
        ]
        model = upgrade_keras1({"class_name": "Sequential", "config": layers}, source="file")
        config: Config = model["config"]["layers"][0]["config"]
        return config

    assert padding_beside("th")["data_format"] == "channels_first"
    assert padding_beside("tf")["data_format"] == "channels_last"
    assert "data_format" not in padding_beside(None)


def test_a_sequential_model_that_begins_with_a_merge() -> None:
    def dense(name: str, **options: Any) -> Config:
        return {"class_name": "Dense", "config": {"name": name, "output_dim": 2, **options}}

    shape = {"batch_input_shape": [None, 3], "input_dtype": "float32"}
    branches = [{"class_name": "Sequential", "config": [dense(name, **shape)]} for name in "ab"]
    merge = {"name": "merge", "mode": "sum", "mode_type": "raw", "layers": branches}
    model = {
        "class_name": "Sequential",
        "config": [{"class_name": "Merge", "config": merge}, dense("c")],
    }
    found = upgrade_keras1(model, source="file")
    assert found["class_name"] == "Model"
    calls = {layer["name"]: layer["inbound_nodes"] for layer in found["config"]["layers"]}
    assert calls == {
        "a_input": [],
        "a": [[["a_input", 0, 0]]],
        "b_input": [],
        "b": [[["b_input", 0, 0]]],
        "merge": [[["a", 0, 0], ["b", 0, 0]]],
        "c": [[["merge", 0, 0]]],
    }
    assert found["config"]["input_layers"] == [["a_input", 0, 0], ["b_input", 0, 0]]
    assert found["config"]["output_layers"] == [["c", 0, 0]]
    del branches[0]["config"][0]["config"]["batch_input_shape"]
    with pytest.raises(ConversionError, match="not Sequential models with a known input shape"):
        upgrade_keras1(model, source="file")
