"""Configurations as Keras 2 wrote them, computed as Keras 2 computed them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runtimes.errors import ConversionError
from runtimes.keras_models.upgrade_keras2 import upgrade

Config = dict[str, Any]
Make = Callable[..., Any]


@pytest.fixture
def make(keras: Any) -> Make:
    """A live model of a Keras 2 configuration."""

    def build(config: Config, *, unsafe: bool = False, **custom_objects: Any) -> Any:
        rewritten, objects = upgrade(
            config, source="file", custom_objects=custom_objects, unsafe=unsafe
        )
        return keras.saving.deserialize_keras_object(rewritten, custom_objects=objects)

    return build


def layer(kind: str, name: str, *inbound: Any, **options: Any) -> Config:
    """A layer of a functional model, called once on each of ``inbound``."""
    config = {"name": name, "trainable": True, "dtype": "float32", **options}
    return {
        "class_name": kind,
        "config": config,
        "name": name,
        "inbound_nodes": [
            call if isinstance(call, list) else [[call, 0, 0, {}]] for call in inbound
        ],
    }


def input_layer(name: str, *shape: int | None, dtype: str = "float32") -> Config:
    options = {"batch_input_shape": [None, *shape], "dtype": dtype, "sparse": False}
    return layer("InputLayer", name, **options, ragged=False)


def functional(*layers: Config, inputs: list[str], outputs: list[Any]) -> Config:
    return {
        "class_name": "Functional",
        "config": {
            "name": "model",
            "trainable": True,
            "layers": list(layers),
            "input_layers": [[name, 0, 0] for name in inputs],
            "output_layers": [o if isinstance(o, list) else [o, 0, 0] for o in outputs],
        },
    }


def chain(shape: tuple[int | None, ...], *layers: Config) -> Config:
    """Layers one after the other."""
    previous = "x"
    for one in layers:
        one["inbound_nodes"] = [[[previous, 0, 0, {}]]]
        previous = one["name"]
    return functional(input_layer("x", *shape), *layers, inputs=["x"], outputs=[previous])


INITIALIZER = {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}}


def test_options_that_keras_3_has_dropped(make: Make) -> None:
    convolution = layer(
        "DepthwiseConv2D",
        "depthwise",
        kernel_size=[3, 3],
        padding="same",
        groups=1,
        depthwise_initializer=INITIALIZER,
        depthwise_regularizer={"class_name": "Unheard", "config": {}},
    )
    model = make(
        chain((8, 8, 2), convolution, layer("SpatialDropout2D", "drop", rate=0.3, seed=None))
    )
    assert model.output_shape == (None, 8, 8, 2)

    lstm = layer("LSTM", "lstm", units=4, time_major=False, implementation=2, unroll=False)
    assert make(chain((5, 3), lstm)).output_shape == (None, 4)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("LSTM", {"units": 4, "time_major": True}, r"'it' \(LSTM\).*time_major=True"),
        ("BatchNormalization", {"virtual_batch_size": 4}, r"virtual_batch_size=4"),
        ("SpatialDropout1D", {"rate": 0.5, "unheard": 3}, r"unheard=3.*SavedModel"),
    ],
)
def test_options_that_mean_something_are_refused(
    make: Make, kind: str, options: Config, said: str
) -> None:
    with pytest.raises(ConversionError, match=said):
        make(chain((5, 3), layer(kind, "it", **options)))


def test_hard_sigmoid_is_that_of_keras_2(make: Make) -> None:
    x = np.linspace(-4, 4, 9, dtype=np.float32)[None]
    model = make(chain((9,), layer("Activation", "act", activation="hard_sigmoid")))
    np.testing.assert_allclose(model(x), np.clip(0.2 * x + 0.5, 0, 1), atol=1e-6)


def test_a_gru_without_the_option_resets_before(make: Make) -> None:
    old = make(chain((5, 3), layer("GRU", "gru", units=4)))
    new = make(chain((5, 3), layer("GRU", "gru", units=4, reset_after=True)))
    assert [gru.layers[1].cell.bias.shape for gru in (old, new)] == [(12,), (2, 12)]


def test_axes_are_kept(make: Make) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("f")
    model = make(chain((3, 4, 5), layer("Softmax", "softmax", axis=[1, 2])))
    np.testing.assert_allclose(np.sum(model(x), (1, 2)), np.ones((2, 5)), atol=1e-5)
    norm = layer("BatchNormalization", "norm", axis=[3], epsilon=1e-3)
    assert make(chain((3, 4, 5), norm)).layers[1].gamma.shape == (5,)


def test_activations_that_are_layers(make: Make) -> None:
    x = np.float32([[-2, -0.5, 0.5, 2]])
    leaky = make(chain((4,), layer("LeakyReLU", "leaky", alpha=0.25)))
    np.testing.assert_allclose(leaky(x), [[-0.5, -0.125, 0.5, 2]])
    thresholded = make(chain((4,), layer("ThresholdedReLU", "threshold", theta=1.0)))
    np.testing.assert_array_equal(thresholded(x), [[0, 0, 0, 2]])
    relu = {"class_name": "ReLU", "config": {"name": "re_lu", "max_value": 1.0}}
    inside = make(chain((4,), layer("Activation", "outside", activation=relu)))
    np.testing.assert_array_equal(inside(x), [[0, 0, 0.5, 1]])


def test_augmentation_does_nothing(make: Make) -> None:
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 2)).astype("f")
    for kind in ("RandomHeight", "RandomWidth"):
        model = make(chain((8, 8, 2), layer(kind, "random", factor=0.2, rng_type="stateful")))
        np.testing.assert_array_equal(model(x), x)
    crop = make(chain((8, 8, 2), layer("RandomCrop", "crop", height=4, width=4, seed=1)))
    assert crop(x).shape == (1, 4, 4, 2)


def test_slashes_in_names(make: Make) -> None:
    model = make(
        functional(
            input_layer("x", 3),
            layer("ReLU", "block/relu", "x"),
            layer("ReLU", "block_relu", "block/relu"),
            inputs=["x"],
            outputs=["block_relu"],
        )
    )
    assert [one.name for one in model.layers] == ["x", "block_relu_1", "block_relu"]


def test_sequential_models_of_every_age(make: Make) -> None:
    dense = {
        "class_name": "Dense",
        "config": {"name": "dense", "units": 2, "batch_input_shape": [None, 3]},
    }
    for config in ([dense], {"name": "stack", "layers": [dense]}):
        model = make({"class_name": "Sequential", "config": config})
        assert model.built
        assert model.input_shape == (None, 3)
        assert model.inputs[0].name == "dense_input"


def test_tokens_are_integers(make: Make) -> None:
    embedding = {
        "class_name": "Embedding",
        "config": {
            "name": "words",
            "input_dim": 9,
            "output_dim": 4,
            "input_length": 5,
            "batch_input_shape": [None, 5],
            "dtype": "float32",
        },
    }
    model = make({"class_name": "Sequential", "config": [embedding]})
    assert model.inputs[0].dtype == "int32"


def test_calls_of_models_inside_models(make: Make) -> None:
    """A nested model's calls count from one, those of a layer from zero."""
    inner = functional(
        input_layer("y", 3), layer("ReLU", "relu", "y"), inputs=["y"], outputs=["relu"]
    )
    nested = {**inner, "name": "inner", "inbound_nodes": [[["x", 0, 0, {}]], [["minus", 0, 0, {}]]]}
    nested["config"] = {**inner["config"], "name": "inner"}
    model = make(
        functional(
            input_layer("x", 3),
            layer("Rescaling", "minus", "x", scale=-1.0, offset=0.0),
            nested,
            layer("Subtract", "difference", [["inner", 1, 0, {}], ["inner", 2, 0, {}]]),
            inputs=["x"],
            outputs=["difference", ["inner", 2, 0]],
        )
    )
    difference, negative = model(np.float32([[-2, 0, 3]]))
    np.testing.assert_array_equal(difference, [[-2, 0, 3]])
    np.testing.assert_array_equal(negative, [[2, 0, 0]])


def test_initial_states_behind_the_sequence(make: Make) -> None:
    model = make(
        functional(
            input_layer("x", 5, 3),
            input_layer("h", 4),
            layer("GRU", "gru", [["x", 0, 0, {}], ["h", 0, 0, {}]], units=4, time_major=False),
            inputs=["x", "h"],
            outputs=["gru"],
        )
    )
    x = np.zeros((1, 5, 3), np.float32)
    first, second = (model([x, np.full((1, 4), state, np.float32)]) for state in (0, 1))
    assert np.abs(first - second).max() > 0.01


def test_layers_inside_layers(make: Make) -> None:
    lstm = {
        "class_name": "LSTM",
        "config": {"name": "lstm", "units": 4, "time_major": False, "recurrent_activation": "tanh"},
    }
    model = make(chain((5, 3), layer("Bidirectional", "both", layer=lstm, merge_mode="concat")))
    assert model.output_shape == (None, 8)
    cells = [
        {"class_name": "GRUCell", "config": {"name": f"cell_{i}", "units": 3}} for i in range(2)
    ]
    stacked = {"class_name": "StackedRNNCells", "config": {"name": "cells", "cells": cells}}
    model = make(chain((5, 3), layer("RNN", "rnn", cell=stacked, time_major=False)))
    assert model.output_shape == (None, 3)
    assert not model.layers[1].cell.cells[0].reset_after


def test_tensorflow_functions_as_layers(make: Make) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("f")
    every = {"start": None, "stop": None, "step": None}
    last = {"start": -2, "stop": None, "step": None}
    model = make(
        functional(
            input_layer("x", 4, 3),
            layer(
                "TFOpLambda",
                "shape",
                ["x", 0, 0, {"out_type": "int32"}],
                function="compat.v1.shape",
            ),
            layer(
                "SlicingOpLambda",
                "batch",
                ["shape", 0, 0, {"slice_spec": 0}],
                function="__operators__.getitem",
            ),
            layer(
                "TFOpLambda",
                "flat",
                ["x", 0, 0, {"shape": [["batch", 0, 0], 12]}],
                function="reshape",
            ),
            layer(
                "TFOpLambda",
                "one_minus",
                ["_CONSTANT_VALUE", -1, 1.0, {"y": ["flat", 0, 0]}],
                function="math.subtract",
            ),
            layer(
                "SlicingOpLambda",
                "ends",
                ["one_minus", 0, 0, {"slice_spec": [every, last]}],
                function="__operators__.getitem",
            ),
            layer(
                "TFOpLambda",
                "joined",
                [["ends", 0, 0, {"axis": 1}], ["ends", 0, 0, {"axis": 1}]],
                function="concat",
            ),
            inputs=["x"],
            outputs=["joined"],
        )
    )
    ends = 1 - x.reshape(2, 12)[:, -2:]
    np.testing.assert_allclose(model(x), np.concatenate([ends, ends], 1), rtol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        "io.read_file",
        "io.write_file",
        "py_function",
        "raw_ops.ReadFile",
        "compat.v1.py_func",
        "load_op_library",
        "math.os.system",
        "nn.__class__",
        "data.Dataset",
    ],
)
def test_functions_that_a_file_may_not_call(make: Make, function: str) -> None:
    called = layer("TFOpLambda", "call", ["x", 0, 0, {}], function=function)
    with pytest.raises((ConversionError, TypeError), match="not among those that a file may call"):
        make(functional(input_layer("x", 1), called, inputs=["x"], outputs=["call"]))


def test_mixed_precision(make: Make) -> None:
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    model = make(chain((3,), layer("Dense", "dense", units=2, dtype=policy)))
    assert model.layers[1].compute_dtype == "float16"
    assert model.layers[1].variable_dtype == "float32"


def test_classes_and_functions_of_the_user(keras: Any, make: Make) -> None:
    class Twice(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2.0

    config = chain((3,), layer("pkg>Twice", "twice"))
    with pytest.raises(ConversionError, match=r"class 'Twice' of the layer 'twice'.*--custom"):
        make(config)
    for name in ("Twice", "pkg>Twice"):
        np.testing.assert_array_equal(make(config, **{name: Twice})(np.ones((1, 3))), [[2, 2, 2]])

    config = chain((3,), layer("Dense", "dense", units=1, activation="<lambda>"))
    with pytest.raises(ConversionError, match=r"'dense' has the activation '<lambda>'.*CUSTOM_OBJ"):
        make(config)
    model = make(config, **{"<lambda>": lambda x: x * 0.0 + 7.0})
    np.testing.assert_array_equal(model(np.ones((1, 3))), [[7.0]])


def test_a_function_of_the_users_goes_before_keras_own(make: Make) -> None:
    config = chain((3,), layer("Activation", "act", activation="hard_sigmoid"))
    model = make(config, hard_sigmoid=lambda x: x + 1.0)
    np.testing.assert_array_equal(model(np.zeros((1, 3))), [[1, 1, 1]])


def test_functions_in_layers_that_keras_copies(make: Make) -> None:
    """Bidirectional makes its layers anew, by what their functions call themselves."""

    def relu(x: Any) -> Any:
        return x * 0.0 + 0.5

    def both(activation: Any) -> Any:
        inner = {
            "class_name": "LSTM",
            "config": {"name": "lstm", "units": 2, "recurrent_activation": activation},
        }
        return chain((4, 3), layer("Bidirectional", "both", layer=inner))

    hard = make(both("hard_sigmoid")).layers[1]
    for half in (hard.forward_layer, hard.backward_layer):
        np.testing.assert_allclose(half.cell.recurrent_activation(np.float32([1.0])), [0.7])
    own = make(both("gate"), gate=relu).layers[1]
    for half in (own.forward_layer, own.backward_layer):
        np.testing.assert_allclose(half.cell.recurrent_activation(np.float32([1.0])), [0.5])


def test_lambda_layers_that_name_their_function(make: Make) -> None:
    config = chain(
        (3,),
        layer(
            "Lambda",
            "scale",
            function="by",
            function_type="function",
            arguments={"factor": 3.0},
            output_shape=[3],
            output_shape_type="raw",
            module="theirs",
        ),
    )
    with pytest.raises(ConversionError, match="'scale' has the function 'by'"):
        make(config)
    model = make(config, by=lambda x, factor: x * factor)
    np.testing.assert_array_equal(model(np.ones((1, 3))), [[3, 3, 3]])


def test_bytecode_that_this_python_cannot_read(make: Make) -> None:
    config = chain((3,), layer("Lambda", "old", function=["4wEAAAA=\n", None, None]))
    with pytest.raises(ConversionError, match=r"another version of Python.*--custom"):
        make(config, unsafe=True)
    with pytest.raises(ConversionError, match="--unsafe"):
        make(config)
