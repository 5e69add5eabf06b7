"""Subclassed models that cannot be called, such as a GAN with a training step: their parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runtimes.errors import ConversionError
from runtimes.keras_models.load import import_keras

_MOST = 4


def refuse_without_call(model: Any) -> None:
    """Raise ``ConversionError`` for a model that defines no ``call``, with what can be exported.

    These are the models that it holds, and the layers that have their weights, each with the line
    of Python that converts it.
    """
    keras = import_keras()
    if type(model).call not in (keras.Model.call, keras.layers.Layer.call):
        return
    lines = [*_models(model, keras), *_layers(model, keras)]
    more = f" (and {len(lines) - _MOST} more)" if len(lines) > _MOST else ""
    parts = (
        f"its parts can be: {'; '.join(lines[:_MOST])}{more}"
        if lines
        else "define it, or give a model that has one"
    )
    raise ConversionError(
        f"the model {model.name!r} cannot be exported, because its class {type(model).__name__} "
        f"defines no call(); {parts}"
    )


def _models(model: Any, keras: Any) -> Iterator[str]:
    for name, part in _attributes(model):
        if isinstance(part, keras.Model) and part.built:
            yield f'convert(model.{name}, "{_file(name)}")'


def _layers(model: Any, keras: Any) -> Iterator[str]:
    """Layers whose one input is known."""
    for name, part in _attributes(model):
        if isinstance(part, keras.Model) or not isinstance(part, keras.layers.Layer):
            continue
        shape = (part.get_build_config() or {}).get("input_shape") if part.built else None
        if shape and all(size is None or isinstance(size, int) for size in shape):
            sizes = ", ".join(map(str, shape[1:])) + ("," if len(shape) == 2 else "")
            sequential = f"keras.Sequential([keras.Input(({sizes})), model.{name}])"
            yield f'convert({sequential}, "{_file(name)}")'


def _attributes(model: Any) -> Iterator[tuple[str, Any]]:
    """What the model holds by name, and in lists and dictionaries."""
    for name, value in vars(model).items():
        if name.startswith("_"):
            continue
        if isinstance(value, dict):
            yield from ((f"{name}[{key!r}]", one) for key, one in value.items())
        elif isinstance(value, list | tuple):
            yield from ((f"{name}[{place}]", one) for place, one in enumerate(value))
        else:
            yield name, value


def _file(name: str) -> str:
    return "".join(one if one.isalnum() else "_" for one in name).strip("_") + ".onnx"
