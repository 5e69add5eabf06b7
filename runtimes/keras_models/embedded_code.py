"""Code inside a Keras file: finding it, describing it, and replacing it by the user's own.

A Lambda layer holds the bytecode of its function, and other layers hold pickles or whole
TensorFlow programs. Keras' safe mode rejects them; here they are found before Keras sees the file,
so that the user gets one message that names all of them.
"""

from __future__ import annotations

import base64
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PROGRAMS = {
    "TFSMLayer": "the program of the SavedModel {filepath!r}",
    "TorchModuleWrapper": "a pickled PyTorch module",
    "FlaxLayer": "a pickled Flax module",
    "JaxLayer": "a pickled JAX function",
}
# The first bytes of a marshalled code object, with and without the reference flag: in base64, and
# as characters, which is how Keras 1 wrote it.
_MARSHALLED = ("4w", "Yw", "\xe3", "c\0")
_NAMES_SHOWN = 6


def code_in(config: Any, owner: str = "the model") -> Iterator[str]:
    """Describe each piece of code that loading ``config`` would run, with the layer it is in."""
    if (function := bytecode(config)) is not None:
        yield f"{owner} ({_described(function[0])})"
        return
    if isinstance(config, list | tuple):
        for part in config:
            yield from code_in(part, owner)
        return
    if not isinstance(config, dict):
        return
    kind, inner = config.get("class_name"), config.get("config")
    if kind == "__lambda__":
        yield f"{owner} (the bytecode of a Python function)"
        return
    if isinstance(inner, dict):
        name = inner.get("name") or config.get("name")
        if kind in _PROGRAMS:
            yield f"the {kind} {name!r} ({_PROGRAMS[kind].format_map({'filepath': '', **inner})})"
            return
        if isinstance(name, str):
            owner = f"the {kind} layer {name!r}" if kind == "Lambda" else f"the layer {name!r}"
    for value in config.values():
        yield from code_in(value, owner)


def bytecode(value: Any) -> Any:
    """A function as Keras saves it, a list of code, defaults and closure; otherwise ``None``."""
    if isinstance(value, dict):
        inner = value.get("config") if value.get("class_name") == "__lambda__" else value
        if not isinstance(inner, dict):
            return None
        if "code" in inner:
            return bytecode([inner["code"], inner.get("defaults"), inner.get("closure")])
        return bytecode(inner["value"]) if inner.keys() == {"value"} else None
    if not isinstance(value, list | tuple) or len(value) != 3:
        return None
    code, *rest = value
    is_function = isinstance(code, str) and not any(isinstance(part, str) for part in rest)
    return value if is_function and code.startswith(_MARSHALLED) else None


def _described(code: str) -> str:
    """A function's name and the names that it uses, read without running or unmarshalling it."""
    names: list[str] = []
    try:
        data = base64.b64decode(code)
    except ValueError:
        data = code.encode("latin-1", "replace")
    # Short strings, plain or interned: a type byte, a length byte, the characters.
    for match in re.finditer(rb"[zZ\xfa\xda](?=(.))", data, re.DOTALL):
        start, length = match.end() + 1, match.group(1)[0]
        text = data[start : start + length]
        if len(text) == length and re.fullmatch(rb"[A-Za-z_]\w*", text):
            names.append(text.decode("ascii"))
    named = ", ".join(dict.fromkeys(names[:_NAMES_SHOWN]))
    return "the bytecode of a Python function" + (f" that names {named}" if named else "")


def with_own_functions(config: Any, custom_objects: Mapping[str, Any]) -> tuple[Any, bool]:
    """Replace the code of Lambda layers by functions in ``custom_objects`` with the same names.

    Returns the configuration and whether it was changed.
    """
    if isinstance(config, list):
        parts = [with_own_functions(part, custom_objects) for part in config]
        return [part for part, _ in parts], any(changed for _, changed in parts)
    if not isinstance(config, dict):
        return config, False
    inner = config.get("config")
    if config.get("class_name") == "Lambda" and isinstance(inner, dict):
        own = custom_objects.get(str(inner.get("name")))
        if own is None or inspect.isclass(own) or not callable(own):
            return config, False
        kept = {
            key: inner[key] for key in ("name", "dtype", "trainable", "arguments") if key in inner
        }
        return {**config, "config": {**kept, "function": own_function(str(inner["name"]))}}, True
    changed = {key: with_own_functions(value, custom_objects) for key, value in config.items()}
    return (
        {key: value for key, (value, _) in changed.items()},
        any(different for _, different in changed.values()),
    )


def own_function(name: str) -> dict[str, Any]:
    """The reference to a custom object's function in a configuration."""
    return {"module": None, "class_name": "function", "config": name, "registered_name": name}
