"""Which inputs are channels-last images, according to the layers that read them."""

from __future__ import annotations

from typing import Any

from converter.export.channels_first import is_image
from converter.export.proof.input_uses import network_of
from runtimes.keras_models.parts import all_layers
from runtimes.keras_models.signature import KerasSignature


def channels_last_images(model: Any, signature: KerasSignature) -> tuple[str, ...]:
    """The names of the inputs that are channels-last images or volumes (rank 4 or 5).

    An input counts as channels first if the first layer after it that has a ``data_format`` says
    so; in a subclassed model, if all layers say so.
    """
    images = [spec.name for spec in signature.inputs if is_image(len(spec.shape or ()))]
    network = network_of(model)
    if network is None or len(network.inputs) != len(signature.inputs):
        formats = {fmt for layer in all_layers(model) if (fmt := _format(layer)) is not None}
        return () if formats == {"channels_first"} else tuple(images)
    tensors = dict(zip((spec.name for spec in signature.inputs), network.inputs, strict=True))
    return tuple(
        name for name in images if _format_behind(network, tensors[name]) != "channels_first"
    )


def _format_behind(network: Any, tensor: Any) -> str | None:
    """The ``data_format`` of the first layer on the way from ``tensor`` that has one."""
    reached = {id(tensor)}
    for _, nodes in sorted(network._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            read = [one for one in node.arguments.keras_tensors if id(one) in reached]
            if not read or node.is_input:
                continue
            inner = network_of(node.operation)
            if inner is None:
                found = _format(node.operation)
            else:
                place = node.arguments.keras_tensors.index(read[0])
                found = _format_behind(inner, inner.inputs[place])
            if found is not None:
                return found
            reached |= {id(output) for output in node.outputs}
    return None


def _format(layer: Any) -> str | None:
    """The ``data_format`` of a layer that uses it; ``Flatten`` only stores it."""
    found = getattr(layer, "data_format", None)
    return found if isinstance(found, str) and type(layer).__name__ != "Flatten" else None
