"""Rewrite model configurations of Keras 2 so that Keras 3 can read them.

Keras 3 refuses many of them (because of options that it dropped, such as ``time_major`` of an LSTM
or ``groups`` of a DepthwiseConv2D, and because of TensorFlow operators as layers) and misreads
others: its ``hard_sigmoid`` is a different function. A dropped option is left out only if its value
has no effect; otherwise the model is refused. Initializers, regularizers and constraints are left
out, because inference does not use them.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Mapping
from typing import Any

from runtimes.errors import ConversionError
from runtimes.keras_models.embedded_code import bytecode, own_function
from runtimes.keras_models.keras2_layers import HARD_SIGMOID, replacements, usual_names
from runtimes.keras_models.keras2_nodes import connect, model_ends

Config = dict[str, Any]

_TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")
_ANYTHING = object()

# Options that Keras 3 does not know, with the values for which leaving them out changes nothing.
_DROPPED: dict[str, Any] = {
    "adjustment": None,
    "autocast": _ANYTHING,
    "batch_input_shape": _ANYTHING,
    "causal": False,
    "dtype": _ANYTHING,
    "expects_mask_arg": _ANYTHING,
    "expects_training_arg": _ANYTHING,
    "force_generator": _ANYTHING,
    "fused": _ANYTHING,
    "groups": 1,
    "implementation": _ANYTHING,
    "input_dtype": _ANYTHING,
    "input_length": _ANYTHING,
    "input_shape": _ANYTHING,
    "key_shape": _ANYTHING,
    "noise_shape": None,
    "optional": False,
    "query_shape": _ANYTHING,
    "ragged": False,
    "renorm": False,
    "renorm_clipping": _ANYTHING,
    "renorm_momentum": _ANYTHING,
    "rng_type": _ANYTHING,
    "seed": _ANYTHING,
    "softmax_robust_masking": _ANYTHING,
    "stateful": False,
    "time_major": False,
    "trainable": _ANYTHING,
    "value_shape": _ANYTHING,
    "virtual_batch_size": None,
}
_RENAMED = {("LeakyReLU", "alpha"): "negative_slope"}
_LOOKUPS = ("IntegerLookup", "StringLookup", "TextVectorization")
_LOOKUP_STATE = {"has_input_vocabulary", "vocabulary_size"}
_ACTIVATIONS = ("activation", "recurrent_activation")
_WRAPPED = ("layer", "backward_layer", "cell")


def upgrade(
    config: Config, *, source: str, custom_objects: Mapping[str, Any], unsafe: bool = False
) -> tuple[Config, dict[str, Any]]:
    """Rewrite the configuration of a Keras 2 model so that ``keras.saving`` can read it.

    ``config`` is what Keras 2 wrote to JSON, HDF5 or a ``.keras`` file; ``source`` is named in
    errors. Code in it becomes functions only with ``unsafe``. Returns the configuration and the
    custom objects that it refers to, including ``custom_objects``; they take precedence over
    Keras' own objects of the same name. Raises ``ConversionError``, which names the layer and the
    option, class or function.
    """
    rewriting = _Upgrade(source, custom_objects, unsafe)
    rewritten = rewriting.model(config)
    return rewritten, {**rewriting.own, **custom_objects}


class _Upgrade:
    def __init__(self, source: str, custom_objects: Mapping[str, Any], unsafe: bool) -> None:
        import keras

        self._keras = keras
        self._source = source
        self._unsafe = unsafe
        self._custom = {**keras.saving.get_custom_objects(), **custom_objects}
        self.own = replacements()

    def model(self, model: Config) -> Config:
        """Rewrite a model or a layer, which may contain others."""
        kind = str(model["class_name"]).rpartition(">")[2]
        config = model["config"]
        known = self._custom_name(str(model["class_name"]))
        holds_layers = isinstance(config, list) or "layers" in config
        if known is not None and not (holds_layers and "input_layers" in config):
            return {**model, **_named(kind, known, None), "config": config}
        if kind == "Sequential":
            return self._sequential(config)
        if holds_layers and "input_layers" in config:
            functional = self._functional(config)
            return functional if known is None else {**functional, **_named(kind, known, None)}
        return self._layer(kind, config)

    def _functional(self, config: Config) -> Config:
        names = _plain_names(layer["name"] for layer in config["layers"])
        layers = []
        for layer in config["layers"]:
            rewritten = self.model(layer)
            rewritten["name"] = names[layer["name"]]
            rewritten["config"] = {**rewritten["config"], "name": names[layer["name"]]}
            layers.append(rewritten)
        connect(config, layers, names)
        return {
            **_named("Functional", "Functional", "keras.src.models.functional"),
            "config": {
                "name": _plain(str(config.get("name") or "model")),
                "trainable": True,
                "layers": layers,
                **model_ends(config, layers, names),
            },
        }

    def _sequential(self, config: Any) -> Config:
        # Before Keras 2.2.3 the configuration was the bare list of layers.
        named = {"layers": config} if isinstance(config, list) else config
        layers = [self.model(layer) for layer in named["layers"]]
        first = named["layers"][0] if named["layers"] else None
        if first is not None and first["class_name"] != "InputLayer":
            shape = _input_shape(first)
            if shape is not None:
                layers.insert(0, self._input_for(first, shape))
        return {
            **_named("Sequential", None, "keras"),
            "config": {
                "name": _plain(str(named.get("name") or "sequential")),
                "layers": layers,
                "build_input_shape": named.get("build_input_shape"),
            },
        }

    def _input_for(self, first: Config, shape: list[int | None]) -> Config:
        tokens = first["class_name"] == "Embedding"
        name = f"{_plain(first['config'].get('name') or first['class_name'].lower())}_input"
        dtype = "int32" if tokens else _dtype(first["config"].get("dtype"))
        config = {"name": name, "batch_shape": shape, "dtype": dtype or "float32"}
        return {**_named("InputLayer", None, "keras.layers"), "config": config}

    def _layer(self, kind: str, config: Config) -> Config:
        name = str(config.get("name") or kind)
        if kind in ("CuDNNLSTM", "CuDNNGRU"):
            kind = kind.removeprefix("CuDNN")
            config = {"reset_after": True, **config} if kind == "GRU" else config
        if kind == "RandomCrop":
            # Keras 3 has its inference behaviour under another name.
            size = {key: config[key] for key in ("name", "height", "width")}
            kind, config = "Resizing", {**size, "crop_to_aspect_ratio": True}
        if kind in self.own:
            cls, found = self.own[kind], _named(kind, kind, None)
        elif inspect.isclass(cls := getattr(self._keras.layers, kind, None)):
            found = _named(kind, None, "keras.layers")
        else:
            raise ConversionError(
                f"{self._source}: Keras does not know the class {kind!r} of the layer {name!r}; "
                "give the Python file that defines it with --custom my_layers.py, or "
                f"custom_objects={{{kind!r}: …}}; or save the model as a SavedModel folder with "
                "the Keras that made it, and give that"
            )
        if kind == "Lambda":
            return {**found, "config": self._lambda(config)}
        config = {
            _RENAMED.get((kind, key), key): value
            for key, value in config.items()
            if not key.endswith(_TRAINING_ONLY)
        }
        config |= {key: self._wrapped(config[key]) for key in _WRAPPED if config.get(key)}
        if kind == "StackedRNNCells":
            config["cells"] = [self._wrapped(cell) for cell in config["cells"]]
        config |= {
            key: self._activation(name, config[key]) for key in _ACTIVATIONS if key in config
        }
        config |= {key: _plain(config[key]) for key in ("name",) if key in config}
        if "dtype" in config:
            config["dtype"] = _dtype(config["dtype"])
        if isinstance(axis := config.get("axis"), list) and len(axis) == 1:
            config["axis"] = axis[0]
        if kind == "InputLayer":
            config["batch_shape"] = config.pop("batch_input_shape", config.get("batch_shape"))
        if kind in {"GRU", "GRUCell"}:
            # Before this option existed, a GRU applied the reset gate before the product.
            config.setdefault("reset_after", False)
        return {**found, "config": self._accepted(cls, name, config)}

    def _wrapped(self, layer: Any) -> Any:
        """Rewrite a layer inside another one's options."""
        if not isinstance(layer, dict) or "class_name" not in layer:
            return layer
        rewritten = self.model(layer)
        if "shared_object_id" in layer:
            rewritten["shared_object_id"] = layer["shared_object_id"]
        return rewritten

    def _activation(self, layer: str, activation: Any) -> Any:
        if (code := bytecode(activation)) is not None:
            return own_function(self._renamed(self._loaded(code)))
        if isinstance(activation, dict):
            if activation.get("class_name") != "function":
                return self.model(activation)
            activation = activation["config"]
        if activation is None:
            return None
        if (known := self._custom_name(activation)) is not None:
            return own_function(self._renamed(self._custom[known]))
        if activation == "hard_sigmoid":
            return own_function(HARD_SIGMOID)
        try:
            self._keras.activations.get(activation)
        except ValueError:
            raise self._lacks(layer, "activation", activation) from None
        return activation

    def _lambda(self, config: Config) -> Config:
        """Rewrite a Lambda layer; Keras 2 stores the kind of a function next to it."""
        name, function = str(config.get("name")), config["function"]
        if (code := bytecode(function)) is not None:
            key = f"kilnx_function_{len(self.own)}"
            self.own[key] = self._loaded(code)
            function = own_function(key)
        elif not isinstance(function, dict) or function.get("class_name") == "function":
            called = function["config"] if isinstance(function, dict) else str(function)
            if (known := self._custom_name(called)) is None:
                raise self._lacks(name, "function", called)
            function = own_function(known)
        rewritten = {"name": name, "function": function}
        rewritten |= {key: config[key] for key in ("dtype", "arguments") if key in config}
        shape = config.get("output_shape")
        if isinstance(shape, list) and all(dim is None or isinstance(dim, int) for dim in shape):
            rewritten["output_shape"] = shape
        return rewritten

    def _loaded(self, code: Any) -> Any:
        """The function whose bytecode is in the file."""
        if not self._unsafe:
            raise ConversionError(f"{self._source} holds the bytecode of a function; see --unsafe")
        serialized = {"class_name": "__lambda__", "config": {"value": code}}
        try:
            function = self._keras.saving.deserialize_keras_object(serialized, safe_mode=False)
        except Exception as error:
            raise ConversionError(
                f"{self._source} holds the bytecode of a function that this Python cannot read "
                f"({error}): another version of Python wrote it. Supply your own function with "
                "the name of its Lambda layer: --custom my_layers.py (custom_objects={'name': …})"
            ) from error
        # Bytecode does not include the imports of its module.
        around = {**function.__globals__, **usual_names()}
        parts = function.__name__, function.__defaults__, function.__closure__
        return types.FunctionType(function.__code__, around, *parts)

    def _renamed(self, function: Any) -> str:
        """Register a function or class under a new name, and give a function that ``__name__``.

        Keras copies a layer by the ``__name__`` of its functions, so a user's function called
        ``relu`` would come back as Keras' own.
        """
        name = f"kilnx_function_{len(self.own)}"
        if inspect.isclass(function):
            self.own[name] = function
            return name

        def known(*arguments: Any, **options: Any) -> Any:
            return function(*arguments, **options)

        known.__name__ = name
        self.own[name] = known
        return name

    def _lacks(self, layer: str, role: str, function: str) -> ConversionError:
        return ConversionError(
            f"{self._source}: the layer {layer!r} has the {role} {function!r}, which is in the "
            f"code that made the file; give it by that name: custom_objects={{{function!r}: "
            f"function}}, or --custom my_layers.py with the function, or with CUSTOM_OBJECTS = "
            f"{{{function!r}: function}}, in it"
        )

    def _custom_name(self, name: str) -> str | None:
        """The name under which the user or a package registered ``name``, if at all."""
        bare = name.rpartition(">")[2]
        registered = (key for key in self._custom if key.rpartition(">")[2] == bare)
        return next((key for key in (name, bare) if key in self._custom), next(registered, None))

    def _accepted(self, cls: Any, layer: str, config: Config) -> Config:
        """The options that the class takes; all others must have no effect, or it is refused."""
        if "from_config" in vars(cls) and cls.__name__ in self.own:
            return config
        accepted = _options(cls) | (_LOOKUP_STATE if cls.__name__ in _LOOKUPS else set())
        kept = {key: value for key, value in config.items() if key in accepted}
        for key in sorted(config.keys() - kept.keys()):
            neutral = _DROPPED.get(key, _DROPPED)
            if neutral is not _ANYTHING and neutral != config[key]:
                raise ConversionError(
                    f"{self._source}: the layer {layer!r} ({cls.__name__}) has the option "
                    f"{key}={config[key]!r}, which Keras 3 does not have; save the model as a "
                    "SavedModel with the Keras version that made it (model.save(folder)), and "
                    "give that folder"
                )
        return kept


def _named(class_name: str, registered: str | None, module: str | None) -> Config:
    return {"module": module, "class_name": class_name, "registered_name": registered}


def _options(cls: Any) -> set[str]:
    """Names of the constructor's parameters, including those that ``**kwargs`` accepts."""
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        named = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        names |= named - {"self"}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
        if base.__module__.endswith("layers.layer"):
            break
    return names


def _dtype(dtype: Any) -> Any:
    """The name of a dtype or of a mixed-precision policy."""
    if isinstance(dtype, dict):
        config = dtype.get("config", {})
        return config.get("name") if isinstance(config, dict) else config
    return dtype


def _input_shape(layer: Config) -> list[int | None] | None:
    config = layer["config"]
    if config.get("batch_input_shape") is not None:
        return list(config["batch_input_shape"])
    if isinstance(config.get("layer"), dict):
        return _input_shape(config["layer"]) if layer["class_name"] == "Bidirectional" else None
    return None


def _plain(name: str) -> str:
    """A layer name without slashes, which Keras 3 does not allow."""
    return name.replace("/", "_")


def _plain_names(names: Iterable[str]) -> dict[str, str]:
    """Maps each name to one without slashes, still unique."""
    listed = list(names)
    taken = {name for name in listed if "/" not in name}
    result = {}
    for name in listed:
        plain, count = _plain(name), 0
        while "/" in name and (candidate := plain + f"_{count}" * bool(count)) in taken:
            count += 1
        if "/" in name:
            plain = candidate
            taken.add(plain)
        result[name] = plain
    return result
