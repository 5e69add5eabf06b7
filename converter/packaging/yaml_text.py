"""Manifests as YAML that a person reads, from plain values and never from text with holes.

The subset is small: block mappings and lists, and scalars that are bare only where no reader could
take them for anything but text; all other strings are quoted as JSON strings, which YAML 1.2
(https://yaml.org/spec/1.2.2/) and the 1.1 readers of Kubernetes and MLflow read alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Bare text starts with a letter, a slash or a dot before a letter, and has nothing in it that
# starts a comment, a mapping or a flow; a dash alone or a colon at the end would do that.
_BARE = re.compile(r"(?=[./]?[A-Za-z])[A-Za-z0-9_./-]*[A-Za-z0-9_/]", re.ASCII)
# What YAML 1.1 or 1.2 reads as something else than text.
_TAKEN = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "inf", "nan"}
# Line ends by YAML 1.1 that JSON leaves as they are, and what is no printable character.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def yaml_text(*documents: Mapping[str, Any], comment: str = "") -> str:
    """The documents as one YAML file, below ``comment`` (plain text, of any number of lines)."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    bodies = ("".join(f"{line}\n" for line in _mapping(document)) for document in documents)
    return head + "---\n".join(bodies)


def _mapping(value: Mapping[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        name = _scalar(key)
        if _is_block(item):
            yield f"{name}:"
            indent = "" if isinstance(item, list | tuple) else "  "
            yield from (indent + line for line in _block(item))
        else:
            yield f"{name}: {_scalar(item)}"


def _list(value: Sequence[Any]) -> Iterator[str]:
    for item in value:
        lines = list(_block(item)) if _is_block(item) else [_scalar(item)]
        yield f"- {lines[0]}"
        yield from (f"  {line}" for line in lines[1:])


def _block(value: Any) -> Iterator[str]:
    return _mapping(value) if isinstance(value, Mapping) else _list(value)


def _is_block(value: Any) -> bool:
    """Whether ``value`` takes lines of its own; what is empty does not."""
    return isinstance(value, Mapping | list | tuple) and len(value) > 0


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, Mapping | list | tuple) and not value:
        return "{}" if isinstance(value, Mapping) else "[]"
    raise TypeError(f"{value!r} has no place in a manifest")


def _text(text: str) -> str:
    if _BARE.fullmatch(text) and text.lower().lstrip("./") not in _TAKEN:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
