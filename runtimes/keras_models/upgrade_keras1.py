"""Rewrite model configurations of Keras 1 into what Keras 2 would have written.

The layers are the same with other names and options. What Keras 2 dropped (Highway, MaxoutDense,
normalization per sample, merging by a function) is refused.
https://github.com/keras-team/keras/wiki/Keras-2.0-release-notes
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runtimes.errors import ConversionError

Config = dict[str, Any]

_CLASSES = {
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "TimeDistributedDense": "Dense",
}
_OPTIONS = {
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "border_mode": "padding",
    "dim_ordering": "data_format",
    "dropout_U": "recurrent_dropout",
    "dropout_W": "dropout",
    "filter_length": "kernel_size",
    "inner_activation": "recurrent_activation",
    "input_dtype": "dtype",
    "nb_filter": "filters",
    "output_dim": "units",
    "p": "rate",
    "pool_length": "pool_size",
    "sigma": "stddev",
    "stride": "strides",
    "subsample": "strides",
    "subsample_length": "strides",
}
_KERNELS = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
_LAYOUTS = {"tf": "channels_last", "th": "channels_first", "default": "channels_last"}
_SPATIAL = ("ZeroPadding", "Cropping", "UpSampling")
_TRAINING_ONLY = {
    "activity_regularizer",
    "beta_regularizer",
    "consume_less",
    "depthwise_constraint",
    "depthwise_regularizer",
    "forget_bias_init",
    "gamma_regularizer",
    "init",
    "inner_init",
    "input_length",
    "pointwise_constraint",
    "pointwise_regularizer",
    *(f"{weight}_{what}" for weight in "WUb" for what in ("constraint", "regularizer")),
}
_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "concat": "Concatenate",
    "ave": "Average",
    "max": "Maximum",
    "dot": "Dot",
}
_DROPPED = ("Highway", "MaxoutDense", "ParametricSoftplus", "SReLU")


def upgrade_keras1(model: Config, *, source: str) -> Config:
    """Rewrite the configuration of a Keras 1 model; ``source`` is named in errors.

    Raises ``ConversionError``, which names the layer, for anything that Keras 2 dropped.
    """
    layouts = set(_layouts(model))
    # Some layers did not save their layout; it is then the layout of all the others.
    common = _LAYOUTS[layouts.pop()] if len(layouts) == 1 else None
    return _upgraded(model, source, common)


def _layouts(config: Any) -> Iterator[str]:
    if isinstance(config, list):
        for part in config:
            yield from _layouts(part)
    elif isinstance(config, dict):
        if "dim_ordering" in config:
            yield config["dim_ordering"]
        yield from _layouts(list(config.values()))


def _upgraded(model: Config, source: str, layout: str | None) -> Config:
    kind, config = model["class_name"], model["config"]
    if isinstance(config, list):
        if config and config[0]["class_name"] == "Merge":
            return _merged_branches(config, source, layout)
        layers = [_upgraded(layer, source, layout) for layer in config]
        name = model.get("name") or "sequential"
        return {**model, "config": {"name": name, "layers": layers}}
    if "layers" in config and "input_layers" in config:
        layers = [_upgraded(layer, source, layout) for layer in config["layers"]]
        return {**model, "config": {**config, "layers": layers}}
    if kind == "Merge":
        return {**model, **_merge(config, source)}
    return {**model, **_layer(kind, config, source, layout)}


def _layer(kind: str, config: Config, source: str, layout: str | None) -> Config:
    name = config.get("name")
    by_batch = kind == "BatchNormalization" and config.get("mode", 0) != 0
    if kind in _DROPPED or by_batch:
        what = f"{kind} by sample or batch (mode={config['mode']})" if by_batch else kind
        raise ConversionError(
            f"{source}: the layer {name!r} is a {what} of Keras 1, which no later Keras has; "
            "replace it, or supply your own class that computes the same: --custom my_layers.py "
            f"(custom_objects={{{kind!r}: …}})"
        )
    renamed: Config = {}
    for key, value in config.items():
        if key in _TRAINING_ONLY or (key, kind) == ("mode", "BatchNormalization"):
            continue
        renamed[_option(kind, key)] = value
    for parts in _KERNELS:
        if all(part in renamed for part in parts):
            renamed["kernel_size"] = [renamed.pop(part) for part in parts]
    if "data_format" in renamed:
        renamed["data_format"] = _LAYOUTS[renamed["data_format"]]
    elif layout is not None and kind.startswith(_SPATIAL) and kind[-2:] in ("2D", "3D"):
        renamed["data_format"] = layout
    if kind.startswith(("Deconvolution", "TimeDistributedDense")):
        renamed.pop("output_shape", None)
    if kind not in {"InputLayer", "Embedding"}:
        # Keras 1 records the dtype and size of the input only for the first layer.
        renamed.pop("dtype", None)
        renamed.pop("input_dim", None)
    if kind == "Embedding":
        renamed["output_dim"] = renamed.pop("units")
        renamed.pop("dropout", None)
        renamed.pop("dtype", None)
    if kind == "ZeroPadding2D":
        renamed.update(_padding(renamed))
    if isinstance(renamed.get("layer"), dict):
        renamed["layer"] = _upgraded(renamed["layer"], source, layout)
    return {"class_name": _CLASSES.get(kind, kind), "config": renamed}


def _option(kind: str, key: str) -> str:
    if kind == "UpSampling1D" and key == "length":
        return "size"
    return _OPTIONS.get(key, key)


def _padding(config: Config) -> Config:
    """Convert padding; a list of four was top, bottom, left and right."""
    padding = config.get("padding")
    if isinstance(padding, list) and len(padding) == 4:
        return {"padding": [padding[:2], padding[2:]]}
    return {}


def _merge(config: Config, source: str) -> Config:
    name, mode = config.get("name"), config.get("mode")
    if config.get("mode_type", "raw") != "raw" or mode not in _MERGES:
        by = "cos" if mode == "cos" else "a function"
        raise ConversionError(
            f"{source}: the layer {name!r} is a Merge of Keras 1 by {by}, which no later Keras "
            "has; build the model with keras.layers.Add, Concatenate and the like, load the "
            "weights into it and pass the live model"
        )
    options: Config = {"name": name}
    if mode == "concat":
        options["axis"] = config.get("concat_axis", -1)
    if mode == "dot":
        options["axes"] = config["dot_axes"]
    return {"class_name": _MERGES[mode], "config": options}


def _merged_branches(layers: list[Config], source: str, layout: str | None) -> Config:
    """Turn a Sequential model that begins with a Merge of others into a functional model."""
    first, *rest = layers
    functional: list[Config] = []
    inputs: list[Any] = []
    ends: list[Any] = []

    def append(layer: Config, inbound: list[Any]) -> None:
        upgraded = _upgraded(layer, source, layout)
        name = upgraded["config"]["name"]
        functional.append({**upgraded, "name": name, "inbound_nodes": [inbound] if inbound else []})

    for branch in first["config"]["layers"]:
        chain = branch["config"]
        if (
            not isinstance(chain, list)
            or not chain
            or "batch_input_shape" not in chain[0]["config"]
        ):
            raise ConversionError(
                f"{source}: the Merge of Keras 1 that the model begins with has branches that are "
                "not Sequential models with a known input shape; rebuild the model with today's "
                "layers, load the weights into it and pass the live model"
            )
        head = chain[0]["config"]
        name = f"{head['name']}_input"
        shape = {"batch_input_shape": head["batch_input_shape"], "name": name}
        append(
            {
                "class_name": "InputLayer",
                "config": {**shape, "input_dtype": head.get("input_dtype")},
            },
            [],
        )
        inputs.append([name, 0, 0])
        for layer in chain:
            append(layer, [[functional[-1]["name"], 0, 0]])
        ends.append([functional[-1]["name"], 0, 0])
    append(first, ends)
    for layer in rest:
        append(layer, [[functional[-1]["name"], 0, 0]])
    output = [[functional[-1]["name"], 0, 0]]
    config = {"layers": functional, "input_layers": inputs, "output_layers": output}
    return {"class_name": "Model", "config": {"name": "model", **config}}
